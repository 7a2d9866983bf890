//! Packets larger than the link, cut by either side; and fragments as only bad hosts make them.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

const FRAGMENTS: &str = include_str!("fragments.py");

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::over_every("ping-60000", 20, ping),
        Case::over_every("fragments", 40, |bench| {
            bench.write("fragments.py", FRAGMENTS)?;
            bench.lab(&[], "python3 fragments.py $kernel $stack")?;
            Ok(())
        }),
        Case::new("fragments-of-the-kernel", 60, of_the_kernel),
    ]
}

/// What is asked of us is what another kernel does: it is sent the same, tiny, overlapping and atomic ones
/// among them, and must answer the same.
fn of_the_kernel(bench: &Bench) -> Result<()> {
    bench.write("fragments.py", FRAGMENTS)?;
    let script = "
        unshare --user --map-root-user --net sleep 100 & far=$!
        until [ \"$(cat /proc/$far/comm)\" = sleep ]; do sleep 0.05; done
        within() { nsenter --target $far --user --net --preserve-credentials \"$@\"; }
        ip link add near0 type veth peer name far0
        ip link set far0 netns $far
        ip addr add 10.80.0.1/24 dev near0
        ip addr add fd80::1/64 dev near0 nodad
        ip link set near0 up
        within ip addr add 10.80.0.2/24 dev far0
        within ip addr add fd80::2/64 dev far0 nodad
        within ip link set far0 up
        # Errors come as often as they are asked for.
        within sh -c 'echo 0 > /proc/sys/net/ipv6/icmp/ratelimit'
        until ping -6 -c 1 -W 0.3 fd80::2 > ping.out; do sleep 0.1; done
        python3 fragments.py 10.80.0.1 10.80.0.2
        python3 fragments.py fd80::1 fd80::2
        kill $far";
    bench.lab(&[], script)?;
    Ok(())
}

/// The kernel asks us and we ask the kernel, with more bytes than forty frames hold.
fn ping(bench: &Bench) -> Result<()> {
    let script = "
        ping -$v -c 3 -i 0.2 -W 2 -s 60000 $stack
        estab ping -c 3 -i 200ms -s 60000 $kernel";
    let outcome = bench.lab(&[], script)?;
    outcome.prints(&["3 received, 0% packet loss", "3 requests, 3 answers"])
}
