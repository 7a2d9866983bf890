//! Flows to any address: the example that answers every port, and the transparent proxy.
//!
//! The proxy runs in a lab itself, whose network is its outside, so that what is open, closed or silent
//! there is known. Inside, 10.77.0.2 stands for the outside's 127.0.0.1.

use anyhow::{Result, ensure};

use super::Case;
use super::bench::Bench;
use super::needs::is_root;

/// How many addresses and ports are asked.
const PAIRS: usize = 10_000;

const ANY_PORT: &str = include_str!("any_port.py");

/// The outside of the proxy: its network is none of those inside.
const OUTSIDE: [&str; 6] = ["--cidr", "10.78.0.1/24", "--cidr6", "fd78::1/64", "--serve", "echo:7"];

const LENGTH: usize = 1 << 20;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("any-port", 120, any_port),
        Case::new("any-port-lab", 15, any_port_of_a_lab),
        Case::new("any-port-ordinary-user", 30, any_port_of_a_user),
        Case::new("proxy-same-answers", 60, same_answers),
        Case::new("proxy-page", 20, page),
        Case::new("proxy-udp", 20, udp),
        Case::new("proxy-half-close-inside-first", 20, |bench| {
            half_close(
                bench,
                "late answer | socat -t 10 - TCP-LISTEN:5000,bind=127.0.0.1 > question.got & server=$!
                listening 5000
                inside 'nc.openbsd -N 10.77.0.2 5000 < question > answer.got'",
            )
        }),
        Case::new("proxy-half-close-outside-first", 20, |bench| {
            half_close(
                bench,
                "socat -t 10 - TCP-LISTEN:5000,bind=127.0.0.1 < answer > question.got & server=$!
                listening 5000
                inside '(sleep 1; cat question) | socat -t 10 - TCP:10.77.0.2:5000 > answer.got'",
            )
        }),
    ]
}

/// Every one of many addresses and ports answers as itself, and no reset is seen on the way.
fn any_port(bench: &Bench) -> Result<()> {
    bench.write("any_port.py", ANY_PORT)?;
    let mut example = bench.command(&bench.any_port);
    example.args(["python3", "any_port.py"]).arg(PAIRS.to_string());
    bench.finish(example)?.success()?.prints(&[&format!("{PAIRS} answered")])
}

/// Somebody without any right but to open the device: the user is made for this, and the device is a node
/// of its own that all may open, seen by this case alone.
fn any_port_of_a_user(bench: &Bench) -> Result<()> {
    const FEW: usize = 200;
    bench.write("any_port.py", ANY_PORT)?;
    std::fs::copy(&bench.any_port, bench.here.join("any_port"))?;
    let program = ["./any_port", "python3", "any_port.py", &FEW.to_string()].map(str::to_owned);
    let answered = format!("{FEW} answered");
    if !is_root()? {
        let mut example = bench.command(&program[0]);
        example.args(&program[1..]);
        return bench.finish(example)?.success()?.prints(&[&answered]);
    }
    let script = format!(
        "user=estab-interop-$$
        useradd --system --no-create-home --shell /bin/false $user
        trap 'userdel $user' EXIT
        mount -t tmpfs tmpfs /dev/net
        mknod /dev/net/tun c 10 200
        chmod 666 /dev/net/tun
        setpriv --reuid=$user --regid=$user --clear-groups --no-new-privs {}",
        program.join(" ")
    );
    let mut alone = bench.command("unshare");
    alone.args(["--mount", "sh", "-euc", &script]);
    bench.finish(alone)?.success()?.prints(&[&answered])
}

/// A lab whose default route is the stack.
fn any_port_of_a_lab(bench: &Bench) -> Result<()> {
    let script = "
        for at in 203.0.113.7 '[2001:db8::7]' 10.77.0.2 '[fd77::2]'; do
            curl -sS --max-time 5 http://$at/ | grep -q 'It works'
        done";
    bench.lab(&["--any", "--serve", "http:80"], script)?;
    Ok(())
}

/// `nc -z` says the same with and without the proxy between.
fn same_answers(bench: &Bench) -> Result<()> {
    let script = "
        ip route add unreachable 198.51.100.0/24
        ask() { code=0; said=$(\"$@\" 2>&1) || code=$?; echo \"$code $said\"; }
        # An open, a closed and a silent port, an unreachable host and network.
        for at in '10.78.0.2 7' '10.78.0.2 8' '10.78.0.9 7' '198.51.100.1 80' '203.0.113.7 80' \
                  'fd78::2 7' 'fd78::2 8' 'fd78::9 7' '2001:db8::7 80'; do
            directly=$(ask nc.openbsd -n -z -v -w 2 $at)
            proxied=$(ask inside \"nc.openbsd -n -z -v -w 2 $at\")
            echo \"$at: $directly\"
            [ \"$directly\" = \"$proxied\" ] || { echo \"$at: $proxied through the proxy\"; exit 1; }
        done";
    let outcome = proxy(bench, script)?;
    outcome.prints(&[
        "10.78.0.2 7: 0 Connection to 10.78.0.2 7 port [tcp/*] succeeded!",
        "10.78.0.2 8: 1 nc.openbsd: connect to 10.78.0.2 port 8 (tcp) failed: Connection refused",
        "10.78.0.9 7: 1 nc.openbsd: connect to 10.78.0.9 port 7 (tcp) timed out",
        "198.51.100.1 80: 1 nc.openbsd: connect to 198.51.100.1 port 80 (tcp) failed: No route to host",
        "203.0.113.7 80: 1 nc.openbsd: connect to 203.0.113.7 port 80 (tcp) failed: Network is unreachable",
        "fd78::2 7: 0 ",
        "fd78::2 8: 1 ",
        "fd78::9 7: 1 nc.openbsd: connect to fd78::9 port 7 (tcp) timed out",
        "2001:db8::7 80: 1 nc.openbsd: connect to 2001:db8::7 port 80 (tcp) failed: Network is unreachable",
    ])
}

/// A page of a server outside, of which both families fetch a megabyte.
fn page(bench: &Bench) -> Result<()> {
    bench.write_bytes("file", LENGTH)?;
    let script = "
        python3 -m http.server 8000 --bind 127.0.0.1 2> log & four=$!
        python3 -m http.server 8000 --bind ::1 2> log6 & six=$!
        until [ \"$(ss -ltnH 'sport = :8000' | wc -l)\" = 2 ]; do sleep 0.05; done
        inside 'curl -sS --max-time 10 -o got http://10.77.0.2:8000/file
                curl -sS --max-time 10 -o got6 \"http://[fd77::2]:8000/file\"'
        kill $four $six
        cmp file got
        cmp file got6";
    proxy(bench, script)?;
    Ok(())
}

/// Datagrams go there and back; a port that nobody has is refused.
fn udp(bench: &Bench) -> Result<()> {
    bench.write("ask.py", ASK)?;
    let script = "
        socat UDP-RECVFROM:5300,bind=127.0.0.1,fork PIPE & four=$!
        socat UDP6-RECVFROM:5300,bind=[::1],fork PIPE & six=$!
        until [ \"$(ss -lunH 'sport = :5300' | wc -l)\" = 2 ]; do sleep 0.05; done
        inside 'python3 ask.py 10.77.0.2 5300 5301; python3 ask.py fd77::2 5300 5301'
        kill $four $six";
    let outcome = proxy(bench, script)?;
    ensure!(outcome.out == "answered, refused\n".repeat(2), "{}", outcome.out);
    Ok(())
}

const ASK: &str = "
import socket, sys
host, is_open, closed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ':' in host else socket.AF_INET
asking = socket.socket(family, socket.SOCK_DGRAM)
asking.settimeout(5)
for n in range(100):
    asking.sendto(b'%d' % n * 10, (host, is_open))
    answer, source = asking.recvfrom(2000)
    assert answer == b'%d' % n * 10 and source[:2] == (host, is_open), (answer, source)
refused = socket.socket(family, socket.SOCK_DGRAM)
refused.settimeout(5)
refused.connect((host, closed))
refused.send(b'who?')
try:
    refused.recv(100)
except ConnectionRefusedError:
    print('answered, refused')
";

/// Runs a conversation of a question from inside and an answer from outside.
fn half_close(bench: &Bench, conversation: &str) -> Result<()> {
    bench.write_bytes("question", LENGTH)?;
    bench.write_bytes("answer", LENGTH)?;
    let script = format!(
        "late() {{ sleep 1; cat \"$1\"; }}
        {conversation}
        wait $server
        cmp question question.got
        cmp answer answer.got"
    );
    proxy(bench, &script)?;
    Ok(())
}

/// Runs `script` outside of the proxy, where `inside SCRIPT` runs something through it.
fn proxy(bench: &Bench, script: &str) -> Result<super::bench::Outcome> {
    let proxy = bench.transparent_proxy.display();
    let inside = format!("inside() {{ '{proxy}' sh -euc \"$1\"; }}\n");
    bench.lab(&OUTSIDE, &format!("ip link set lo up\n{inside}{script}"))
}
