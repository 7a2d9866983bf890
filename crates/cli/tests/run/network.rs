//! The article's two programs, each on our stack and against the kernel, and what can be watched.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

use crate::{ESTAB, start, stderr, stdout};

/// Leads the client, whose server is in its source, to the kernel's side.
const MAP: &str = "127.0.0.1:8080=10.77.0.1:8080";

/// Where the programs are.
fn programs() -> &'static str {
    static DIRECTORY: OnceLock<String> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("run");
        std::fs::create_dir_all(&directory).unwrap();
        let here = env!("CARGO_MANIFEST_DIR");
        for (place, name) in [
            ("../intercept/tests/programs", "server"),
            ("../intercept/tests/programs", "client"),
            ("tests/run", "give"),
            ("tests/run", "echo-datagrams"),
            ("tests/run", "keep-port"),
            ("tests/run", "addresses"),
        ] {
            let mut compiler = Command::new("cc");
            compiler.arg(format!("{here}/{place}/{name}.c")).arg("-o").arg(directory.join(name));
            assert!(compiler.status().unwrap().success(), "{name}");
        }
        directory.display().to_string()
    })
}

/// Runs a script, with the programs at hand.
fn run(options: &[&str], script: &str) -> Output {
    let script = format!("cd '{}'; {script}", programs());
    start(options, &script).wait_with_output().unwrap()
}

fn peer(script: &str) -> String {
    format!("cd '{}'; {script}", programs())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Connects when the run has taken the port.
fn connect(port: u16) -> TcpStream {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return stream,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn a_client_reaches_the_kernels_server() {
    for link in [&[][..], &["--tap"], &["--packet"], &["--no-offload", "--mtu", "576"]] {
        let peer = peer("./server");
        let options = [link, &["--map", MAP, "--peer", &peer]].concat();
        let output = run(&options, "exec ./client");
        assert_eq!(output.status.code(), Some(0), "{link:?}: {}", stderr(&output));
        let shown = stdout(&output);
        assert!(shown.contains("Hello from client from 10.77.0.2"), "{shown}");
        assert!(shown.contains("Hello from server"), "{shown}");
    }
}

/// Each question to a port where nobody is, a name server's that is not there above all, is refused at once:
/// the kernel does not fall silent after some of them.
#[test]
fn whoever_asks_nobody_is_told_each_time() {
    let script = r#"
        for question in $(seq 20); do
            exec 3<> /dev/udp/10.77.0.1/53 && echo $question >&3
            # More than 128 is a time-out (bash(1)).
            read -t 10 -u 3 || [ $? -lt 128 ] && echo told
        done"#;
    let output = run(&[], &format!("exec bash -c '{script}'"));
    assert_eq!(stdout(&output), "told\n".repeat(20), "{}", stderr(&output));
}

#[test]
fn both_speak_over_the_loopback_of_the_stack() {
    let script = "./server > said & until grep -q listening said; do sleep 0.02; done
        ./client && wait && cat said; rm said";
    let output = run(&[], script);
    let expected = "Hello from server\nlistening\nHello from client from 127.0.0.1\n";
    assert_eq!(stdout(&output), expected, "{}", stderr(&output));
}

/// The relay waits until the server listens, and hands half-closes on.
#[test]
fn this_machine_reaches_a_published_server() {
    let port = free_port();
    let publish = format!("{port}:8080");
    let script = format!("cd '{}'; sleep 0.2; exec ./server 2", programs());
    let child = start(&["--publish", &publish], &script);
    for _ in 0..2 {
        let mut stream = connect(port);
        stream.write_all(b"Hello from outside").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "Hello from server");
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output).matches("Hello from outside from 10.77.0.1").count(), 2);
}

/// Each client is another one for the program. What is sent before it listens waits.
#[test]
fn this_machine_reaches_a_published_server_of_datagrams() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = format!("cd '{}'; echo up; sleep 0.3; exec ./echo-datagrams", programs());
    let mut child = start(&["--publish", &format!("{port}:8080/udp")], &script);
    crate::Lines::of(child.stdout.take().unwrap()).until("up");
    let client = |text: &str| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        socket.send(text.as_bytes()).unwrap();
        socket
    };
    let answer = |socket: &UdpSocket| {
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        let (port, text) = std::str::from_utf8(&buffer[..length]).unwrap().split_once(' ').unwrap();
        (port.to_owned(), text.to_owned())
    };
    let (one, two) = (client("one"), client("two"));
    let (of_two, of_one) = (answer(&two), answer(&one));
    assert_eq!((of_one.1.as_str(), of_two.1.as_str()), ("one", "two"));
    assert_ne!(of_one.0, of_two.0);
    one.send(b"").unwrap();
    assert_eq!(answer(&one), (of_one.0, String::new()));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    child.wait().unwrap();
}

#[test]
fn a_port_that_is_taken_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = run(&["--publish", &format!("{port}:80")], "echo never");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("--publish: cannot listen on 127.0.0.1"),
        "{}",
        stderr(&output)
    );
    assert_eq!(stdout(&output), "");
}

/// What each call did to the connection stands beside it.
#[test]
fn a_trace_tells_what_calls_do() {
    let peer = peer("./server");
    let output = run(&["--trace", "--map", MAP, "--peer", &peer], "exec ./client");
    let trace = stderr(&output);
    for expected in [
        "socket(AF_INET, SOCK_STREAM, 0) = 3",
        "connect(3, 127.0.0.1:8080) = 0",
        "sends SYN, gets SYN,ACK, sends ACK, CLOSED -> SYN-SENT -> ESTABLISHED",
        "close(3)",
        "FIN",
        // The packets themselves.
        "-> S   seq 0",
        "ESTABLISHED -> CLOSE-WAIT",
    ] {
        assert!(trace.contains(expected), "{expected}: {trace}");
    }
    let script = "./server & until ./client 2> /dev/null; do sleep 0.02; done; wait";
    let trace = run(&["--trace"], script);
    for expected in [
        "keeps the port; nobody listens there yet, no packet",
        "no packet, CLOSED -> LISTEN",
        "from the accept queue, no packet",
        "ESTABLISHED -> FIN-WAIT-1",
        "CLOSE-WAIT -> LAST-ACK",
    ] {
        assert!(stderr(&trace).contains(expected), "{expected}: {}", stderr(&trace));
    }
}

/// A connect that fails shows why: the answer, and where the connection stood.
#[test]
fn a_trace_tells_of_attempts_that_fail() {
    for address in ["127.0.0.1", "10.77.0.1"] {
        let output = run(&["--trace"], &format!("bash -c 'exec 3<> /dev/tcp/{address}/9'"));
        let trace = stderr(&output);
        let connect = format!("connect(3, {address}:9) = -1 ECONNREFUSED");
        let told = trace.lines().find(|line| line.contains(&connect)).unwrap_or_default();
        let effect = "sends SYN, gets RST,ACK, CLOSED -> SYN-SENT -> CLOSED";
        assert!(told.contains(effect), "{trace}");
    }
    let silent = "bash -c 'exec 3<> /dev/tcp/10.77.0.9/9'";
    let output = run(&["--trace", "--packet"], silent);
    let trace = stderr(&output);
    let told = trace.lines().find(|line| line.contains("EHOSTUNREACH")).unwrap_or_default();
    assert!(told.contains("CLOSED -> SYN-SENT -> CLOSED"), "{trace}");
}

#[test]
fn the_status_of_a_peer_counts_when_it_came_to_a_server() {
    for (script, status) in [("exit 0", 0), ("exit 3", 3)] {
        let output = run(&["--peer", script], "trap 'exit 9' TERM; ./server & wait");
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
    }
    // Whose server it was has its own.
    let peer = peer("./server; exit 3");
    let output = run(&["--map", MAP, "--peer", &peer], "./client; exit 4");
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    // Nobody needed it.
    let output = run(&["--peer", "echo never"], "echo alone; exit 5");
    assert_eq!((stdout(&output), output.status.code()), ("alone\n", Some(5)));
}

#[test]
fn ss_names_the_program_behind_a_socket() {
    let output = run(&["--peer", "exec \"$ESTAB\" ss -l -p"], "exec ./server");
    let line = stdout(&output).lines().find(|line| line.contains(":8080")).unwrap_or_default();
    assert!(line.contains("users:((\"server\",pid="), "{}", stdout(&output));
    assert!(line.ends_with(",fd=3))"), "{line}");
}

/// In a network of its own, so that no other test's stacks are there.
fn elsewhere(script: &str) -> Output {
    let script = format!("cd '{}'; {script}", programs());
    Command::new("unshare")
        .args(["-Urn", "sh", "-euc", &script])
        .env("ESTAB", ESTAB)
        .env_remove("ESTAB_CONTROL")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn another_terminal_finds_the_stack_of_a_run() {
    let output = elsewhere(
        "\"$ESTAB\" ss || echo none $?
        \"$ESTAB\" run -- ./server & one=$!
        until \"$ESTAB\" ss -l -p | grep 8080; do sleep 0.02; done
        \"$ESTAB\" lab -- sleep 1000 & two=$!
        while \"$ESTAB\" ss > /dev/null 2> several; do sleep 0.02; done
        cat several >&2; rm several
        echo told; ESTAB_CONTROL=@estab/0/$two \"$ESTAB\" ip
        ESTAB_CONTROL=@estab/0/$one \"$ESTAB\" ss -l
        kill $one $two; wait $one || echo $?; wait $two || echo $?
        ESTAB_CONTROL=@estab/0/$one \"$ESTAB\" ss || echo gone $?",
    );
    let (shown, said) = (stdout(&output), stderr(&output));
    assert!(shown.starts_with("none 2\n"), "{shown}\n{said}");
    assert!(shown.contains("users:((\"server\",pid="), "{shown}\n{said}");
    let (_, told) = shown.split_once("told\n10.77.0.2/24\n").expect(shown);
    assert!(told.contains(":8080") && told.ends_with("143\n143\ngone 2\n"), "{shown}\n{said}");
    assert!(said.contains("no stack of yours runs here"), "{said}");
    assert!(said.contains("2 stacks of yours run here: say which"), "{said}");
    assert!(said.contains("run -- ./server`") && said.contains("lab -- sleep 1000`"), "{said}");
}

/// The stack of a device serves programs of other terminals, with its addresses and the machine's names.
#[test]
fn a_stack_that_is_up_serves_a_program() {
    // Where no device can be opened there is none to be up.
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    if device.is_err() {
        return;
    }
    let output = elsewhere(
        "\"$ESTAB\" up --tun up0 --cidr 10.9.0.1/24 & up=$!
        export ESTAB_CONTROL=@estab/0/$up
        until \"$ESTAB\" ss -l 2> /dev/null; do sleep 0.02; done
        \"$ESTAB\" run -- sh -c 'cat /etc/resolv.conf; grep ^10.9.0.2 /etc/hosts'
        \"$ESTAB\" run -- ./server 1 & run=$!
        until \"$ESTAB\" ss -l | grep 8080; do sleep 0.02; done
        bash -c 'exec 3<> /dev/tcp/10.9.0.2/8080; printf \"Hello from here\" >&3; cat <&3'
        wait $run
        \"$ESTAB\" run -- sh -c 'echo up; exec sleep 1000' > begun & run=$!
        until grep -q up begun; do sleep 0.02; done; rm begun
        kill $up; wait $up; wait $run",
    );
    let (shown, said) = (stdout(&output), stderr(&output));
    // Without its stack a program ends.
    assert_eq!(output.status.code(), Some(2), "{shown}\n{said}");
    assert!(said.contains("the stack is gone"), "{said}");
    assert!(shown.contains("Hello from here from 10.9.0.1"), "{shown}\n{said}");
    let names = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert!(shown.contains(&format!("{names}10.9.0.2\t")), "{shown}\n{said}");
}

#[test]
fn a_lab_serves_two_programs_with_one_stack() {
    let script = format!(
        "cd '{}'
        \"$ESTAB\" run --trace -- ./server 2> lab-trace &
        until \"$ESTAB\" ss -l -p | grep 8080; do sleep 0.02; done
        \"$ESTAB\" run --map 127.0.0.1:8080=10.77.0.2:8080 -- ./client
        wait; cat lab-trace >&2; rm lab-trace",
        programs()
    );
    let output = Command::new(ESTAB)
        .args(["lab", "--", "sh", "-c", &script])
        .env("ESTAB", ESTAB)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = stdout(&output);
    assert!(shown.contains("users:((\"server\",pid="), "{shown}\n{}", stderr(&output));
    assert!(shown.contains("Hello from client from 10.77.0.2"), "{shown}");
    assert!(shown.contains("Hello from server"), "{shown}");
    assert!(stderr(&output).contains("from the accept queue"), "{}", stderr(&output));
}

/// What a program is told of its interfaces is the stack's, and not the kernel's on the other side.
#[test]
fn a_program_sees_the_addresses_of_the_stack() {
    let seen = "127.0.0.1 of 255.0.0.0\n10.77.0.2 of 255.255.255.0\n";
    assert_eq!(stdout(&run(&[], "./addresses")), seen);
    let output = Command::new(ESTAB)
        .args(["lab", "--cidr", "10.99.0.1/16", "--", "sh", "-c", "\"$ESTAB\" run -- ./addresses"])
        .env("ESTAB", ESTAB)
        .current_dir(programs())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(
        stdout(&output),
        seen.replace("10.77", "10.99").replace("255.255.255.0", "255.255.0.0"),
        "{}",
        stderr(&output)
    );
}

/// A port that a program of another run has is refused when it is asked for.
#[test]
fn programs_of_one_lab_share_its_ports() {
    let script = "\"$ESTAB\" run -- ./keep-port on > kept & first=$!
        until grep -q bound kept; do sleep 0.02; done; rm kept
        \"$ESTAB\" run -- ./keep-port || echo refused $?
        kill $first; wait $first; \"$ESTAB\" run -- ./keep-port";
    let output = Command::new(ESTAB)
        .args(["lab", "--", "sh", "-c", &format!("cd '{}'; {script}", programs())])
        .env("ESTAB", ESTAB)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (shown, said) = (stdout(&output), stderr(&output));
    assert_eq!(shown, "refused 1\nbound\n", "{said}");
    assert!(said.contains("bind: Address already in use"), "{said}");
}

#[test]
fn who_watches_and_who_makes_it_worse_are_those_of_a_lab() {
    let directory = PathBuf::from(programs());
    let file = |name: &str| directory.join(name).display().to_string();
    let (pcap, diagram, peer) = (file("run.pcapng"), file("run.svg"), peer("./server"));
    let worse = ["--delay", "20ms", "--loss", "5%", "--seed", "7"];
    let options = ["--map", MAP, "--peer", &peer, "--pcap", &pcap, "--diagram", &diagram];
    let output = run(&[&worse[..], &options].concat(), "exec ./client");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let drawn = std::fs::read_to_string(&diagram).unwrap();
    assert!(drawn.contains("ESTABLISHED"), "{drawn}");
    assert!(link::capture::read(std::path::Path::new(&pcap)).unwrap().count() >= 7);
}

/// What was written before the program ended is delivered, also to one that reads slowly.
#[test]
fn what_was_written_arrives_after_the_programs_end() {
    let port = free_port();
    let script = format!("cd '{}'; exec ./give", programs());
    let child = start(&["--publish", &format!("{port}:8080")], &script);
    let mut stream = connect(port);
    let (mut buffer, mut count) = (vec![0; 100_000], 0);
    loop {
        std::thread::sleep(std::time::Duration::from_millis(10));
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            some => count += some,
        }
    }
    assert_eq!(count, 3_000_000);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

/// The device that ordinary users may open on most machines.
#[test]
fn an_ordinary_user_has_a_tun_where_it_may_be_opened() {
    if !rustix::process::geteuid().is_root() {
        // Then the other tests are this one.
        return;
    }
    let program = std::env::temp_dir().join(format!("estab-tun-{}", std::process::id()));
    std::fs::copy(ESTAB, &program).unwrap();
    let script = "mount -t tmpfs none /mnt && mknod -m 666 /mnt/tun c 10 200 &&
        { test -e /dev/net/tun || { mkdir -p /dev/net && touch /dev/net/tun; } } &&
        mount --bind /mnt/tun /dev/net/tun && cd / &&
        exec setpriv --reuid=65534 --regid=65534 --clear-groups \
        \"$0\" run --serve http:80 -- \"$0\" __fetch 10.77.0.2:80 /";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(&program)
        .env_remove("ESTAB_CONTROL")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    std::fs::remove_file(program).unwrap();
    assert!(!stderr(&output).contains("veth"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// A program that never reads, and is ended.
#[test]
fn a_program_that_does_not_read_ends_with_a_signal() {
    let child = start(
        &["--serve", "chargen:19"],
        "exec bash -c 'exec 3<> /dev/tcp/10.77.0.2/19; echo up; sleep 1000'",
    );
    let mut output = child;
    crate::Lines::of(output.stdout.take().unwrap()).until("up");
    kill_process(Pid::from_child(&output), Signal::TERM).unwrap();
    let status = output.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
}
