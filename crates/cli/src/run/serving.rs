//! The supervisor on a thread of its own.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use estab::Stack;
use intercept::{Handle, Options, Summary, Supervisor};

/// A supervisor at work.
#[derive(Debug)]
pub(crate) struct Serving {
    /// For who has questions.
    pub(crate) handle: Handle,
    /// Its end.
    pub(crate) ended: Receiver<io::Result<Summary>>,
}

/// Serves the programs behind `listener`, until all of them are gone; then calls `then`.
pub(crate) fn serve(
    stack: &Stack,
    listener: OwnedFd,
    options: Options,
    then: impl FnOnce() + Send + 'static,
) -> io::Result<Serving> {
    let (say_begun, begun) = channel();
    let (say_ended, ended) = channel();
    let stack = stack.clone();
    let serve = move || {
        // A supervisor stays in its thread.
        match Supervisor::new(&stack, listener, options) {
            Ok(supervisor) => {
                // Who started it waits for this, and perhaps not for the end.
                let _ = say_begun.send(Ok(supervisor.handle()));
                let _ = say_ended.send(supervisor.run());
            }
            Err(error) => drop(say_begun.send(Err(error))),
        }
        then();
    };
    thread::Builder::new().name("supervisor".into()).spawn(serve)?;
    let handle =
        begun.recv().unwrap_or_else(|_| Err(io::Error::other("the supervisor panicked")))?;
    Ok(Serving { handle, ended })
}
