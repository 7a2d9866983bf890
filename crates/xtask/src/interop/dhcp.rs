//! An address from dnsmasq, and the way back to it.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("dhcp-dnsmasq", 40, dnsmasq)]
}

/// The stack asks, probes the address, and serves a page on it; dnsmasq has it in its table.
fn dnsmasq(bench: &Bench) -> Result<()> {
    let script = "
        dnsmasq --no-daemon --conf-file=/dev/null --pid-file= --port=0 --interface=estab0 \\
            --bind-interfaces --dhcp-range=10.77.0.50,10.77.0.50,255.255.255.0,120 \\
            --dhcp-option=option:mtu,1400 --dhcp-authoritative --dhcp-leasefile=leases \\
            2> dnsmasq.log & server=$!
        until curl -sS --max-time 2 -o page http://10.77.0.50/ 2> curl.log; do sleep 0.5; done
        grep -q 'It works' page
        grep -q ' 10.77.0.50 ' leases
        grep -q 'DHCPDISCOVER' dnsmasq.log
        grep -q 'DHCPACK' dnsmasq.log
        estab ss -a | grep -q '0.0.0.0:68'
        kill $server";
    bench.lab(&["--tap", "--dhcp", "--serve", "http:80"], script)?;
    Ok(())
}
