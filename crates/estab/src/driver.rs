//! The thread of a stack: it receives, keeps time, sends what waits, and wakes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

use stack::TraceEvent;

use crate::error::Ended;
use crate::lead::Retreat;
use crate::shards::one_has_ended;
use crate::shared::{Next, Shared, lock};

/// Who is shown every event of the trace.
pub(crate) type Observer = Box<dyn FnMut(&TraceEvent) + Send>;

/// The observer, whom all shards' threads show what happens there.
pub(crate) type SharedObserver = Arc<Mutex<Observer>>;

/// Starts the thread of the shard `all[index]`.
pub(crate) fn spawn(
    all: Arc<[Arc<Shared>]>,
    index: usize,
    observer: Option<SharedObserver>,
) -> io::Result<JoinHandle<()>> {
    let name = if all.len() == 1 { "estab".to_owned() } else { format!("estab-{index}") };
    Builder::new().name(name).spawn(move || {
        let shared = &all[index];
        let turns = AssertUnwindSafe(|| take_turns(shared, observer.as_ref()));
        // An observer or a waker that panics must not leave programs waiting for ever.
        let why = catch_unwind(turns).unwrap_or(Ended::Panicked);
        shared.end(why.clone());
        one_has_ended(&all, &why);
    })
}

/// One turn after the other: under the lock receive, fire timers and send; without it wake the
/// sockets and show the trace; then sleep, or rest while threads that wait take the turns.
fn take_turns(shared: &Shared, observer: Option<&SharedObserver>) -> Ended {
    let mut retreat = Retreat::default();
    if shared.lead.is_hosted() {
        shared.lead.watch(); // Until it turns out that nobody leads.
    }
    loop {
        let mut leading = shared.lead.take_for_driver();
        loop {
            let next = shared.turn(&mut leading.turner);
            let woken = leading.turner.woken.wake();
            if let Some(observer) = observer.filter(|_| !leading.turner.trace.is_empty()) {
                let mut observer = lock(observer);
                leading.turner.trace.drain(..).for_each(|event| observer(&event));
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
