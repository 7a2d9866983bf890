//! Addresses that the stack makes from what a real router advertises: radvd, on the kernel's side.

use anyhow::{Result, ensure};

use super::Case;
use super::bench::Bench;
use super::way::ETHERNET_V6;

const RADVD: &str = "\
interface estab0 {
    AdvSendAdvert on;
    AdvCurHopLimit 33;
    MinRtrAdvInterval 3;
    MaxRtrAdvInterval 4;
    AdvDefaultLifetime 5;
    prefix fd78::/64 { AdvValidLifetime 600; AdvPreferredLifetime 300; };
    prefix fd79::/64 { AdvValidLifetime 6; AdvPreferredLifetime 5; };
};
";

/// A router with one more address, which nobody but a default route leads to.
const ROUTER: &str = r#"
    echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
    ip addr add fe80::1/64 dev estab0 nodad
    ip addr add fd78::1/64 dev estab0 nodad
    ip addr add fd79::1/64 dev estab0 nodad
    ip addr add fd99::1/64 dev lo nodad
    radvd --nodaemon --config radvd.conf --pidfile radvd.pid --logmethod logfile --logfile log & radvd=$!
    # The stack's address in the network $1, without its length.
    ours() { estab ip | sed -n "s|^\($1:.*\)/64\$|\1|p"; }
    reached() { estab ping -c 1 -W 500ms $1 > ping.out; }
    # An address that is still asked for is none yet.
    answers() { [ "$(ours $1)" ] && ping -c 1 -W 0.3 $(ours $1) > ping.out; }
    until answers fd78 && answers fd79 && reached fd99::1; do sleep 0.1; done
"#;

pub(super) fn cases() -> Vec<Case> {
    let over_ethernet = |name, try_it: fn(&Bench) -> Result<()>| {
        Case::over_every(name, 40, try_it)
            .only_over(ETHERNET_V6, "routers of IPv6 advertise on Ethernet")
    };
    vec![
        over_ethernet("slaac-addresses", addresses),
        over_ethernet("slaac-hop-limit", hop_limit),
        over_ethernet("slaac-router-leaves", router_leaves),
        over_ethernet("slaac-router-dies", router_dies),
        over_ethernet("slaac-duplicate", duplicate),
    ]
}

/// Of use in both directions, and made from no hardware address.
fn addresses(bench: &Bench) -> Result<()> {
    let outcome = with_router(
        bench,
        r#"
        for network in fe80 fd78 fd79; do ours $network; done
        for network in fd78 fd79; do
            ping -c 2 -i 0.2 -W 1 $(ours $network) > heard
            # The hop limit that the router says (RFC 4861 6.3.4).
            grep -q 'ttl=33' heard
            curl -sS --max-time 5 "http://[$(ours $network)]/" | grep -q 'It works'
            estab ping -c 2 -i 200ms $network::1
        done
        ping -c 2 -i 0.2 -W 1 $(ours fe80)%estab0
        estab ping -c 2 -i 200ms fd99::1"#,
    )?;
    let made: Vec<std::net::Ipv6Addr> = outcome.lines().map_while(|l| l.parse().ok()).collect();
    ensure!(made.len() == 3, "not three addresses: {outcome}");
    let mut identifiers: Vec<&[u16]> = Vec::new();
    let segments: Vec<[u16; 8]> = made.iter().map(|address| address.segments()).collect();
    for address in &segments {
        let identifier = &address[4..];
        // RFC 7217 5: another one in each network, and none that tells a hardware address.
        ensure!(!identifiers.contains(&identifier), "one identifier twice: {made:?}");
        ensure!((identifier[1], identifier[2] >> 8) != (0xff, 0xfe), "from hardware: {made:?}");
        identifiers.push(identifier);
    }
    Ok(())
}

/// A datagram of a program, and what it was told about it; then again with a limit of its own, and without.
const HOPS: &str = "\
import socket, sys
peer = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
peer.connect((sys.argv[1], 5000))
for limit in None, 9, -1:
    if limit is not None:
        peer.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, limit)
    peer.send(str(peer.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)).encode())
tcp = socket.create_connection((sys.argv[1], 5001))
print('tcp', tcp.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS))
tcp.close()
";

/// What the kernel hears: the limit that came, and the one that the program was told.
const HEARD_HOPS: &str = "\
import socket, sys
here = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
here.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
here.bind((sys.argv[1], 5000))
server = socket.create_server((sys.argv[1], 5001), family=socket.AF_INET6)
for _ in range(3):
    said, beside, _, _ = here.recvmsg(100, 100)
    print(int.from_bytes(beside[0][2], sys.byteorder), int(said), flush=True)
server.accept()[0].recv(1)
";

/// What the router says is that of programs, too, unless they say another (RFC 4861 6.3.4).
fn hop_limit(bench: &Bench) -> Result<()> {
    bench.write("hops.py", HOPS)?;
    bench.write("heard-hops.py", HEARD_HOPS)?;
    let outcome = with_router(
        bench,
        r#"
        python3 heard-hops.py fd78::1 & heard=$!
        listening 5001
        estab run -- python3 hops.py fd78::1
        wait $heard"#,
    )?;
    let lines: Vec<&str> = outcome.lines().collect();
    for expected in ["33 33", "9 9", "tcp 33"] {
        ensure!(lines.contains(&expected), "not {expected}: {outcome}");
    }
    ensure!(lines.iter().filter(|line| **line == "33 33").count() == 2, "{outcome}");
    Ok(())
}

/// It says so with a lifetime of zero, and its route is gone at once (RFC 4861 6.3.4). The addresses
/// stay.
fn router_leaves(bench: &Bench) -> Result<()> {
    with_router(
        bench,
        r#"
        kill $radvd
        wait $radvd || true
        while reached fd99::1; do sleep 0.1; done
        grep -q 'network is unreachable' ping.out
        reached fd78::1
        ping -c 1 -W 1 $(ours fd78)"#,
    )?;
    Ok(())
}

/// It says nothing any more: the route and the short-lived prefix end by their lifetimes (RFC 4861
/// 6.3.5, RFC 4862 5.5.4), the long-lived one stays.
fn router_dies(bench: &Bench) -> Result<()> {
    with_router(
        bench,
        r#"
        kill -9 $radvd
        wait $radvd || true
        reached fd99::1
        while reached fd99::1; do sleep 0.2; done
        grep -q 'network is unreachable' ping.out
        while [ "$(ours fd79)" ]; do sleep 0.2; done
        [ "$(ours fd78)" ]
        reached fd78::1"#,
    )?;
    Ok(())
}

/// The kernel asks whether anybody has an address of ours (RFC 4862 5.4), and is told that we do.
fn duplicate(bench: &Bench) -> Result<()> {
    with_router(
        bench,
        r#"
        wanted=$(ours fd78)
        ip addr add $wanted/64 dev estab0
        until ip -6 addr show dev estab0 dadfailed | grep -q "$wanted"; do sleep 0.1; done
        [ "$(ours fd78)" = "$wanted" ]
        ip addr del $wanted/64 dev estab0
        ping -c 1 -W 1 $wanted"#,
    )?;
    Ok(())
}

fn with_router(bench: &Bench, script: &str) -> Result<String> {
    bench.write("radvd.conf", RADVD)?;
    let options = ["--autoconf", "--serve", "http:80"];
    Ok(bench.lab(&options, &format!("{ROUTER}{script}"))?.out)
}
