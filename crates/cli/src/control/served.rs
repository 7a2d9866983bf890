//! The supervisors of a stack: who can say which program has which socket.

use std::sync::{Arc, Mutex, PoisonError};

use intercept::{Bound, Handle, SocketUsers};

/// The supervisors that serve programs with one stack.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served(Arc<Mutex<Handles>>);

#[derive(Debug, Default)]
struct Handles {
    next: u64,
    known: Vec<(u64, Handle)>,
    bound: Bound,
}

/// A supervisor at work: dropped at its end.
#[derive(Debug)]
pub(crate) struct AtWork {
    served: Served,
    number: u64,
}

impl Served {
    /// One more.
    #[must_use]
    pub(crate) fn add(&self, handle: &Handle) -> AtWork {
        let number = self.handles(|handles| {
            handles.next += 1;
            handles.known.push((handles.next, handle.clone()));
            handles.next
        });
        AtWork { served: self.clone(), number }
    }

    /// What their programs are bound to.
    pub(crate) fn bound(&self) -> Bound {
        self.handles(|handles| handles.bound.clone())
    }

    /// Every socket of every program.
    pub(crate) fn sockets(&self) -> Vec<SocketUsers> {
        // Asked outside of the lock: a supervisor may take a moment.
        let known = self.handles(|handles| handles.known.clone());
        known.iter().flat_map(|(_, handle)| handle.sockets()).collect()
    }

    fn handles<T>(&self, f: impl FnOnce(&mut Handles) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.served.handles(|handles| handles.known.retain(|(number, _)| *number != self.number));
    }
}
