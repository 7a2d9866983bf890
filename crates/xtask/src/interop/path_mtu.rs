//! Path MTU discovery where the narrowest link is in the middle of the path, and its routers tell (RFC 1191,
//! RFC 8201) or are not heard (RFC 4821).

use anyhow::Result;

use super::Case;
use super::bench::Bench;

const PATH: &str = include_str!("path.sh");
/// A router that keeps to itself what is too long.
const QUIET: &str = "\
table inet quiet {
    counter unheard {}
    chain out {
        type filter hook output priority 0;
        icmp type destination-unreachable icmp code frag-needed counter name unheard drop
        icmpv6 type packet-too-big counter name unheard drop
    }
}
";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::over_every("path-mtu-tcp", 40, tcp),
        Case::over_every("path-mtu-black-hole", 60, black_hole),
        Case::over_every("path-mtu-probing-off", 40, probing_off),
        Case::over_every("path-mtu-probing-always", 40, probing_always),
        Case::over_every("path-mtu-clamped", 40, clamped),
        Case::over_every("path-mtu-ping", 40, ping),
        Case::over_every("path-mtu-far-ping", 40, far_ping),
    ]
}

/// Files both ways, whoever opens the connection; the kernel must have told us at least once.
fn tcp(bench: &Bench) -> Result<()> {
    bench.write("path.sh", PATH)?;
    bench.write_bytes("file", 1 << 20)?;
    let script = r#"
        . ./path.sh
        told() {
            case $v in 4) name=IcmpOutDestUnreachs ;; 6) name=Icmp6OutPktTooBigs ;; esac
            nstat -asz $name | awk 'END { print $2 }'
        }
        before=$(told)
        within $far curl -$v -sS --fail --max-time 20 -o got "http://$stack_url/file"
        cmp got file
        [ "$(told)" -gt "$before" ]
        within $far socat -u TCP$v-LISTEN:5000 OPEN:sent,creat & server=$!
        until within $far ss -ltnH "sport = :5000" | grep -q .; do sleep 0.05; done
        estab nc $host 5000 < file
        wait $server
        cmp sent file
        within $far socat -u OPEN:file TCP$v-LISTEN:5001 & server=$!
        until within $far ss -ltnH "sport = :5001" | grep -q .; do sleep 0.05; done
        estab nc $host 5001 < /dev/null > back
        wait $server
        cmp back file"#;
    bench.lab(&["--serve", "http:80=."], script)?;
    Ok(())
}

/// The same where what routers say is filtered. What we send arrives by our own search: the far kernel's
/// is off. What the kernel sends needs the kernel's. Each time a router spoke and was not heard.
fn black_hole(bench: &Bench) -> Result<()> {
    let script = r#"
        within $far curl -$v -sS --fail --max-time 20 -o got "http://$stack_url/file"
        cmp got file
        nft list counter inet quiet unheard | grep -q 'packets [1-9]'
        within $far socat -u TCP$v-LISTEN:5000 OPEN:sent,creat & server=$!
        until within $far ss -ltnH "sport = :5000" | grep -q .; do sleep 0.05; done
        estab nc $host 5000 < file
        wait $server
        cmp sent file
        within $far sh -c 'echo 1 > /proc/sys/net/ipv4/tcp_mtu_probing'
        within $middle nft -f quiet.nft
        within $far socat -u OPEN:file TCP$v-LISTEN:5001 & server=$!
        until within $far ss -ltnH "sport = :5001" | grep -q .; do sleep 0.05; done
        estab nc $host 5001 < /dev/null > back
        wait $server
        cmp back file
        within $middle nft list counter inet quiet unheard | grep -q 'packets [1-9]'"#;
    filtered(bench, &[], script)
}

/// Without the search the same way is a dead end.
fn probing_off(bench: &Bench) -> Result<()> {
    let script = r#"
        code=0
        within $far curl -$v -sS --max-time 4 -o got "http://$stack_url/file" || code=$?
        # The time is over.
        [ $code = 28 ]
        nft list counter inet quiet unheard | grep -q 'packets [1-9]'"#;
    filtered(bench, &["--mtu-probing", "off"], script)
}

/// A search from the start finds the narrowest link, or a few bytes less, and all arrives. It takes the time
/// that a window of lost questions takes (RFC 4821 7.6.2), so there is something to send for as long.
fn probing_always(bench: &Bench) -> Result<()> {
    let script = r#"
        within $far socat -u TCP$v:$stack_url:19 OPEN:/dev/null & reader=$!
        until estab ss -i | grep -qE ' pmtu:(129[0-9]|1300) '; do sleep 0.1; done
        kill $reader
        within $far curl -$v -sS --fail --max-time 20 -o got "http://$stack_url/file"
        cmp got file"#;
    let options = ["--serve", "chargen:19", "--mtu-probing", "always", "--mtu-probe-base", "800"];
    filtered(bench, &options, script)
}

/// Segments that are clamped to less than the way takes fit in both directions: no router has to say
/// anything, and nobody to search.
fn clamped(bench: &Bench) -> Result<()> {
    let script = r#"
        within $middle nft -f quiet.nft
        within $far curl -$v -sS --fail --max-time 10 -o got "http://$stack_url/file"
        cmp got file
        within $far socat -u OPEN:file TCP$v-LISTEN:5001 & server=$!
        until within $far ss -ltnH "sport = :5001" | grep -q .; do sleep 0.05; done
        estab nc $host 5001 < /dev/null > back
        wait $server
        cmp back file
        nft list counter inet quiet unheard | grep -q 'packets 0 '
        within $middle nft list counter inet quiet unheard | grep -q 'packets 0 '"#;
    filtered(bench, &["--clamp-mss", "1200", "--mtu-probing", "off"], script)
}

/// Runs `script` in a lab with these options, where the way is narrow and its first router keeps to
/// itself what is too long. Kernels do not search.
fn filtered(bench: &Bench, options: &[&str], script: &str) -> Result<()> {
    bench.write("path.sh", PATH)?;
    bench.write("quiet.nft", QUIET)?;
    bench.write_bytes("file", 1 << 20)?;
    let setup = "
        . ./path.sh
        nft -f quiet.nft
        within $far sh -c 'echo 0 > /proc/sys/net/ipv4/tcp_mtu_probing'";
    bench.lab(&[&["--serve", "http:80=."], options].concat(), &format!("{setup}{script}"))?;
    Ok(())
}

/// Echo requests of 1400 bytes, from us. IPv4's are cut on their way. The first of IPv6 is too big, and
/// so is the far host's answer to the second: either side is told, and cuts the next.
fn ping(bench: &Bench) -> Result<()> {
    bench.write("path.sh", PATH)?;
    let outcome = bench.lab(&[], ". ./path.sh; estab ping -c 4 -i 200ms -s 1400 $host")?;
    if bench.way.is_ipv6() {
        outcome.prints(&["icmp_seq=1: the message is too big", "4 requests, 2 answers"])
    } else {
        outcome.prints(&["4 requests, 4 answers"])
    }
}

/// The same from the far host, which has its first request cut in either family, and so learns we from
/// our first answer over IPv6.
fn far_ping(bench: &Bench) -> Result<()> {
    bench.write("path.sh", PATH)?;
    let script = ". ./path.sh; within $far ping -$v -c 5 -i 0.2 -W 1 -s 1400 $stack";
    let received = if bench.way.is_ipv6() { "3 received" } else { "4 received" };
    bench.lab(&[], script)?.prints(&[received])
}
