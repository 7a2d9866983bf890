//! The thread of a stack: it receives, keeps time, sends what waits, and wakes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use stack::TraceEvent;

use crate::error::Ended;
use crate::lead::Retreat;
use crate::shared::{Next, Shared};

/// Who is shown every event of the trace.
pub(crate) type Observer = Box<dyn FnMut(&TraceEvent) + Send>;

/// Starts the thread.
pub(crate) fn spawn(
    shared: Arc<Shared>,
    mut observer: Option<Observer>,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name("estab".to_owned()).spawn(move || {
        let turns = AssertUnwindSafe(|| take_turns(&shared, observer.as_mut()));
        // An observer or a waker that panics must not leave programs waiting for ever.
        let why = catch_unwind(turns).unwrap_or(Ended::Panicked);
        shared.end(why);
    })
}

/// One turn after the other: under the lock receive, fire timers and send; without it wake the
/// sockets and show the trace; then sleep, or rest while threads that wait take the turns.
fn take_turns(shared: &Shared, mut observer: Option<&mut Observer>) -> Ended {
    let mut retreat = Retreat::default();
    loop {
        let mut leading = shared.lead.take_for_driver();
        loop {
            let next = shared.turn(&mut leading.turner);
            let woken = leading.turner.woken.wake();
            for event in leading.turner.trace.drain(..) {
                if let Some(observer) = observer.as_mut() {
                    observer(&event);
                }
            }
            if let Next::End(why) = next {
                return why;
            }
            leading = match retreat.consider(leading, woken) {
                Some(leading) => leading,
                None => break,
            };
            let Some(wait) = shared.prepare_wait() else { continue };
            match shared.wait(&wait, None) {
                Ok(waited) => leading.turner.waited = waited,
                Err(error) => {
                    let why = format!("its descriptor cannot be waited for: {error}");
                    return Ended::LinkGone(why);
                }
            }
        }
    }
}
