//! `estab demo --explain`: the story of TCP, each chapter with a live connection to the kernel.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use estab::blocking::{TcpListener as OurListener, TcpStream as OurStream};
use estab::{Stack, TcpOptions};
use link::{Impair, Impairment, Layer, Link};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use stack::FourTuple;
use stack::trace::Call;
use wire::tcp::Flags;

use crate::demo::{PATIENCE, say, settle};
use crate::device::{self, Wanted};
use crate::diagram::Diagram;
use crate::lose_one::LoseOne;
use crate::observe::{Lines, Watcher};
use crate::steps::{Direction, Happening, Segment, Step};
use crate::values::Cidr;

/// The kernel's address in the story.
const KERNEL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
/// The stack's.
const US: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));

/// How long a packet travels where two of them must cross on the way.
const CROSSING: Duration = Duration::from_millis(40);

/// How often a chapter may be tried again when the scheduler told another story.
const TRIES: usize = 5;

/// Tells the story.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    say(INTRODUCTION)?;
    say(FOUR)?;
    draw(&simultaneous_open()?)?;
    say(THREE)?;
    let opened = passive_open()?;
    draw(&opened)?;
    say(KEPT)?;
    say(&what_each_side_keeps(&opened)?)?;
    say(CLOSE_IN_FOUR)?;
    draw(&close_in_four()?)?;
    say(CLOSE_IN_THREE)?;
    draw(&close_in_three()?)?;
    say(LOST)?;
    say(&a_lost_segment()?.diagram().first_data_lost().text())?;
    say(END)?;
    Ok(ExitCode::SUCCESS)
}

const INTRODUCTION: &str = "\
Two hosts share a wire here: this machine's kernel, 10.77.0.1, and estab, 10.77.0.2. Every picture
below was drawn from packets that both really sent a moment ago. Time runs down; on the right is
the state that our side is in, and why it sent what it sent.

TCP rests on two ideas. What is sent is sent again until it is acknowledged. And a connection is
nothing but what two hosts remember of each other: addresses and ports, where the numbering of the
bytes starts, how much the other side can take. To open one is to exchange that; to close one is to
say that no byte will follow.
";

const FOUR: &str = "\
1. Opening takes four messages
------------------------------
Each side must tell the other its first number (SYN), and each must learn that this arrived (ACK):
two messages each way. Here both programs call connect() at the same moment, so that neither can
answer the other yet, and all four can be seen. A SYN counts as one byte: its ACK is 1. The second
packet of each side repeats its SYN and carries the ACK (RFC 9293 3.5). To the kernel our repeated SYN
could also come from somebody who guesses; it answers with one more ACK (RFC 5961 4.2).
";

const THREE: &str = "\
2. Three, because an answer can do two things
---------------------------------------------
Usually one side waits (listen) and the other calls. Whoever waits has nothing to say until the SYN
comes; then its own SYN and its ACK of the other's go out in one packet. Four messages, three
packets. accept() takes no part in this: it only fetches a connection that is open already.
";

const KEPT: &str = "\
3. What each side keeps
-----------------------
The two SYNs of that connection said all of this. Ports and addresses name the connection; the
first numbers are hard to guess, so that nobody else can speak in it; a window is what the sender of
the SYN can take before it must be read, in units of the scale once the SYNs are exchanged.
";

const CLOSE_IN_FOUR: &str = "\
4. Closing takes four segments
------------------------------
A connection is two streams, and each ends on its own. The kernel's client is done and sends FIN. Our
stack acknowledges that at once, and tells the program: read() returns 0. The program may have more
to say, and here it does; only it knows when it is done, so the stack waits for its close() in
CLOSE-WAIT. A stack that closed by itself would cut off the last words. Whoever closed first keeps
the connection in TIME-WAIT for a while: if the last ACK is lost, the FIN comes again and must find
somebody to answer it. (close() on ESTABLISHED leads to FIN-WAIT-1, on CLOSE-WAIT to LAST-ACK.)
";

const CLOSE_IN_THREE: &str = "\
5. Or three, when the other side closes at once
-----------------------------------------------
Now we close first, and the kernel's server calls close() as soon as it sees the end. An ACK may wait
a little for something to ride on; the FIN comes in time, and the second and the third message share a
packet. Nobody planned that. It depends on the program and on time, which is why a close has no
fixed number of packets.
";

const LOST: &str = "\
6. A lost segment is sent again
-------------------------------
The wire swallows the first segment with data, once. Nothing tells us: the ACK is missing, that is
all. A timer of two round trips, and of as long as a host may hold the ACK of a lone segment back,
runs out; we send the same bytes with the same numbers again, and the kernel's program never knows
(RFC 8985 7). Were this probe lost too, the retransmission timer would be next (RFC 6298).
";

const END: &str = "\
Go on by yourself:
  estab lab --serve http:80 --trace -- curl http://10.77.0.2/     your own program, packet by packet
  estab lab --serve echo:7 --loss 20% -- bash                     a bad wire; then: nc 10.77.0.2 7
  estab dump --tun tun9 --cidr 11.0.0.1/24 -- curl -m 1 http://11.0.0.2/   a SYN, bit by bit";

/// A chapter's stack.
struct Scene {
    stack: Stack,
    watcher: Watcher,
}

/// What happened to the connection of a chapter.
struct Told {
    flow: FourTuple,
    steps: Vec<Step>,
}

impl Scene {
    /// A fresh stack on a fresh device, with something between them.
    fn open(between: impl FnOnce(Box<dyn Link>) -> Box<dyn Link>) -> anyhow::Result<Self> {
        let IpAddr::V4(address) = KERNEL else { bail!("the story is told in IPv4") };
        let cidr = Cidr { address, prefix: 24 };
        let wanted = Wanted { layer: Layer::Tun, mtu: None, offload: true, packet: false };
        let link = device::open_in_namespace(device::NAME, &wanted, cidr)?;
        let (observer, watcher) = Watcher::start(Lines::Nowhere)?;
        let builder = Stack::builder().address(US, cidr.prefix).trace(observer);
        Ok(Self { stack: builder.start(between(link))?, watcher })
    }

    /// The curtain falls: what happened to one connection until now.
    fn end(self, local: SocketAddr, remote: SocketAddr) -> Told {
        self.stack.stop();
        let mut steps = self.watcher.finish();
        // Stopping a stack aborts what is open: that is no part of the story.
        let aborted = |step: &Step| matches!(step.what, Happening::Call(Call::Abort));
        steps.truncate(steps.iter().position(aborted).unwrap_or(steps.len()));
        Told { flow: FourTuple { local, remote }, steps }
    }
}

fn draw(told: &Told) -> anyhow::Result<()> {
    Ok(say(&told.diagram().text())?)
}

impl Told {
    fn diagram(&self) -> Diagram {
        Diagram::of(self.flow, &self.steps).named("the kernel", "estab")
    }
}

/// Both sides connect to each other at once: their SYNs cross on a slow wire.
fn simultaneous_open() -> anyhow::Result<Told> {
    let slow = Impairment { delay: CROSSING, ..Impairment::default() };
    let scene = Scene::open(|link| Box::new(Impair::new(link, slow, slow, 0)))?;
    let (theirs, ours) = (SocketAddr::new(KERNEL, 7000), SocketAddr::new(US, 7001));
    let kernel = std::thread::spawn(move || connect_from(theirs, ours));
    let stream = OurStream::connect_with(&scene.stack, Some(ours), theirs, &TcpOptions::default())
        .context("the simultaneous open failed on our side")?;
    let kernel = joined(kernel).context("the simultaneous open failed on the kernel's side")?;
    // The last packet may still be on the slow wire.
    std::thread::sleep(CROSSING * 3);
    let told = scene.end(ours, theirs);
    drop((stream, kernel));
    Ok(told)
}

/// A socket of the kernel, bound to `local` and connected to `remote`.
fn connect_from(local: SocketAddr, remote: SocketAddr) -> anyhow::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &local)?;
    connect(&socket, &remote)?;
    Ok(socket)
}

/// The kernel connects to a listener of ours.
fn passive_open() -> anyhow::Result<Told> {
    let scene = Scene::open(|link| link)?;
    let ours = SocketAddr::new(US, 80);
    let listener = OurListener::bind(&scene.stack, ours)?;
    let client = TcpStream::connect_timeout(&ours, PATIENCE)?;
    let accepted = listener.accept()?;
    let told = scene.end(ours, client.local_addr()?);
    drop((accepted, client));
    Ok(told)
}

/// The kernel's client closes; our program answers a while later, and closes then.
fn close_in_four() -> anyhow::Result<Told> {
    let scene = Scene::open(|link| link)?;
    let ours = SocketAddr::new(US, 80);
    let listener = OurListener::bind(&scene.stack, ours)?;
    let mut client = TcpStream::connect_timeout(&ours, PATIENCE)?;
    client.set_read_timeout(Some(PATIENCE))?;
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    client.shutdown(Shutdown::Write)?;
    read_to_end(&mut stream)?;
    // The program thinks.
    std::thread::sleep(Duration::from_millis(100));
    stream.write_all(b"one more thing")?;
    std::thread::sleep(Duration::from_millis(100));
    drop(stream);
    read_to_end(&mut client)?;
    settle(&scene.stack)?;
    Ok(scene.end(ours, client.local_addr()?))
}

/// We close; the kernel's server does so at once. Tried again when its ACK did not wait.
fn close_in_three() -> anyhow::Result<Told> {
    for _ in 1..TRIES {
        let told = close_at_once()?;
        if closing_segments(&told) == 3 {
            return Ok(told);
        }
    }
    close_at_once()
}

fn close_at_once() -> anyhow::Result<Told> {
    let scene = Scene::open(|link| link)?;
    let listener = TcpListener::bind((KERNEL, 0))?;
    let theirs = listener.local_addr()?;
    let server = std::thread::spawn(move || -> anyhow::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // A conversation: the kernel then expects to have something to send soon, and delays ACKs.
        let mut buffer = [0; 16];
        loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..count])?;
        }
    });
    let mut stream = OurStream::connect_timeout(&scene.stack, &theirs, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let ours = stream.local_addr()?;
    stream.write_all(b"hello")?;
    stream.read_exact(&mut [0; 5])?;
    std::thread::sleep(Duration::from_millis(60));
    stream.shutdown(Shutdown::Write)?;
    read_to_end(&mut stream)?;
    drop(stream);
    joined(server)?;
    settle(&scene.stack)?;
    Ok(scene.end(ours, theirs))
}

/// Our first data is lost on the wire.
fn a_lost_segment() -> anyhow::Result<Told> {
    let scene = Scene::open(|link| Box::new(LoseOne::new(link)))?;
    let listener = TcpListener::bind((KERNEL, 0))?;
    let theirs = listener.local_addr()?;
    let server = std::thread::spawn(move || -> anyhow::Result<Vec<u8>> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        read_to_end(&mut stream)
    });
    let mut stream = OurStream::connect_timeout(&scene.stack, &theirs, PATIENCE)?;
    let ours = stream.local_addr()?;
    stream.write_all(b"hello")?;
    // The FIN waits until the lost bytes arrived, or it would tell the kernel of the gap.
    std::thread::sleep(Duration::from_millis(600));
    drop(stream);
    let arrived = joined(server)?;
    settle(&scene.stack)?;
    if arrived != b"hello" {
        bail!("the kernel's program read {arrived:?}");
    }
    Ok(scene.end(ours, theirs))
}

fn read_to_end(stream: &mut impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn joined<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().unwrap_or_else(|_| bail!("a thread of the kernel's side panicked"))
}

/// The segments of the chapter's connection.
fn segments(told: &Told) -> impl Iterator<Item = &Segment> {
    told.steps.iter().filter(|step| step.flow == Some(told.flow)).filter_map(|step| {
        match &step.what {
            Happening::Segment(segment) => Some(segment),
            _ => None,
        }
    })
}

/// How many segments the close took: the first FIN and all that follow.
fn closing_segments(told: &Told) -> usize {
    segments(told).skip_while(|segment| !segment.header.flags.contains(Flags::FIN)).count()
}

/// What the two SYNs said, side by side.
fn what_each_side_keeps(told: &Told) -> anyhow::Result<String> {
    let syn = |direction| {
        segments(told)
            .find(|segment| {
                segment.direction == direction && segment.header.flags.contains(Flags::SYN)
            })
            .map(|segment| segment.header)
            .context("no SYN was seen")
    };
    let (theirs, ours) = (syn(Direction::In)?, syn(Direction::Out)?);
    let scale = |header: &wire::tcp::Header| match header.options.window_scale {
        Some(shift) => format!("times {}", 1_u32 << shift.min(14)),
        None => "none".into(),
    };
    let mss = |header: &wire::tcp::Header| match header.options.mss {
        Some(mss) => format!("{mss} bytes"),
        None => "536 bytes".into(),
    };
    let clock = |header: &wire::tcp::Header| match header.options.timestamps {
        Some(timestamps) => timestamps.value.to_string(),
        None => "none".into(),
    };
    let rows = [
        ("", "the kernel".to_owned(), "estab".to_owned()),
        ("address and port", told.flow.remote.to_string(), told.flow.local.to_string()),
        ("first number (ISN)", theirs.sequence.to_string(), ours.sequence.to_string()),
        ("window in the SYN", format!("{} bytes", theirs.window), format!("{} bytes", ours.window)),
        ("window scale", scale(&theirs), scale(&ours)),
        ("largest segment (MSS)", mss(&theirs), mss(&ours)),
        ("clock (timestamp)", clock(&theirs), clock(&ours)),
    ];
    let line = |(name, theirs, ours): &(&str, String, String)| {
        format!("    {name:<24}{theirs:<22}{ours}\n")
    };
    Ok(rows.iter().map(line).collect())
}
