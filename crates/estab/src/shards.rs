//! Several shards of one stack: what holds them together, and what carries frames between them.
//!
//! Each shard is a stack with a lock, a thread and a queue of the device of its own. On the way of
//! a packet nothing is written that another shard writes, too: a frame for its owner is handled
//! there, and whether somebody handed frames over is a look at a line of memory that nobody writes
//! to while nobody does. Only a frame that came to the wrong shard crosses over, through the
//! owner's inbox, a bounded ring. Who gave it also handles it there, as a program's call would, unless
//! a thread is at work on the owner just then: that one does it before it is done. So no thread is
//! woken for a frame, and none waits for another shard that is busy.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, ThreadId};

use crossbeam_queue::ArrayQueue;
use stack::Handover;

use crate::error::Ended;
use crate::shared::{Shared, lock};

/// All shards of a stack with their threads. What all handles and sockets hold together; the
/// drivers do not.
#[derive(Debug)]
pub(crate) struct Shards {
    all: Arc<[Arc<Shared>]>,
    /// The drivers'.
    threads: Vec<ThreadId>,
    /// Until somebody has joined them.
    drivers: Mutex<Vec<JoinHandle<()>>>,
}

impl Shards {
    pub(crate) fn new(all: Arc<[Arc<Shared>]>, drivers: Vec<JoinHandle<()>>) -> Self {
        let threads = drivers.iter().map(|driver| driver.thread().id()).collect();
        Self { all, threads, drivers: Mutex::new(drivers) }
    }

    /// Ends all of them. From one of their threads it only begins that.
    pub(crate) fn stop(&self) {
        for shard in self.all.iter() {
            shard.request_stop();
        }
        if self.threads.contains(&thread::current().id()) {
            return;
        }
        // Whoever comes second waits for the lock, and so until the threads are gone.
        for driver in lock(&self.drivers).drain(..) {
            // It catches its own panics.
            let _ = driver.join();
        }
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        for shard in self.all.iter() {
            shard.abandon();
        }
    }
}

/// What a socket holds: its own shard, and all of them running. There is one for each shard, so that
/// opening and closing a socket counts up and down in no other shard's memory.
#[derive(Debug)]
pub(crate) struct Hold {
    shared: Arc<Shared>,
    shards: Arc<Shards>,
}

impl Hold {
    /// One for each shard.
    pub(crate) fn all(shards: Shards) -> Arc<[Arc<Hold>]> {
        let shards = Arc::new(shards);
        let hold = |shared: &Arc<Shared>| {
            Arc::new(Hold { shared: Arc::clone(shared), shards: Arc::clone(&shards) })
        };
        shards.all.iter().map(hold).collect()
    }

    /// The shard.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// All of them.
    pub(crate) fn shards(&self) -> &Shards {
        &self.shards
    }
}

/// What the end of one shard means to the others: a host that answers for some of its connections
/// only is worse than none. One that was stopped was not alone in that.
pub(crate) fn one_has_ended(all: &[Arc<Shared>], why: &Ended) {
    if !matches!(why, Ended::Stopped) {
        all.iter().for_each(|shard| shard.fail(why));
    }
}

/// Where a thread begins to look for a shard for something new: each time with the next one. A number
/// of the thread's own, so that threads do not meet in it.
pub(crate) fn next_shard(count: usize) -> usize {
    static FIRST: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NEXT: Cell<usize> = Cell::new(FIRST.fetch_add(1, Ordering::Relaxed));
    }
    if count == 1 {
        return 0;
    }
    // A socket may be used while the thread's own variables are being dropped.
    NEXT.try_with(|next| next.replace(next.get().wrapping_add(1))).unwrap_or_default() % count
}

/// Frames that other shards received, on their way to one shard.
///
/// Aligned, so that two of them share no line of memory.
#[derive(Debug)]
#[repr(align(128))]
struct Inbox {
    frames: ArrayQueue<Handover>,
    /// A thread works on the shard, and will look at the frames before it is done.
    at_work: AtomicBool,
}

/// A shard's place among the others.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    inboxes: Arc<[Inbox]>,
    own: usize,
}

impl Exchange {
    /// The place of each of `count` shards, where at most `limit` frames wait for it; none where there
    /// is but one.
    pub(crate) fn all(count: usize, limit: usize) -> Vec<Self> {
        if count == 1 {
            return Vec::new();
        }
        let inbox =
            || Inbox { frames: ArrayQueue::new(limit.max(1)), at_work: AtomicBool::new(false) };
        let inboxes: Arc<[Inbox]> = (0..count).map(|_| inbox()).collect();
        (0..count).map(|own| Self { inboxes: Arc::clone(&inboxes), own }).collect()
    }

    /// The shard's number.
    pub(crate) fn number(&self) -> usize {
        self.own
    }

    /// Gives a frame to its owner, or back when there is no room.
    pub(crate) fn give(&self, handover: Handover) -> Result<(), Handover> {
        match self.inboxes.get(usize::from(handover.to)) {
            Some(inbox) => inbox.frames.push(handover),
            None => Err(handover),
        }
    }

    /// Whether somebody will still look at what was given to this owner before. If not, it is for the
    /// giver to see that it is handled.
    pub(crate) fn is_at_work(&self, owner: u16) -> bool {
        // With the fence of `end_work`: either who works there sees the frame, or we see that nobody does.
        fence(Ordering::SeqCst);
        let inbox = self.inboxes.get(usize::from(owner));
        inbox.is_some_and(|inbox| inbox.at_work.load(Ordering::Relaxed))
    }

    /// A thread begins to work on this shard, and holds its lock.
    pub(crate) fn begin_work(&self) {
        self.inbox().at_work.store(true, Ordering::Relaxed);
    }

    /// It is done, and has let go of the lock. True when frames were handed over meanwhile: then it is
    /// not quite done.
    pub(crate) fn end_work(&self) -> bool {
        self.inbox().at_work.store(false, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.has_frames()
    }

    /// The next frame that another shard received for this one.
    pub(crate) fn take(&self) -> Option<Handover> {
        self.inbox().frames.pop()
    }

    /// Whether one waits.
    pub(crate) fn has_frames(&self) -> bool {
        !self.inbox().frames.is_empty()
    }

    fn inbox(&self) -> &Inbox {
        &self.inboxes[self.own]
    }
}
