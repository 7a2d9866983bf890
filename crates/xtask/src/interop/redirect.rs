//! The kernel as a gateway that knows a better one, and tells.

use anyhow::Result;

use super::Case;
use super::bench::Bench;
use super::way::ETHERNET;

const SETUP: &str = include_str!("redirect.sh");
/// Redirects of IPv6 come from a router's link-local address (RFC 4861 8.1), so that must be the
/// gateway: what advertises has it for one.
const RADVD: &str = "\
interface hub {
    AdvSendAdvert on;
    MinRtrAdvInterval 3;
    MaxRtrAdvInterval 4;
    prefix fd78::/64 {};
};
";

pub(super) fn cases() -> Vec<Case> {
    let case = Case::over_every("redirect", 30, redirect);
    vec![case.only_over(ETHERNET, "a link with two routers is one of Ethernet")]
}

/// All requests are answered. The first goes by way of the kernel, which says so once; the others do
/// not.
fn redirect(bench: &Bench) -> Result<()> {
    bench.write("redirect.sh", SETUP)?;
    bench.write("radvd.conf", RADVD)?;
    let script = "
        . ./redirect.sh
        if [ $v = 6 ]; then
            radvd --nodaemon --config radvd.conf --pidfile radvd.pid --logmethod logfile --logfile log &
            ours() { estab ip | sed -n 's|^\\(fd78:.*\\)/64$|\\1|p'; }
            until [ \"$(ours)\" ] && ping -c 1 -W 0.3 $(ours) > ping.out; do sleep 0.1; done
        fi
        before=$(count $forwarded)
        estab ping -c 3 -i 1200ms $far
        echo \"$(count $told) told, $(($(count $forwarded) - before)) sent on\"
        kill $better";
    let options: &[&str] = if bench.way.is_ipv6() { &["--autoconf"] } else { &[] };
    let outcome = bench.lab(options, script)?;
    outcome.prints(&["3 requests, 3 answers", "1 told, 1 sent on"])
}
