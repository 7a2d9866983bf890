//! A call of a program that is served, as a line: who called what, and what it did to the connection.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;

use anstyle::{AnsiColor, Style};
use intercept::CallEvent;
use stack::trace::What;
use stack::{State, TraceEvent};

use crate::diagram::flag_names;

const CALLER: Style = Style::new().dimmed();
const CALL: Style = AnsiColor::Magenta.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default().bold();

/// How wide the call is made, so that what it did stands in a column.
const CALL_WIDTH: usize = 62;

/// The names of those who call. They are read while the callers are there, since some calls, like the
/// `close` of an end, come to light after it.
#[derive(Debug, Default)]
pub(crate) struct Callers(HashMap<u32, String>);

/// How many names are kept.
const KEPT: usize = 4096;

impl Callers {
    /// The name and the number of who called.
    pub(crate) fn of(&mut self, event: &CallEvent) -> String {
        let thread = event.thread;
        if thread == 0 {
            return String::new();
        }
        if self.0.len() >= KEPT {
            self.0.clear();
        }
        if let Ok(name) = fs::read_to_string(format!("/proc/{thread}/comm")) {
            self.0.insert(thread, name.trim_end().to_owned());
        }
        format!("{}[{thread}]", self.0.get(&thread).map_or("", String::as_str))
    }
}

/// The whole line, with its end.
pub(crate) fn line(event: &CallEvent, caller: &str) -> String {
    let mut call = event.call.clone();
    match &event.result {
        Some(Ok(value)) => {
            let _ = write!(call, " = {value}");
        }
        Some(Err(errno)) => {
            let _ = write!(call, " = -1 {errno}");
        }
        None => {}
    }
    let effect = effect(event);
    let width = CALL_WIDTH.saturating_sub(caller.len() + 1);
    format!("{CALLER}{caller:>10}{CALLER:#} {CALL}{call:<width$}{CALL:#}  {effect}\n")
}

/// What it did: segments and states, or that it was none of both.
fn effect(event: &CallEvent) -> String {
    let succeeded = !matches!(event.result, Some(Err(_)));
    let mut words = Vec::new();
    let name = event.call.split('(').next().unwrap_or_default();
    match (name, event.effect.accept_queue) {
        ("accept" | "accept4", Some(0)) if succeeded => {
            words.push("waited, and took one from the accept queue".into());
        }
        ("accept" | "accept4", Some(waiting)) if succeeded => {
            words.push(format!("took one of {waiting} from the accept queue"));
        }
        ("close", _) if event.effect.states.is_some_and(|(before, _)| before == State::Listen) => {
            let ends = event.effect.events.iter().any(|event| segment(event).is_some());
            words.extend(ends.then(|| "ends those that nobody accepted".into()));
        }
        // Datagrams come without anybody listening.
        ("bind", _) if succeeded && event.effect.states.is_none() => {
            words.push("takes the port".into());
        }
        ("bind", _) if succeeded => words.push("keeps the port; nobody listens there yet".into()),
        _ => {}
    }
    let segments = segments(event);
    if !segments.is_empty() {
        words.push(segments);
    } else if succeeded && matches!(name, "bind" | "listen" | "accept" | "accept4" | "close") {
        words.push("no packet".into());
    }
    let states = states(event);
    if !states.is_empty() {
        words.push(format!("{CHANGED}{states}{CHANGED:#}"));
    }
    words.join(", ")
}

/// The states that the connection went through, when it changed.
fn states(event: &CallEvent) -> String {
    let Some((before, after)) = event.effect.states else { return String::new() };
    let entered = event.effect.events.iter().filter_map(|event| match event.what {
        What::Transition { to, .. } => Some(to),
        _ => None,
    });
    let mut all: Vec<State> = std::iter::once(before).chain(entered).chain([after]).collect();
    all.dedup();
    if let [only] = all[..] {
        let closes = event.call.starts_with("close") || event.call.starts_with("shutdown");
        return if closes && only != State::Closed {
            format!("stays {only}")
        } else {
            String::new()
        };
    }
    let names: Vec<String> = all.iter().map(State::to_string).collect();
    names.join(" -> ")
}

/// The segments that left, and those that came where they are the call's doing; what is repeated once.
fn segments(event: &CallEvent) -> String {
    let all: Vec<String> = event.effect.events.iter().filter_map(segment).collect();
    let alike = all.chunk_by(|one, other| one == other);
    let told = alike.filter_map(|alike| match alike {
        [] => None,
        [once] => Some(once.clone()),
        [first, ..] => Some(format!("{first} {} times", alike.len())),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// A segment by its flags and its length.
fn segment(event: &TraceEvent) -> Option<String> {
    let (verb, header, length) = match &event.what {
        What::SegmentOut { header, length, .. } => ("sends", header, length),
        What::SegmentIn { header, length } => ("gets", header, length),
        What::PacketIn { kind, .. } => return Some(format!("gets {kind}")),
        _ => return None,
    };
    let flags = flag_names(header.flags);
    Some(match length {
        0 => format!("{verb} {flags}"),
        length => format!("{verb} {flags} with {length} bytes"),
    })
}
