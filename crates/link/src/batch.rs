//! Many small frames with few system calls: what a device does while it [batches](crate::Link::set_batching).
//!
//! Sent frames wait for the next time that frames are received, and both are one call of a
//! [ring](crate::sys::ring). Where the kernel does not let us have one, or the device pushes back,
//! everything goes on with one call for each frame, and [`Batching::Refused`] says so.

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use wire::frame::{FrameBuf, ReceiveMeta};

use crate::frame_device::{FrameDevice, Outgoing};
use crate::sys::gather;
use crate::sys::ring::{READS, Ring};

/// Longer frames are written by themselves: copying them would cost more than the call.
const LONGEST: usize = 2048;
/// So many frames are asked for at least.
const FEWEST: usize = 2;

/// Whether a link takes and gives several frames at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Batching {
    /// It never does.
    #[default]
    Never,
    /// Not now.
    Off,
    /// Now.
    On,
    /// The system refused it, and so each frame costs a call. `Unsupported`: this kernel has no
    /// io_uring. `PermissionDenied`: it is forbidden (`kernel.io_uring_disabled`, or a seccomp
    /// filter, as in most containers). `WouldBlock`: the device refuses frames when it is full, and then
    /// only single calls keep them in order.
    Refused(io::ErrorKind),
}

/// The frames of a device that go together.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    state: Batching,
    /// There is one since the first time that it was needed.
    ring: Option<Ring>,
    /// How many frames the next call asks for.
    ask: usize,
    /// The last call's frames were all received: that is to be said before there is another one.
    ended: bool,
}

impl Batches {
    /// Of a device that may use a ring.
    pub(crate) fn allowed() -> Self {
        Self { state: Batching::Off, ..Self::default() }
    }

    pub(crate) fn state(&self) -> Batching {
        self.state
    }

    /// Frames that came with others and were not received yet.
    pub(crate) fn has_arrived(&self) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.arrived() > 0)
    }

    /// Begins or ends a time of many small frames.
    pub(crate) fn set(&mut self, device: &FrameDevice, on: bool) {
        match (self.state, on) {
            (Batching::Off, true) => {
                self.state = self.begin(device).map_or_else(Batching::Refused, |()| Batching::On);
            }
            (Batching::On, false) => {
                // What the device has no room for goes out before what is sent next.
                let _ = self.flush(device);
                self.ended = false;
                if self.state == Batching::On {
                    self.state = Batching::Off;
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, device: &FrameDevice) -> Result<(), io::ErrorKind> {
        if device.pushes_back() {
            return Err(io::ErrorKind::WouldBlock);
        }
        if self.ring.is_none() {
            self.ring = Some(Ring::new(device.device.as_fd()).map_err(|error| error.kind())?);
        }
        self.ask = FEWEST;
        Ok(())
    }

    /// Takes a frame to be sent with others. False: it is to be sent by itself, now.
    ///
    /// # Errors
    /// `WouldBlock` when the device is full.
    pub(crate) fn send(
        &mut self,
        device: &FrameDevice,
        outgoing: &Outgoing,
        header: &[u8],
        payload: &[&[u8]],
    ) -> io::Result<bool> {
        let prefix = device.prefix(outgoing);
        let slices = || [prefix, header].into_iter().chain(payload.iter().copied());
        let is_small = outgoing.length <= LONGEST;
        if is_small && self.is_on() && self.push(slices(), outgoing.length) {
            return Ok(true);
        }
        self.flush(device)?;
        Ok(is_small && self.is_on() && self.push(slices(), outgoing.length))
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// `WouldBlock` when the device is full: the rest still waits.
    pub(crate) fn flush(&mut self, device: &FrameDevice) -> io::Result<()> {
        let Some(ring) = &self.ring else { return Ok(()) };
        if self.is_on() && ring.waiting().len() > 1 {
            self.exchange(device, 0);
        }
        self.write_singly(device)
    }

    /// A frame that came with others, in `frame`'s place. `None` when it is to be asked for by itself.
    ///
    /// After the frames of one call there is nothing, although more may have come meanwhile: the
    /// answers to these go along with the next call.
    pub(crate) fn receive(
        &mut self,
        device: &FrameDevice,
        frame: &mut FrameBuf,
    ) -> Option<io::Result<Option<ReceiveMeta>>> {
        if !self.has_arrived() {
            if !self.is_on() {
                return None;
            }
            if std::mem::take(&mut self.ended) {
                return Some(Ok(None));
            }
            self.exchange(device, self.ask);
        }
        let Some(taken) = self.ring.as_mut()?.take(frame) else { return Some(Ok(None)) };
        self.ended = true;
        Some(match taken {
            Ok(length) => device.accept(frame, length).map(Some),
            Err(error) => Err(error.into()),
        })
    }

    fn is_on(&self) -> bool {
        self.state == Batching::On
    }

    fn push<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>, length: usize) -> bool {
        self.ring.as_mut().is_some_and(|ring| ring.push(slices, length))
    }

    /// Writes what waits and reads up to `reads` frames, with one call.
    fn exchange(&mut self, device: &FrameDevice, reads: usize) {
        let Some(ring) = &mut self.ring else { return };
        let room = crate::buffer_size(&device.capabilities);
        if let Err(error) = ring.exchange(reads, room) {
            self.state = Batching::Refused(io::Error::from(error).kind());
        }
        if reads > 0 {
            // A read in vain costs little, and one too few makes frames wait.
            let arrived = ring.arrived();
            let next = if arrived < reads { arrived + 1 } else { reads * 2 };
            self.ask = next.clamp(FEWEST, READS);
        }
    }

    /// Writes what waits with one call for each.
    fn write_singly(&mut self, device: &FrameDevice) -> io::Result<()> {
        let Some(ring) = &mut self.ring else { return Ok(()) };
        let mut done = 0;
        let mut outcome = Ok(());
        for frame in ring.waiting() {
            match gather::write(device.device.as_fd(), &[], frame, &[], frame.len()) {
                Err(Errno::AGAIN) => {
                    outcome = Err(io::ErrorKind::WouldBlock.into());
                    break;
                }
                // What the device will never take is lost, as on any network: its sender has gone on.
                Ok(()) | Err(_) => done += 1,
            }
        }
        ring.forget(done);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::os::fd::OwnedFd;

    use proptest::prelude::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use wire::frame::{Capabilities, Medium, TransmitMeta};

    use super::*;

    /// Something that keeps frames whole, refuses them when it is full, and needs no privileges.
    fn devices() -> (FrameDevice, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (device, other) =
            socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap();
        let capabilities =
            Capabilities { medium: Medium::Ip, mtu: 4000, checksum: false, segmentation: false };
        (FrameDevice { device, vnet: false, capabilities, cuts_datagrams: false }, other)
    }

    /// As a link sends. False: it is full.
    fn send(batches: &mut Batches, device: &FrameDevice, frame: &[u8]) -> bool {
        let (header, payload) = (&frame[..frame.len() / 3], [&frame[frame.len() / 3..]]);
        let outgoing = device.prepare(header, &payload, &TransmitMeta::default()).unwrap();
        let sent = batches.send(device, &outgoing, header, &payload).and_then(|taken| {
            if taken { Ok(()) } else { device.write(&outgoing, header, &payload) }
        });
        is_done(sent)
    }

    fn is_done(outcome: io::Result<()>) -> bool {
        match outcome {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// As a link receives.
    fn receive(batches: &mut Batches, device: &FrameDevice) -> Option<Vec<u8>> {
        // Too short, as it may be: what comes with others brings its own buffer.
        let mut frame = FrameBuf::with_capacity(4100);
        let meta = batches
            .receive(device, &mut frame)
            .unwrap_or_else(|| device.receive(&mut frame))
            .unwrap();
        meta.map(|_| frame.to_vec())
    }

    fn read(other: &OwnedFd) -> Option<Vec<u8>> {
        let mut frame = vec![0; 5000];
        let length = rustix::io::read(other, &mut frame).ok()?;
        frame.truncate(length);
        Some(frame)
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Batch(bool),
        Send(usize),
        Flush,
        Receive,
        PeerSends(usize),
        PeerReceives,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let length =
            || prop_oneof![4 => 4_usize..200, 1 => 1900_usize..2200, 1 => 3000_usize..4000];
        let step = prop_oneof![
            1 => any::<bool>().prop_map(Step::Batch),
            8 => length().prop_map(Step::Send),
            1 => Just(Step::Flush),
            6 => Just(Step::Receive),
            6 => length().prop_map(Step::PeerSends),
            6 => Just(Step::PeerReceives),
        ];
        proptest::collection::vec(step, 0..300)
    }

    proptest! {
        /// Each frame that was taken arrives once, whole and in its turn, both ways.
        #[test]
        fn it_is_a_queue_each_way(steps in steps()) {
            let (device, other) = devices();
            let mut batches = Batches::allowed();
            let (mut out, mut back) = (VecDeque::new(), VecDeque::new());
            let mut next = 0_u32;
            let mut make = |length: usize| {
                next += 1;
                next.to_be_bytes().into_iter().cycle().take(length).collect::<Vec<u8>>()
            };
            for step in steps {
                match step {
                    Step::Batch(on) => batches.set(&device, on),
                    Step::Send(length) => {
                        let frame = make(length);
                        if send(&mut batches, &device, &frame) {
                            out.push_back(frame);
                        }
                    }
                    Step::Flush => drop(is_done(batches.flush(&device))),
                    Step::Receive => {
                        if let Some(frame) = receive(&mut batches, &device) {
                            prop_assert_eq!(Some(frame), back.pop_front());
                        }
                    }
                    Step::PeerSends(length) => {
                        let frame = make(length);
                        if rustix::io::write(&other, &frame).is_ok() {
                            back.push_back(frame);
                        }
                    }
                    Step::PeerReceives => {
                        if let Some(frame) = read(&other) {
                            prop_assert_eq!(Some(frame), out.pop_front());
                        }
                    }
                }
            }
            // All that is left comes in the end.
            let mut tries = 0;
            while !(is_done(batches.flush(&device)) && out.is_empty()) {
                prop_assert_eq!(read(&other), out.pop_front());
                tries += 1;
                prop_assert!(tries < 1000);
            }
            prop_assert_eq!(read(&other), None);
            for _ in 0..2 * back.len() + 2 {
                if let Some(frame) = receive(&mut batches, &device) {
                    prop_assert_eq!(Some(frame), back.pop_front());
                }
            }
            prop_assert!(back.is_empty());
        }
    }

    #[test]
    fn what_waits_goes_along_with_what_is_received() {
        let (device, other) = devices();
        let mut batches = Batches::allowed();
        batches.set(&device, true);
        if batches.state() != Batching::On {
            // Where io_uring is forbidden the reason is told, and nothing waits.
            assert!(matches!(batches.state(), Batching::Refused(_)));
            assert!(send(&mut batches, &device, b"first"));
            assert_eq!(read(&other).unwrap(), b"first");
            return;
        }
        assert!(send(&mut batches, &device, b"first") && send(&mut batches, &device, b"second"));
        assert_eq!(read(&other), None);
        for frame in [&b"one"[..], b"two", b"three"] {
            rustix::io::write(&other, frame).unwrap();
        }
        assert_eq!(receive(&mut batches, &device).unwrap(), b"one");
        assert_eq!(read(&other).unwrap(), b"first");
        assert_eq!(read(&other).unwrap(), b"second");
        assert!(batches.has_arrived());
        assert_eq!(receive(&mut batches, &device).unwrap(), b"two");
        assert!(!batches.has_arrived());
        assert_eq!(receive(&mut batches, &device), None, "two were asked for");
        assert_eq!(receive(&mut batches, &device).unwrap(), b"three");
    }

    #[test]
    fn a_device_that_is_full_gets_its_frames_one_by_one() {
        let (device, other) = devices();
        let mut batches = Batches::allowed();
        batches.set(&device, true);
        let mut sent = 0_u32;
        while send(&mut batches, &device, &sent.to_be_bytes()) {
            sent += 1;
            assert!(sent < 10_000, "a socket is full some time");
        }
        assert!(matches!(batches.state(), Batching::Refused(_)));
        let mut received = 0;
        while received < sent {
            let waits = !is_done(batches.flush(&device));
            match read(&other) {
                Some(frame) => {
                    assert_eq!(frame, received.to_be_bytes());
                    received += 1;
                }
                None => panic!("{received} of {sent} came; more wait: {waits}"),
            }
        }
        assert!(send(&mut batches, &device, b"more"));
        assert_eq!(read(&other).unwrap(), b"more", "nothing waits any more");
    }
}
