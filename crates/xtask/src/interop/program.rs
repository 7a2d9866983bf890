//! The program itself: its demo, its statuses, and that nothing outlives it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Case;
use super::bench::Bench;
use super::needs::is_root;

/// The packet of the article that the project answers.
const SYN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/tests/data/syn.txt");

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("demo", 10, |bench| demo(bench, &["demo"])),
        Case::new("demo-explain", 10, |bench| demo(bench, &["demo", "--explain"])),
        Case::new("dump", 10, dump),
        Case::over_every("pcap", 15, pcap),
        Case::over_every("ordinary-user", 15, ordinary_user),
        Case::new("nothing-outlives", 15, nothing_outlives),
        Case::new("status-of-command", 15, status_of_command),
        Case::new("status-of-errors", 15, status_of_errors),
        Case::over_every("errors-of-ping", 15, errors_of_ping),
        Case::over_every("errors-of-nc", 15, errors_of_nc),
        Case::over_every("timeouts-of-nc", 30, timeouts_of_nc),
    ]
}

fn demo(bench: &Bench, arguments: &[&str]) -> Result<()> {
    let mut demo = bench.command(&bench.estab);
    demo.args(arguments);
    let outcome = bench.finish(demo)?.success()?;
    outcome.prints(&["SYN-SENT", "ESTABLISHED", "TIME-WAIT", "LAST-ACK"])?;
    // The arrows of the diagram.
    outcome.prints(&["->", "<-"])
}

fn dump(bench: &Bench) -> Result<()> {
    let mut dump = bench.command(&bench.estab);
    dump.arg("dump").arg(SYN);
    let outcome = bench.finish(dump)?.success()?;
    outcome.prints(&["11.0.0.1", "11.0.0.2", "48120", "80", "145246724", "64240", "SYN"])
}

/// What we capture, others read, and every packet that we send says why.
fn pcap(bench: &Bench) -> Result<()> {
    let script = "curl -$v -sS --max-time 5 -o page http://$stack_url/";
    bench.lab(&["--serve", "http:80", "--pcap", "lab.pcapng"], script)?;
    let mut tcpdump = bench.command("tcpdump");
    tcpdump.args(["-n", "-r", "lab.pcapng", "tcp"]);
    let outcome = bench.finish(tcpdump)?.success()?;
    let (_, stack) = bench.way.addresses();
    outcome.prints(&[&format!("{stack}.80: Flags [S]"), "Flags [S.]", "Flags [F.]"])?;
    let capture = fs::read(bench.here.join("lab.pcapng"))?;
    let commented = capture.windows(3).any(|word| word == b"RFC");
    ensure!(commented, "no comment names an RFC");
    Ok(())
}

/// A lab of somebody who may not open the device.
fn ordinary_user(bench: &Bench) -> Result<()> {
    let copy = Path::new("estab");
    fs::copy(&bench.estab, bench.here.join(copy))?;
    let lab = [&["./estab", "lab"], bench.way.options(), &["--serve", "http:80", "--"]].concat();
    let page = format!("http://{}/", bench.way.stack_in_url());
    let curl = ["curl", "-sS", "--max-time", "5", &page];
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let outsider = if is_root()? { &user[..] } else { &["env"] };
    let as_outsider = |words: &[&str]| {
        let mut command = bench.command(outsider[0]);
        command.args(&outsider[1..]).args(words);
        command
    };
    let outcome = bench.finish(as_outsider(&[&lab[..], &curl].concat()))?.success()?;
    outcome.prints(&["It works"])?;
    let test = "test -r /dev/net/tun && test -w /dev/net/tun";
    let may_open = bench.finish(as_outsider(&["sh", "-c", test]))?.status == 0;
    let says_so = outcome.err.contains("veth");
    ensure!(may_open || says_so, "does not say that a veth pair is used: {}", outcome.err);
    Ok(())
}

/// Killed as nothing can catch it, the lab still takes its processes along.
fn nothing_outlives(bench: &Bench) -> Result<()> {
    let mut lab = bench.start_lab(&[], "sleep 1000 & wait")?;
    // A process is named after its program only when it has become it.
    let patience = Instant::now() + Duration::from_secs(5);
    let inside = loop {
        let inside = descendants(lab.id())?;
        if inside.values().any(|name| name == "sleep") {
            break inside;
        }
        ensure!(Instant::now() < patience, "no sleep among {inside:?}");
        sleep(Duration::from_millis(20));
    };
    lab.kill()?;
    let patience = Instant::now() + Duration::from_secs(2);
    loop {
        let alive = inside.iter().find(|(id, name)| name_of(**id).as_ref() == Some(*name));
        let Some((id, name)) = alive else { return Ok(()) };
        ensure!(Instant::now() < patience, "{name}, process {id}, lives on");
        sleep(Duration::from_millis(20));
    }
}

fn status_of_command(bench: &Bench) -> Result<()> {
    for (script, expected) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 128 + 9)] {
        let mut lab = bench.command(&bench.estab);
        lab.args(["lab", "--", "sh", "-c", script]);
        let status = bench.finish(lab)?.status;
        ensure!(status == expected, "'{script}' gives {status}");
    }
    Ok(())
}

fn status_of_errors(bench: &Bench) -> Result<()> {
    // A program that is not there is what a shell says it is.
    let wrong: [(&[&str], i32); 5] = [
        (&["no-such-command"], 2),
        (&["lab", "--no-such-option"], 2),
        (&["lab", "--serve", "nothing:1", "--", "true"], 2),
        (&["lab", "--", "no-such-program"], 127),
        (&["dump", "no-such-file"], 2),
    ];
    for (arguments, expected) in wrong {
        let mut estab = bench.command(&bench.estab);
        estab.args(arguments);
        let outcome = bench.finish(estab)?;
        let lines = outcome.err.lines().count();
        let (status, line) = (outcome.status, arguments.join(" "));
        ensure!(status == expected && lines == 1, "'{line}' gives {status} and {lines} lines");
    }
    Ok(())
}

/// What each kind of unreachable looks like: the kernel refuses to route, in as many ways as it can.
fn errors_of_ping(bench: &Bench) -> Result<()> {
    let script = r#"
        echo 1 > /proc/sys/net/ipv4/ip_forward
        echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
        case $v in 4) net=10.99. end=.1 all=.0/24 ;; 6) net=fd99: end=::1 all=::/32 ;; esac
        for kind in unreachable prohibit blackhole; do
            ip route replace $kind $net$v$all
            estab ping -c 1 -W 1s $net$v$end || [ $? = 1 ]
        done"#;
    let outcome = bench.lab(&[], script)?;
    let lines: Vec<&str> =
        outcome.out.lines().filter_map(|line| line.strip_prefix("icmp_seq=1: ")).collect();
    let prohibited = "prohibited by a filter on the way";
    // What the kernel says for "unreachable" over IPv6 is "no route" (RFC 4443 3.1, code 0).
    let unreachable =
        if bench.way.is_ipv6() { "network is unreachable" } else { "no route to host" };
    let expected = [unreachable, prohibited, "no answer in time"];
    ensure!(lines == expected, "not {expected:?}, but {lines:?}");
    Ok(())
}

/// A server that resets its one connection when something was said.
const RESET: &str = "
import socket, struct, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
server = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family)
connection, _ = server.accept()
connection.recv(1)
connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
connection.close()
";

/// One line and status 1 for what the network denies, 2 for what makes no sense.
fn errors_of_nc(bench: &Bench) -> Result<()> {
    let script = r#"
        says() { [ "$1" = "$2" ] && [ "$(cat err)" = "estab: $3" ] || { cat err >&2; exit 3; }; }
        estab nc $kernel 9 < /dev/null 2> err && exit 4 || says $? 1 "$kernel_url:9: connection refused"
        estab nc -l 80 < /dev/null 2> err && exit 5 || says $? 1 'port 80: the address is in use'
        estab nc $kernel 0 < /dev/null 2> err && exit 6 || says $? 2 "'0' is no port: 1 to 65535"
        case $v in 4) other=10.99.0.1 ;; 6) other=fd99::1 ;; esac
        estab nc -s $other $kernel 9 < /dev/null 2> err && exit 8 ||
            says $? 2 "$other: the address is not available on this stack"
        estab nc -s $stack $kernel 9 < /dev/null 2> err && exit 9 ||
            says $? 1 "$kernel_url:9: connection refused"
        python3 reset.py $kernel 81 & server=$!
        listening 81
        echo hello | estab nc $kernel 81 2> err && exit 7 ||
            says $? 1 'the connection ended: connection reset by peer'
        wait $server"#;
    bench.write("reset.py", RESET)?;
    bench.lab(&["--serve", "http:80"], script)?;
    Ok(())
}

/// A kernel that does not say a word to anybody on these ports, nor that it heard.
const SILENT: &str = "\
table inet silent {
    chain in {
        type filter hook input priority 0;
        tcp dport { 82, 84 } drop
    }
}
";

/// Who does not answer in time: our patience with it, the stack's own, and the user's timeout of data. And
/// a connection on which nobody says anything, which is over without an error, as in other versions.
fn timeouts_of_nc(bench: &Bench) -> Result<()> {
    let setup = r#"
        says() { [ "$1" = "$2" ] && [ "$(cat err)" = "estab: $3" ] || { cat err >&2; exit 3; }; }
        milliseconds() { date +%s%3N; }
        socat -u TCP$v-LISTEN:83,fork OPEN:/dev/null & quiet=$!
        socat -u TCP$v-LISTEN:84 OPEN:/dev/null & server=$!
        listening 83; listening 84
        [ -p input ] || mkfifo input; sleep 1000 > input & holder=$!
        trap 'kill $quiet $server $holder' EXIT"#;
    let our_patience = r#"
        begin=$(milliseconds)
        estab nc -w 1 $kernel 83 < input 2> err || exit 4
        [ ! -s err ] && [ $(($(milliseconds) - begin)) -ge 1000 ]
        nft -f silent.nft
        begin=$(milliseconds)
        estab nc -w 1 $kernel 82 < /dev/null 2> err && exit 5 ||
            says $? 1 "$kernel_url:82: connection timed out"
        [ $(($(milliseconds) - begin)) -lt 2500 ]
        estab nc $kernel 82 < /dev/null 2> err && exit 6 ||
            says $? 1 "$kernel_url:82: connection timed out""#;
    let of_data = r#"
        (echo hello; sleep 1; nft -f silent.nft; echo lost; exec cat input) > said & writer=$!
        estab nc $kernel 84 < said 2> err && exit 7 ||
            says $? 1 'the connection ended: connection timed out'
        kill $writer"#;
    bench.write("silent.nft", SILENT)?;
    bench.lab(&["--syn-retries", "1"], &format!("{setup}{our_patience}"))?;
    bench.lab(&["--user-timeout", "2"], &format!("{setup}\nmkfifo said{of_data}"))?;
    Ok(())
}

/// The processes below `ancestor`, with their names.
pub(crate) fn descendants(ancestor: u32) -> Result<BTreeMap<u32, String>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // It may be gone already.
        let Some(parent) = field(id, "PPid:") else { continue };
        parents.insert(id, parent.parse::<u32>()?);
    }
    let below = |mut id: u32| loop {
        match parents.get(&id) {
            Some(parent) if *parent == ancestor => return true,
            Some(parent) => id = *parent,
            None => return false,
        }
    };
    let found = parents.keys().filter(|id| below(**id));
    Ok(found.filter_map(|id| Some((*id, name_of(*id)?))).collect())
}

/// The name of a process that lives: one that has ended stays listed until its parent, which here
/// may be the machine's own init, asks for its status.
pub(crate) fn name_of(process: u32) -> Option<String> {
    let state = field(process, "State:")?;
    if state.starts_with('Z') { None } else { field(process, "Name:") }
}

/// A line of what /proc says about a process; `None` when there is no such process.
pub(crate) fn field(process: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.map(|rest| rest.trim().to_owned())
}
