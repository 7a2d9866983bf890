//! The wire between the two ends: it carries packets through the impairment, and watches itself.
//!
//! Times are virtual where they can be: each packet is released when the impairment says, however
//! late we look, and the rate limiter counts from departures, so what a late turn costs does not
//! add up. How late the turns were is told with every result.

use std::io;
use std::num::NonZeroU16;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use link::impair::Counters;
use link::{Impair, Impairment, Link};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use wire::frame::{Capabilities, FrameBuf, MAX_FRAME, ReceiveMeta, TransmitMeta};
use wire::time::Instant;

use super::tally::{Segments, Tally};

/// The longest sleep, so that lateness shows and the end is noticed when nothing happens.
const TICK: Duration = Duration::from_millis(5);

/// Below this a late turn is nothing to speak of, at round trips of 20 ms and more.
const LATE: Duration = Duration::from_millis(1);

/// How punctual the forwarder was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Lateness {
    /// The latest turn of all.
    pub(super) worst: Duration,
    /// All the time beyond [`LATE`] together.
    pub(super) total: Duration,
}

impl Lateness {
    fn note(&mut self, late: Duration) {
        self.worst = self.worst.max(late);
        self.total += late.saturating_sub(LATE);
    }
}

/// What the forwarder saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The data, on its way.
    pub(super) segments: Segments,
    /// What the impairment did to it.
    pub(super) data: Counters,
    /// Packets that an end had no room for; anything but 0 spoils the run.
    pub(super) refused: u64,
    pub(super) lateness: Lateness,
}

/// A link whose frames are counted when they come out of it, before any impairment.
struct Watched {
    link: Box<dyn Link>,
    tally: Tally,
}

/// The wire. Each end's link is impaired where we receive from it.
pub(super) struct Forwarder {
    sender: Impair<Watched>,
    receiver: Impair<Box<dyn Link>>,
    refused: u64,
    lateness: Lateness,
}

impl Forwarder {
    /// A wire with the same impairment in both directions, and dice from `seed`.
    pub(super) fn new(
        sender: Box<dyn Link>,
        receiver: Box<dyn Link>,
        impairment: Impairment,
        seed: u64,
    ) -> Self {
        let sender = Watched { link: sender, tally: Tally::default() };
        let nothing = Impairment::default();
        Self {
            sender: Impair::new(sender, nothing, impairment, seed),
            receiver: Impair::new(receiver, nothing, impairment, !seed),
            refused: 0,
            lateness: Lateness::default(),
        }
    }

    /// Carries packets until `ended` is set, or an end closes its link.
    pub(super) fn run(mut self, ended: &AtomicBool) -> io::Result<Seen> {
        let epoch = std::time::Instant::now();
        let clock = || Instant::ZERO.after(epoch.elapsed());
        let mut frame = FrameBuf::with_capacity(MAX_FRAME);
        while !ended.load(Ordering::Relaxed) {
            let before = clock();
            let wanted = [self.sender.next_deadline(), self.receiver.next_deadline()];
            let planned = wanted.into_iter().flatten().min();
            let planned = planned.map_or(before.after(TICK), |at| at.min(before.after(TICK)));
            self.wait(planned.since(before))?;
            let now = clock();
            self.lateness.note(now.since(planned));
            match self.turn(now, &mut frame) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                other => other?,
            }
        }
        Ok(Seen {
            segments: self.sender.inner().tally.segments(),
            data: self.sender.inbound(),
            refused: self.refused,
            lateness: self.lateness,
        })
    }

    fn wait(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        let descriptors = [self.sender.descriptor(), self.receiver.descriptor()];
        let readable = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let mut sets: Vec<PollFd<'_>> = descriptors.into_iter().flatten().map(readable).collect();
        match poll(&mut sets, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn turn(&mut self, now: Instant, frame: &mut FrameBuf) -> io::Result<()> {
        while self.sender.receive(now, frame)?.is_some() {
            self.sender.inner_mut().tally.note_arrived(frame);
            self.refused += pass_on(&mut **self.receiver.inner_mut(), now, frame)?;
        }
        while self.receiver.receive(now, frame)?.is_some() {
            self.refused += pass_on(&mut *self.sender.inner_mut().link, now, frame)?;
        }
        Ok(())
    }
}

/// Gives an end a packet; 1 when it has no room.
fn pass_on(end: &mut dyn Link, now: Instant, frame: &FrameBuf) -> io::Result<u64> {
    match end.send(now, frame, &[], &TransmitMeta::default()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(1),
        other => other.map(|()| 0),
    }
}

impl Link for Watched {
    fn capabilities(&self) -> Capabilities {
        self.link.capabilities()
    }

    fn receive(&mut self, now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        let received = self.link.receive(now, frame)?;
        if let Some(meta) = received {
            let size: Option<NonZeroU16> = meta.segment_size;
            self.tally.note_sent(frame, size);
        }
        Ok(received)
    }

    fn send(
        &mut self,
        now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        self.link.send(now, header, payload, meta)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.link.next_deadline()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.link.descriptor()
    }
}
