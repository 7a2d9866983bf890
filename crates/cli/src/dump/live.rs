//! Packets as they come, from a device that nobody answers on.

use std::os::fd::BorrowedFd;
use std::process::{Child, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use link::netlink::Netlink;
use link::{Layer, Link, buffer_size};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wire::annotate::Start;
use wire::ethernet::EtherType;
use wire::frame::{FrameBuf, Medium, TransmitMeta};

use super::{Packet, arp, print};
use crate::Output;
use crate::arguments::Dump;
use crate::device::{self, Wanted};
use crate::{command, namespace};

/// How long after COMMAND's end packets may still come.
const AFTERMATH: Duration = Duration::from_millis(100);

/// `estab dump --tun` and `--tap`.
pub(super) fn run(arguments: &Dump) -> anyhow::Result<ExitCode> {
    command::check(&arguments.command)?;
    let (name, layer) = match (&arguments.tun, &arguments.tap) {
        (_, Some(name)) => (name, Layer::Tap),
        (Some(name), None) => (name, Layer::Tun),
        (None, None) => anyhow::bail!("give a FILE, --tun NAME or --tap NAME"),
    };
    // Nothing here completes checksums, so the kernel must.
    let wanted = Wanted { layer, mtu: None, offload: false, packet: false };
    let link = if arguments.here {
        let link = device::open_tun(name, &wanted).map_err(or_without_here)?;
        device::configure(&mut Netlink::open()?, name, arguments.cidr)?;
        link
    } else {
        namespace::enter()?;
        device::open_in_namespace(name, &wanted, arguments.cidr)?
    };
    if arguments.command.is_empty() {
        tell_how_to_send(arguments, name);
    }
    let runner = Runner::start(arguments)?;
    show(link, layer, arguments, &runner)?;
    runner.status()
}

fn or_without_here(error: anyhow::Error) -> anyhow::Error {
    if device::is_denied(&error) || device::is_missing(&error) {
        return anyhow::anyhow!("{error:#}; or leave --here away, which needs no privileges");
    }
    error
}

fn tell_how_to_send(arguments: &Dump, name: &str) {
    let (pid, target) = (std::process::id(), arguments.cidr.stack_address());
    let enter = if arguments.here {
        String::new()
    } else {
        format!("nsenter --preserve-credentials -U -n -t {pid} ")
    };
    anstream::eprintln!(
        "estab: {name} is up with {}; nobody answers there. In another terminal: \
         {enter}curl -m 3 http://{target}/hello; Ctrl-C ends",
        arguments.cidr
    );
}

/// Prints what comes, until COMMAND ended, enough came, or Ctrl-C.
fn show(
    mut link: Box<dyn Link>,
    wanted: Layer,
    arguments: &Dump,
    runner: &Runner,
) -> anyhow::Result<()> {
    let capabilities = link.capabilities();
    let mut frame = FrameBuf::with_capacity(buffer_size(&capabilities));
    let (began, mut shown) = (Instant::now(), 0);
    let mut out = anstream::stdout();
    while arguments.count.is_none_or(|most| shown < most) && !runner.is_over() {
        let elapsed = began.elapsed();
        let now = wire::time::Instant::ZERO.after(elapsed);
        if link.receive(now, &mut frame)?.is_none() {
            wait_for(link.descriptor().context("a device without a descriptor")?)?;
            continue;
        }
        if let Some((start, bytes)) = visible(&frame, wanted, capabilities.medium) {
            shown += 1;
            let (time, bytes) = (Some(elapsed), bytes.to_vec());
            let packet = Packet { time, start, bytes, original: None, comment: None };
            print(&mut out, shown, &packet).map_err(Output::from)?;
        }
        if let Some(answer) = arp::answer(&frame, &capabilities) {
            link.send(now, &answer, &[], &TransmitMeta::default())?;
        }
    }
    Ok(())
}

/// The part of a frame to show. Where a veth pair took the place of a TUN, the IP packets that
/// were asked for are inside Ethernet frames, and ARP among them.
fn visible(frame: &[u8], wanted: Layer, medium: Medium) -> Option<(Start, &[u8])> {
    match (medium, wanted) {
        (Medium::Ip, _) => Some((Start::Ip, frame)),
        (Medium::Ethernet(_), Layer::Tap) => Some((Start::Ethernet, frame)),
        (Medium::Ethernet(_), Layer::Tun) => {
            let (header, packet) = wire::ethernet::Header::parse(frame).ok()?;
            (header.ethertype == EtherType::IPV4).then_some((Start::Ip, packet))
        }
    }
}

/// Waits until the device has something, or a little while.
fn wait_for(descriptor: BorrowedFd<'_>) -> anyhow::Result<()> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What decides how long the dump lasts.
struct Runner {
    /// COMMAND's status, on the thread that waits for it.
    command: Option<std::thread::JoinHandle<anyhow::Result<u8>>>,
    /// Ctrl-C, when there is no COMMAND to get it.
    interrupted: Arc<AtomicBool>,
    /// When COMMAND was seen to be over.
    over_since: std::cell::Cell<Option<Instant>>,
}

impl Runner {
    fn start(arguments: &Dump) -> anyhow::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let command = if arguments.command.is_empty() {
            for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
                signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
            }
            None
        } else {
            let (command, here) = (arguments.command.clone(), arguments.here);
            let run = move || {
                if here { run_here(&command) } else { command::run(&command, &[]) }
            };
            Some(std::thread::Builder::new().name("command".into()).spawn(run)?)
        };
        Ok(Self { command, interrupted, over_since: std::cell::Cell::new(None) })
    }

    fn is_over(&self) -> bool {
        if self.interrupted.load(Ordering::Relaxed) {
            return true;
        }
        if self.over_since.get().is_none()
            && self.command.as_ref().is_some_and(std::thread::JoinHandle::is_finished)
        {
            self.over_since.set(Some(Instant::now()));
        }
        self.over_since.get().is_some_and(|since| since.elapsed() > AFTERMATH)
    }

    /// COMMAND's status if it is over; success when enough packets came before.
    fn status(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Some(thread) if thread.is_finished() => match thread.join() {
                Ok(status) => Ok(ExitCode::from(status?)),
                Err(_) => anyhow::bail!("the thread that ran COMMAND panicked"),
            },
            _ => Ok(ExitCode::SUCCESS),
        }
    }
}

/// COMMAND in this namespace: an ordinary child.
fn run_here(command: &[std::ffi::OsString]) -> anyhow::Result<u8> {
    let (program, arguments) = command.split_first().context("no COMMAND")?;
    let mut child: Child = std::process::Command::new(program)
        .args(arguments)
        .spawn()
        .with_context(|| format!("{}: cannot run it", program.display()))?;
    Ok(command::shell_status(child.wait()?))
}
