//! The loop: calls of programs, bytes of programs, news of the stack.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use estab::Stack;
use rustix::event::{PollFd, PollFlags, poll};

use crate::handle::{Handle, Inbox};
use crate::notify::{Notifier, Received};
use crate::options::Options;

/// Serves the sockets of all programs under one filter with one stack.
#[derive(Debug)]
pub struct Supervisor {
    notifier: Notifier,
    inbox: Arc<Inbox>,
    handle: Handle,
}

/// What a supervisor has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Calls that came.
    pub calls: u64,
    /// Sockets that were made, accepted ones with them.
    pub sockets: u64,
    /// Everything that programs wrote was delivered and acknowledged.
    pub delivered: bool,
}

impl Supervisor {
    /// A supervisor for the programs whose calls come on `notify`, the descriptor that
    /// [`filter::install`](crate::filter::install) gave in the child.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended; lack of descriptors.
    pub fn new(stack: &Stack, notify: OwnedFd, options: Options) -> io::Result<Self> {
        let (handle, inbox) = Handle::new()?;
        let _ = (stack, options);
        Ok(Self { notifier: Notifier::new(notify), inbox, handle })
    }

    /// For other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves calls until no program is left, and what they wrote is delivered or
    /// [`Options::drain`] is over; or until [`Handle::stop`].
    ///
    /// # Errors
    /// When the kernel gives no calls any more.
    pub fn run(self) -> io::Result<Summary> {
        let mut summary = Summary { delivered: true, ..Summary::default() };
        while !self.notifier.is_over() {
            let mut entries = [
                PollFd::new(&self.notifier, PollFlags::IN),
                PollFd::new(&*self.inbox, PollFlags::IN),
            ];
            poll(&mut entries, None)?;
            if self.inbox.take().stop {
                break;
            }
            while self.notifier.has_call() {
                if let Received::Call(call) = self.notifier.receive()? {
                    summary.calls += 1;
                    self.notifier.let_continue(call.id);
                }
            }
        }
        self.inbox.close();
        Ok(summary)
    }
}
