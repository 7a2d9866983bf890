//! A key-value server that Redis's own clients speak to, on a stack of its own:
//!
//! ```text
//! cargo run -p estab --example resp -- redis-cli -h 10.77.0.2 SET name estab
//! ```
//!
//! In a network namespace made for it the kernel is 10.77.0.1 and fd77::1, the stack 10.77.0.2 and
//! fd77::2. The command runs on the kernel's side; its exit status becomes ours. With `--tap` before
//! it, the two speak Ethernet.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, BufWriter, Error, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::thread;

use estab::blocking::{TcpListener, TcpStream};
use estab::link::namespace::{Namespace, unshare};
use estab::link::{Layer, Netlink, TunBuilder};
use estab::{Config, Stack};

/// Each with the length of the network's prefix.
const KERNEL: [(IpAddr, u8); 2] = [
    (IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), 24),
    (IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1)), 64),
];
const OURS: [(IpAddr, u8); 2] = [
    (IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)), 24),
    (IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2)), 64),
];

/// The longest string and the most words that a request may have.
const LONGEST: usize = 1 << 20;
const MOST_WORDS: usize = 1024;

type Store = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

fn main() -> io::Result<ExitCode> {
    let mut words = std::env::args().skip(1).peekable();
    let ethernet = words.next_if(|word| word == "--tap").is_some();
    let Some(program) = words.next() else {
        eprintln!("say which command to run beside the server");
        return Ok(ExitCode::from(2));
    };
    unshare(&[Namespace::User, Namespace::Network])?;
    let layer = if ethernet { Layer::Tap } else { Layer::Tun };
    let device = TunBuilder::new().name("estab0").layer(layer).open()?;
    let mut kernel = Netlink::open()?;
    for (address, prefix) in KERNEL {
        kernel.add_address("estab0", address, prefix)?;
    }
    kernel.set_up("estab0")?;
    let builder = OURS
        .into_iter()
        .fold(Stack::builder(), |builder, (address, prefix)| builder.address(address, prefix));
    // There is nobody else who could have the addresses.
    let config = Config { duplicate_address_probes: 0, ..Config::default() };
    let stack = builder.config(config).start(device)?;
    let store = Store::default();
    for (address, _) in OURS {
        let (listener, store) = (TcpListener::bind(&stack, (address, 6379))?, store.clone());
        thread::spawn(move || accept(&listener, &store));
    }
    let status = Command::new(program).args(words).status()?;
    stack.stop();
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// One thread for each client, until the stack stops.
fn accept(listener: &TcpListener, store: &Store) {
    while let Ok((stream, _peer)) = listener.accept() {
        let store = store.clone();
        // A client that goes away in the middle is no matter.
        thread::spawn(move || drop(talk(stream, &store)));
    }
}

fn talk(stream: TcpStream, store: &Store) -> io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut answers = BufWriter::new(stream);
    while let Some(words) = request(&mut requests)? {
        answer(&words, store, &mut answers)?;
        // What came in one segment is answered in one.
        if requests.buffer().is_empty() {
            answers.flush()?;
        }
    }
    answers.flush()
}

/// Reads `*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n`; `None` at the end of the stream.
fn request(from: &mut impl BufRead) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some(count) = number(from, '*', MOST_WORDS)? else { return Ok(None) };
    let mut words = Vec::new();
    for _ in 0..count {
        let length = number(from, '$', LONGEST)?.ok_or(ErrorKind::UnexpectedEof)?;
        let mut word = vec![0; length + 2];
        from.read_exact(&mut word)?;
        word.truncate(length);
        words.push(word);
    }
    Ok(Some(words))
}

/// Reads a line like `$4`; `None` at the end of the stream.
fn number(from: &mut impl BufRead, mark: char, most: usize) -> io::Result<Option<usize>> {
    let mut line = String::new();
    if from.take(32).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let number = line.strip_prefix(mark).and_then(|rest| rest.trim_end().parse().ok());
    match number {
        Some(number) if number <= most => Ok(Some(number)),
        _ => Err(Error::new(ErrorKind::InvalidData, "no request of this protocol")),
    }
}

fn answer(words: &[Vec<u8>], store: &Store, to: &mut impl Write) -> io::Result<()> {
    let mut store = store.lock().map_err(|_| ErrorKind::Other)?;
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let name = words.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    match (name.as_slice(), words.get(1..).unwrap_or_default()) {
        (b"PING", []) => write!(to, "+PONG\r\n"),
        (b"PING" | b"ECHO", [text]) => bulk(Some(text), to),
        (b"SET", [key, value]) => {
            store.insert(key.to_vec(), value.to_vec());
            write!(to, "+OK\r\n")
        }
        (b"GET", [key]) => bulk(store.get(*key).map(Vec::as_slice), to),
        (b"DEL", [key]) => write!(to, ":{}\r\n", u8::from(store.remove(*key).is_some())),
        _ => write!(to, "-ERR no such command here\r\n"),
    }
}

fn bulk(text: Option<&[u8]>, to: &mut impl Write) -> io::Result<()> {
    let Some(text) = text else { return write!(to, "$-1\r\n") };
    write!(to, "${}\r\n", text.len())?;
    to.write_all(text)?;
    write!(to, "\r\n")
}
