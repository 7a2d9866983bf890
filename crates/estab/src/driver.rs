//! The thread of a stack: it receives, keeps time, sends what waits, and wakes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use stack::TraceEvent;

use crate::engine::Woken;
use crate::error::Ended;
use crate::poller::Poller;
use crate::shared::{Next, Shared};

/// Who is shown every event of the trace.
pub(crate) type Observer = Box<dyn FnMut(&TraceEvent) + Send>;

/// Starts the thread.
pub(crate) fn spawn(
    shared: Arc<Shared>,
    poller: Arc<Poller>,
    mut observer: Option<Observer>,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name("estab".to_owned()).spawn(move || {
        let turns = AssertUnwindSafe(|| take_turns(&shared, &poller, observer.as_mut()));
        // An observer or a waker that panics must not leave programs waiting for ever.
        let why = catch_unwind(turns).unwrap_or(Ended::Panicked);
        shared.end(why);
    })
}

/// One turn after the other: under the lock receive, fire timers and send; without it wake the
/// sockets and show the trace; then sleep.
fn take_turns(shared: &Shared, poller: &Poller, mut observer: Option<&mut Observer>) -> Ended {
    let mut woken = Woken::default();
    let mut trace = Vec::new();
    loop {
        let next = shared.turn(&mut woken, &mut trace);
        woken.wake();
        for event in trace.drain(..) {
            if let Some(observer) = observer.as_mut() {
                observer(&event);
            }
        }
        let deadline = match next {
            Next::Sleep(deadline) => deadline,
            Next::End(why) => return why,
        };
        if let Err(error) = poller.wait(shared.until(deadline)) {
            return Ended::LinkGone(format!("its descriptor cannot be waited for: {error}"));
        }
    }
}
