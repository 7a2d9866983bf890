//! Others: what measures a path.

use super::conversation::{Conversation, EVERYWHERE, Part, V4};

pub(super) const CONVERSATIONS: &[Conversation] = &[Conversation {
    name: "iperf3",
    server: Part {
        program: "iperf3 -s",
        uses: "select, non-blocking sockets, SO_MAX_PACING_RATE, TCP_INFO, sockets of both families",
        script: "exec iperf3 -s -B $at > iperf3.log",
    },
    client: Part {
        program: "iperf3, both ways and four streams",
        uses: "TCP_INFO, TCP_CONGESTION, TCP_MAXSEG, UDP",
        script: r#"
            measure() {
                ask_iperf3 -t 1 -J "$@"
                python3 - <<'END'
import json
report = json.load(open('report'))
assert 'error' not in report, report['error']
end = report['end']
got = end.get('sum_received', end.get('sum'))['bytes']
assert got > 1000000, got
END
            }
            measure
            measure -R
            measure -P 4
            measure -u -b 20M"#,
    },
    seconds: 30,
    arrangements: EVERYWHERE,
    ways: V4,
}];
