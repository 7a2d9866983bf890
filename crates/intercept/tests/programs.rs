//! Programs in C, compiled here, with their sockets on our stack: each against the kernel over a TUN
//! device, and together over the stack's loopback.
//!
//! It has no harness, because only a process with one thread can enter a user namespace. Where
//! namespaces, a device or a compiler are missing it says so and leaves them out.

mod common;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use common::{KERNEL, OURS, PATIENCE, Running, start, start_with};
use estab::core::trace::What;
use estab::{Stack, State, TraceEvent};
use intercept::{CallEvent, FilterOptions, Options};

fn main() -> io::Result<()> {
    // `cargo test -- --list` and the like ask every test program.
    if std::env::args().any(|argument| argument == "--list") {
        println!("programs: test");
        return Ok(());
    }
    let Some(programs) = compile()? else { return Ok(()) };
    let Some(stack) = common::network()? else { return Ok(()) };
    server_and_kernel_client(&stack, &programs)?;
    kernel_server_and_client(&stack, &programs)?;
    both_over_loopback(&stack, &programs)?;
    what_a_trace_shows(&stack, &programs)?;
    who_has_a_socket(&stack, &programs)?;
    a_killed_program_says_fin(&stack, &programs)?;
    what_is_written_arrives_after_the_end(&stack)?;
    what_nobody_reads_is_given_up(&stack)?;
    cases(&stack, &programs)?;
    exact_options(&stack, &programs)?;
    stack.stop();
    let _ = std::fs::remove_dir_all(&programs.directory);
    Ok(())
}

/// The programs of `tests/programs`.
struct Programs {
    directory: PathBuf,
}

fn compile() -> io::Result<Option<Programs>> {
    let directory = std::env::temp_dir().join(format!("intercept-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    for name in ["server", "client", "cases"] {
        let source = sources.join(name).with_extension("c");
        let compiler = Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-o"])
            .arg(directory.join(name))
            .arg(source)
            .status();
        match compiler {
            Ok(status) => assert!(status.success(), "{name}.c compiles"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                println!("skipped: no C compiler here");
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(Programs { directory }))
}

impl Programs {
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.directory.join(name));
        command.stdout(Stdio::piped());
        command
    }

    /// The article's server for `times` clients, when it listens.
    fn server(&self, stack: &Stack, times: u32, options: Options) -> io::Result<Running> {
        let mut command = self.command("server");
        command.arg(times.to_string());
        let mut running = start(stack, command, options)?;
        let mut line = [0; 10];
        running.child.stdout.as_mut().expect("a pipe").read_exact(&mut line)?;
        assert_eq!(&line, b"listening\n");
        Ok(running)
    }
}

fn output(running: &mut Running) -> String {
    let mut text = String::new();
    running.child.stdout.as_mut().expect("a pipe").read_to_string(&mut text).expect("text");
    text
}

fn server_and_kernel_client(stack: &Stack, programs: &Programs) -> io::Result<()> {
    let mut server = programs.server(stack, 1, Options::default())?;
    let mut client = TcpStream::connect((OURS, 8080))?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.write_all(b"Hello from the kernel")?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    assert_eq!(answer, "Hello from server");
    assert_eq!(output(&mut server), format!("Hello from the kernel from {KERNEL}\n"));
    let (status, summary) = server.wait();
    assert!(status.success() && summary.delivered);
    println!("ok: the server, and a client of the kernel");
    Ok(())
}

fn kernel_server_and_client(stack: &Stack, programs: &Programs) -> io::Result<()> {
    let listener = TcpListener::bind((KERNEL, 8080))?;
    let server = thread::spawn(move || -> io::Result<String> {
        let (mut stream, peer) = listener.accept()?;
        assert_eq!(peer.ip(), OURS);
        stream.write_all(b"Hello from the kernel")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });
    // The address is in its source.
    let from = "127.0.0.1:8080".parse().expect("an address");
    let options = Options { maps: vec![(from, (KERNEL, 8080).into())], ..Options::default() };
    let mut client = start(stack, programs.command("client"), options)?;
    assert_eq!(output(&mut client), "Hello from the kernel\n");
    assert!(client.wait().0.success());
    assert_eq!(server.join().expect("no panic")?, "Hello from client");
    println!("ok: the client, and a server of the kernel");
    Ok(())
}

fn both_over_loopback(stack: &Stack, programs: &Programs) -> io::Result<()> {
    let mut server = programs.server(stack, 1, Options::default())?;
    // Each has a supervisor of its own: they meet on the stack.
    let mut client = start(stack, programs.command("client"), Options::default())?;
    assert_eq!(output(&mut client), "Hello from server\n");
    assert_eq!(output(&mut server), "Hello from client from 127.0.0.1\n");
    assert!(client.wait().0.success() && server.wait().0.success());
    println!("ok: both over the loopback");
    Ok(())
}

/// What a trace says of each call, with the segments that it caused.
fn traced(
    stack: &Stack,
    start: impl FnOnce(&Stack, Options) -> io::Result<Running>,
    meanwhile: impl FnOnce(),
) -> io::Result<Vec<CallEvent>> {
    let (give, take) = channel();
    let observer = Box::new(move |event: &CallEvent| {
        let _ = give.send(event.clone());
    });
    let options = Options { trace: Some(observer), ..Options::default() };
    let running = start(stack, options)?;
    meanwhile();
    assert!(running.wait().0.success());
    Ok(take.iter().collect())
}

fn what_a_trace_shows(stack: &Stack, programs: &Programs) -> io::Result<()> {
    let server = |stack: &Stack, options| programs.server(stack, 1, options);
    let events = traced(stack, server, || {
        let mut client = TcpStream::connect((OURS, 8080)).expect("connects");
        client.write_all(b"x").expect("writes");
        client.read_to_end(&mut Vec::new()).expect("reads");
    })?;
    let mut calls: Vec<_> = events.iter().map(|event| event.call.as_str()).collect();
    // The program ends with the second, so that both are noticed together.
    calls[5..].sort_unstable();
    assert_eq!(
        calls,
        [
            "socket(AF_INET, SOCK_STREAM, 0)",
            "setsockopt(3, SOL_SOCKET, SO_REUSEPORT)",
            "bind(3, 0.0.0.0:8080)",
            "listen(3, 3)",
            "accept(3)",
            "close(3)",
            "close(4)",
        ]
    );
    let of = |call: &str| {
        let event = events.iter().find(|event| event.call.starts_with(call)).expect("a call");
        let is_sent = |event: &&TraceEvent| matches!(event.what, What::SegmentOut { .. });
        (event.effect.states, event.effect.events.iter().filter(is_sent).count())
    };
    assert_eq!(of("listen"), (Some((State::Closed, State::Listen)), 0));
    assert_eq!(of("accept"), (Some((State::Listen, State::Listen)), 0));
    assert_eq!(of("close(4)"), (Some((State::Established, State::FinWait1)), 1), "FIN");
    println!("ok: what a trace shows");
    Ok(())
}

fn who_has_a_socket(stack: &Stack, programs: &Programs) -> io::Result<()> {
    let server = programs.server(stack, 1, Options::default())?;
    let process = server.child.id();
    let sockets = server.handle.sockets();
    let [listener] = &sockets[..] else { panic!("one socket: {sockets:?}") };
    assert!(listener.listens && listener.local.port() == 8080);
    let [user] = &listener.users[..] else { panic!("one user: {listener:?}") };
    assert_eq!((user.process, user.command.as_str(), user.descriptor), (process, "server", 3));
    let handle = server.handle.clone();
    server.kill();
    assert!(handle.sockets().is_empty(), "nobody answers any more");
    println!("ok: who has a socket");
    Ok(())
}

fn a_killed_program_says_fin(stack: &Stack, programs: &Programs) -> io::Result<()> {
    let server = programs.server(stack, 1, Options::default())?;
    let mut client = TcpStream::connect((OURS, 8080))?;
    client.set_read_timeout(Some(PATIENCE))?;
    // It has accepted, and waits for a word.
    let deadline = Instant::now() + PATIENCE;
    while server.handle.sockets().len() < 2 {
        assert!(Instant::now() < deadline, "it accepts");
        thread::sleep(Duration::from_millis(2));
    }
    assert!(server.kill().delivered);
    assert_eq!(client.read(&mut [0; 16])?, 0);
    let refused = TcpStream::connect((OURS, 8080)).expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    println!("ok: a killed program says FIN");
    Ok(())
}

/// A client that writes megabytes and ends at once, and a server that takes its time.
fn what_is_written_arrives_after_the_end(stack: &Stack) -> io::Result<()> {
    let listener = TcpListener::bind((KERNEL, 8081))?;
    let server = thread::spawn(move || -> io::Result<usize> {
        let (mut stream, _) = listener.accept()?;
        thread::sleep(Duration::from_millis(100));
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)
    });
    let mut command = Command::new("bash");
    command.args(["-c", "head -c 5000000 /dev/zero >/dev/tcp/10.77.0.1/8081; exit 7"]);
    let (status, summary) = start(stack, command, Options::default())?.wait();
    assert_eq!(status.code(), Some(7));
    assert_eq!(server.join().expect("no panic")?, 5_000_000);
    assert!(summary.delivered);
    println!("ok: what is written arrives after the program's end");
    Ok(())
}

/// What a server does not read is kept for no longer than it may take.
fn what_nobody_reads_is_given_up(stack: &Stack) -> io::Result<()> {
    let listener = TcpListener::bind((KERNEL, 8082))?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 4096)?;
    let mut command = Command::new("bash");
    command.args(["-c", "head -c 150000 /dev/zero >/dev/tcp/10.77.0.1/8082"]);
    let drain = Duration::from_millis(300);
    let mut running = start(stack, command, Options { drain, ..Options::default() })?;
    let (stream, _) = listener.accept()?;
    // Buffers on the way take it, and it ends.
    assert!(running.wait_for_program().success());
    let begin = Instant::now();
    assert!(!running.wait().1.delivered);
    assert!(begin.elapsed() < PATIENCE / 2, "it is given up");
    drop(stream);
    println!("ok: what nobody reads is given up");
    Ok(())
}

/// The cases of `cases.c`, each by a program of its own.
fn cases(stack: &Stack, programs: &Programs) -> io::Result<()> {
    let list = programs.command("cases").output()?;
    let list = String::from_utf8(list.stdout).expect("text");
    let mut took = HashMap::new();
    for case in list.lines() {
        let mut command = programs.command("cases");
        command.arg(case);
        let begin = Instant::now();
        let (status, summary) = start(stack, command, Options::default())?.wait();
        assert!(status.success(), "{case}: {status}");
        assert!(summary.delivered, "{case}: everything was delivered");
        took.insert(case, begin.elapsed());
    }
    let slowest = took.iter().max_by_key(|(_, time)| **time);
    println!("ok: {} cases, the slowest {slowest:?}", took.len());
    Ok(())
}

/// The options that the filter answers by itself otherwise.
fn exact_options(stack: &Stack, programs: &Programs) -> io::Result<()> {
    let mut command = programs.command("cases");
    command.arg("options");
    let filter = FilterOptions { exact_options: true, ..FilterOptions::default() };
    let (give, take) = channel();
    let observer = Box::new(move |event: &CallEvent| {
        let _ = give.send(event.call.clone());
    });
    let options = Options { trace: Some(observer), ..Options::default() };
    assert!(start_with(stack, command, options, filter)?.wait().0.success());
    assert!(take.iter().any(|call| call.contains("TCP_CORK")), "it is seen");
    println!("ok: exact options");
    Ok(())
}
