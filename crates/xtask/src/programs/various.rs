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
            # The server listens anew after every connection, and nobody does in between.
            measure() {
                for _ in {1..200}; do
                    if iperf3 -c $at -t 1 -J "$@" > report.json; then break; fi
                    grep -q 'Connection refused' report.json || break
                    sleep 0.05
                done
                python3 - <<'END'
import json
report = json.load(open('report.json'))
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
