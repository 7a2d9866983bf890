//! A task that takes the turns, in the runtime where the tasks live that wait for them.
//!
//! The runtime sleeps on the links together with everything else, and what a turn wakes runs next in the
//! same thread. The stack's own thread is still there: it [watches](crate::lead) that somebody leads, takes
//! over while the runtime does something else, or when it ends, and takes the last turn.

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
    if shared.lead.begin_hosting(links.get_ref())? {
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

impl Future for Host {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.lead.host_wakes();
        match this.take_edges(cx) {
            Some(came) => this.looks |= came,
            None => return Poll::Ready(()), // The runtime ends.
        }
        this.go_on(cx)
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

    /// Takes a turn where something came, and sleeps where nothing did.
    fn go_on(&mut self, cx: &Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.shared);
        // If the driver leads, it wakes whom it concerns, and sees to what is left when it is done.
        let Some(mut leading) = shared.lead.take_for_host() else { return Poll::Pending };
        if std::mem::take(&mut self.looks) {
            let Some(turn) = shared.turn_of_poll(&mut leading.turner) else {
                return Poll::Ready(());
            };
            leading.turner.woken.wake();
            if let Some(why) = turn.gone {
                shared.end(why);
                return Poll::Ready(());
            }
            self.defers = turn.defers;
            self.looks = turn.found && turn.more;
            if turn.found {
                return again(cx); // Others are to go on first.
            }
        }
        self.send_deferred();
        let Some(wait) = shared.prepare_wait() else { return Poll::Ready(()) };
        match self.sleeps(&wait) {
            Ok(true) => {
                shared.lead.host_waits();
                Poll::Pending
            }
            Ok(false) => {
                self.looks = true;
                again(cx)
            }
            Err(_) => Poll::Ready(()), // The driver will find what is wrong.
        }
    }

    /// Whether there is nothing to do before something comes.
    fn sleeps(&mut self, wait: &Wait) -> io::Result<bool> {
        // What came since the turn is no edge any more. Only who leads may ask: it takes kicks away.
        Ok(self.set_alarm(wait)? && !wait.poller.wait(Some(Duration::ZERO))?)
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
