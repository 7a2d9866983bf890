//! Links: what carries frames between a stack and the rest of the world.
//!
//! Everything here is a [`Link`]: a device of the kernel, one end of an in-memory wire, or a
//! wrapper around another link. A link knows nothing of connections; it moves frames, says what it
//! [can do](wire::frame::Capabilities), and hands back-pressure on.
//!
//! | link | carries | where |
//! |---|---|---|
//! | [`Tun`] | IP packets or Ethernet frames, to and from this machine's kernel | [`TunBuilder`] |
//! | [`PacketSocket`] | Ethernet frames on any interface; on a veth pair in place of a TUN | [`packet`] |
//! | [`PairEnd`] | what the other end sends | [`mod@pair`] |
//! | [`Impair`] | what the link below carries, with loss, delay and worse | [`impair`] |
//! | [`Capture`] | what the link below carries, and writes it down | [`capture`] |
//!
//! Beside them: [`split`] does in software what offload does in hardware, [`netlink`] gives
//! interfaces their addresses and routes, [`namespace`] makes a network of one's own, and
//! [`lab`] one for a command whose packets come to a program outside, and [`processes`] has what those
//! who run such commands need.
//!
//! # What every link promises
//! - **Nothing blocks.** [`Link::receive`] says "nothing now" and [`Link::send`] says
//!   [`WouldBlock`](std::io::ErrorKind::WouldBlock); whoever has nothing else to do waits on
//!   [`Link::descriptor`] and [`Link::next_deadline`].
//! - **No clock is read and no dice are thrown** but seeded ones. The time is an argument, so a
//!   link runs as well in virtual time, and the same run comes out the same.
//! - **A frame is taken whole or not at all,** and one that was taken is lost only where a link
//!   says so: by an impairment that was asked for, or by the device. It is sent before
//!   [`Link::send`] returns, unless the caller [lets it wait](Link::set_batching).
//!
//! # Wrappers compose
//! The outer one sees the frames first. `Capture::new(Impair::new(tun, ..), ..)` writes what the
//! stack sent and what it received; `Impair::new(Capture::new(tun, ..), ..)` writes what was on the
//! wire: no packet that the impairment lost, and each at the time when it went on.
//!
//! ```
//! use link::{Capture, CaptureOptions, Impair, Impairment, Link, Loss, PairConfig, pair};
//! use wire::{frame::TransmitMeta, time::Instant};
//!
//! let (end, mut other) = pair(PairConfig::ip(1500))?;
//! let lossy = Impairment { loss: Loss::Random(0.02), ..Impairment::default() };
//! let impaired = Impair::new(end, lossy, Impairment::default(), 42);
//! let mut link = Capture::new(impaired, std::io::sink(), CaptureOptions::default())?;
//! link.send(Instant::ZERO, b"header", &[b"payload"], &TransmitMeta::default())?;
//! assert_eq!(link.inner().outbound().offered, 1);
//! # std::io::Result::Ok(())
//! ```
#![deny(unsafe_code)]

#[macro_use]
mod wrapper;

mod batch;
pub mod capture;
mod check;
mod frame_device;
pub mod impair;
pub mod lab;
pub mod namespace;
pub mod netlink;
pub mod packet;
pub mod pair;
pub mod processes;
pub mod split;
mod sys;
mod tun;
pub mod vlan;

use std::io;
use std::os::fd::BorrowedFd;

use wire::frame::{Capabilities, FrameBuf, ReceiveMeta, TransmitMeta};
use wire::time::Instant;

pub use crate::batch::Batching;
pub use crate::capture::{Capture, CaptureOptions, QueueCapture};
pub use crate::impair::{Impair, Impairment, Loss, QueueManagement};
pub use crate::lab::Lab;
pub use crate::netlink::Netlink;
pub use crate::packet::PacketSocket;
pub use crate::pair::{PairConfig, PairEnd, pair};
pub use crate::tun::{Layer, Tun, TunBuilder};
pub use crate::vlan::Vlan;

/// Something that carries frames.
///
/// # Waiting
/// A caller with nothing to do waits until [`descriptor`](Link::descriptor) is readable, or the
/// time of [`next_deadline`](Link::next_deadline), and then calls [`receive`](Link::receive) until
/// it answers `None`. After a `WouldBlock` from [`send`](Link::send) it also waits for the
/// descriptor to become writable. Readiness is level-triggered.
///
/// # Errors
/// `WouldBlock` from `send` is back-pressure, not an error: nothing was taken. `InvalidInput`
/// means that the caller broke the contract (a super-segment for a link that cannot cut it, a
/// buffer too short for the frame that came); the link is as good as before. `NetworkDown` means
/// that the interface is down for the moment. `BrokenPipe` means that the link is gone for good.
pub trait Link: Send {
    /// What the link can do, fixed when it was opened.
    fn capabilities(&self) -> Capabilities;

    /// Reads one frame into `frame`, whose buffer it may use all of; `None`: there is none now.
    ///
    /// Give a buffer of at least [`buffer_size`] bytes.
    ///
    /// # Errors
    /// As [the trait says](Link#errors). A frame that does not fit the buffer is lost.
    fn receive(&mut self, now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>>;

    /// Sends `header` and the `payload` slices behind it as one frame.
    ///
    /// # Errors
    /// `WouldBlock` when the link is full: nothing was taken, offer the frame again when the
    /// descriptor is writable. Others as [the trait says](Link#errors); the frame was not sent.
    fn send(
        &mut self,
        now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()>;

    /// When the link itself wants [`receive`](Link::receive) to be called again, because it holds
    /// frames back. `None`: only readiness matters.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// The descriptor to wait on for readiness, if the link has one.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Says whether many small frames come and go from now on. A link that can then saves system calls.
    ///
    /// While it [does](Link::batching), a frame that [`send`](Link::send) took may wait until the next
    /// [`receive`](Link::receive) or [`flush`](Link::flush), and `receive` may answer `None` a little
    /// early: ask it once more before you wait for the descriptor, and flush. A frame that waited and
    /// that the link will never take is lost without a word.
    fn set_batching(&mut self, on: bool) {
        let _ = on;
    }

    /// Whether it does.
    fn batching(&self) -> Batching {
        Batching::Never
    }

    /// Sends the frames that wait because of [batching](Link::set_batching).
    ///
    /// # Errors
    /// `WouldBlock` when the link is full: flush again when the descriptor is writable.
    fn flush(&mut self, now: Instant) -> io::Result<()> {
        let _ = now;
        Ok(())
    }
}

impl<L: Link + ?Sized> Link for Box<L> {
    all_but_frames!(self => (**self));

    fn receive(&mut self, now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        (**self).receive(now, frame)
    }

    fn send(
        &mut self,
        now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        (**self).send(now, header, payload, meta)
    }
}

/// How many bytes a buffer needs for every frame that a link with `capabilities` can deliver.
#[must_use]
pub fn buffer_size(capabilities: &Capabilities) -> usize {
    let longest = if capabilities.segmentation {
        wire::frame::MAX_FRAME
    } else {
        usize::from(capabilities.mtu) + check::MAX_LINK_HEADER
    };
    // A device's own header stands before the frame, and a byte behind it would be one too many.
    wire::vnet::HEADER_LEN + longest + 1
}
