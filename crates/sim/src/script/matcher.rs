//! Is this the segment that the script expects? If not, both side by side, and the stack's reason.

use std::fmt::Write;

use wire::time::{Duration, Instant};

use super::ast::{Packet, TrafficClass};
use super::flow::Flow;
use crate::segment::{Flags, Segment, TcpOption};

/// A packet that left the stack.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// When.
    pub(super) time: Instant,
    /// The segment; `None` when it was something else.
    pub(super) segment: Option<Segment>,
    /// Why the stack sent it.
    pub(super) reason: &'static str,
}

/// When a segment may leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) earliest: Instant,
    pub(super) latest: Instant,
}

impl Due {
    /// Whether `time` is right, give or take `tolerance`.
    pub(super) fn admits(&self, time: Instant, tolerance: Duration) -> bool {
        time.after(tolerance) >= self.earliest && time <= self.latest.after(tolerance)
    }
}

/// How strictly segments are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Timestamps' values must have the distance that the script says, give or take this many
    /// milliseconds. What they echo is always compared.
    pub(super) clock: Option<u32>,
    /// Not the window, not PSH, not the order of options.
    pub(super) relaxed: bool,
}

/// Compares what left with what was expected; `Err` names everything that differs.
pub(super) fn compare(
    wanted: &Packet,
    seen: &Segment,
    flow: &Flow,
    rules: Rules,
) -> Result<(), String> {
    let found = flow.outbound(seen);
    let mut wrong = Vec::new();
    let mut check = |name: &'static str, same: bool| {
        if !same {
            wrong.push(name);
        }
    };
    let ignored = if rules.relaxed { Flags::PSH } else { Flags::default() };
    check("flags", wanted.flags.without(ignored) == found.flags.without(ignored));
    check("sequence number", wanted.seq == found.seq);
    check("payload length", wanted.length as usize == found.payload.len());
    check("acknowledgment number", wanted.ack.is_none_or(|ack| ack == found.ack));
    let window = wanted.window.filter(|_| !rules.relaxed);
    check("window", window.is_none_or(|window| window == found.window));
    check("urgent pointer", wanted.urgent.is_none_or(|urgent| urgent == found.urgent));
    check("DSCP or ECN", same_class(wanted.traffic_class, found.traffic_class));
    check("TTL", wanted.ttl.is_none_or(|ttl| ttl == found.ttl));
    let options = wanted.options.as_ref();
    check("options", options.is_none_or(|options| same_options(options, &found.options, rules)));
    let same_length = wanted.length as usize == found.payload.len();
    check(
        "payload (not what was written)",
        !same_length || flow.payload_was_written(found.seq, &found.payload),
    );
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
}

fn same_class(wanted: TrafficClass, found: u8) -> bool {
    match wanted {
        TrafficClass::Any => true,
        TrafficClass::Capable => matches!(found & 3, 1 | 2),
        TrafficClass::Ecn(ecn) => found & 3 == ecn,
        TrafficClass::Byte(byte) => found == byte,
    }
}

/// The same options in the same order; relaxed, in any order and with any padding.
fn same_options(wanted: &[TcpOption], found: &[TcpOption], rules: Rules) -> bool {
    if !rules.relaxed {
        return wanted.len() == found.len()
            && wanted.iter().zip(found).all(|(a, b)| same_option(a, b, rules));
    }
    let padding = |option: &&TcpOption| !matches!(option, TcpOption::Nop | TcpOption::End);
    let mut rest: Vec<&TcpOption> = found.iter().filter(padding).collect();
    wanted.iter().filter(padding).all(|wanted| {
        let place = rest.iter().position(|found| same_option(wanted, found, rules));
        place.map(|place| rest.swap_remove(place)).is_some()
    }) && rest.is_empty()
}

fn same_option(wanted: &TcpOption, found: &TcpOption, rules: Rules) -> bool {
    use TcpOption::Timestamps;
    match (wanted, found) {
        (Timestamps { value: a, echo: x }, Timestamps { value: b, echo: y }) => {
            x == y && rules.clock.is_none_or(|tolerance| a.abs_diff(*b) <= tolerance)
        }
        _ => wanted == found,
    }
}

/// Expected and seen, one below the other, and why the stack sent it.
pub(super) fn side_by_side(
    problem: &str,
    wanted: Option<(&Packet, String)>,
    seen: Option<(&Seen, &Flow)>,
    origin: Instant,
) -> String {
    let mut text = problem.to_string();
    if let Some((packet, time)) = wanted {
        let _ = write!(text, "\n  expected  {time:<20} {}", display_packet(packet));
    }
    match seen {
        None => text.push_str("\n  seen      nothing"),
        Some((seen, flow)) => {
            let time = Instant::ZERO.after(seen.time.since(origin)).to_string();
            let segment = seen
                .segment
                .as_ref()
                .map_or("a packet that is not TCP".into(), |s| display_segment(&flow.outbound(s)));
            let _ = write!(text, "\n  seen      {time:<20} {segment}");
            let _ = write!(text, "\n  because   {}", seen.reason);
        }
    }
    text
}

pub(super) fn display_packet(packet: &Packet) -> String {
    let (seq, end) = (packet.seq, packet.seq.wrapping_add(packet.length));
    let mut text = format!("{} {seq}:{end}({})", packet.flags, packet.length);
    if let Some(ack) = packet.ack {
        let _ = write!(text, " ack {ack}");
    }
    if let Some(window) = packet.window {
        let _ = write!(text, " win {window}");
    }
    if let Some(urgent) = packet.urgent {
        let _ = write!(text, " urg {urgent}");
    }
    match &packet.options {
        None => text.push_str(" <...>"),
        Some(options) => text.push_str(&display_options(options)),
    }
    text
}

/// A segment as a script would write it.
pub(super) fn display_segment(segment: &Segment) -> String {
    let length = segment.payload.len();
    let end = segment.seq.wrapping_add(u32::try_from(length).unwrap_or(u32::MAX));
    let mut text = format!("{} {}:{end}({length})", segment.flags, segment.seq);
    if segment.flags.has(crate::segment::Flags::ACK) {
        let _ = write!(text, " ack {}", segment.ack);
    }
    let _ = write!(text, " win {}", segment.window);
    if segment.urgent != 0 {
        let _ = write!(text, " urg {}", segment.urgent);
    }
    text.push_str(&display_options(&segment.options));
    text
}

fn display_options(options: &[TcpOption]) -> String {
    if options.is_empty() {
        return String::new();
    }
    let words: Vec<String> = options.iter().map(ToString::to_string).collect();
    format!(" <{}>", words.join(","))
}
