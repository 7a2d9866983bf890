//! Watching a stack: its trace goes to a thread that prints lines and keeps steps for diagrams.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anstream::adapter::strip_bytes;
use anstream::{AutoStream, ColorChoice};
use intercept::CallEvent;
use stack::TraceEvent;
use wire::time::Instant;

use crate::calls::{self, Callers};
use crate::segment_line::Printer;
use crate::steps::{Step, Stepper};

/// How many events wait for the thread before more are dropped: the stack never waits for it.
const WAITING: usize = 65_536;

/// How many steps are kept for diagrams.
const KEPT: usize = 20_000;

/// After this long without an event nothing more belongs to the last step.
const SETTLED: Duration = Duration::from_millis(20);

/// What the stack calls with each event.
pub(crate) type Observer = Box<dyn FnMut(&TraceEvent) + Send>;

/// Where lines go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lines {
    /// Nowhere.
    Nowhere,
    /// To standard output.
    Output,
    /// To standard error: standard output belongs to the program that runs beside.
    Errors,
}

/// The thread that watches, until the stack is gone.
#[derive(Debug)]
pub(crate) struct Watcher {
    thread: JoinHandle<Vec<Step>>,
    sender: SyncSender<Seen>,
}

/// What is watched.
#[derive(Debug)]
enum Seen {
    /// The stack.
    Stack(TraceEvent),
    /// The programs that it serves: a line, and when the last thing happened that it tells of.
    Call(Option<Instant>, String),
}

impl Watcher {
    /// Starts watching: give the observer to the stack.
    pub(crate) fn start(lines: Lines) -> std::io::Result<(Observer, Self)> {
        let (sender, receiver) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("watcher".into())
            .spawn(move || watch(&receiver, lines))?;
        Ok((observer(sender.clone()), Self { thread, sender }))
    }

    /// Shows what programs call among what the stack does.
    pub(crate) fn of_calls(&self) -> intercept::Observer {
        let (sender, mut callers) = (self.sender.clone(), Callers::default());
        Box::new(move |event: &CallEvent| {
            let line = calls::line(event, &callers.of(event));
            let last = event.effect.events.last().map(|event| event.time);
            let _ = sender.try_send(Seen::Call(last, line));
        })
    }

    /// Waits until the stack let go of its observer, and returns what happened.
    pub(crate) fn finish(self) -> Vec<Step> {
        drop(self.sender);
        self.thread.join().unwrap_or_default()
    }
}

fn observer(sender: SyncSender<Seen>) -> Observer {
    Box::new(move |event| {
        // Full: a gap in the trace is better than a stack that waits for a terminal.
        let _ = sender.try_send(Seen::Stack(event.clone()));
    })
}

fn watch(events: &Receiver<Seen>, lines: Lines) -> Vec<Step> {
    let mut stepper = Stepper::default();
    let (mut kept, mut calls) = (Vec::new(), VecDeque::new());
    let mut printer = match lines {
        Lines::Nowhere => None,
        Lines::Output => Some(LinePrinter::to_output()),
        Lines::Errors => Some(LinePrinter::to_errors()),
    };
    loop {
        let (step, settled, over) = match events.recv_timeout(SETTLED) {
            Ok(Seen::Stack(event)) => (stepper.push(&event), false, false),
            // It comes from another thread, and stands behind what it tells of.
            Ok(Seen::Call(last, line)) => {
                calls.push_back((last, line));
                (None, false, false)
            }
            Err(RecvTimeoutError::Timeout) => (stepper.flush(), true, false),
            Err(RecvTimeoutError::Disconnected) => (stepper.flush(), true, true),
        };
        if let Some(step) = step {
            if let Some(printer) = &mut printer {
                printer.print_calls(&mut calls, Some(step.time));
                printer.print(&step);
            }
            if kept.len() < KEPT {
                kept.push(step);
            }
        }
        if let Some(printer) = printer.as_mut().filter(|_| settled) {
            printer.print_calls(&mut calls, None);
        }
        if over {
            return kept;
        }
    }
}

/// Prints until nobody reads any more.
pub(crate) struct LinePrinter {
    out: Option<Box<dyn Write>>,
    /// Without colours.
    plain: bool,
    printer: Printer,
}

impl LinePrinter {
    fn to_output() -> Self {
        let out = std::io::stdout();
        Self::new(AutoStream::choice(&out), Box::new(out))
    }

    pub(crate) fn to_errors() -> Self {
        let out = std::io::stderr();
        Self::new(AutoStream::choice(&out), Box::new(out))
    }

    fn new(choice: ColorChoice, out: Box<dyn Write>) -> Self {
        let plain = choice == ColorChoice::Never;
        Self { out: Some(out), plain, printer: Printer::default() }
    }

    fn print(&mut self, step: &Step) {
        let mut line = Vec::new();
        // Memory takes every line.
        let _ = self.printer.print(&mut line, step);
        self.write(&line);
    }

    /// Prints the calls that tell of what happened before `now`, all of them without it.
    fn print_calls(
        &mut self,
        calls: &mut VecDeque<(Option<Instant>, String)>,
        now: Option<Instant>,
    ) {
        let is_told = |last: &Option<Instant>| match (last, now) {
            (Some(last), Some(now)) => *last < now,
            _ => true,
        };
        while let Some((_, line)) = calls.pop_front_if(|(last, _)| is_told(last)) {
            self.write(line.as_bytes());
        }
    }

    /// One write for the whole line: others write to the same terminal.
    pub(crate) fn write(&mut self, line: &[u8]) {
        let Some(out) = &mut self.out else { return };
        let plain = self.plain.then(|| strip_bytes(line).into_vec());
        let line = plain.as_deref().unwrap_or(line);
        if out.write_all(line).and_then(|()| out.flush()).is_err() {
            self.out = None;
        }
    }
}
