//! The thread of a stack: it receives, keeps time, sends what waits, and wakes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use stack::TraceEvent;
use wire::time::Instant;

use crate::engine::Woken;
use crate::error::Ended;
use crate::poller::Poller;
use crate::shared::{Next, Shared, Wait, Waited};

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
    let mut waited = Waited::default();
    loop {
        let next = shared.turn(waited, &mut woken, &mut trace);
        woken.wake();
        for event in trace.drain(..) {
            if let Some(observer) = observer.as_mut() {
                observer(&event);
            }
        }
        waited = match next {
            Next::End(why) => return why,
            Next::Wait(how) => match wait(shared, poller, &how) {
                Ok(waited) => waited,
                Err(error) => {
                    let why = format!("its descriptor cannot be waited for: {error}");
                    return Ended::LinkGone(why);
                }
            },
        };
    }
}

/// Waits for something to do: asks for a while, and then sleeps.
fn wait(shared: &Shared, poller: &Poller, how: &Wait) -> io::Result<Waited> {
    let mut waited = Waited::default();
    if how.poll_until > Instant::ZERO {
        while shared.now() < how.poll_until {
            waited.polls += 1;
            if poller.wait(Some(Duration::ZERO))? {
                return Ok(waited);
            }
            std::hint::spin_loop();
        }
    }
    waited.sleeps += 1;
    poller.wait(shared.until(how.until))?;
    Ok(waited)
}
