//! Sequence diagrams of connections, drawn from what really happened.

mod mermaid;
mod svg;
mod text;

use std::path::Path;

use anyhow::Context;
use stack::{FourTuple, State};
use wire::tcp::Flags;
use wire::time::Instant;

use crate::steps::{Direction, Happening, Segment, Step, call_name, timer_name};

/// How many connections a file of diagrams shows.
const MOST_CONNECTIONS: usize = 100;

/// How many rows one diagram has.
const MOST_ROWS: usize = 500;

/// One connection from top to bottom; the peer on the left, our side on the right.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Diagram {
    /// What the peer is called.
    pub(crate) peer: String,
    /// What our side is called.
    pub(crate) us: String,
    /// What happened, in its order.
    pub(crate) rows: Vec<Row>,
    /// How many rows did not fit.
    pub(crate) left_out: usize,
}

/// One thing in a diagram.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Row {
    /// A segment.
    Arrow {
        /// When.
        time: Instant,
        /// From whom to whom.
        direction: Direction,
        /// Flags, numbers and length.
        label: String,
        /// Why we sent it, or why it was dropped when it came.
        why: Option<&'static str>,
        /// It is known that it never arrived.
        lost: bool,
    },
    /// Our side is in this state from here on.
    State(State),
    /// Our program called, or a timer fired.
    Note(String),
}

/// The diagrams of all connections in `steps`, in the order of their first packets.
pub(crate) fn diagrams(steps: &[Step]) -> Vec<Diagram> {
    let mut flows: Vec<FourTuple> = Vec::new();
    for step in steps {
        if let (Some(flow), Happening::Segment(_)) = (step.flow, &step.what)
            && !flows.contains(&flow)
            && flows.len() < MOST_CONNECTIONS
        {
            flows.push(flow);
        }
    }
    flows.into_iter().map(|flow| Diagram::of(flow, steps)).collect()
}

impl Diagram {
    /// The diagram of one connection.
    pub(crate) fn of(flow: FourTuple, steps: &[Step]) -> Self {
        let mut rows = Vec::new();
        let mut state = None;
        for step in steps.iter().filter(|step| step.flow == Some(flow)) {
            if let Some((from, ..)) = step.changes.first()
                && state.is_none()
            {
                rows.push(Row::State(*from));
            }
            match &step.what {
                Happening::Segment(segment) => rows.push(arrow(step, segment)),
                Happening::Call(call) => rows.push(Row::Note(call_name(*call))),
                Happening::Timer(timer) => rows.push(Row::Note(timer_name(*timer).into())),
                Happening::Packet { .. } | Happening::Change => {}
            }
            for (_, to, _) in &step.changes {
                state = Some(*to);
                rows.push(Row::State(*to));
            }
        }
        let left_out = rows.len().saturating_sub(MOST_ROWS);
        rows.truncate(MOST_ROWS);
        Self { peer: flow.remote.to_string(), us: flow.local.to_string(), rows, left_out }
    }

    /// The diagram with other names for the two sides, before their addresses.
    pub(crate) fn named(mut self, peer: &str, us: &str) -> Self {
        self.peer = format!("{peer} {}", self.peer);
        self.us = format!("{us} {}", self.us);
        self
    }

    /// The diagram with its first segment of ours that has data marked as lost.
    pub(crate) fn first_data_lost(mut self) -> Self {
        let first = self.rows.iter_mut().find_map(|row| match row {
            Row::Arrow { direction: Direction::Out, label, lost, .. } => {
                label.contains("length").then_some(lost)
            }
            _ => None,
        });
        if let Some(lost) = first {
            *lost = true;
        }
        self
    }

    /// As text.
    pub(crate) fn text(&self) -> String {
        text::draw(self)
    }
}

/// Writes the diagrams of `steps` to `path`, in the form that its ending asks for.
pub(crate) fn write(path: &Path, steps: &[Step]) -> anyhow::Result<()> {
    let form = Form::of(path)?;
    let drawn: Vec<String> = diagrams(steps).iter().map(|diagram| form.draw(diagram)).collect();
    let whole = match form {
        Form::Text | Form::Mermaid => drawn.join("\n"),
        Form::Svg => svg::stack(&diagrams(steps)),
    };
    std::fs::write(path, whole).with_context(|| format!("{}: cannot write", path.display()))
}

/// Checks the ending of a diagram's file, before anything is done.
pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
    Form::of(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => {
            anyhow::bail!("{}: no such directory", parent.display())
        }
        _ => Ok(()),
    }
}

#[derive(Clone, Copy)]
enum Form {
    Text,
    Mermaid,
    Svg,
}

impl Form {
    fn of(path: &Path) -> anyhow::Result<Self> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("txt") => Ok(Self::Text),
            Some("mmd" | "mermaid") => Ok(Self::Mermaid),
            Some("svg") => Ok(Self::Svg),
            _ => anyhow::bail!(
                "{}: a diagram's file ends in .txt, .mmd (mermaid) or .svg",
                path.display()
            ),
        }
    }

    fn draw(self, diagram: &Diagram) -> String {
        match self {
            Self::Text => text::draw(diagram),
            Self::Mermaid => mermaid::draw(diagram),
            Self::Svg => String::new(),
        }
    }
}

fn arrow(step: &Step, segment: &Segment) -> Row {
    let why = segment.reason.map(stack::reason::Sent::comment);
    Row::Arrow {
        time: step.time,
        direction: segment.direction,
        label: label(segment),
        why: why.or(step.notes.first().copied()),
        lost: false,
    }
}

/// Flags as people call them: `SYN,ACK`.
pub(crate) fn flag_names(flags: Flags) -> String {
    let names: Vec<&str> = [
        (Flags::SYN, "SYN"),
        (Flags::FIN, "FIN"),
        (Flags::RST, "RST"),
        (Flags::PSH, "PSH"),
        (Flags::ACK, "ACK"),
        (Flags::URG, "URG"),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .map(|(_, name)| name)
    .collect();
    names.join(",")
}

/// Flags in words, numbers counted from the SYN, and what else the segment is about.
fn label(segment: &Segment) -> String {
    let header = &segment.header;
    let mut label = format!("{} seq {}", flag_names(header.flags), segment.sequence());
    if let Some(acknowledgment) = segment.acknowledgment() {
        label += &format!(" ack {acknowledgment}");
    }
    if segment.length > 0 {
        label += &format!(" length {}", segment.length);
    }
    if let Some(mss) = header.options.mss {
        label += &format!(" mss {mss}");
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Stepper;
    use stack::TraceEvent;
    use stack::reason::Sent;
    use stack::tcp::state::Event;
    use stack::trace::{Call, What};

    /// A small connection to a listener, as the stack would trace it.
    fn steps() -> Vec<Step> {
        let flow = FourTuple {
            local: "10.77.0.2:80".parse().unwrap(),
            remote: "10.77.0.1:40000".parse().unwrap(),
        };
        let header = |flags, sequence, acknowledgment| wire::tcp::Header {
            source_port: 40_000,
            destination_port: 80,
            sequence,
            acknowledgment,
            flags,
            window: 64_240,
            urgent: 0,
            options: wire::tcp::Options::NONE,
        };
        let mut syn = header(Flags::SYN, 1000, 0);
        syn.options.mss = Some(1460);
        let comes = |header| What::SegmentIn { header, length: 0 };
        let goes = |header, reason| What::SegmentOut { header, length: 0, reason };
        let changes = |from, to, cause| What::Transition { from, to, cause };
        let events = [
            comes(syn),
            changes(State::Listen, State::SynReceived, Event::RcvSyn),
            goes(header(Flags::SYN_ACK, u32::MAX, 1001), Sent::SynAccepted),
            comes(header(Flags::ACK, 1001, 0)),
            changes(State::SynReceived, State::Established, Event::RcvAckOfSyn),
            comes(header(Flags::FIN_ACK, 1001, 0)),
            changes(State::Established, State::CloseWait, Event::RcvFin),
            goes(header(Flags::ACK, 0, 1002), Sent::FinAck),
            What::Command { call: Call::Close },
            changes(State::CloseWait, State::LastAck, Event::Close),
            goes(header(Flags::FIN_ACK, 0, 1002), Sent::Fin),
            comes(header(Flags::ACK, 1002, 1)),
            changes(State::LastAck, State::Closed, Event::RcvAckOfFin),
        ];
        let mut stepper = Stepper::default();
        let mut steps = Vec::new();
        for (i, what) in (0..).zip(events) {
            let time = Instant::from_micros(i * 10);
            steps.extend(stepper.push(&TraceEvent { time, flow: Some(flow), what }));
        }
        steps.extend(stepper.flush());
        steps
    }

    #[test]
    fn as_text() {
        insta::assert_snapshot!(diagrams(&steps())[0].clone().named("kernel", "estab").text());
    }

    #[test]
    fn as_mermaid() {
        insta::assert_snapshot!(mermaid::draw(&diagrams(&steps())[0]));
    }

    #[test]
    fn as_svg() {
        insta::assert_snapshot!(svg::stack(&diagrams(&steps())));
    }

    #[test]
    fn as_lines() {
        let mut out = anstream::StripStream::new(Vec::new());
        let mut printer = crate::segment_line::Printer::default();
        for step in steps() {
            printer.print(&mut out, &step).unwrap();
        }
        insta::assert_snapshot!(String::from_utf8(out.into_inner()).unwrap());
    }

    #[test]
    fn an_unknown_ending_is_refused() {
        assert!(check(Path::new("diagram.png")).is_err());
        assert!(check(Path::new("/no/such/directory/diagram.svg")).is_err());
        assert!(check(Path::new("diagram.svg")).is_ok());
    }
}
