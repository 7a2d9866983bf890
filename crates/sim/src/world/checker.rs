//! What must be true of every packet and every state, whatever the network does.
//!
//! | what | source |
//! |---|---|
//! | every packet has a reason | |
//! | nothing is sent beyond the window that the peer offered, but a probe | RFC 9293 3.8.6 |
//! | nothing is acknowledged that was never sent; acknowledgments never go back | RFC 9293 3.4 |
//! | the right edge of the window never moves back | RFC 9293 3.8.6 SHLD-14 |
//! | nothing follows FIN | RFC 9293 3.6 |
//! | no segment is larger than the peer's MSS | RFC 9293 3.7.1 MUST-16 |
//! | every change of state is an arrow of the figure | RFC 9293 3.3.2 |
//! | the states of both ends fit together | RFC 9293 3.3.2 |

use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;

use stack::trace::What;
use stack::{FourTuple, Stack, State};

use crate::segment::{Flags, Segment, TcpOption};

/// Looks at every packet and follows every state.
#[derive(Debug)]
pub struct Checker {
    /// What one end of a connection said, by sender and receiver.
    ends: HashMap<(SocketAddrV4, SocketAddrV4), End>,
    /// The state of every connection of every host.
    states: Vec<HashMap<FourTuple, State>>,
    /// The server answers with SYN cookies, and so with several initial numbers, and an old ACK may
    /// open its connection again at other numbers, while the other end is in any state: neither
    /// numbers nor pairs of states are checked.
    cookies: bool,
}

/// What one end of a connection said so far.
#[derive(Clone, Debug, Default)]
struct End {
    /// The number of its SYN.
    first: u32,
    /// One past the last number that it sent, counted from `first`.
    next: u64,
    /// One past its FIN, counted from `first`.
    fin: Option<u64>,
    /// What it offered, if it did.
    scale: Option<u8>,
    mss: Option<u16>,
    timestamps: bool,
    /// Its highest acknowledgment, and the right edge of its window as it stands in what it sent;
    /// both counted from the other's `first`.
    acked: u64,
    edge: u64,
    /// The highest right edge of its window that reached the other end.
    offered: u64,
}

impl Checker {
    /// For a world of `hosts` hosts.
    #[must_use]
    pub fn new(hosts: usize, cookies: bool) -> Self {
        Self { ends: HashMap::new(), states: vec![HashMap::new(); hosts], cookies }
    }

    /// A packet leaves its host: checks it, and gives it as a line.
    ///
    /// # Errors
    /// When it breaks a rule.
    pub fn leaves(
        &mut self,
        packet: &[u8],
        segment_size: Option<NonZeroU16>,
        reason: &str,
    ) -> Result<String, String> {
        let Some(segment) = Segment::parse_unverified(packet) else {
            return Ok(format!("{} bytes that are not TCP", packet.len()));
        };
        let line = display(&segment, segment_size, reason);
        if reason.is_empty() {
            return Err(format!("a segment without a reason: {line}"));
        }
        if !self.cookies {
            self.check(&segment, segment_size).map_err(|what| format!("{what}: {line}"))?;
        }
        Ok(line)
    }

    /// A packet arrives: what it offers may be used from now on.
    pub fn arrives(&mut self, packet: &[u8]) {
        let Some(segment) = Segment::parse_unverified(packet) else { return };
        if !segment.flags.has(Flags::ACK) || segment.flags.has(Flags::RST) {
            return;
        }
        let key = (segment.source, segment.destination);
        let Some((end, other)) = self.both(key) else { return };
        let edge = right_edge(&segment, &end, &other);
        if let Some(end) = self.ends.get_mut(&key) {
            end.offered = end.offered.max(edge);
        }
    }

    /// Reads the stack's trace: every change of state, and whether both ends fit together.
    ///
    /// # Errors
    /// When a change is not an arrow of the figure, or the two ends cannot be in these states.
    pub fn follow(&mut self, host: usize, stack: &mut Stack) -> Result<(), String> {
        while let Some(event) = stack.poll_trace() {
            let (Some(flow), What::Transition { from, to, cause }) = (event.flow, event.what)
            else {
                continue;
            };
            if from.on(cause) != Some(to) {
                return Err(format!("{flow}: {from} to {to} by {cause} is no arrow of the figure"));
            }
            let known = self.states[host].insert(flow, to);
            let continues = match known {
                // A connection that a SYN cookie proves begins in SYN-RECEIVED.
                None | Some(State::Closed) => {
                    matches!(from, State::Closed | State::Listen | State::SynReceived)
                }
                Some(known) => known == from || (known == State::TimeWait && from == State::Listen),
            };
            if !continues {
                return Err(format!("{flow}: was {known:?}, now goes from {from} to {to}"));
            }
            if !self.cookies {
                self.check_pair(flow, to)?;
            }
        }
        Ok(())
    }

    fn check(&mut self, segment: &Segment, size: Option<NonZeroU16>) -> Result<(), String> {
        let key = (segment.source, segment.destination);
        if segment.flags.has(Flags::RST) {
            return Ok(());
        }
        if segment.flags.has(Flags::SYN) {
            self.note_syn(segment);
        }
        let Some((mut end, mut other)) = self.both(key) else {
            // The first SYN, or an ACK of an end that was gone before the world looked.
            return Ok(());
        };
        let start = count_from(end.first, segment.seq, end.next);
        let stop = start + u64::from(segment.sequence_len());
        if !segment.flags.has(Flags::SYN) && segment.sequence_len() > 0 {
            // One number beyond the window: a probe (RFC 9293 3.8.6.1).
            if stop > other.offered.max(end.next) && stop > other.offered + 1 {
                return Err(format!("{stop} is beyond the offered window {}", other.offered));
            }
            check_size(segment, size, &other)?;
        }
        if end.fin.is_some_and(|fin| stop > fin) {
            return Err("something after FIN".into());
        }
        if segment.flags.has(Flags::FIN) {
            if end.fin.is_some_and(|fin| fin != stop) {
                return Err("FIN at another place than before".into());
            }
            end.fin = Some(stop);
        }
        end.next = end.next.max(stop);
        if segment.flags.has(Flags::ACK) {
            Self::check_ack(segment, &mut end, &mut other)?;
        }
        self.ends.insert(key, end);
        Ok(())
    }

    fn check_ack(segment: &Segment, end: &mut End, other: &mut End) -> Result<(), String> {
        let ack = count_from(other.first, segment.ack, other.next);
        if ack > other.next {
            return Err(format!("acknowledges {ack}, but only {} was sent", other.next));
        }
        if ack < end.acked {
            return Err(format!("the acknowledgment went back from {} to {ack}", end.acked));
        }
        end.acked = ack;
        let edge = right_edge(segment, end, other);
        // Less than a unit of the scaled window is rounding (RFC 7323 2.4); after the peer's FIN
        // the window means nothing.
        let unit = 1 << end.scale.unwrap_or(0);
        if edge + unit <= end.edge && other.fin != Some(ack) {
            return Err(format!(
                "the right edge of the window went back from {} to {edge}",
                end.edge
            ));
        }
        end.edge = edge;
        Ok(())
    }

    /// A SYN: what it offers, and whether another connection begins.
    fn note_syn(&mut self, segment: &Segment) {
        let key = (segment.source, segment.destination);
        let known = self.ends.get(&key).is_some_and(|end| end.first == segment.seq);
        if known {
            return;
        }
        let mut end = End { first: segment.seq, next: 1, ..End::default() };
        for option in &segment.options {
            match option {
                TcpOption::Mss(mss) => end.mss = Some(*mss),
                TcpOption::WindowScale(scale) => end.scale = Some((*scale).min(14)),
                TcpOption::Timestamps { .. } => end.timestamps = true,
                _ => {}
            }
        }
        if !segment.flags.has(Flags::ACK) {
            // An active open: what the other end said before belongs to an older connection. In a
            // simultaneous open its SYN has not been acknowledged, and stays.
            let reversed = (segment.destination, segment.source);
            if self.ends.get(&reversed).is_some_and(|other| other.acked > 0) {
                self.ends.remove(&reversed);
            }
        }
        self.ends.insert(key, end);
    }

    fn both(&self, key: (SocketAddrV4, SocketAddrV4)) -> Option<(End, End)> {
        Some((self.ends.get(&key)?.clone(), self.ends.get(&(key.1, key.0))?.clone()))
    }

    fn check_pair(&self, flow: FourTuple, state: State) -> Result<(), String> {
        let reversed = flow.reversed();
        let others = self.states.iter().filter_map(|states| states.get(&reversed));
        for other in others {
            if !fit(state, *other) || !fit(*other, state) {
                return Err(format!("{flow} is {state} while the other end is {other}"));
            }
        }
        Ok(())
    }
}

/// Whether one end can be in `state` while the other is in `other`: what the first must have heard
/// from the second decides.
fn fit(state: State, other: State) -> bool {
    use State::*;
    match (state, other) {
        // Gone, or not there yet; or a new connection meets the rest of an old one.
        (Closed | Listen | SynSent | SynReceived, _) | (_, Closed | Listen | SynSent) => true,
        // Our FIN is not out: nobody can have seen it.
        (Established, CloseWait | LastAck | Closing | TimeWait | FinWait2) => false,
        // We saw their FIN: they must have sent it.
        (CloseWait | LastAck | Closing | TimeWait, Established | CloseWait | SynReceived) => false,
        // They sent FIN before they could see ours.
        (CloseWait, Closing | LastAck | TimeWait) => false,
        (LastAck, Closing | LastAck) => false,
        (Closing, LastAck) => false,
        // They acknowledged our FIN, and we did not see theirs.
        (FinWait2, Established | FinWait1 | SynReceived | FinWait2) => false,
        // They saw our FIN.
        (TimeWait, FinWait2) => false,
        _ => true,
    }
}

fn check_size(segment: &Segment, size: Option<NonZeroU16>, other: &End) -> Result<(), String> {
    // 536 when the peer announced nothing (RFC 9293 3.7.1 MUST-15).
    let mss = usize::from(other.mss.unwrap_or(536));
    let options: usize = if other.timestamps { 12 } else { 0 };
    let payload = size.map_or(segment.payload.len(), |size| usize::from(size.get()));
    // A peer that announced less than the options need still gets something.
    if payload > mss.saturating_sub(options).max(64) && payload > mss {
        return Err(format!("{payload} bytes for a peer with an MSS of {mss}"));
    }
    Ok(())
}

/// The right edge of the window in a segment of `end`, counted from the other's first number.
fn right_edge(segment: &Segment, end: &End, other: &End) -> u64 {
    let ack = count_from(other.first, segment.ack, other.next);
    let scaled = end.scale.is_some() && other.scale.is_some() && !segment.flags.has(Flags::SYN);
    let shift = if scaled { end.scale.unwrap_or(0) } else { 0 };
    ack + (u64::from(segment.window) << shift)
}

/// A sequence number as a count from `first`, near `near`: connections here do not wrap twice.
fn count_from(first: u32, number: u32, near: u64) -> u64 {
    let low = u64::from(number.wrapping_sub(first));
    // A number shortly before the first one, as in a keep-alive probe, is not a huge one.
    if low > u64::from(u32::MAX) / 2 && near < u64::from(u32::MAX) / 2 { 0 } else { low }
}

fn display(segment: &Segment, size: Option<NonZeroU16>, reason: &str) -> String {
    let Segment { source, destination, flags, seq, ack, window, payload, .. } = segment;
    let options: Vec<String> = segment.options.iter().map(ToString::to_string).collect();
    let pieces = size.map_or(String::new(), |size| format!(" in pieces of {size}"));
    let (length, options) = (payload.len(), options.join(","));
    format!(
        "{} > {} {flags} {seq}({length}{pieces}) ack {ack} win {window} <{options}> {reason}",
        SocketAddr::V4(*source),
        SocketAddr::V4(*destination),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handshake: A (port 1) has number 100 and a window of 1000, B (port 2) has 500 and 2000.
    fn established() -> Checker {
        let mut checker = Checker::new(2, false);
        for segment in [
            segment(1, Flags::SYN, 100, 0, 1000, 0),
            segment(2, Flags::SYN.with(Flags::ACK), 500, 101, 2000, 0),
            segment(1, Flags::ACK, 101, 501, 1000, 0),
        ] {
            leaves(&mut checker, &segment).unwrap();
            checker.arrives(&segment.to_packet());
        }
        checker
    }

    fn segment(from: u16, flags: Flags, seq: u32, ack: u32, window: u16, length: usize) -> Segment {
        let end = |port| SocketAddrV4::new([10, 0, 0, 1].into(), port);
        let payload = vec![0; length];
        let options = if flags.has(Flags::SYN) { vec![TcpOption::Mss(1000)] } else { Vec::new() };
        Segment {
            flags,
            seq,
            ack,
            window,
            options,
            payload,
            ..Segment::new(end(from), end(3 - from))
        }
    }

    fn leaves(checker: &mut Checker, segment: &Segment) -> Result<String, String> {
        checker.leaves(&segment.to_packet(), None, "a reason")
    }

    /// What the checker says about one segment after the handshake.
    fn verdict(segment: &Segment) -> String {
        match leaves(&mut established(), segment) {
            Ok(_) => "right".to_string(),
            Err(error) => error.split(':').next().unwrap_or_default().to_string(),
        }
    }

    #[test]
    fn what_keeps_the_rules_passes() {
        assert_eq!(verdict(&segment(1, Flags::ACK, 101, 501, 1000, 1000)), "right");
        assert_eq!(verdict(&segment(2, Flags::ACK, 501, 101, 2000, 1000)), "right");
    }

    #[test]
    fn every_rule_can_be_broken() {
        let ack = Flags::ACK;
        let beyond = segment(2, ack, 501, 101, 2000, 1002);
        assert_eq!(verdict(&beyond), "1003 is beyond the offered window 1001");
        let too_large = segment(1, ack, 101, 501, 1000, 1001);
        assert_eq!(verdict(&too_large), "1001 bytes for a peer with an MSS of 1000");
        let unsent = segment(1, ack, 101, 600, 1000, 0);
        assert_eq!(verdict(&unsent), "acknowledges 100, but only 1 was sent");
        let shrinks = segment(1, ack, 101, 501, 900, 0);
        assert_eq!(verdict(&shrinks), "the right edge of the window went back from 1001 to 901");
        let mut checker = established();
        leaves(&mut checker, &segment(1, Flags::FIN.with(ack), 101, 501, 1000, 0)).unwrap();
        let after = leaves(&mut checker, &segment(1, ack, 102, 501, 1000, 10)).unwrap_err();
        assert!(after.starts_with("something after FIN"), "{after}");
        let silent = established().leaves(&beyond.to_packet(), None, "").unwrap_err();
        assert!(silent.starts_with("a segment without a reason"), "{silent}");
    }

    #[test]
    fn states_fit_or_do_not() {
        use State::*;
        assert!(
            fit(Established, SynReceived) && fit(FinWait2, CloseWait) && fit(Closing, TimeWait)
        );
        assert!(
            !fit(Established, CloseWait) && !fit(FinWait2, FinWait2) && !fit(CloseWait, CloseWait)
        );
    }
}
