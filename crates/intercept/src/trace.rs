//! What each call did to its connection, for who wants to see it.

use std::fmt;
use std::net::SocketAddr;

use estab::core::FourTuple;
use estab::core::trace::{Call as Command, What};
use estab::wire::tcp::Flags;
use estab::{Recording, Stack, State, TraceEvent};
use rustix::io::Errno;

use crate::options::Observer;
use crate::report::{self, CallEvent, Effect};
use crate::request::{Request, Traced};
use crate::supervisor::Supervisor;
use crate::syscall::Call;
use crate::table::{Key, Kind, Socket, Tcp};

mod describe;

/// How many of the stack's events wait for the calls that they belong to.
const LIMIT: usize = 16_384;

/// Shows calls to an observer.
pub(crate) struct Tracer {
    recording: Recording,
    observer: Observer,
    /// What the stack did and no call was shown for.
    events: Vec<TraceEvent>,
    /// The attempt to connect that failed last, which its socket has forgotten.
    failed: Option<(Key, FourTuple)>,
}

/// What was known of a socket before it was closed.
pub(crate) struct Closing {
    thread: u32,
    text: String,
    flow: Option<FourTuple>,
    before: Option<State>,
    /// How many events were there before.
    heard: usize,
}

impl Tracer {
    pub(crate) fn new(stack: &Stack, observer: Observer) -> Self {
        Self { recording: stack.record(), observer, events: Vec::new(), failed: None }
    }

    fn hear(&mut self) {
        self.events.extend(self.recording.take());
        let excess = self.events.len().saturating_sub(LIMIT);
        self.events.drain(..excess);
    }

    /// Forgets what happened to a connection before a call.
    fn forget(&mut self, flow: FourTuple) {
        self.hear();
        self.events.retain(|event| event.flow != Some(flow));
    }

    /// Takes what happened to a connection, or to a listener.
    fn take(&mut self, flow: FourTuple) -> Vec<TraceEvent> {
        self.hear();
        let (taken, kept) =
            std::mem::take(&mut self.events).into_iter().partition(|e| e.flow == Some(flow));
        self.events = kept;
        taken
    }

    /// Takes the resets of connections to a port that were sent behind the first `heard` events.
    fn take_resets(&mut self, local: SocketAddr, heard: usize) -> Vec<TraceEvent> {
        self.hear();
        let heard = heard.min(self.events.len());
        let is_it = |event: &TraceEvent| {
            event.flow.is_some_and(|flow| flow.local.port() == local.port()) && is_reset(event)
        };
        let (taken, kept): (Vec<_>, _) = self.events.split_off(heard).into_iter().partition(is_it);
        self.events.extend(kept);
        taken
    }
}

impl Supervisor {
    /// Notes what a call says and finds, before it is carried out.
    pub(crate) fn describe(&mut self, request: &mut Request, key: Option<Key>) {
        let Some(tracer) = &mut self.tracer else { return };
        let socket = key.and_then(|key| self.table.get(key));
        if let Some(flow) = socket.and_then(flow) {
            tracer.forget(flow);
        }
        let waiting = socket.and_then(waiting);
        let text = describe::call(request, socket.map(|socket| socket.domain));
        let before = socket.and_then(state);
        request.traced = Some(Box::new(Traced { text, before, waiting }));
    }

    /// Shows a call that was answered.
    pub(crate) fn show(&mut self, request: &Request, key: Option<Key>, result: Result<i64, Errno>) {
        let (Some(tracer), Some(traced)) = (&mut self.tracer, &request.traced) else { return };
        let socket = key.and_then(|key| self.table.get(key));
        let failed = tracer.failed.take_if(|(failed, _)| Some(*failed) == key);
        let flow = socket.and_then(flow).or(failed.map(|(_, flow)| flow));
        let mut events = flow.map_or_else(Vec::new, |flow| tracer.take(flow));
        // A handshake is what `connect` is for; else what the peer does is not the call's doing.
        if request.call != Call::Connect {
            cut_at_answer(&mut events);
        }
        let before = traced.before.or(Some(State::Closed));
        let after = events.iter().rev().find_map(entered).or(socket.and_then(state));
        let states = before.zip(after).filter(|_| key.is_some());
        let effect = Effect { states, events, accept_queue: traced.waiting };
        let result = Some(result.map_err(report::Errno::new));
        let call = traced.text.clone();
        (tracer.observer)(&CallEvent { thread: request.thread, call, result, effect });
    }

    /// Notes an attempt to connect that has failed, before its socket forgets it.
    pub(crate) fn attempt_failed(&mut self, key: Key) {
        let Some(tracer) = &mut self.tracer else { return };
        tracer.failed = self.table.get(key).and_then(flow).map(|flow| (key, flow));
    }

    /// Notes a socket whose program has closed it.
    pub(crate) fn before_close(&mut self, key: Key) -> Option<Closing> {
        let tracer = self.tracer.as_mut()?;
        let socket = self.table.get(key)?;
        let flow = flow(socket);
        tracer.hear();
        if let Some(flow) = flow {
            tracer.forget(flow);
        }
        let text = format!("close({})", socket.place.descriptor.cast_signed());
        let (thread, heard) = (socket.place.thread, tracer.events.len());
        Some(Closing { thread, text, flow, before: state(socket), heard })
    }

    /// Shows what its end did.
    pub(crate) fn show_close(&mut self, closing: Option<Closing>) {
        let (Some(tracer), Some(closing)) = (&mut self.tracer, closing) else { return };
        let mut events = Vec::new();
        if let Some(flow) = closing.flow {
            if closing.before == Some(State::Listen) {
                // Those that nobody accepted end with it.
                events = tracer.take_resets(flow.local, closing.heard);
            }
            events.extend(tracer.take(flow));
        }
        cut_at_answer(&mut events);
        let after = events.iter().rev().find_map(entered);
        let before = events.iter().find_map(left).or(closing.before);
        let states = before.zip(after.or(before));
        let effect = Effect { states, events, accept_queue: None };
        let Closing { thread, text: call, .. } = closing;
        (tracer.observer)(&CallEvent { thread, call, result: None, effect });
    }
}

/// Leaves what a call did, up to the peer's next word. What arrived before the stack heard of the call is
/// not its doing, though both may be in one turn: an acknowledgment just before a `close`, on a slow machine.
fn cut_at_answer(events: &mut Vec<TraceEvent>) {
    let ends = |event: &TraceEvent| matches!(&event.what, What::Command { call } if is_end(*call));
    let called = events.iter().position(ends).unwrap_or(0);
    let arrived = |event: &TraceEvent| matches!(event.what, What::SegmentIn { .. });
    let answer = events[called..].iter().position(arrived).map(|place| called + place);
    events.truncate(answer.unwrap_or(events.len()));
    let mut called = events.split_off(called);
    // Before it ends, a call may move what the program wrote, or refuse those that nobody accepted.
    events.retain(|event| match event.what {
        What::SegmentOut { length, .. } => length > 0 || is_reset(event),
        What::Command { .. } => true,
        _ => false,
    });
    events.append(&mut called);
}

/// Whether a call ends a connection, or one direction of it.
fn is_end(call: Command) -> bool {
    use Command::{Abort, Close, ShutdownRead, ShutdownWrite};
    matches!(call, Abort | Close | ShutdownRead | ShutdownWrite)
}

fn is_reset(event: &TraceEvent) -> bool {
    matches!(&event.what, What::SegmentOut { header, .. } if header.flags.contains(Flags::RST))
}

/// The state that an event ended.
fn left(event: &TraceEvent) -> Option<State> {
    match event.what {
        What::Transition { from, .. } => Some(from),
        _ => None,
    }
}

/// The state that an event left behind.
fn entered(event: &TraceEvent) -> Option<State> {
    match event.what {
        What::Transition { to, .. } => Some(to),
        _ => None,
    }
}

/// How many connections wait for `accept`.
fn waiting(socket: &Socket) -> Option<usize> {
    match &socket.kind {
        Kind::Tcp(Tcp::Listening(listening)) => Some(listening.waiting + listening.ready.len()),
        _ => None,
    }
}

fn state(socket: &Socket) -> Option<State> {
    match &socket.kind {
        Kind::Tcp(Tcp::Fresh | Tcp::Over(_)) => Some(State::Closed),
        Kind::Tcp(Tcp::Listening(_)) => Some(State::Listen),
        Kind::Tcp(Tcp::Connecting(connecting)) => Some(connecting.stream.info().ok()?.state),
        Kind::Tcp(Tcp::Connected(connected)) => Some(connected.stream.info().ok()?.state),
        Kind::Udp(_) => None,
    }
}

/// The ends by which the trace names a connection or a listener.
fn flow(socket: &Socket) -> Option<FourTuple> {
    let stream = match &socket.kind {
        Kind::Tcp(Tcp::Connecting(connecting)) => &connecting.stream,
        Kind::Tcp(Tcp::Connected(connected)) => &connected.stream,
        Kind::Tcp(Tcp::Listening(_)) => {
            let local = socket.bound.as_ref()?.local();
            let any = if local.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            return Some(FourTuple { local, remote: SocketAddr::new(any, 0) });
        }
        _ => return None,
    };
    Some(FourTuple { local: stream.local().ok()?, remote: stream.peer().ok()? })
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("events", &self.events.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use estab::core::reason::Sent;
    use estab::core::tcp::state::Event;
    use estab::wire::tcp::{Header, Options};

    use super::*;

    fn event(what: What) -> TraceEvent {
        TraceEvent { time: estab::wire::time::Instant::ZERO, flow: None, what }
    }

    fn header(flags: Flags) -> Header {
        Header {
            source_port: 40_000,
            destination_port: 80,
            sequence: 0,
            acknowledgment: 0,
            flags,
            window: 0,
            urgent: 0,
            options: Options::NONE,
        }
    }

    fn arrives(flags: Flags) -> TraceEvent {
        event(What::SegmentIn { header: header(flags), length: 0 })
    }

    fn leaves(flags: Flags, length: u32, reason: Sent) -> TraceEvent {
        event(What::SegmentOut { header: header(flags), length, reason })
    }

    fn calls(call: Command) -> TraceEvent {
        event(What::Command { call })
    }

    fn changes(from: State, to: State, cause: Event) -> TraceEvent {
        event(What::Transition { from, to, cause })
    }

    #[test]
    fn what_arrives_in_the_turn_of_a_close_does_not_hide_its_fin() {
        let closed = [
            calls(Command::Close),
            changes(State::CloseWait, State::LastAck, Event::Close),
            leaves(Flags::FIN_ACK, 0, Sent::Fin),
        ];
        let mut events = vec![
            arrives(Flags::FIN_ACK),
            changes(State::Established, State::CloseWait, Event::RcvFin),
            leaves(Flags::ACK, 0, Sent::FinAck),
        ];
        events.extend(closed.clone());
        events.push(arrives(Flags::ACK));
        events.push(changes(State::LastAck, State::Closed, Event::RcvAckOfFin));
        cut_at_answer(&mut events);
        assert_eq!(events, closed);
        assert_eq!(events.iter().find_map(left), Some(State::CloseWait));
        assert_eq!(events.iter().find_map(entered), Some(State::LastAck));
    }

    #[test]
    fn what_a_call_moves_before_it_ends_is_its_doing() {
        let moved = [calls(Command::Write(7)), leaves(Flags::ACK, 7, Sent::DataPushed)];
        let ended = [calls(Command::ShutdownWrite), leaves(Flags::FIN_ACK, 0, Sent::Fin)];
        let mut events = moved.to_vec();
        events.push(arrives(Flags::ACK));
        events.extend(ended.clone());
        events.push(arrives(Flags::ACK));
        cut_at_answer(&mut events);
        assert_eq!(events, [moved, ended].concat());
    }

    #[test]
    fn a_call_that_ends_nothing_is_over_when_the_peer_speaks() {
        let did = [calls(Command::Accept)];
        let mut events = did.to_vec();
        events.extend([arrives(Flags::ACK), leaves(Flags::ACK, 0, Sent::FinAck)]);
        cut_at_answer(&mut events);
        assert_eq!(events, did);
    }
}
