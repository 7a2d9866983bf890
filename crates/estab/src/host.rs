//! A task that takes the turns, in the runtime where the tasks live that wait for them.
//!
//! The runtime sleeps on the links together with everything else, and what a turn wakes runs next in the
//! same thread. The stack's own thread is still there: it [watches](crate::lead) that somebody leads
//! while there is traffic, takes over when the runtime ends, and takes the last turn.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use wire::time::Instant;

use crate::poller::{INTERNAL, Poller};
use crate::shared::{Shared, Wait};

/// Starts the task of one shard, unless its turns are the driver's alone.
///
/// # Errors
/// What the system says when it has no descriptors left.
pub(crate) fn spawn(runtime: &Handle, shared: &Arc<Shared>) -> io::Result<()> {
    let Some(poller) = shared.look(|engine| Arc::clone(&engine.poller)) else { return Ok(()) };
    let alarm =
        timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    // Its edge says all that there is to know: nobody reads it.
    poller.add(alarm.as_fd(), INTERNAL, EventFlags::IN | EventFlags::ET)?;
    let _inside = runtime.enter();
    #[allow(deprecated, reason = "the descriptor is the poller's own for as long as both live")]
    let links = AsyncFd::with_interest(poller, Interest::READABLE)?;
    if shared.lead.begin_hosting() {
        let shared = Arc::clone(shared);
        let (looks, defers, armed) = (true, false, Instant::ZERO);
        drop(runtime.spawn(Host { shared, links, alarm, armed, looks, defers }));
    }
    Ok(())
}

/// The task. It ends with the stack, or with the runtime.
struct Host {
    shared: Arc<Shared>,
    /// Readable when something came, when the alarm rings, or by a kick.
    links: AsyncFd<Arc<Poller>>,
    alarm: OwnedFd,
    /// When the alarm rings.
    armed: Instant,
    /// It is to be looked what came.
    looks: bool,
    /// Calls of this thread leave what they send to the next turn.
    defers: bool,
}

/// What a turn came to.
enum Turn {
    /// Others are to go on first, and then there is another one.
    Found,
    /// Nothing more is there.
    Nothing,
    /// Another thread leads.
    Led,
    /// The stack ends.
    Over,
}

impl Future for Host {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.lead.host_wakes();
        match this.take_edges(cx) {
            Some(came) => this.looks |= came,
            None => return Poll::Ready(()), // The runtime ends.
        }
        if std::mem::take(&mut this.looks) {
            match this.turn() {
                Turn::Found => return again(cx),
                Turn::Nothing => {}
                // It wakes whom it concerns, and when it is gone the driver sees to what is left.
                Turn::Led => return Poll::Pending,
                Turn::Over => return Poll::Ready(()),
            }
        }
        this.send_deferred();
        let Some(wait) = this.shared.prepare_wait() else { return Poll::Ready(()) };
        match this.set_alarm(&wait) {
            Ok(true) => {}
            Ok(false) => {
                this.looks = true;
                return again(cx);
            }
            Err(_) => return Poll::Ready(()), // The driver will find what is wrong.
        }
        this.shared.lead.host_waits();
        // What came since the turn is no edge any more.
        if wait.poller.wait(Some(Duration::ZERO)).unwrap_or(true) {
            this.looks = true;
            return again(cx);
        }
        Poll::Pending
    }
}

impl Host {
    /// Whether something came since the last time; from now on what comes wakes the task.
    fn take_edges(&self, cx: &mut Context<'_>) -> Option<bool> {
        let mut came = false;
        while let Poll::Ready(guard) = self.links.poll_read_ready(cx) {
            guard.ok()?.clear_ready();
            came = true;
        }
        Some(came)
    }

    fn turn(&mut self) -> Turn {
        let Some(mut leading) = self.shared.lead.take() else { return Turn::Led };
        let Some(turn) = self.shared.turn_of_poll(&mut leading.turner) else { return Turn::Over };
        leading.turner.woken.wake();
        if let Some(why) = turn.gone {
            self.shared.end(why);
            return Turn::Over;
        }
        self.defers = turn.defers;
        self.looks = turn.found && turn.more;
        if turn.found { Turn::Found } else { Turn::Nothing }
    }

    fn send_deferred(&mut self) {
        if std::mem::take(&mut self.defers) {
            self.shared.send_deferred();
        }
    }

    /// Sees to it that the wait ends in time. False when that is now.
    fn set_alarm(&mut self, wait: &Wait) -> io::Result<bool> {
        let (left, _) = self.shared.left_of(wait);
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        // One that rings too early is left standing, as the engine leaves its deadlines.
        let rings_before = self.armed <= wait.until && self.armed > self.shared.now();
        if let Some(left) = left.filter(|_| !rings_before) {
            let it_value =
                Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            let setting = Itimerspec { it_interval, it_value };
            timerfd_settime(&self.alarm, TimerfdTimerFlags::empty(), &setting)?;
            self.armed = wait.until;
        }
        Ok(true)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.send_deferred();
        self.shared.lead.end_hosting();
    }
}

/// Lets other tasks run, and comes back.
fn again(cx: &Context<'_>) -> Poll<()> {
    cx.waker().wake_by_ref();
    Poll::Pending
}
