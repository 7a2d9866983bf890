//! An address from dnsmasq, and the way back to it.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("dhcp-dnsmasq", 40, |bench| dnsmasq(bench, &[])),
        Case::new("dhcp-queues", 40, |bench| dnsmasq(bench, &["--queues", "4"])),
        Case::new("dhcp-release", 40, release),
    ]
}

/// Who is told to stop gives the address back before it goes.
fn release(bench: &Bench) -> Result<()> {
    // The device stays when the stack goes, or dnsmasq could not say any more on what the release came.
    let script = "
        ip tuntap add dev tap9 mode tap
        estab up --tap tap9 --cidr 10.79.0.1/24 --dhcp 2> up.log & stack=$!
        until ip -o addr show dev tap9 2> ip.log | grep -q 10.79.0.1; do sleep 0.1; done
        dnsmasq --no-daemon --conf-file=/dev/null --pid-file= --port=0 --interface=tap9 \\
            --bind-interfaces --dhcp-range=10.79.0.50,10.79.0.50,255.255.255.0,120 \\
            --dhcp-authoritative --dhcp-leasefile=leases 2> dnsmasq.log & server=$!
        until grep -q 'export ' up.log; do sleep 0.1; done
        eval \"$(grep -o 'export .*' up.log)\"
        until estab ip | grep -q 10.79.0.50; do sleep 0.2; done
        kill $stack
        wait $stack
        until grep -q 'DHCPRELEASE(tap9) 10.79.0.50' dnsmasq.log; do sleep 0.1; done
        kill $server";
    bench.lab(&[], script)?;
    Ok(())
}

/// The stack asks, probes the address, and serves pages on it, those of several shards from each; dnsmasq has
/// it in its table.
fn dnsmasq(bench: &Bench, queues: &[&str]) -> Result<()> {
    let script = "
        dnsmasq --no-daemon --conf-file=/dev/null --pid-file= --port=0 --interface=estab0 \\
            --bind-interfaces --dhcp-range=10.77.0.50,10.77.0.50,255.255.255.0,120 \\
            --dhcp-option=option:mtu,1400 --dhcp-authoritative --dhcp-leasefile=leases \\
            2> dnsmasq.log & server=$!
        until curl -sS --max-time 2 -o page http://10.77.0.50/ 2> curl.log; do sleep 0.5; done
        grep -q 'It works' page
        for n in 1 2 3 4 5 6 7 8; do curl -sS --max-time 5 -o page$n http://10.77.0.50/; done
        grep -q ' 10.77.0.50 ' leases
        grep -q 'DHCPDISCOVER' dnsmasq.log
        grep -q 'DHCPACK' dnsmasq.log
        estab ss -a | grep -q '0.0.0.0:68'
        kill $server";
    let options = [&["--tap", "--dhcp", "--serve", "http:80"], queues].concat();
    bench.lab(&options, script)?;
    Ok(())
}
