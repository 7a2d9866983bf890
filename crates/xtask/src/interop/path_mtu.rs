//! Path MTU discovery (RFC 1191, RFC 8201) where the narrowest link is in the middle of the path.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

const PATH: &str = include_str!("path.sh");

pub(super) fn cases() -> Vec<Case> {
    vec![Case::over_every("path-mtu-tcp", 40, tcp), Case::over_every("path-mtu-ping", 40, ping)]
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

/// Datagrams of 1400 bytes. IPv4's are cut on their way. The first of IPv6 is too big, which we are
/// told, and say; and so is the first answer that we give. What follows is cut here.
fn ping(bench: &Bench) -> Result<()> {
    bench.write("path.sh", PATH)?;
    let script = "
        . ./path.sh
        estab ping -c 3 -i 200ms -s 1400 $host";
    let outcome = bench.lab(&[], script)?;
    if bench.way.is_ipv6() {
        outcome.prints(&["icmp_seq=1: the message is too big", "3 requests, 2 answers"])?;
    } else {
        outcome.prints(&["3 requests, 3 answers"])?;
    }
    // The far host's first request tells the far host, the first answer tells us.
    let script = ". ./path.sh
        within $far ping -$v -c 5 -i 0.2 -W 1 -s 1400 $stack";
    bench.write("path.sh", PATH)?;
    let outcome = bench.lab(&[], script)?;
    let received = if bench.way.is_ipv6() { "3 received" } else { "5 received" };
    outcome.prints(&[received])
}
