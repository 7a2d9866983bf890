//! A VLAN of a link, with the kernel's own interface of it at the other end.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("vlan", 40, vlan)]
}

/// A page, a large file both ways of offload, and an echo of several fragments, over TAP and over a packet
/// socket; in another VLAN there is nobody.
fn vlan(bench: &Bench) -> Result<()> {
    let script = "
        ip address flush dev estab0
        ip link add link estab0 name estab0.7 type vlan id 7
        ip link add link estab0 name estab0.8 type vlan id 8
        ip address add 10.77.0.1/24 dev estab0.7
        ip address add fd77::1/64 dev estab0.7 nodad
        ip link set estab0.7 up
        ip link set estab0.8 up
        curl -sS --max-time 10 http://10.77.0.2/ | grep -q 'It works'
        curl -sS --max-time 10 -g 'http://[fd77::2]/' | grep -q 'It works'
        head -c 5000000 /dev/urandom > sent
        nc -N -w 10 10.77.0.2 7 < sent > received
        cmp sent received
        ping -c 1 -W 5 -s 6000 10.77.0.2 > ping.log
        ip address del 10.77.0.1/24 dev estab0.7
        ip address add 10.77.0.1/24 dev estab0.8
        ! ping -c 1 -W 1 10.77.0.2 > silent.log";
    for device in ["--tap", "--packet"] {
        bench.lab(&[device, "--vlan", "7", "--serve", "http:80", "--serve", "echo:7"], script)?;
    }
    Ok(())
}
