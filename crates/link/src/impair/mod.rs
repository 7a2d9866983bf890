//! A link that behaves badly on purpose: loss, delay, jitter, reordering, duplication,
//! corruption, a rate and a queue in front of it, each direction for itself.
//!
//! It lives in the caller's time: nothing happens but in calls, at the `now` that they carry, and
//! [`Link::next_deadline`] says when the next call is wanted. The same seed, the same frames and
//! the same times give the same result. All dice are thrown for every packet, so that switching
//! one impairment on does not move the others.
//!
//! A packet goes: loss, corruption, duplication, then the queue, then the rate limiter, then the
//! delay. Super-segments are cut into packets first, in both directions.
//!
//! # Order
//! Packets keep their order, except as `tc-netem` has it: jitter reorders packets whose times
//! cross, and a packet picked for reordering overtakes those that wait.

use std::io;
use std::num::{NonZeroU16, NonZeroU64};
use std::os::fd::BorrowedFd;

use wire::frame::{
    Capabilities, FrameBuf, MAX_FRAME, Medium, ReceiveChecksum, ReceiveMeta, TransmitChecksum,
    TransmitMeta,
};
use wire::time::{Duration, Instant};

pub use self::direction::{Direction, Packet};
use crate::{Link, check, split};

mod codel;
mod direction;
mod mark;
#[cfg(test)]
mod tests;

/// How long a packet picked for reordering is held back on a direction without delay, where there
/// is nothing that it could overtake.
pub const REORDER_HOLD: Duration = Duration::from_millis(1);

/// How long until a packet whose time has come is tried again, when the link below was full.
const RETRY: Duration = Duration::from_millis(1);

/// How many frames one call takes out of the link below before it looks at its own packets.
const BATCH: usize = 256;

/// Which packets are lost.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this probability, 0 to 1, whatever happened to the one before.
    Random(f64),
    /// In bursts: a link with a good and a bad state (Gilbert and Elliott). All four are
    /// probabilities from 0 to 1, thrown once for each packet.
    Burst {
        /// From the good state to the bad.
        enter: f64,
        /// From the bad state to the good; the mean length of a burst is `1 / leave` packets.
        leave: f64,
        /// Of loss in the good state, often 0.
        good: f64,
        /// Of loss in the bad state, often 1.
        bad: f64,
    },
}

/// What a queue before the rate limiter does besides dropping what finds it full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum QueueManagement {
    /// Nothing.
    #[default]
    DropTail,
    /// Controlled delay (RFC 8289): when packets have waited longer than `target` for all of an
    /// `interval`, it drops one now and then, and more the longer that lasts.
    Codel {
        /// How long a packet may wait in a good queue. 5 ms in RFC 8289 3.2.
        target: Duration,
        /// How long the wait may last before something is done: a round trip of the slowest
        /// usual sender. 100 ms in RFC 8289 3.2.
        interval: Duration,
        /// Marks packets of senders that understand it (ECN, RFC 3168 5) instead of dropping them.
        ecn: bool,
    },
    /// Marks every packet of a sender that understands ECN, that leaves at least so many behind in
    /// the queue; drops none.
    MarkAbove(usize),
}

impl QueueManagement {
    /// CoDel with the numbers of RFC 8289 3.2.
    #[must_use]
    pub const fn codel(ecn: bool) -> Self {
        let (target, interval) = (Duration::from_millis(5), Duration::from_millis(100));
        Self::Codel { target, interval, ecn }
    }
}

/// What happens to the packets of one direction. The default does nothing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Impairment {
    /// Which packets are lost.
    pub loss: Loss,
    /// How long a packet travels, after the rate limiter.
    pub delay: Duration,
    /// How much `delay` varies, evenly spread, to both sides; never below zero.
    pub jitter: Duration,
    /// The probability that a packet is picked for reordering: it skips `delay` and so overtakes
    /// those that wait. Where `delay` is zero it is held back for [`REORDER_HOLD`] instead.
    pub reorder: f64,
    /// A packet is picked at most once in so many; 0 and 1 mean that each may be.
    pub reorder_gap: u32,
    /// The probability that a packet arrives twice.
    pub duplicate: f64,
    /// The probability that one bit of the packet is flipped.
    pub corrupt: f64,
    /// Bits per second, counted on whole frames; `None`: as fast as they come.
    pub rate: Option<NonZeroU64>,
    /// The most packets that wait; the next is dropped. With a `rate` only those count that wait
    /// for it, as in a router's queue; without, all that are held back, as in `tc-netem`.
    /// 1000 is netem's default.
    pub queue_packets: usize,
    /// The most bytes that wait, counted alike.
    pub queue_bytes: Option<usize>,
    /// What the queue before the `rate` does besides.
    pub management: QueueManagement,
    /// The longest packet of IP that passes; longer ones are lost without a word, as where a router's
    /// message is filtered. `None`: any passes.
    pub longest_packet: Option<NonZeroU16>,
}

impl Default for Impairment {
    fn default() -> Self {
        Self {
            loss: Loss::None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            reorder: 0.0,
            reorder_gap: 1,
            duplicate: 0.0,
            corrupt: 0.0,
            rate: None,
            queue_packets: 1000,
            queue_bytes: None,
            management: QueueManagement::DropTail,
            longest_packet: None,
        }
    }
}

/// What was done to the packets of one direction since the start.
///
/// Every packet is accounted for:
/// `offered + duplicated = delivered + lost + overflowed + managed + failed + held`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Packets that came in, after super-segments were cut.
    pub offered: u64,
    /// Packets that went on.
    pub delivered: u64,
    /// Packets that the dice lost, or that were too long.
    pub lost: u64,
    /// Packets that found the queue full.
    pub overflowed: u64,
    /// Packets that queue management dropped.
    pub managed: u64,
    /// Packets that queue management marked (ECN's CE).
    pub marked: u64,
    /// Copies that were made.
    pub duplicated: u64,
    /// Packets with a flipped bit.
    pub corrupted: u64,
    /// Packets that were picked for reordering.
    pub reordered: u64,
    /// Packets that the link below refused with an error.
    pub failed: u64,
    /// Packets that are held back at this moment.
    pub held: u64,
}

/// A link with impairments around another link.
#[derive(Debug)]
pub struct Impair<L> {
    /// The link below.
    inner: L,
    /// What we send.
    outbound: Direction<&'static str>,
    /// What we receive.
    inbound: Direction<&'static str>,
    /// The link below was full when a packet's time had come; when to try again.
    retry_at: Option<Instant>,
    /// Call again at once: the link below may hold more than one call took, or has failed.
    more_at: Option<Instant>,
    /// What the link below said about a packet that was held back, for the next `receive`.
    failure: Option<io::Error>,
    /// For frames out of the link below.
    frame: FrameBuf,
    /// For a frame that was given to us, in one piece.
    whole: Vec<u8>,
}

impl<L: Link> Impair<L> {
    /// Impairs `inner`; each direction has dice of its own, both from `seed`.
    pub fn new(inner: L, outbound: Impairment, inbound: Impairment, seed: u64) -> Self {
        Self {
            inner,
            outbound: Direction::new(outbound, seed, 0),
            inbound: Direction::new(inbound, seed, 1),
            retry_at: None,
            more_at: None,
            failure: None,
            frame: FrameBuf::with_capacity(MAX_FRAME),
            whole: Vec::new(),
        }
    }

    /// Changes what happens from now on to what we send. Packets held back are not touched.
    pub fn set_outbound(&mut self, impairment: Impairment) {
        self.outbound.set(impairment);
    }

    /// Changes what happens from now on to what we receive. Packets held back are not touched.
    pub fn set_inbound(&mut self, impairment: Impairment) {
        self.inbound.set(impairment);
    }

    /// What was done to what we sent.
    pub fn outbound(&self) -> Counters {
        self.outbound.counters()
    }

    /// What was done to what we received.
    pub fn inbound(&self) -> Counters {
        self.inbound.counters()
    }

    /// The link below.
    pub fn inner(&self) -> &L {
        &self.inner
    }

    /// The link below, to change it.
    pub fn inner_mut(&mut self) -> &mut L {
        &mut self.inner
    }

    /// Takes the wrapper off; packets held back are gone.
    pub fn into_inner(self) -> L {
        self.inner
    }

    /// Sends on what is due. `false`: the link below is full and something due is left.
    fn flush(&mut self, now: Instant) -> bool {
        self.retry_at = None;
        let medium = self.medium();
        while let Some(packet) = self.outbound.due(now, medium) {
            let meta = TransmitMeta { comment: packet.tag, ..TransmitMeta::default() };
            let result = self.inner.send(now, &packet.bytes, &[], &meta);
            if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                self.retry_at = Some(now.after(RETRY));
                return false;
            }
            if let Some(packet) = self.outbound.pop(result.is_ok()) {
                self.outbound.recycle(packet.bytes);
            }
            if let Err(error) = result {
                self.failure = Some(error);
                self.more_at = Some(now);
            }
        }
        true
    }

    /// Takes in what the link below has, until a packet is due: the rest waits below, where the
    /// sender feels it.
    fn fill(&mut self, now: Instant) -> io::Result<()> {
        for _ in 0..BATCH {
            if self.inbound.due(now, self.medium()).is_some() {
                return Ok(());
            }
            let Some(meta) = self.inner.receive(now, &mut self.frame)? else { return Ok(()) };
            self.take_inbound(now, meta);
        }
        self.more_at = Some(now);
        Ok(())
    }

    fn take_inbound(&mut self, now: Instant, meta: ReceiveMeta) {
        let medium = self.medium();
        if let Some(size) = meta.segment_size
            && let Ok(pieces) = split::split(medium, &self.frame, size)
        {
            return take_pieces(&mut self.inbound, now, pieces, ReceiveChecksum::Verified, "");
        }
        // What never left the machine has no checksum yet; a flipped bit could not be noticed.
        let completed = meta.checksum == ReceiveChecksum::Partial
            && split::fill_checksum(medium, &mut self.frame);
        let checksum = if completed { ReceiveChecksum::Verified } else { meta.checksum };
        let mut bytes = self.inbound.buffer();
        bytes.extend_from_slice(&self.frame);
        self.inbound.take(now, medium, Packet { bytes, checksum, tag: "" });
    }

    fn take_outbound(&mut self, now: Instant, meta: &TransmitMeta) -> io::Result<()> {
        let medium = self.medium();
        let (checksum, tag) = (ReceiveChecksum::Unverified, meta.comment);
        let Some(size) = meta.segment_size else {
            if let TransmitChecksum::Partial { start, offset } = meta.checksum {
                split::complete_checksum(&mut self.whole, start, offset);
            }
            let mut bytes = self.outbound.buffer();
            bytes.extend_from_slice(&self.whole);
            self.outbound.take(now, medium, Packet { bytes, checksum, tag });
            return Ok(());
        };
        let pieces = split::split(medium, &self.whole, size)
            .map_err(|why| check::invalid(why.to_string()))?;
        take_pieces(&mut self.outbound, now, pieces, checksum, tag);
        Ok(())
    }

    fn medium(&self) -> Medium {
        self.inner.capabilities().medium
    }
}

/// Gives each packet of a super-segment to a direction.
fn take_pieces<T: Copy>(
    direction: &mut Direction<T>,
    now: Instant,
    mut pieces: split::Pieces<'_>,
    checksum: ReceiveChecksum,
    tag: T,
) {
    let medium = pieces.medium();
    loop {
        let mut bytes = direction.buffer();
        if !pieces.next_into(&mut bytes) {
            return direction.recycle(bytes);
        }
        direction.take(now, medium, Packet { bytes, checksum, tag });
    }
}

impl<L: Link> Link for Impair<L> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    /// Also sends on what is due in the other direction. When the link below refuses a packet that
    /// was held back, its error comes from here, and the packet counts as `failed`.
    fn receive(&mut self, now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        self.more_at = None;
        self.flush(now);
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let filled = self.fill(now);
        if self.inbound.due(now, self.medium()).is_none() {
            // What was under way when the link below ended still arrives.
            let ended = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
            let under_way = self.inbound.held() > 0 && filled.as_ref().is_err_and(ended);
            return if under_way { Ok(None) } else { filled.map(|()| None) };
        }
        let Some(held) = self.inbound.pop(true) else { return Ok(None) };
        let length = held.bytes.len();
        let fits = frame.whole_buffer().get_mut(..length).map(|to| to.copy_from_slice(&held.bytes));
        self.inbound.recycle(held.bytes);
        if fits.is_none() {
            return Err(check::invalid(format!(
                "a frame of {length} bytes, longer than the buffer of {}: it is lost",
                frame.capacity()
            )));
        }
        frame.set_filled(length);
        Ok(Some(ReceiveMeta { checksum: held.checksum, segment_size: None }))
    }

    /// `WouldBlock` only when the link below is full and packets whose time has come wait for it.
    fn send(
        &mut self,
        now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        check::frame_length(&self.inner.capabilities(), header, payload, meta)?;
        if !self.flush(now) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.whole.clear();
        self.whole.extend_from_slice(header);
        for slice in payload {
            self.whole.extend_from_slice(slice);
        }
        self.take_outbound(now, meta)?;
        self.flush(now);
        Ok(())
    }

    fn next_deadline(&self) -> Option<Instant> {
        // While the link below is full, asking for the time that has come already would spin.
        let outbound = self.retry_at.or_else(|| self.outbound.next_release());
        [outbound, self.inbound.next_release(), self.more_at, self.inner.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.descriptor()
    }
}
