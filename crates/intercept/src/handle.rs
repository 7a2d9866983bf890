//! The supervisor from other threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use crate::report::SocketUsers;

/// How long [`Handle::sockets`] waits for a supervisor that is busy.
const PATIENCE: Duration = Duration::from_secs(2);

/// A supervisor, for other threads than the one that runs it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inbox: Arc<Inbox>,
}

/// What was asked and not looked at yet.
#[derive(Debug)]
pub(crate) struct Inbox {
    questions: Mutex<Questions>,
    /// Wakes the supervisor.
    kick: OwnedFd,
}

#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// The supervisor shall come to its end.
    pub(crate) stop: bool,
    /// Who wants to know which socket is whose.
    pub(crate) lists: Vec<Sender<Vec<SocketUsers>>>,
    /// The supervisor has come to its end, and nobody answers any more.
    over: bool,
}

impl Handle {
    pub(crate) fn new() -> io::Result<(Self, Arc<Inbox>)> {
        let kick = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let inbox = Arc::new(Inbox { questions: Mutex::default(), kick });
        Ok((Self { inbox: Arc::clone(&inbox) }, inbox))
    }

    /// Ends the supervisor: connections are closed, and calls that wait fail. The programs are not told
    /// otherwise; whoever started them ends them first.
    pub fn stop(&self) {
        self.inbox.ask(|questions| questions.stop = true);
    }

    /// Every socket that programs have, with the processes that have it and their descriptors. Empty
    /// when the supervisor has ended.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketUsers> {
        let (give, take): (_, Receiver<_>) = channel();
        self.inbox.ask(|questions| {
            if !questions.over {
                questions.lists.push(give);
            }
        });
        take.recv_timeout(PATIENCE).unwrap_or_default()
    }
}

impl Inbox {
    fn ask(&self, f: impl FnOnce(&mut Questions)) {
        f(&mut self.questions.lock().unwrap_or_else(PoisonError::into_inner));
        // It is full when the supervisor was told already.
        let _ = rustix::io::write(&self.kick, &1_u64.to_ne_bytes());
    }

    /// Takes what was asked.
    pub(crate) fn take(&self) -> Questions {
        let _ = rustix::io::read(&self.kick, &mut [0; 8]);
        std::mem::take(&mut *self.questions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nobody will answer from now on.
    pub(crate) fn close(&self) {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        questions.over = true;
        questions.lists.clear();
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kick.as_fd()
    }
}
