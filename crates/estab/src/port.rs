//! One link of a stack: what goes through it, and what waits because it is full.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use link::{Batching, Link};
use stack::{InterfaceId, Transmit};
use wire::frame::{Capabilities, FrameBuf, ReceiveMeta, TransmitMeta};
use wire::time::Instant;

use crate::poller::{Interest, Poller};
use crate::ports::Habit;
use crate::ready::ReadyList;

/// After an error of a link that may pass, it is left alone for this long, twice as long after
/// the next one, and so on up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// A link that fails all the time is asked once a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A link with its interface and the frames that it has not taken yet.
pub(crate) struct Port {
    /// The stack's name for it.
    pub(crate) interface: InterfaceId,
    link: Box<dyn Link>,
    /// How large a buffer must be for every frame of the link.
    buffer_size: usize,
    /// Frames that the link was too full for, oldest first. They count as sent.
    stash: VecDeque<Stashed>,
    /// Whether it brings frames one at a time.
    pub(crate) habit: Habit,
    /// It was told that many small frames come and go.
    batching: bool,
    /// It could not send what it kept.
    is_full: bool,
    /// Where readiness is waited for.
    poller: Arc<Poller>,
    /// Polls that wait for it, too, each on its own descriptor: one that waits for the other's wakes later,
    /// and most often on another core.
    lists: Vec<Weak<ReadyList>>,
    /// What is waited for now.
    interest: Interest,
    /// Set after an error that may pass: nothing is received before.
    pause_until: Option<Instant>,
    /// The length of the next pause.
    next_pause: Duration,
    /// Sending found that the link is gone; what it still holds for us is received first.
    gone: Option<String>,
}

/// A frame that the link had no room for.
struct Stashed {
    bytes: Vec<u8>,
    /// How many of the bytes are headers: a link cuts a super-segment behind them.
    header_len: usize,
    meta: TransmitMeta,
}

/// What asking for a frame gave.
pub(crate) enum Received {
    /// A frame.
    Frame(ReceiveMeta),
    /// None now.
    Nothing,
    /// The link is gone for good, and why.
    Gone(String),
}

impl Port {
    /// Takes `link` and begins to wait for its frames.
    pub(crate) fn new(
        interface: InterfaceId,
        link: Box<dyn Link>,
        poller: &Arc<Poller>,
    ) -> io::Result<Self> {
        let buffer_size = link::buffer_size(&link.capabilities());
        let mut port = Self {
            interface,
            link,
            buffer_size,
            stash: VecDeque::new(),
            habit: Habit::default(),
            batching: false,
            is_full: false,
            poller: Arc::clone(poller),
            lists: Vec::new(),
            interest: Interest::Nothing,
            pause_until: None,
            next_pause: FIRST_PAUSE,
            gone: None,
        };
        if port.link.descriptor().is_none() {
            let why = "this link has no descriptor to wait on: it is for simulations";
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        port.show_interest(Interest::Frames)?;
        Ok(port)
    }

    /// What the link can do.
    pub(crate) fn capabilities(&self) -> Capabilities {
        self.link.capabilities()
    }

    /// How many frames wait for the link.
    pub(crate) fn stashed(&self) -> usize {
        self.stash.len()
    }

    /// Whether frames wait until there is room for them, here or in the link.
    pub(crate) fn is_stashing(&self) -> bool {
        self.is_full || !self.stash.is_empty()
    }

    /// Its descriptor, when nothing but frames is waited for.
    pub(crate) fn waits_for_frames(&self) -> Option<BorrowedFd<'_>> {
        self.link.descriptor().filter(|_| self.interest == Interest::Frames)
    }

    /// Whether the driver must look at this port now, although nothing is readable.
    pub(crate) fn needs_driver(&self) -> bool {
        self.gone.is_some()
    }

    /// When to look at this port although nothing is readable.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.link.next_deadline(), self.pause_until].into_iter().flatten().min()
    }

    /// Makes `frame` large enough, and receives into it.
    pub(crate) fn receive(&mut self, now: Instant, frame: &mut FrameBuf) -> Received {
        if self.pause_until.is_some_and(|until| now < until) {
            return Received::Nothing;
        }
        if self.pause_until.take().is_some() {
            self.restore_interest();
        }
        if frame.capacity() < self.buffer_size {
            *frame = FrameBuf::with_capacity(self.buffer_size);
        }
        match self.link.receive(now, frame) {
            Ok(Some(meta)) => {
                self.next_pause = FIRST_PAUSE;
                Received::Frame(meta)
            }
            Ok(None) => self.gone.take().map_or(Received::Nothing, Received::Gone),
            Err(error) if is_fatal(&error) => Received::Gone(error.to_string()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Received::Nothing,
            Err(_) => {
                self.pause(now);
                self.gone.take().map_or(Received::Nothing, Received::Gone)
            }
        }
    }

    /// Sends a packet, or keeps a copy until the link has room.
    pub(crate) fn send(&mut self, now: Instant, packet: &Transmit<'_>) {
        let refused = !self.stash.is_empty() || {
            let sent = self.link.send(now, packet.header, &packet.payload, &packet.meta);
            self.is_refused(sent)
        };
        if refused {
            let mut bytes = Vec::with_capacity(packet.len());
            bytes.extend_from_slice(packet.header);
            for slice in &packet.payload {
                bytes.extend_from_slice(slice);
            }
            let header_len = packet.header.len();
            self.stash.push_back(Stashed { bytes, header_len, meta: packet.meta });
            self.restore_interest();
        }
    }

    /// Offers the link again what it had no room for.
    pub(crate) fn flush(&mut self, now: Instant) {
        if self.stash.is_empty() {
            return;
        }
        while let Some(frame) = self.stash.pop_front() {
            let (header, payload) = frame.bytes.split_at(frame.header_len);
            let sent = self.link.send(now, header, &[payload], &frame.meta);
            if self.is_refused(sent) {
                self.stash.push_front(frame);
                return;
            }
        }
        self.restore_interest();
    }

    /// Tells the link whether many small frames come and go.
    pub(crate) fn set_batching(&mut self, now: Instant, on: bool) {
        if self.batching != on {
            self.link.set_batching(on);
            self.batching = true;
            self.flush_link(now);
            self.batching = on;
        }
    }

    /// Whether the link sends and receives several frames at once.
    pub(crate) fn batching(&self) -> Batching {
        self.link.batching()
    }

    /// Sends what the link kept.
    pub(crate) fn flush_link(&mut self, now: Instant) {
        if !self.batching && !self.is_full {
            return;
        }
        let sent = self.link.flush(now);
        let is_full = self.is_refused(sent);
        if is_full != self.is_full {
            self.is_full = is_full;
            self.restore_interest();
        }
    }

    /// Whether a frame is still to be sent. What else goes wrong with it is a loss like any other
    /// on a network, which the protocols repair; only a link that is gone is remembered.
    fn is_refused(&mut self, sent: io::Result<()>) -> bool {
        match sent {
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) if is_fatal(&error) => {
                self.gone = Some(error.to_string());
                false
            }
            Ok(()) | Err(_) => false,
        }
    }

    /// Leaves the link alone for a while, so that one that fails all the time costs nothing.
    fn pause(&mut self, now: Instant) {
        self.pause_until = Some(now.after(self.next_pause));
        self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
        self.restore_interest();
    }

    /// Waits for what the port's state asks for.
    fn restore_interest(&mut self) {
        let wanted = match (self.pause_until, self.is_stashing()) {
            (Some(_), _) => Interest::Nothing,
            (None, false) => Interest::Frames,
            (None, true) => Interest::FramesAndRoom,
        };
        if let Err(error) = self.show_interest(wanted) {
            self.gone = Some(format!("its readiness cannot be waited for: {error}"));
        }
    }

    fn show_interest(&mut self, wanted: Interest) -> io::Result<()> {
        if let Some(descriptor) = self.link.descriptor() {
            self.poller.change(descriptor, self.interest, wanted)?;
            for list in self.lists.iter().filter_map(Weak::upgrade) {
                list.own().change(descriptor, self.interest, wanted)?;
            }
            self.interest = wanted;
        }
        Ok(())
    }

    /// Has the poll of `list` wait for what the driver waits for, too, or no more.
    pub(crate) fn share_with(&mut self, list: &Arc<ReadyList>, on: bool) -> io::Result<()> {
        let Some(descriptor) = self.link.descriptor() else { return Ok(()) };
        let is_it = |known: &Weak<ReadyList>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(list));
        let knew = self.lists.iter().any(is_it);
        self.lists.retain(|known| known.strong_count() > 0 && !is_it(known));
        let (from, to) = match (knew, on) {
            (false, true) => (Interest::Nothing, self.interest),
            (true, false) => (self.interest, Interest::Nothing),
            (true, true) | (false, false) => (Interest::Nothing, Interest::Nothing),
        };
        list.own().change(descriptor, from, to)?;
        if on {
            self.lists.push(Arc::downgrade(list));
        }
        Ok(())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // A duplicate of the descriptor elsewhere would keep it in the epoll set.
        let _ = self.show_interest(Interest::Nothing);
    }
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("interface", &self.interface)
            .field("stashed", &self.stash.len())
            .finish_non_exhaustive()
    }
}

/// `BrokenPipe` is how a link says that it is gone for good.
fn is_fatal(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use link::{PairConfig, PairEnd, pair};
    use stack::Stack;
    use wire::frame::TransmitChecksum;

    use super::*;

    /// A link whose answers a test writes; only its descriptor is real.
    struct Scripted {
        end: PairEnd,
        script: Arc<Script>,
    }

    #[derive(Default)]
    struct Script {
        /// What `send` answers; success when there is nothing.
        send: Mutex<VecDeque<ErrorKind>>,
        /// What `receive` answers; nothing when there is nothing.
        receive: Mutex<VecDeque<ErrorKind>>,
        /// What `flush` answers; success when there is nothing.
        flush: Mutex<VecDeque<ErrorKind>>,
        sent: Mutex<Vec<Sent>>,
    }

    /// Header, payload, comment.
    type Sent = (Vec<u8>, Vec<u8>, &'static str);

    impl Link for Scripted {
        fn capabilities(&self) -> Capabilities {
            self.end.capabilities()
        }

        fn receive(&mut self, _: Instant, _: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
            self.script
                .receive
                .lock()
                .unwrap()
                .pop_front()
                .map_or(Ok(None), |kind| Err(kind.into()))
        }

        fn send(
            &mut self,
            _: Instant,
            header: &[u8],
            payload: &[&[u8]],
            meta: &TransmitMeta,
        ) -> io::Result<()> {
            if let Some(kind) = self.script.send.lock().unwrap().pop_front() {
                return Err(kind.into());
            }
            self.script.sent.lock().unwrap().push((
                header.to_vec(),
                payload.concat(),
                meta.comment,
            ));
            Ok(())
        }

        fn descriptor(&self) -> Option<BorrowedFd<'_>> {
            self.end.descriptor()
        }

        fn flush(&mut self, _: Instant) -> io::Result<()> {
            self.script.flush.lock().unwrap().pop_front().map_or(Ok(()), |kind| Err(kind.into()))
        }
    }

    /// A port on a scripted link, and the other end, which keeps the descriptor alive.
    fn scripted() -> (Port, Arc<Script>, PairEnd) {
        let (end, other) = pair(PairConfig::ip(1500)).unwrap();
        let script = Arc::new(Script::default());
        let poller = Arc::new(Poller::new().unwrap());
        let mut stack = Stack::new(stack::Config::default(), [0; 32]);
        let interface = stack.add_interface(end.capabilities());
        let link = Box::new(Scripted { end, script: Arc::clone(&script) });
        (Port::new(interface, link, &poller).unwrap(), script, other)
    }

    fn send(port: &mut Port, header: &[u8], payload: &[u8], comment: &'static str) {
        let meta =
            TransmitMeta { checksum: TransmitChecksum::Complete, segment_size: None, comment };
        let packet = Transmit {
            interface: port.interface,
            header,
            payload: [payload].into_iter().collect(),
            meta,
        };
        port.send(Instant::ZERO, &packet);
    }

    #[test]
    fn what_a_full_link_refuses_goes_first_when_there_is_room() {
        let (mut port, script, _other) = scripted();
        script.send.lock().unwrap().extend([ErrorKind::WouldBlock, ErrorKind::WouldBlock]);
        send(&mut port, b"head1", b"one", "a");
        send(&mut port, b"head2", b"two", "b");
        assert_eq!((port.stashed(), port.interest), (2, Interest::FramesAndRoom));
        port.flush(Instant::ZERO);
        assert_eq!(port.stashed(), 2, "still full");
        port.flush(Instant::ZERO);
        assert_eq!((port.stashed(), port.interest), (0, Interest::Frames));
        let sent = script.sent.lock().unwrap();
        assert_eq!(sent[0], (b"head1".to_vec(), b"one".to_vec(), "a"));
        assert_eq!(sent[1], (b"head2".to_vec(), b"two".to_vec(), "b"));
    }

    #[test]
    fn what_a_link_kept_and_cannot_send_waits_for_room() {
        let (mut port, script, _other) = scripted();
        port.set_batching(Instant::ZERO, true);
        assert_eq!((port.is_stashing(), port.interest), (false, Interest::Frames));
        script.flush.lock().unwrap().extend([ErrorKind::WouldBlock, ErrorKind::WouldBlock]);
        port.flush_link(Instant::ZERO);
        assert_eq!((port.is_stashing(), port.interest), (true, Interest::FramesAndRoom));
        // Also when it is to batch no more.
        port.set_batching(Instant::ZERO, false);
        assert!(port.is_stashing());
        port.flush_link(Instant::ZERO);
        assert_eq!((port.is_stashing(), port.interest), (false, Interest::Frames));
    }

    #[test]
    fn a_frame_that_the_link_will_never_take_is_lost_and_nothing_else() {
        let (mut port, script, _other) = scripted();
        script.send.lock().unwrap().extend([ErrorKind::InvalidInput, ErrorKind::NetworkDown]);
        for comment in ["a", "b", "c"] {
            send(&mut port, b"h", b"p", comment);
        }
        assert_eq!(port.stashed(), 0);
        assert_eq!(script.sent.lock().unwrap().len(), 1);
        assert!(!port.needs_driver());
    }

    #[test]
    fn what_came_before_the_end_of_the_link_is_received() {
        let (end, mut other) = pair(PairConfig::ip(1500)).unwrap();
        let poller = Arc::new(Poller::new().unwrap());
        let mut stack = Stack::new(stack::Config::default(), [0; 32]);
        let interface = stack.add_interface(end.capabilities());
        let mut port = Port::new(interface, Box::new(end), &poller).unwrap();
        other.send(Instant::ZERO, &[0x45; 20], &[], &TransmitMeta::default()).unwrap();
        drop(other);
        send(&mut port, &[0x45; 20], b"", "");
        assert!(port.needs_driver());
        let mut frame = FrameBuf::default();
        assert!(matches!(port.receive(Instant::ZERO, &mut frame), Received::Frame(_)));
        assert!(matches!(port.receive(Instant::ZERO, &mut frame), Received::Gone(_)));
    }

    #[test]
    fn a_link_that_fails_all_the_time_is_asked_less_and_less() {
        let (mut port, script, _other) = scripted();
        script.receive.lock().unwrap().extend([ErrorKind::NetworkDown; 100]);
        let mut frame = FrameBuf::default();
        let mut now = Instant::ZERO;
        let mut asked = 0;
        while now < Instant::from_millis(20_000) {
            assert!(matches!(port.receive(now, &mut frame), Received::Nothing));
            assert_eq!(port.interest, Interest::Nothing, "errors must not wake the driver");
            asked += 1;
            now = port.deadline().expect("it is asked again");
        }
        assert!((20..40).contains(&asked), "{asked} times in 20 s");
        script.receive.lock().unwrap().clear();
        assert!(matches!(port.receive(now, &mut frame), Received::Nothing));
        assert_eq!((port.interest, port.deadline()), (Interest::Frames, None));
    }
}
