//! An in-memory link: two ends, and what one sends the other receives.
//!
//! Bounded, deterministic, usable from two threads or from one in virtual time. Nothing is lost:
//! when the wire is full, the sender is told.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use wire::ethernet::EthernetAddress;
use wire::frame::{
    Capabilities, FrameBuf, Medium, ReceiveChecksum, ReceiveMeta, TransmitChecksum, TransmitMeta,
};
use wire::time::Instant;

use crate::{Link, check};

/// What a pair is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairConfig {
    /// What the first end can do.
    pub first: Capabilities,
    /// What the second end can do.
    pub second: Capabilities,
    /// How many frames wait in each direction before the sender is told `WouldBlock`.
    /// 256: a burst of a large window without super-segments; at most 16 MiB with them.
    pub capacity: usize,
    /// Each end offers a descriptor to wait on. A simulator in virtual time needs none, and saves
    /// two descriptors and a system call now and then.
    pub descriptors: bool,
}

impl PairConfig {
    /// A pair that carries IP packets of at most `mtu` bytes, super-segments and partial
    /// checksums included, with descriptors.
    #[must_use]
    pub const fn ip(mtu: u16) -> Self {
        Self::both(Medium::Ip, Medium::Ip, mtu)
    }

    /// A pair that carries Ethernet frames between two stations.
    #[must_use]
    pub const fn ethernet(first: EthernetAddress, second: EthernetAddress, mtu: u16) -> Self {
        Self::both(Medium::Ethernet(first), Medium::Ethernet(second), mtu)
    }

    /// The same without checksum and segmentation offload.
    #[must_use]
    pub const fn without_offload(mut self) -> Self {
        self.first.checksum = false;
        self.first.segmentation = false;
        self.second.checksum = false;
        self.second.segmentation = false;
        self
    }

    /// The same without descriptors.
    #[must_use]
    pub const fn without_descriptors(mut self) -> Self {
        self.descriptors = false;
        self
    }

    const fn both(first: Medium, second: Medium, mtu: u16) -> Self {
        let first = Capabilities { medium: first, mtu, checksum: true, segmentation: true };
        Self {
            first,
            second: Capabilities { medium: second, ..first },
            capacity: 256,
            descriptors: true,
        }
    }
}

/// Two ends of one wire.
///
/// # Errors
/// When the system has no descriptors left; never without [`PairConfig::descriptors`].
pub fn pair(config: PairConfig) -> io::Result<(PairEnd, PairEnd)> {
    let signals = if config.descriptors {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Some(socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
    } else {
        None
    };
    let (first_signal, second_signal) = match signals {
        Some((first, second)) => (Some(Arc::new(first)), Some(Arc::new(second))),
        None => (None, None),
    };
    let there = Arc::new(Mutex::new(Queue::new(config.capacity)));
    let back = Arc::new(Mutex::new(Queue::new(config.capacity)));
    let first = PairEnd {
        capabilities: config.first,
        outgoing: Arc::clone(&there),
        incoming: Arc::clone(&back),
        own: first_signal.clone(),
        other: second_signal.clone(),
    };
    let second = PairEnd {
        capabilities: config.second,
        outgoing: back,
        incoming: there,
        own: second_signal,
        other: first_signal,
    };
    Ok((first, second))
}

/// One end of a [`pair`]. When one end is dropped, the other still receives what was sent, and
/// then gets `BrokenPipe`.
#[derive(Debug)]
pub struct PairEnd {
    /// What this end can do.
    capabilities: Capabilities,
    /// What this end sent and the other has not received.
    outgoing: Arc<Mutex<Queue>>,
    /// What the other end sent and this one has not received.
    incoming: Arc<Mutex<Queue>>,
    /// Readable while `incoming` has frames, writable while `outgoing` has room.
    own: Option<Arc<OwnedFd>>,
    /// The other end's.
    other: Option<Arc<OwnedFd>>,
}

/// The frames on their way in one direction.
///
/// The signal is a stream socket from the sender to the receiver. While frames wait there is a
/// byte in it, so the receiver's end is readable. When the queue is full the sender fills the
/// socket, so its end is not writable; the receiver empties it when there is room again.
#[derive(Debug)]
struct Queue {
    /// Oldest first.
    frames: VecDeque<Waiting>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
    /// The most frames that wait.
    capacity: usize,
    /// The sender was told `WouldBlock` and the socket is stuffed.
    stuffed: bool,
    /// One of the ends is gone.
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    /// The whole frame.
    bytes: Vec<u8>,
    /// What the receiver is told about it.
    meta: ReceiveMeta,
}

impl Queue {
    fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { frames: VecDeque::new(), spare: Vec::new(), capacity, stuffed: false, closed: false }
    }
}

impl PairEnd {
    /// How many frames this end has sent that the other has not received yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        lock(&self.outgoing).frames.len()
    }
}

impl Link for PairEnd {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn receive(&mut self, _now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        let mut queue = lock(&self.incoming);
        let Some(waiting) = queue.frames.pop_front() else {
            return if queue.closed { Err(gone()) } else { Ok(None) };
        };
        if let (Some(own), Some(other)) = (&self.own, &self.other)
            && (queue.frames.is_empty() || queue.stuffed)
        {
            drain(own);
            queue.stuffed = false;
            if !queue.frames.is_empty() || queue.closed {
                signal(other);
            }
        }
        let length = waiting.bytes.len();
        let fits =
            frame.whole_buffer().get_mut(..length).map(|to| to.copy_from_slice(&waiting.bytes));
        if queue.spare.len() < queue.capacity {
            queue.spare.push(waiting.bytes);
        }
        drop(queue);
        if fits.is_none() {
            return Err(check::invalid(format!(
                "a frame of {length} bytes, longer than the buffer of {}: it is lost",
                frame.capacity()
            )));
        }
        frame.set_filled(length);
        Ok(Some(waiting.meta))
    }

    fn send(
        &mut self,
        _now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        check::frame_length(&self.capabilities, header, payload, meta)?;
        let mut queue = lock(&self.outgoing);
        if queue.closed {
            return Err(gone());
        }
        if queue.frames.len() >= queue.capacity {
            if let (Some(own), false) = (&self.own, queue.stuffed) {
                stuff(own);
                queue.stuffed = true;
            }
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut bytes = queue.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(header);
        for slice in payload {
            bytes.extend_from_slice(slice);
        }
        queue.frames.push_back(Waiting { bytes, meta: received(meta) });
        if let (Some(own), 1) = (&self.own, queue.frames.len()) {
            signal(own);
        }
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.own.as_deref().map(AsFd::as_fd)
    }
}

impl Drop for PairEnd {
    fn drop(&mut self) {
        lock(&self.incoming).closed = true;
        lock(&self.outgoing).closed = true;
        if let Some(own) = &self.own {
            // Wakes the other end, whichever readiness it waits for.
            drain(own);
            signal(own);
        }
    }
}

/// What the receiver is told about a frame that was sent with `meta`.
fn received(meta: &TransmitMeta) -> ReceiveMeta {
    let checksum = match meta.checksum {
        TransmitChecksum::Complete => ReceiveChecksum::Unverified,
        TransmitChecksum::Partial { .. } => ReceiveChecksum::Partial,
    };
    let segment_size: Option<NonZeroU16> = meta.segment_size;
    ReceiveMeta { checksum, segment_size }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the other end of the pair is gone")
}

/// Nothing is left half-done under the lock, so a panic elsewhere does not spoil the queue.
fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the other end of `socket` readable.
fn signal(socket: &OwnedFd) {
    // A socket that takes no more is readable at its other end already.
    let _ = send(socket, &[0], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
}

/// Makes `socket` not writable.
fn stuff(socket: &OwnedFd) {
    let chunk = [0; 16 * 1024];
    while send(socket, &chunk, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok_and(|sent| sent > 0)
    {
    }
}

/// Makes `socket` not readable, and its other end writable.
fn drain(socket: &OwnedFd) {
    let mut chunk = [0; 16 * 1024];
    loop {
        match recv(socket, &mut chunk[..], RecvFlags::DONTWAIT) {
            Ok((_, 1..)) | Err(Errno::INTR) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn readiness(end: &PairEnd) -> PollFlags {
        let descriptor = end.descriptor().expect("made with descriptors");
        let mut fds = [PollFd::new(&descriptor, PollFlags::IN | PollFlags::OUT)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll");
        fds[0].revents()
    }

    fn take(end: &mut PairEnd) -> Option<Vec<u8>> {
        let mut frame = FrameBuf::with_capacity(2000);
        end.receive(Instant::ZERO, &mut frame).expect("receive").map(|_| frame.to_vec())
    }

    fn give(end: &mut PairEnd, bytes: &[u8]) -> io::Result<()> {
        let (header, payload) = bytes.split_at(1);
        end.send(Instant::ZERO, header, &[payload], &TransmitMeta::default())
    }

    #[test]
    fn frames_arrive_whole_and_in_order() {
        let (mut a, mut b) = pair(PairConfig::ip(1500)).expect("pair");
        give(&mut a, b"one").expect("room");
        give(&mut a, b"two").expect("room");
        assert_eq!(take(&mut b).as_deref(), Some(&b"one"[..]));
        assert_eq!(take(&mut b).as_deref(), Some(&b"two"[..]));
        assert_eq!(take(&mut b), None);
    }

    #[test]
    fn readiness_follows_the_queue() {
        let config = PairConfig { capacity: 3, ..PairConfig::ip(1500) };
        let (mut a, mut b) = pair(config).expect("pair");
        assert_eq!(readiness(&a), PollFlags::OUT);
        assert_eq!(readiness(&b), PollFlags::OUT);
        for round in 0..3 {
            for _ in 0..3 {
                give(&mut a, b"frame").expect("room");
            }
            assert_eq!(readiness(&b), PollFlags::IN | PollFlags::OUT, "round {round}");
            let full = give(&mut a, b"frame").expect_err("full");
            assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
            assert_eq!(readiness(&a), PollFlags::empty(), "full: not writable");
            assert!(take(&mut b).is_some());
            assert_eq!(readiness(&a), PollFlags::OUT, "room again");
            assert_eq!(readiness(&b), PollFlags::IN | PollFlags::OUT, "two are left");
            assert!(take(&mut b).is_some() && take(&mut b).is_some());
            assert_eq!(readiness(&b), PollFlags::OUT, "empty");
        }
    }

    #[test]
    fn a_dropped_end_is_noticed_after_its_last_frame() {
        let (mut a, mut b) = pair(PairConfig::ip(1500)).expect("pair");
        give(&mut a, b"last").expect("room");
        drop(a);
        assert!(readiness(&b).contains(PollFlags::IN));
        assert_eq!(take(&mut b).as_deref(), Some(&b"last"[..]));
        assert!(readiness(&b).contains(PollFlags::IN), "the end itself is news");
        let mut frame = FrameBuf::with_capacity(100);
        let error = b.receive(Instant::ZERO, &mut frame).expect_err("gone");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(give(&mut b, b"more").expect_err("gone").kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_was_not_negotiated_is_refused() {
        let (mut a, _b) =
            pair(PairConfig::ip(1500).without_offload().without_descriptors()).expect("pair");
        let partial = TransmitMeta {
            checksum: TransmitChecksum::Partial { start: 20, offset: 16 },
            ..TransmitMeta::default()
        };
        let segmented = TransmitMeta { segment_size: NonZeroU16::new(1460), ..partial };
        for (meta, length) in [(partial, 100), (segmented, 100), (TransmitMeta::default(), 1501)] {
            let error = a.send(Instant::ZERO, &vec![0; length], &[], &meta).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        }
        assert!(a.descriptor().is_none());
    }

    #[test]
    fn offload_is_handed_over() {
        let (mut a, mut b) = pair(PairConfig::ip(1500)).expect("pair");
        let meta = TransmitMeta {
            checksum: TransmitChecksum::Partial { start: 20, offset: 16 },
            segment_size: NonZeroU16::new(1460),
            comment: "",
        };
        let payload = vec![7; 60_000];
        a.send(Instant::ZERO, &[0; 40], &[&payload, &payload[..5000]], &meta).expect("room");
        let mut frame = FrameBuf::with_capacity(crate::buffer_size(&b.capabilities()));
        let got = b.receive(Instant::ZERO, &mut frame).expect("receive").expect("a frame");
        assert_eq!(frame.len(), 65_040);
        assert_eq!(got.checksum, ReceiveChecksum::Partial);
        assert_eq!(got.segment_size, NonZeroU16::new(1460));
    }

    #[test]
    fn two_threads_lose_nothing() {
        let config = PairConfig { capacity: 4, ..PairConfig::ip(1500) };
        let (mut a, mut b) = pair(config).expect("pair");
        let sender = std::thread::spawn(move || {
            for number in 0..5000u32 {
                while let Err(error) = give(&mut a, &number.to_be_bytes()) {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    wait(&a, PollFlags::OUT);
                }
            }
        });
        let mut expected = 0u32;
        while expected < 5000 {
            match take(&mut b) {
                Some(bytes) => {
                    assert_eq!(bytes, expected.to_be_bytes());
                    expected += 1;
                }
                None => wait(&b, PollFlags::IN),
            }
        }
        sender.join().expect("the sender ends");
    }

    fn wait(end: &PairEnd, flags: PollFlags) {
        let descriptor = end.descriptor().expect("made with descriptors");
        let mut fds = [PollFd::new(&descriptor, flags)];
        let ready = poll(&mut fds, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).expect("poll");
        assert!(ready > 0, "a wake-up was missed");
    }
}
