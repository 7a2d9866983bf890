//! A server and a client that speak with each other, in every arrangement.

use anyhow::Result;

use super::Stage;
use crate::interop::Case;
use crate::interop::bench::Bench;
use crate::interop::way::{V4_PACKET, V4_TUN, V6_PACKET, V6_TUN, Way};

/// Shell functions and variables that both scripts may use, beside those of the way: `$at` is the
/// server's address, and `$at_url` the same as URLs have it.
pub(crate) const PRELUDE: &str = r#"
set -euo pipefail
# Waits until somebody listens at the server's port $1.
ready() {
    for _ in {1..200}; do
        if (exec 3<>"/dev/tcp/$at/$1") 2>/dev/null; then return; fi
        sleep 0.05
    done
    echo "nobody listens at port $1" >&2
    return 1
}
sum() { sha256sum | cut -c 1-64; }
# Whether the input is the content of the file $1.
same() {
    local got=$(sum) wanted=$(sum < "$1")
    [[ $got = "$wanted" ]] || { echo "not the content of $1" >&2; return 1; }
}
# Writes the report of iperf3's client with these options. The server listens anew after every connection, and
# nobody does in between.
ask_iperf3() {
    local status=1
    for _ in {1..200}; do
        # With -J an error is in the report alone.
        iperf3 -c $at "$@" > report 2>&1 && status=0 || status=$?
        grep -q 'Connection refused' report || break
        sleep 0.05
    done
    ((status == 0)) || cat report >&2
    return $status
}
# Whether the input is the sum of the file $2, $1 times.
sums() {
    local got=$(sort | uniq -c | xargs) wanted="$1 $(sum < "$2")"
    [[ $got = "$wanted" ]] || { echo "sums of $2: $got" >&2; return 1; }
}
"#;

/// How many bytes the file has that is there for everybody.
const FILE: usize = 1 << 20;

/// One of the two.
pub(super) struct Part {
    /// Its name for the table.
    pub(super) program: &'static str,
    /// What it needs of sockets beyond the plainest.
    pub(super) uses: &'static str,
    /// A script for bash.
    pub(super) script: &'static str,
}

/// Where the two are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrangement {
    /// The server on our stack, the client on the kernel's.
    Serves,
    /// The server on the kernel's, the client on ours.
    Asks,
    /// Both on ours.
    Alone,
    /// Both on the kernel's, without estab.
    Native,
}

use Arrangement::{Alone, Asks, Native, Serves};

/// Two programs that speak with each other.
pub(super) struct Conversation {
    pub(super) name: &'static str,
    pub(super) server: Part,
    pub(super) client: Part,
    /// How long it may take, in seconds.
    pub(super) seconds: u64,
    pub(super) arrangements: &'static [Arrangement],
    pub(super) ways: &'static [Way],
}

/// Every arrangement.
pub(super) const EVERYWHERE: &[Arrangement] = &[Serves, Asks, Alone];

/// Either kind of link.
pub(super) const V4: &[Way] = &[V4_TUN, V4_PACKET];

/// Either kind of link, and either family.
pub(super) const BOTH: &[Way] = &[V4_TUN, V6_TUN, V4_PACKET, V6_PACKET];

impl Conversation {
    /// Its cases; without estab where `asked` has the name of that.
    pub(super) fn cases(&'static self, asked: &[String]) -> Vec<Case> {
        let native = asked.contains(&self.case_name(Native));
        let everywhere = self.arrangements.iter().copied().chain(native.then_some(Native));
        everywhere.map(|arrangement| self.case(arrangement)).collect()
    }

    fn case_name(&self, arrangement: Arrangement) -> String {
        format!("{}-{arrangement:?}", self.name).to_lowercase()
    }

    fn case(&'static self, arrangement: Arrangement) -> Case {
        let try_it = move |bench: &Bench| self.hold(bench, arrangement);
        let case = Case::new(self.case_name(arrangement), self.seconds, try_it);
        match arrangement {
            Serves | Asks => case.over(self.ways),
            // There is no link between them.
            Alone | Native => case,
        }
    }

    /// Lets the two speak, and demands that the client is content.
    fn hold(&self, bench: &Bench, arrangement: Arrangement) -> Result<()> {
        let stage = Stage::get()?;
        bench.write_bytes("file", FILE)?;
        let variables = variables(bench.way, arrangement, stage);
        let script = |part: &Part| format!("{variables}{PRELUDE}\n{}\n", part.script);
        bench.write("server.sh", script(&self.server))?;
        bench.write("client.sh", script(&self.client))?;
        let link = bench.way.options();
        let words: Vec<&str> = match arrangement {
            Serves => {
                [RUN, link, &["--peer", "exec bash client.sh", "--", "bash", "server.sh"]].concat()
            }
            Asks => {
                [RUN, link, &["--peer", "exec bash server.sh", "--", "bash", "client.sh"]].concat()
            }
            Alone => [RUN, &["--", "bash", "-c", TOGETHER]].concat(),
            Native => vec!["unshare", "-Unmc", "--keep-caps", "bash", "-c", NATIVELY],
        };
        bench.finish(stage.as_user(bench, &words)?)?.success()?;
        Ok(())
    }
}

const RUN: &[&str] = &["estab", "run"];

/// Both in one place; the server is ended with all that it started.
const TOGETHER: &str =
    "set -m; bash server.sh & bash client.sh; status=$?; kill -- -$!; wait; exit $status";

/// The same in a network of its own, in which the server is asked for names.
const NATIVELY: &str = "ip link set lo up; ip address add 10.77.0.1/32 dev lo
    echo nameserver 127.0.0.1 > resolv.conf; mount --bind resolv.conf /etc/resolv.conf
    echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
    set -m; bash server.sh & bash client.sh; status=$?; kill -- -$!; wait; exit $status";

fn variables(way: Way, arrangement: Arrangement, stage: &Stage) -> String {
    let (kernel, stack) = way.addresses();
    let (at, at_url) = match arrangement {
        Serves => (stack, way.stack_in_url()),
        Asks => (kernel, way.kernel_in_url()),
        Alone | Native => ("127.0.0.1", "127.0.0.1"),
    };
    let bin = stage.bin().display();
    format!("{}at={at} at_url={at_url} bin='{bin}'\n", way.variables())
}
