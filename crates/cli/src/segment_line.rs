//! A step of the trace as one line: time, direction, flags, numbers, options, length; then the
//! change of state, and why we sent it.

use std::fmt::Write;
use std::io;

use anstyle::{AnsiColor, Style};
use wire::tcp::{Header, Options};

use crate::steps::{Direction, Happening, Segment, Step, call_name, timer_name};

/// How wide the part of a line about the packet is made.
const PACKET_WIDTH: usize = 78;

const OURS: Style = AnsiColor::Cyan.on_default();
const THEIRS: Style = AnsiColor::Green.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default().bold();
const QUIET: Style = Style::new().dimmed();

/// Prints steps as lines, with a heading wherever the conversation is another than before.
#[derive(Debug, Default)]
pub(crate) struct Printer {
    last: Option<stack::FourTuple>,
}

impl Printer {
    /// Prints one step.
    pub(crate) fn print(&mut self, out: &mut dyn io::Write, step: &Step) -> io::Result<()> {
        let known = |flow: &stack::FourTuple| flow.remote.port() != 0 && self.last != Some(*flow);
        if let Some(flow) = step.flow.filter(known) {
            self.last = Some(flow);
            writeln!(
                out,
                "{QUIET}          the peer {} and our {}{QUIET:#}",
                flow.remote, flow.local
            )?;
        }
        let style = match &step.what {
            Happening::Segment(Segment { direction: Direction::In, .. })
            | Happening::Packet { direction: Direction::In, .. } => THEIRS,
            Happening::Segment(_) | Happening::Packet { .. } => OURS,
            _ => QUIET,
        };
        let mut rest = String::new();
        for (from, to, _) in &step.changes {
            let _ = write!(rest, "  {CHANGED}{from} -> {to}{CHANGED:#}");
        }
        for why in reason(&step.what).into_iter().chain(step.notes.iter().copied()) {
            let _ = write!(rest, "  {QUIET}{why}{QUIET:#}");
        }
        let packet = describe(step);
        let width = if rest.is_empty() { 0 } else { PACKET_WIDTH };
        writeln!(out, "{QUIET}{}{QUIET:#}  {style}{packet:<width$}{style:#}{rest}", step.time)
    }
}

/// Why we sent it, when we did.
fn reason(what: &Happening) -> Option<&'static str> {
    match what {
        Happening::Segment(Segment { reason, .. }) | Happening::Packet { reason, .. } => {
            reason.map(stack::reason::Sent::comment)
        }
        _ => None,
    }
}

/// What happened, without its consequences.
pub(crate) fn describe(step: &Step) -> String {
    match &step.what {
        Happening::Segment(segment) => describe_segment(segment),
        Happening::Packet { direction, kind, peer, length, .. } => {
            let (arrow, side) = match direction {
                Direction::In => ("<-", "from"),
                Direction::Out => ("->", "to"),
            };
            format!("{arrow} {kind} {side} {peer}, length {length}")
        }
        Happening::Call(call) => format!("   {}", call_name(*call)),
        Happening::Timer(timer) => format!("   {}", timer_name(*timer)),
        Happening::Change => {
            let cause = step.changes.first().map_or("", |(_, _, cause)| cause.name());
            format!("   {cause}")
        }
    }
}

fn describe_segment(segment: &Segment) -> String {
    let arrow = match segment.direction {
        Direction::In => "<-",
        Direction::Out => "->",
    };
    let Header { flags, window, options, .. } = &segment.header;
    let mut line = format!("{arrow} {:<3} seq {}", flags.to_string(), segment.sequence());
    if segment.length > 0 {
        let _ = write!(line, ":{}", segment.sequence().wrapping_add(segment.length));
    }
    if let Some(acknowledgment) = segment.acknowledgment() {
        let _ = write!(line, " ack {acknowledgment}");
    }
    let _ = write!(line, " win {window}");
    line.push_str(&describe_options(options, segment.acknowledgment_base));
    let _ = write!(line, " length {}", segment.length);
    line
}

/// The options in tcpdump's words, each behind a space; edges of SACK blocks count from `base`.
fn describe_options(options: &Options, base: u32) -> String {
    let mut text = String::new();
    if let Some(mss) = options.mss {
        let _ = write!(text, " mss {mss}");
    }
    if options.sack_permitted {
        text.push_str(" sackOK");
    }
    if let Some(timestamps) = options.timestamps {
        let _ = write!(text, " TS {}/{}", timestamps.value, timestamps.echo);
    }
    if let Some(shift) = options.window_scale {
        let _ = write!(text, " wscale {shift}");
    }
    for block in options.sack.iter() {
        let (left, right) = (block.left.wrapping_sub(base), block.right.wrapping_sub(base));
        let _ = write!(text, " sack {left}:{right}");
    }
    text
}
