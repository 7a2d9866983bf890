//! The connection states, and what leads from one to the next (RFC 9293 3.3.2).
//!
//! ```text
//!                             +---------+ ---------\      active OPEN
//!                             |  CLOSED |            \    -----------
//!                             +---------+<---------\   \   create TCB
//!                               |     ^              \   \  snd SYN
//!                  passive OPEN |     |   CLOSE        \   \
//!                  ------------ |     | ----------       \   \
//!                   create TCB  |     | delete TCB         \   \
//!                               V     |                      \   \
//!           rcv RST (note 1)  +---------+            CLOSE    |    \
//!        -------------------->|  LISTEN |          ---------- |     |
//!       /                     +---------+          delete TCB |     |
//!      /           rcv SYN      |     |     SEND              |     |
//!     /           -----------   |     |    -------            |     V
//! +--------+      snd SYN,ACK  /       \   snd SYN          +--------+
//! |        |<-----------------           ------------------>|        |
//! |  SYN   |                    rcv SYN                     |  SYN   |
//! |  RCVD  |<-----------------------------------------------|  SENT  |
//! |        |                  snd SYN,ACK                   |        |
//! |        |------------------           -------------------|        |
//! +--------+   rcv ACK of SYN  \       /  rcv SYN,ACK       +--------+
//!    |         --------------   |     |   -----------
//!    |                x         |     |     snd ACK
//!    |                          V     V
//!    |  CLOSE                 +---------+
//!    | -------                |  ESTAB  |
//!    | snd FIN                +---------+
//!    |                 CLOSE    |     |    rcv FIN
//!    V                -------   |     |    -------
//! +---------+         snd FIN  /       \   snd ACK         +---------+
//! |  FIN    |<----------------          ------------------>|  CLOSE  |
//! | WAIT-1  |------------------                            |   WAIT  |
//! +---------+          rcv FIN  \                          +---------+
//!   | rcv ACK of FIN   -------   |                          CLOSE  |
//!   | --------------   snd ACK   |                         ------- |
//!   V        x                   V                         snd FIN V
//! +---------+               +---------+                    +---------+
//! |FINWAIT-2|               | CLOSING |                    | LAST-ACK|
//! +---------+               +---------+                    +---------+
//!   |              rcv ACK of FIN |                 rcv ACK of FIN |
//!   |  rcv FIN     -------------- |    Timeout=2MSL -------------- |
//!   |  -------            x       V    ------------        x       V
//!    \ snd ACK              +---------+delete TCB          +---------+
//!      -------------------->|TIME-WAIT|------------------->| CLOSED  |
//!                           +---------+                    +---------+
//! ```
//!
//! Note 1: only when the SYN-RECEIVED came from LISTEN (RFC 9293 3.10.7.4, second check); it then
//! means that the half-open entry is gone and the listener is where it was. [`FIGURE`] holds the
//! same arrows as data, and what the figure leaves to the text: resets, aborts and timeouts.

use core::fmt;

use Event::*;
use State::*;

/// The state of a connection, from the view of one end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum State {
    /// There is no connection.
    Closed,
    /// Waits for any peer's SYN.
    Listen,
    /// Sent a SYN, waits for the peer's.
    SynSent,
    /// Both SYNs are out; ours is not acknowledged yet.
    SynReceived,
    /// Open: data flows.
    Established,
    /// We closed; our FIN is not acknowledged yet.
    FinWait1,
    /// We closed and that is acknowledged; the peer may still send.
    FinWait2,
    /// The peer closed; our program may still send.
    CloseWait,
    /// Both closed at once; our FIN is not acknowledged yet.
    Closing,
    /// The peer closed, then we did; our FIN is not acknowledged yet.
    LastAck,
    /// Both closed; old segments die out before the addresses are used again.
    TimeWait,
}

/// What leads from one state to another: the labels of the figure's arrows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Event {
    /// The program listens.
    PassiveOpen,
    /// The program connects.
    ActiveOpen,
    /// The program closes (or shuts its sending side down).
    Close,
    /// A SYN came.
    RcvSyn,
    /// A SYN came that acknowledges ours.
    RcvSynAck,
    /// Our SYN was acknowledged.
    RcvAckOfSyn,
    /// A FIN came, in order.
    RcvFin,
    /// Our FIN was acknowledged.
    RcvAckOfFin,
    /// An acceptable RST came.
    RcvRst,
    /// The program aborted the connection.
    Abort,
    /// The peer did not answer in time.
    TimedOut,
    /// 2 MSL are over.
    TimeWaitOver,
}

/// One arrow of the figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transition {
    /// Where the arrow begins.
    pub from: State,
    /// What is above the line of its label.
    pub on: Event,
    /// Where the arrow ends.
    pub to: State,
    /// What is below the line: what is sent, or done.
    pub action: &'static str,
}

const fn arrow(from: State, on: Event, to: State, action: &'static str) -> Transition {
    Transition { from, on, to, action }
}

/// Figure 5 of RFC 9293 as data, from the top of the figure to its bottom.
pub const FIGURE: &[Transition] = &[
    arrow(Closed, PassiveOpen, Listen, "create TCB"),
    arrow(Closed, ActiveOpen, SynSent, "create TCB, snd SYN"),
    arrow(Listen, Close, Closed, "delete TCB"),
    arrow(Listen, RcvSyn, SynReceived, "snd SYN,ACK"),
    arrow(Listen, ActiveOpen, SynSent, "snd SYN"),
    arrow(SynSent, Close, Closed, "delete TCB"),
    arrow(SynSent, RcvSyn, SynReceived, "snd SYN,ACK"),
    arrow(SynSent, RcvSynAck, Established, "snd ACK"),
    arrow(SynReceived, RcvAckOfSyn, Established, ""),
    arrow(SynReceived, Close, FinWait1, "snd FIN"),
    arrow(SynReceived, RcvFin, CloseWait, "snd ACK"),
    arrow(Established, Close, FinWait1, "snd FIN"),
    arrow(Established, RcvFin, CloseWait, "snd ACK"),
    arrow(FinWait1, RcvAckOfFin, FinWait2, ""),
    arrow(FinWait1, RcvFin, Closing, "snd ACK"),
    arrow(FinWait2, RcvFin, TimeWait, "snd ACK"),
    arrow(CloseWait, Close, LastAck, "snd FIN"),
    arrow(Closing, RcvAckOfFin, TimeWait, ""),
    arrow(LastAck, RcvAckOfFin, Closed, "delete TCB"),
    arrow(TimeWait, TimeWaitOver, Closed, "delete TCB"),
];

/// What RFC 9293 says in words about every synchronised state: a reset, an abort and a timeout end
/// the connection (3.10.7.4 second check, 3.10.5, 3.8.3).
pub const ENDINGS: &[Event] = &[RcvRst, Abort, TimedOut];

impl State {
    /// All eleven, in the order of RFC 9293 3.3.2.
    pub const ALL: [State; 11] = [
        Closed,
        Listen,
        SynSent,
        SynReceived,
        Established,
        FinWait1,
        FinWait2,
        CloseWait,
        Closing,
        LastAck,
        TimeWait,
    ];

    /// The state that follows when `event` happens; `None` where the event means nothing here.
    #[must_use]
    pub fn on(self, event: Event) -> Option<State> {
        if let Some(arrow) = FIGURE.iter().find(|arrow| arrow.from == self && arrow.on == event) {
            return Some(arrow.to);
        }
        let ends = ENDINGS.contains(&event) && !matches!(self, Closed | Listen);
        // RFC 1337: a reset does not end a TIME-WAIT.
        let survives = self == TimeWait && event == RcvRst;
        (ends && !survives).then_some(Closed)
    }

    /// The name as RFC 9293 prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Closed => "CLOSED",
            Listen => "LISTEN",
            SynSent => "SYN-SENT",
            SynReceived => "SYN-RECEIVED",
            Established => "ESTABLISHED",
            FinWait1 => "FIN-WAIT-1",
            FinWait2 => "FIN-WAIT-2",
            CloseWait => "CLOSE-WAIT",
            Closing => "CLOSING",
            LastAck => "LAST-ACK",
            TimeWait => "TIME-WAIT",
        }
    }

    /// The name as `ss` prints it.
    #[must_use]
    pub const fn ss_name(self) -> &'static str {
        match self {
            Closed => "UNCONN",
            Listen => "LISTEN",
            SynSent => "SYN-SENT",
            SynReceived => "SYN-RECV",
            Established => "ESTAB",
            FinWait1 => "FIN-WAIT-1",
            FinWait2 => "FIN-WAIT-2",
            CloseWait => "CLOSE-WAIT",
            Closing => "CLOSING",
            LastAck => "LAST-ACK",
            TimeWait => "TIME-WAIT",
        }
    }

    /// Both SYNs were exchanged and acknowledged, or ours is about to be (RFC 9293 3.5.3).
    #[must_use]
    pub const fn is_synchronized(self) -> bool {
        !matches!(self, Closed | Listen | SynSent | SynReceived)
    }

    /// The program may still queue data for the peer.
    #[must_use]
    pub const fn may_send(self) -> bool {
        matches!(self, SynSent | SynReceived | Established | CloseWait)
    }

    /// The peer may still send data.
    #[must_use]
    pub const fn may_receive(self) -> bool {
        matches!(self, SynSent | SynReceived | Established | FinWait1 | FinWait2)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Event {
    /// All of them.
    pub const ALL: [Event; 12] = [
        PassiveOpen,
        ActiveOpen,
        Close,
        RcvSyn,
        RcvSynAck,
        RcvAckOfSyn,
        RcvFin,
        RcvAckOfFin,
        RcvRst,
        Abort,
        TimedOut,
        TimeWaitOver,
    ];

    /// The label as the figure prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            PassiveOpen => "passive OPEN",
            ActiveOpen => "active OPEN",
            Close => "CLOSE",
            RcvSyn => "rcv SYN",
            RcvSynAck => "rcv SYN,ACK",
            RcvAckOfSyn => "rcv ACK of SYN",
            RcvFin => "rcv FIN",
            RcvAckOfFin => "rcv ACK of FIN",
            RcvRst => "rcv RST",
            Abort => "ABORT",
            TimedOut => "timed out",
            TimeWaitOver => "Timeout=2MSL",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use core::fmt::Write;

    #[test]
    fn every_state_and_every_event() {
        let mut table = String::new();
        for state in State::ALL {
            for event in Event::ALL {
                let next = state.on(event).map_or("-", State::name);
                writeln!(table, "{:<13} {:<15} {next}", state.name(), event.name()).unwrap();
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn the_figure_has_no_two_arrows_for_one_event() {
        for (i, a) in FIGURE.iter().enumerate() {
            assert!(FIGURE[i + 1..].iter().all(|b| (a.from, a.on) != (b.from, b.on)));
        }
    }
}
