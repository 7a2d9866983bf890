//! The trace for who asks for it while the stack runs.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use stack::TraceEvent;

use crate::Stack;
use crate::shared::lock;

/// How many events wait for one who records; older ones are lost. 65,536, as the stack itself keeps.
const LIMIT: usize = 65_536;

/// The trace of a running stack from [`Stack::record`] on, until this is dropped.
///
/// What a call leads to at once is there when the call returns.
pub struct Recording {
    shelf: Arc<Shelf>,
    stack: Stack,
}

#[derive(Default)]
pub(crate) struct Shelf(Mutex<VecDeque<TraceEvent>>);

/// Everybody who records the trace of one engine.
#[derive(Default)]
pub(crate) struct Recordings {
    shelves: Vec<Weak<Shelf>>,
}

impl Recording {
    pub(crate) fn new(stack: &Stack) -> Self {
        let shelf = Arc::new(Shelf::default());
        stack.each_engine(|engine| engine.add_recording(Arc::downgrade(&shelf)));
        Self { shelf, stack: stack.clone() }
    }

    /// Takes what has happened since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<TraceEvent> {
        lock(&self.shelf.0).drain(..).collect()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let gone = Arc::downgrade(&self.shelf);
        self.stack.each_engine(|engine| engine.remove_recording(&gone));
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("waiting", &lock(&self.shelf.0).len()).finish()
    }
}

impl Recordings {
    /// Whether there is one.
    pub(crate) fn any(&self) -> bool {
        !self.shelves.is_empty()
    }

    pub(crate) fn add(&mut self, shelf: Weak<Shelf>) {
        self.shelves.push(shelf);
    }

    pub(crate) fn remove(&mut self, shelf: &Weak<Shelf>) {
        self.shelves.retain(|known| !known.ptr_eq(shelf));
    }

    /// Gives an event to all of them.
    pub(crate) fn push(&self, event: &TraceEvent) {
        for shelf in self.shelves.iter().filter_map(Weak::upgrade) {
            let mut events = lock(&shelf.0);
            if events.len() == LIMIT {
                events.pop_front();
            }
            events.push_back(event.clone());
        }
    }
}

impl fmt::Debug for Recordings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recordings").field("count", &self.shelves.len()).finish()
    }
}
