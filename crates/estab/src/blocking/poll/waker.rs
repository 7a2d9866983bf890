//! How another thread ends a wait.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::Wake;

use stack::Ready;

use super::{Interest, Registry, Token};
use crate::ready::Watch;

/// Wakes a [`Poll`](super::Poll) from any thread, with an event that has the waker's token and is readable.
///
/// However often it wakes before the poll looks, that is one event. There can be several wakers, and
/// dropping one takes it away. In an [`Arc`] it is a [`std::task::Waker`], too.
///
/// ```
/// use std::sync::Arc;
/// use estab::blocking::poll::{Events, Poll, Token, Waker};
///
/// let mut poll = Poll::new()?;
/// let waker = Arc::new(Waker::new(poll.registry(), Token(0))?);
/// let other = Arc::clone(&waker);
/// let thread = std::thread::spawn(move || other.wake());
/// let mut events = Events::with_capacity(16);
/// poll.poll(&mut events, None)?;
/// assert_eq!(events.iter().next().unwrap().token(), Token(0));
/// # thread.join().unwrap()?;
/// # std::io::Result::Ok(())
/// ```
pub struct Waker {
    watch: Watch,
}

impl Waker {
    /// One that wakes the poll of `registry`.
    ///
    /// # Errors
    /// `InvalidInput` for `Token(usize::MAX)`.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self { watch: registry.watch(token, Interest::READABLE)? })
    }

    /// Wakes it. Costs no system call unless it is asleep.
    ///
    /// # Errors
    /// Never; the signature is that of mio.
    pub fn wake(&self) -> io::Result<()> {
        self.watch.tell(Ready::READ);
        Ok(())
    }
}

impl Wake for Waker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.watch.tell(Ready::READ);
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}
