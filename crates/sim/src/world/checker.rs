//! What must be true of every packet, whatever the network does.
//!
//! | what | source |
//! |---|---|
//! | every packet has a reason | |
//! | every byte that leaves stands at its place of the stream | |
//! | nothing is sent beyond the window that the peer offered, but a probe | RFC 9293 3.8.6 |
//! | nothing is sent again that was acknowledged | RFC 9293 3.8.1 |
//! | nothing is acknowledged that was never sent; acknowledgments never go back | RFC 9293 3.4 |
//! | SACK names what was sent, and nothing that the ACK covers but as a duplicate | RFC 2018 3, 2883 4 |
//! | the right edge of the window never moves back | RFC 9293 3.8.6 SHLD-14 |
//! | no more is offered than the receive buffer holds | RFC 9293 3.8.6 |
//! | nothing follows FIN | RFC 9293 3.6 |
//! | no segment is larger than the peer's MSS | RFC 9293 3.7.1 MUST-16 |

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;

use stack::TcpOptions;

use crate::segment::{Flags, Segment};

use super::peek::Peek;
use super::scenario::{Scenario, end_of};
use super::stream;

/// Looks at every packet.
#[derive(Clone, Debug)]
pub struct Checker {
    /// What the ends of the flows said: the client's at twice the flow's number, then the server's.
    ends: Vec<End>,
    /// With SYN cookies the server answers with several initial numbers, and an old ACK may open
    /// its connection again at other numbers: numbers are not checked.
    cookies: bool,
}

/// What one end of a connection said so far.
#[derive(Clone, Copy, Debug)]
struct End {
    /// Where it is.
    address: SocketAddr,
    /// It sent a SYN, with this number.
    first: Option<u32>,
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
    /// The highest acknowledgment and right edge of its that reached the other end.
    heard: u64,
    offered: u64,
    /// One past the last number of its that reached the other end.
    arrived: u64,
    /// The latest timestamp of its that reached the other end.
    clock: Option<u32>,
    /// Nothing can be said of it any more.
    haunted: bool,
    /// How many bytes its program read, and how many its buffer holds.
    consumed: u64,
    buffer: u64,
}

impl Checker {
    /// For a world.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let mut ends = Vec::new();
        for (number, flow) in scenario.flows.iter().enumerate() {
            let Some(addresses) = scenario.addresses(number) else { break };
            for (side, address) in addresses.into_iter().enumerate() {
                let host = if side == 0 { flow.client } else { flow.server };
                // One that sizes itself keeps within the stack's limit.
                let most = scenario.hosts[host].config.receive_buffer.max;
                let of = |options: &TcpOptions| options.receive_buffer.unwrap_or(most);
                // What a listener's buffer allowed is never taken back.
                let buffer = of(&flow.plans[side].options).max(of(&scenario.listener));
                ends.push(End::new(address, buffer as u64));
            }
        }
        Self { ends, cookies: scenario.has_cookies() }
    }

    /// A packet leaves its host.
    ///
    /// # Errors
    /// When it breaks a rule.
    pub fn leaves(
        &mut self,
        packet: &[u8],
        segment_size: Option<NonZeroU16>,
        reason: &str,
    ) -> Result<(), String> {
        let Some(segment) = Peek::new(packet) else { return Ok(()) };
        let verdict = if reason.is_empty() {
            Err("a segment without a reason".into())
        } else if self.cookies {
            Ok(())
        } else {
            self.check(&segment, segment_size)
        };
        verdict.map_err(|what| format!("{what}: {}", Line { packet, segment_size, reason }))
    }

    /// A packet arrives undamaged: what it acknowledges and offers is known from now on.
    pub fn arrives(&mut self, packet: &[u8]) {
        let Some(segment) = Peek::new(packet) else { return };
        if !segment.flags.has(Flags::ACK) || segment.flags.has(Flags::RST) {
            return;
        }
        let Some(at) = self.end_of(&segment) else { return };
        let (end, other) = (self.ends[at], self.ends[at ^ 1]);
        let Some(ack) = other.count(segment.ack) else { return };
        if ack > other.next {
            return;
        }
        if self.ends[at].is_acceptable(&segment, &other) {
            self.ends[at].heard = end.heard.max(ack);
        }
        self.ends[at].offered = end.offered.max(right_edge(&segment, ack, &end, &other));
    }

    /// The program of an end has read so many bytes in all.
    pub fn consumed(&mut self, end: usize, bytes: u64) {
        if let Some(end) = self.ends.get_mut(end) {
            end.consumed = bytes;
        }
    }

    /// Which end sent a segment.
    fn end_of(&self, segment: &Peek<'_>) -> Option<usize> {
        let (flow, side) = end_of(segment.source.port(), segment.destination.port())?;
        let end = flow * 2 + side;
        let known = self.ends.get(end)?.address == segment.source;
        (known && self.ends[end ^ 1].address == segment.destination).then_some(end)
    }

    fn check(&mut self, segment: &Peek<'_>, size: Option<NonZeroU16>) -> Result<(), String> {
        if segment.flags.has(Flags::RST) {
            return Ok(());
        }
        let Some(at) = self.end_of(segment) else {
            return Err("a segment of no flow".into());
        };
        if segment.flags.has(Flags::SYN) {
            self.note_syn(at, segment);
        }
        let (mut end, other) = (self.ends[at], self.ends[at ^ 1]);
        if end.haunted || other.haunted {
            return Ok(());
        }
        let Some(start) = end.count(segment.seq) else {
            return Err("a number that was never announced".into());
        };
        let stop = start + u64::from(segment.sequence_len());
        if segment.sequence_len() > 0 && !segment.flags.has(Flags::SYN) {
            end.check_text(segment, start, stop, &other)?;
            check_size(segment, size, &other)?;
            if start > 0
                && let Some(at) = stream::first_difference(at as u64, start - 1, segment.payload)
            {
                return Err(format!("byte {at} of the stream is wrong as it leaves"));
            }
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
            end.check_ack(segment, &other)?;
        }
        self.ends[at] = end;
        Ok(())
    }

    /// A SYN: what it offers, and whether another connection begins.
    fn note_syn(&mut self, at: usize, segment: &Peek<'_>) {
        if self.ends[at].first == Some(segment.seq) {
            return;
        }
        let End { address, buffer, consumed, first, .. } = self.ends[at];
        let mut end = End::new(address, buffer);
        // An old SYN that came again opened what had been closed: the other end still speaks of the
        // connection before, and will reset this one.
        end.haunted = self.ends[at].haunted || first.is_some() && self.ends[at ^ 1].acked > 0;
        (end.first, end.next, end.consumed) = (Some(segment.seq), 1, consumed);
        for (kind, data) in segment.options() {
            match (kind, data) {
                (2, &[a, b]) => end.mss = Some(u16::from_be_bytes([a, b])),
                (3, &[shift]) => end.scale = Some(shift.min(14)),
                (8, _) => end.timestamps = true,
                _ => {}
            }
        }
        self.ends[at] = end;
    }
}

impl End {
    fn new(address: SocketAddr, buffer: u64) -> Self {
        Self {
            address,
            first: None,
            next: 0,
            fin: None,
            scale: None,
            mss: None,
            timestamps: false,
            acked: 0,
            edge: 0,
            heard: 0,
            offered: 0,
            arrived: 0,
            clock: None,
            haunted: false,
            consumed: 0,
            buffer,
        }
    }

    /// A sequence number of this end as a count from its first. A flow here never wraps twice.
    fn count(&self, number: u32) -> Option<u64> {
        let low = u64::from(number.wrapping_sub(self.first?));
        let turn = 1_u64 << 32;
        let near = self.next / turn * turn + low;
        // A number shortly before the first one, as in a keep-alive probe, is not a huge one.
        if near > self.next + turn / 2 {
            Some(near.saturating_sub(turn) * u64::from(near > turn))
        } else {
            Some(near)
        }
    }

    /// Whether the other end must look at the acknowledgment of a segment that arrives from this
    /// one: it is neither old nor beyond the window (RFC 9293 3.10.7.4, RFC 7323 5.3).
    fn is_acceptable(&mut self, segment: &Peek<'_>, other: &End) -> bool {
        let clock = segment.options().find_map(|(kind, data)| match (kind, data) {
            (8, &[a, b, c, d, ..]) => Some(u32::from_be_bytes([a, b, c, d])),
            _ => None,
        });
        if let Some(clock) = clock {
            let latest = *self.clock.get_or_insert(clock);
            if latest.wrapping_sub(clock) as i32 > 0 {
                return false;
            }
            self.clock = Some(clock);
        }
        let Some(seq) = self.count(segment.seq) else { return false };
        let new = seq >= self.arrived.max(other.acked) && seq <= other.edge;
        self.arrived = self.arrived.max(seq + u64::from(segment.sequence_len()));
        new
    }

    /// Text or FIN of this end leaves.
    fn check_text(
        &self,
        segment: &Peek<'_>,
        start: u64,
        stop: u64,
        other: &End,
    ) -> Result<(), String> {
        // One number beyond the window: a probe (RFC 9293 3.8.6.1).
        if stop > other.offered.max(self.next) && stop > other.offered + 1 {
            return Err(format!("{stop} is beyond the offered window {}", other.offered));
        }
        // A keep-alive probe is one byte before what was acknowledged (RFC 9293 3.8.4).
        let keepalive = segment.payload.len() <= 1 && start + 1 == other.heard;
        if stop <= other.heard && !keepalive {
            return Err(format!("{start}..{stop} again, but {} is acknowledged", other.heard));
        }
        Ok(())
    }

    /// An acknowledgment of this end leaves.
    fn check_ack(&mut self, segment: &Peek<'_>, other: &End) -> Result<(), String> {
        let Some(ack) = other.count(segment.ack) else {
            return Err("acknowledges somebody who said nothing".into());
        };
        if ack > other.next {
            return Err(format!("acknowledges {ack}, but only {} was sent", other.next));
        }
        if ack < self.acked {
            return Err(format!("the acknowledgment went back from {} to {ack}", self.acked));
        }
        self.acked = ack;
        check_sack(segment, ack, other)?;
        let edge = right_edge(segment, ack, self, other);
        // Less than a unit of the scaled window is rounding (RFC 7323 2.4); after the peer's FIN
        // the window means nothing.
        let unit = 1 << self.scale.unwrap_or(0);
        if segment.flags.has(Flags::SYN) {
            // Not scaled: a SYN-ACK that is sent again cannot say what an ACK said meanwhile.
            self.edge = self.edge.max(edge);
            return Ok(());
        }
        if edge + unit <= self.edge && other.fin != Some(ack) {
            let before = self.edge;
            return Err(format!("the right edge of the window went back from {before} to {edge}"));
        }
        self.edge = edge;
        let held = (edge - 1).saturating_sub(self.consumed);
        if held > self.buffer + unit {
            return Err(format!("{held} bytes are offered, but the buffer holds {}", self.buffer));
        }
        Ok(())
    }
}

/// SACK blocks are of what was sent (RFC 2018 3); one that the ACK or the next block covers says
/// what came twice (RFC 2883 4), and only the first may.
fn check_sack(segment: &Peek<'_>, ack: u64, other: &End) -> Result<(), String> {
    for (place, (left, right)) in segment.sack_blocks().enumerate() {
        let (Some(left), Some(right)) = (other.count(left), other.count(right)) else {
            return Err("SACK for somebody who said nothing".into());
        };
        if left >= right {
            return Err(format!("an empty SACK block {left}..{right}"));
        }
        if right > other.next {
            return Err(format!("SACK of {left}..{right}, but only {} was sent", other.next));
        }
        if right <= ack && place > 0 {
            return Err(format!("SACK of {left}..{right}, which {ack} acknowledges"));
        }
    }
    Ok(())
}

fn check_size(segment: &Peek<'_>, size: Option<NonZeroU16>, other: &End) -> Result<(), String> {
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
fn right_edge(segment: &Peek<'_>, ack: u64, end: &End, other: &End) -> u64 {
    let scaled = end.scale.is_some() && other.scale.is_some() && !segment.flags.has(Flags::SYN);
    let shift = if scaled { end.scale.unwrap_or(0) } else { 0 };
    ack + (u64::from(segment.window) << shift)
}

/// A packet as a line of text.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its bytes.
    pub packet: &'a [u8],
    /// For a super-segment: the size of its pieces.
    pub segment_size: Option<NonZeroU16>,
    /// Why it is sent.
    pub reason: &'a str,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(segment) = Segment::parse_unverified(self.packet) else {
            return write!(f, "{} bytes that are not TCP", self.packet.len());
        };
        let Segment { source, destination, flags, seq, ack, window, payload, .. } = &segment;
        let options: Vec<String> = segment.options.iter().map(ToString::to_string).collect();
        let (length, options) = (payload.len(), options.join(","));
        write!(f, "{source} > {destination} {flags} {seq}({length}")?;
        if let Some(size) = self.segment_size {
            write!(f, " in pieces of {size}")?;
        }
        write!(f, ") ack {ack} win {window} <{options}> {}", self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::TcpOption;

    fn end(port: u16) -> SocketAddr {
        SocketAddr::new([10, 0, 0, 1].into(), port)
    }

    const A: u16 = 20_000;
    const B: u16 = 80;

    /// A handshake: A has number 100 and a window of 1000, B has 500 and 2000.
    fn established() -> Checker {
        let ends = vec![End::new(end(A), 2000), End::new(end(B), 3000)];
        let mut checker = Checker { ends, cookies: false };
        for segment in [
            segment(A, Flags::SYN, 100, 0, 1000, 0),
            segment(B, Flags::SYN.with(Flags::ACK), 500, 101, 2000, 0),
            segment(A, Flags::ACK, 101, 501, 1000, 0),
        ] {
            leaves(&mut checker, &segment).unwrap();
            checker.arrives(&segment.to_packet());
        }
        checker
    }

    fn segment(from: u16, flags: Flags, seq: u32, ack: u32, window: u16, length: usize) -> Segment {
        let mut payload = vec![0; length];
        let (to, stream, first) = if from == A { (B, 0, 100) } else { (A, 1, 500) };
        let at = u64::from(seq.wrapping_sub(first)).saturating_sub(1);
        stream::fill(stream, at, &mut payload);
        let options = if flags.has(Flags::SYN) { vec![TcpOption::Mss(1000)] } else { Vec::new() };
        Segment { flags, seq, ack, window, options, payload, ..Segment::new(end(from), end(to)) }
    }

    fn leaves(checker: &mut Checker, segment: &Segment) -> Result<(), String> {
        checker.leaves(&segment.to_packet(), None, "a reason")
    }

    /// What the checker says about one segment after the handshake.
    fn verdict(segment: &Segment) -> String {
        match leaves(&mut established(), segment) {
            Ok(()) => "right".to_string(),
            Err(error) => error.split(':').next().unwrap_or_default().to_string(),
        }
    }

    #[test]
    fn what_keeps_the_rules_passes() {
        assert_eq!(verdict(&segment(A, Flags::ACK, 101, 501, 1000, 1000)), "right");
        assert_eq!(verdict(&segment(B, Flags::ACK, 501, 101, 2000, 1000)), "right");
        assert_eq!(verdict(&segment(B, Flags::ACK, 500, 101, 2000, 0)), "right", "keep-alive");
    }

    #[test]
    fn every_rule_can_be_broken() {
        let ack = Flags::ACK;
        let beyond = segment(B, ack, 501, 101, 2000, 1002);
        assert_eq!(verdict(&beyond), "1003 is beyond the offered window 1001");
        let too_large = segment(A, ack, 101, 501, 1000, 1001);
        assert_eq!(verdict(&too_large), "1001 bytes for a peer with an MSS of 1000");
        let unsent = segment(A, ack, 101, 600, 1000, 0);
        assert_eq!(verdict(&unsent), "acknowledges 100, but only 1 was sent");
        let shrinks = segment(A, ack, 101, 501, 900, 0);
        assert_eq!(verdict(&shrinks), "the right edge of the window went back from 1001 to 901");
        let generous = segment(A, ack, 101, 501, 2002, 0);
        assert_eq!(verdict(&generous), "2002 bytes are offered, but the buffer holds 2000");
        let mut wrong = segment(A, ack, 101, 501, 1000, 100);
        wrong.payload[7] ^= 1;
        assert_eq!(verdict(&wrong), "byte 7 of the stream is wrong as it leaves");
        let silent = established().leaves(&beyond.to_packet(), None, "").unwrap_err();
        assert!(silent.starts_with("a segment without a reason"), "{silent}");
    }

    #[test]
    fn nothing_follows_fin_and_nothing_acknowledged_comes_again() {
        let ack = Flags::ACK;
        let mut checker = established();
        leaves(&mut checker, &segment(A, Flags::FIN.with(ack), 101, 501, 1000, 0)).unwrap();
        let after = leaves(&mut checker, &segment(A, ack, 102, 501, 1000, 10)).unwrap_err();
        assert!(after.starts_with("something after FIN"), "{after}");

        let mut checker = established();
        let text = segment(A, ack, 101, 501, 1000, 10);
        leaves(&mut checker, &text).unwrap();
        leaves(&mut checker, &text).unwrap();
        let answer = segment(B, ack, 501, 111, 2000, 0);
        leaves(&mut checker, &answer).unwrap();
        leaves(&mut checker, &text).unwrap();
        checker.arrives(&answer.to_packet());
        let again = leaves(&mut checker, &text).unwrap_err();
        assert!(again.starts_with("1..11 again, but 11 is acknowledged"), "{again}");
    }

    #[test]
    fn sack_names_what_was_sent() {
        let mut checker = established();
        leaves(&mut checker, &segment(A, Flags::ACK, 101, 501, 1000, 300)).unwrap();
        let sack = |ack, blocks: &[(u32, u32)]| {
            let mut segment = segment(B, Flags::ACK, 501, ack, 2000, 0);
            segment.options = vec![TcpOption::Sack(blocks.to_vec())];
            leaves(&mut checker.clone(), &segment)
                .map_err(|error| error.split(':').next().unwrap_or_default().to_string())
        };
        assert_eq!(sack(101, &[(201, 301), (351, 401)]), Ok(()));
        assert_eq!(sack(201, &[(101, 201), (301, 401)]), Ok(()), "the first came twice");
        let error = |text: &str| Err(text.to_string());
        assert_eq!(sack(101, &[(201, 402)]), error("SACK of 101..302, but only 301 was sent"));
        assert_eq!(sack(101, &[(201, 201)]), error("an empty SACK block 101..101"));
        let old = error("SACK of 1..51, which 101 acknowledges");
        assert_eq!(sack(201, &[(301, 401), (101, 151)]), old);
    }
}
