//! The trace in steps: a packet, a call or a timer, together with what it changed.

use std::collections::HashMap;

use stack::reason::Sent;
use stack::trace::{Call, Timer, What};
use stack::{FourTuple, State, TraceEvent, tcp};
use wire::time::Instant;

/// For how many connections the starts of their numbers are remembered.
const REMEMBERED: usize = 65_536;

/// One thing that happened, and what followed from it at once.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Step {
    /// When, counted from the start of the stack.
    pub(crate) time: Instant,
    /// To which conversation, where it is known.
    pub(crate) flow: Option<FourTuple>,
    /// What.
    pub(crate) what: Happening,
    /// The states that changed: from, to, and why.
    pub(crate) changes: Vec<(State, State, tcp::state::Event)>,
    /// What was dropped of it or withheld after it, and why.
    pub(crate) notes: Vec<&'static str>,
}

/// What a step is about.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Happening {
    /// A TCP segment.
    Segment(Segment),
    /// A packet of another protocol: what kind, its payload in bytes, and why when it is ours.
    Packet {
        direction: Direction,
        kind: &'static str,
        peer: std::net::IpAddr,
        length: u32,
        reason: Option<Sent>,
    },
    /// The program called.
    Call(Call),
    /// A timer fired.
    Timer(Timer),
    /// Nothing that can be seen from outside.
    Change,
}

/// A TCP segment as a trace shows it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Segment {
    /// From whom to whom.
    pub(crate) direction: Direction,
    /// The header as it was on the wire.
    pub(crate) header: wire::tcp::Header,
    /// The payload in bytes.
    pub(crate) length: u32,
    /// Why we sent it; `None` when it came from the peer.
    pub(crate) reason: Option<Sent>,
    /// The sequence number of the sender's SYN, from which its numbers are counted here.
    pub(crate) sequence_base: u32,
    /// The same of the receiver.
    pub(crate) acknowledgment_base: u32,
}

impl Segment {
    /// The sequence number, counted from the SYN.
    pub(crate) fn sequence(&self) -> u32 {
        self.header.sequence.wrapping_sub(self.sequence_base)
    }

    /// The acknowledgment number, counted from the SYN; `None` without the ACK flag.
    pub(crate) fn acknowledgment(&self) -> Option<u32> {
        let acknowledges = self.header.flags.contains(wire::tcp::Flags::ACK);
        acknowledges.then(|| self.header.acknowledgment.wrapping_sub(self.acknowledgment_base))
    }
}

/// Which way a packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// To the stack.
    In,
    /// From the stack.
    Out,
}

/// Puts events together to steps.
#[derive(Debug, Default)]
pub(crate) struct Stepper {
    /// The step that may still grow.
    open: Option<Step>,
    /// Where the numbers of each connection start: ours and the peer's.
    bases: HashMap<FourTuple, Bases>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bases {
    ours: Option<u32>,
    theirs: Option<u32>,
}

impl Stepper {
    /// Takes an event; gives the step that it completes.
    pub(crate) fn push(&mut self, event: &TraceEvent) -> Option<Step> {
        let what = match &event.what {
            What::Transition { from, to, cause } => {
                return self.attach(event, |step| step.changes.push((*from, *to, *cause)));
            }
            What::Dropped { reason } => {
                return self.attach(event, |step| step.notes.push(reason.comment()));
            }
            What::Withheld { reason } => {
                return self.attach(event, |step| step.notes.push(reason.comment()));
            }
            What::SegmentIn { header, length } => {
                self.segment(event.flow, Direction::In, *header, *length, None)
            }
            What::SegmentOut { header, length, reason } => {
                self.segment(event.flow, Direction::Out, *header, *length, Some(*reason))
            }
            What::PacketIn { kind, source, length, .. } => Happening::Packet {
                direction: Direction::In,
                kind,
                peer: *source,
                length: *length,
                reason: None,
            },
            What::PacketOut { kind, destination, length, reason, .. } => Happening::Packet {
                direction: Direction::Out,
                kind,
                peer: *destination,
                length: *length,
                reason: Some(*reason),
            },
            // So many of them that they hide the rest.
            What::Command { call: Call::Read(_) | Call::Write(_) } => return None,
            What::Command { call } => Happening::Call(*call),
            What::Timer { timer } => Happening::Timer(*timer),
            _ => return None,
        };
        self.open.replace(Step::new(event, what))
    }

    /// The step that was still open: nothing more belongs to it.
    pub(crate) fn flush(&mut self) -> Option<Step> {
        self.open.take()
    }

    /// Adds to the open step, when it is about the same conversation; else begins another.
    fn attach(&mut self, event: &TraceEvent, add: impl FnOnce(&mut Step)) -> Option<Step> {
        let same = |step: &Step| {
            event.flow.is_none()
                || step.flow == event.flow
                || (step.flow.is_none() && matches!(step.what, Happening::Segment(_)))
        };
        if let Some(step) = self.open.as_mut().filter(|step| same(step)) {
            step.flow = step.flow.or(event.flow);
            add(step);
            return None;
        }
        let mut step = Step::new(event, Happening::Change);
        add(&mut step);
        self.open.replace(step)
    }

    fn segment(
        &mut self,
        flow: Option<FourTuple>,
        direction: Direction,
        header: wire::tcp::Header,
        length: u32,
        reason: Option<Sent>,
    ) -> Happening {
        let (mut none, syn) = (Bases::default(), header.flags.contains(wire::tcp::Flags::SYN));
        if self.bases.len() >= REMEMBERED {
            self.bases.clear();
        }
        let bases = flow.map_or(&mut none, |flow| self.bases.entry(flow).or_default());
        let (sender, receiver) = match direction {
            Direction::In => (&mut bases.theirs, &mut bases.ours),
            Direction::Out => (&mut bases.ours, &mut bases.theirs),
        };
        if syn {
            *sender = Some(header.sequence);
        }
        // A connection that is seen from its middle on is counted from what is seen first.
        let acknowledges = header.flags.contains(wire::tcp::Flags::ACK);
        let sequence_base = *sender.get_or_insert(header.sequence);
        if acknowledges && receiver.is_none() {
            *receiver = Some(header.acknowledgment.wrapping_sub(1));
        }
        Happening::Segment(Segment {
            direction,
            header,
            length,
            reason,
            sequence_base,
            acknowledgment_base: receiver.unwrap_or_default(),
        })
    }
}

impl Step {
    fn new(event: &TraceEvent, what: Happening) -> Self {
        Self { time: event.time, flow: event.flow, what, changes: Vec::new(), notes: Vec::new() }
    }
}

/// A call as the program wrote it.
pub(crate) fn call_name(call: Call) -> String {
    match call {
        Call::Listen(backlog) => format!("listen({backlog})"),
        Call::Connect => "connect()".into(),
        Call::Accept => "accept()".into(),
        Call::Write(bytes) => format!("write({bytes} bytes)"),
        Call::Read(0) => "read() = 0, the end".into(),
        Call::Read(bytes) => format!("read() = {bytes} bytes"),
        Call::ShutdownWrite => "shutdown(SHUT_WR)".into(),
        Call::ShutdownRead => "shutdown(SHUT_RD)".into(),
        Call::Close => "close()".into(),
        Call::Abort => "abort()".into(),
    }
}

/// A timer by the name that people know it by.
pub(crate) const fn timer_name(timer: Timer) -> &'static str {
    match timer {
        Timer::Retransmission => "retransmission timer",
        Timer::Persist => "persist timer",
        Timer::DelayedAck => "delayed ACK timer",
        Timer::KeepAlive => "keep-alive timer",
        Timer::TimeWait => "2 MSL timer",
        Timer::FinWait2 => "FIN-WAIT-2 timer",
        Timer::UserTimeout => "user timeout",
        Timer::LossProbe => "loss probe timer",
        Timer::Reordering => "reordering timer",
        Timer::Pacing => "pacing timer",
        Timer::FlowIdle => "idle timer",
    }
}
