//! The links of a stack: what one turn receives from them and sends through them.
//!
//! The driver's turns, the turns of a program's calls and those of an [inline](crate::inline) stack
//! all go through here.

use std::io::{Error, ErrorKind};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Weak};

use link::{Batching, Link};
use stack::{HeaderBuf, InterfaceId, Stack};
use wire::frame::FrameBuf;
use wire::time::Instant;

use crate::poller::Poller;
use crate::port::{Port, Received};
use crate::ready::ReadyList;

/// How many frames one turn receives from one link before programs get their chance.
const RECEIVE_BUDGET: usize = 64;
/// The same in bytes: they are still in the cache when the programs copy them.
const RECEIVE_BYTES: usize = 256 * 1024;
/// How many frames may wait for one of several links while the others go on. With one link,
/// nothing is built while a frame waits.
const STASH_LIMIT: usize = 64;

/// The links, and what sending and receiving needs besides.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// Empty after one was lost.
    ports: Vec<Port>,
    /// There is more to send than the budget of the last turn allowed.
    more: bool,
    /// Whoever takes the turns flushes after receiving.
    may_batch: bool,
    /// The polls that wait for the links.
    lists: Vec<Weak<ReadyList>>,
    /// Lent to the stack for the headers of each packet.
    header: HeaderBuf,
    /// The next frame to receive into.
    idle: FrameBuf,
}

/// What a turn received.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// How many frames.
    pub(crate) frames: usize,
    /// A link was not read to its end: it had more than the budget of a turn.
    pub(crate) full: bool,
    /// A link is gone for good, and why.
    pub(crate) gone: Option<String>,
}

/// Whether a link brings frames one at a time, or several small ones.
///
/// Where a question is answered before the next one comes, each turn finds one frame, and asking for
/// a second is a system call in vain. Then the turn ends after the first, and sleeping, which ends at
/// once when there is another frame, tells the difference; and now and then it is asked all the same.
///
/// Where many ask at once, each turn finds several small frames. Then sleeping is what is in vain: the
/// next ones are there already, and a link that can reads them all with the call that sends the answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habit {
    /// Turns in a row that found one frame.
    lone: u8,
    /// Turns of late that found several small frames, less those that did not.
    several: u8,
}

impl Habit {
    /// After so many turns with one frame a second one is not expected.
    const TURNS: u8 = 4;
    /// Of so many such turns one asks.
    const DOUBT: u8 = 8;
    /// After so many turns with several small frames such are expected,
    const SEVERAL: u8 = 4;
    /// and after at most so many others no more.
    const FORGIVEN: u8 = 8;
    /// Up to so many bytes a frame is small: reading and writing it costs less than the calls for it.
    const SMALL: usize = 2048;

    /// Whether a turn is expected to find several small frames.
    pub(crate) fn is_several(self) -> bool {
        self.several >= Self::SEVERAL
    }

    /// Whether to ask for another frame in a turn that found `frames`.
    fn asks_again(self, frames: usize) -> bool {
        frames != 1
            || self.is_several()
            || self.lone < Self::TURNS
            || self.lone.is_multiple_of(Self::DOUBT)
    }

    /// A turn found `frames`, together `bytes` long. Finding none says nothing.
    fn turn_ended(&mut self, frames: usize, bytes: usize) {
        match frames {
            0 => return,
            1 => self.lone = self.lone.checked_add(1).unwrap_or(Self::DOUBT),
            _ => self.lone = 0,
        }
        self.several = if frames > 1 && bytes <= frames * Self::SMALL {
            (self.several + 1).min(Self::SEVERAL + Self::FORGIVEN - 1)
        } else {
            self.several.saturating_sub(1)
        };
    }
}

impl Ports {
    pub(crate) fn add(&mut self, port: Port) {
        self.ports.push(port);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ports.len()
    }

    /// Reads one more queue of the first link's device. What is sent goes on as before.
    pub(crate) fn attach(
        &mut self,
        queue: Box<dyn Link>,
        poller: &Arc<Poller>,
    ) -> std::io::Result<()> {
        let first = self.ports.first().filter(|port| port.capabilities() == queue.capabilities());
        let Some(interface) = first.map(|port| port.interface) else {
            let why = "this is no queue of the stack's device: their capabilities differ";
            return Err(Error::new(ErrorKind::InvalidInput, why));
        };
        let mut port = Port::new(interface, queue, poller)?;
        for list in self.lists.iter().filter_map(Weak::upgrade) {
            port.share_with(&list, true)?;
        }
        self.ports.push(port);
        Ok(())
    }

    /// Has the poll of `list` wait for the links, too, or no more.
    pub(crate) fn share_with(&mut self, list: &Arc<ReadyList>, on: bool) -> std::io::Result<()> {
        let is_it = |known: &Weak<ReadyList>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(list));
        self.lists.retain(|known| known.strong_count() > 0 && !is_it(known));
        if on {
            self.lists.push(Arc::downgrade(list));
        }
        self.ports.iter_mut().try_for_each(|port| port.share_with(list, on))
    }

    /// Lets go of the queue that was attached last.
    pub(crate) fn detach(&mut self) -> Option<Port> {
        let (last, rest) = self.ports.split_last()?;
        let attached = rest.iter().any(|port| port.interface == last.interface);
        if attached { self.ports.pop() } else { None }
    }

    /// The interfaces of all links.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = InterfaceId> + '_ {
        self.ports.iter().map(|port| port.interface)
    }

    /// The interface of the first link.
    pub(crate) fn first_interface(&self) -> Option<InterfaceId> {
        self.ports.first().map(|port| port.interface)
    }

    /// Whether a frame waits for a link that is full.
    pub(crate) fn is_stashing(&self) -> bool {
        self.ports.iter().any(Port::is_stashing)
    }

    /// The descriptor of the only link, when frames are all that is waited for.
    pub(crate) fn lone_descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.ports[..] {
            [port] => port.waits_for_frames(),
            _ => None,
        }
    }

    /// When the stack or a link has something to do although nobody asks for it.
    pub(crate) fn deadline(&self, stack: &Stack) -> Instant {
        if self.more || self.ports.iter().any(Port::needs_driver) {
            return Instant::ZERO;
        }
        let links = self.ports.iter().filter_map(Port::deadline);
        links.chain(stack.poll_timeout()).min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Receives up to a budget from each link, and hands it to the stack.
    pub(crate) fn receive(&mut self, stack: &mut Stack, now: Instant) -> Batch {
        let mut batch = Batch::default();
        for port in &mut self.ports {
            let (mut frames, mut bytes) = (0, 0);
            loop {
                match port.receive(now, &mut self.idle) {
                    Received::Frame(meta) => {
                        let next = stack.spare_frame().unwrap_or_default();
                        let frame = std::mem::replace(&mut self.idle, next);
                        frames += 1;
                        bytes += frame.len();
                        stack.handle_frame(now, port.interface, frame, meta);
                    }
                    Received::Nothing => break,
                    Received::Gone(why) => {
                        batch.gone = Some(why);
                        break;
                    }
                }
                if frames >= RECEIVE_BUDGET || bytes >= RECEIVE_BYTES {
                    batch.full = true;
                    break;
                }
                if !port.habit.asks_again(frames) {
                    break;
                }
            }
            port.habit.turn_ended(frames, bytes);
            port.set_batching(now, self.may_batch && port.habit.is_several());
            batch.frames += frames;
        }
        batch
    }

    /// Sends what there is to send, up to `budget` packets; says how many.
    pub(crate) fn transmit(&mut self, stack: &mut Stack, now: Instant, budget: usize) -> usize {
        for port in &mut self.ports {
            port.flush(now);
        }
        let limit = if self.ports.len() > 1 { STASH_LIMIT } else { 1 };
        self.more = false;
        let mut sent = 0;
        loop {
            if self.ports.iter().any(|port| port.stashed() >= limit) {
                return sent; // Sending goes on when the link is writable.
            }
            if sent >= budget {
                self.more = true;
                return sent;
            }
            let Some(packet) = stack.poll_transmit(now, &mut self.header) else {
                return sent;
            };
            if let Some(port) = self.ports.iter_mut().find(|p| p.interface == packet.interface) {
                port.send(now, &packet);
            }
            sent += 1;
        }
    }

    /// Whether links may [batch](Link::set_batching) from the next turn on: then whoever takes it flushes
    /// them after receiving.
    pub(crate) fn let_batch(&mut self, may: bool) {
        self.may_batch = may;
    }

    /// Whether a link does.
    pub(crate) fn is_batching(&self) -> bool {
        self.ports.iter().any(|port| port.batching() == Batching::On)
    }

    /// What the first link makes of it.
    pub(crate) fn batching(&self) -> Batching {
        self.ports.first().map_or(Batching::Never, Port::batching)
    }

    /// Sends what links still keep of what they took.
    pub(crate) fn flush(&mut self, now: Instant) {
        for port in &mut self.ports {
            port.flush_link(now);
        }
    }

    /// Whether frames are expected without waiting for them.
    pub(crate) fn expects_frames(&self) -> bool {
        self.ports.iter().any(|port| port.habit.is_several())
    }

    /// Lets go of the links.
    pub(crate) fn take(&mut self) -> Vec<Port> {
        std::mem::take(&mut self.ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many times a link is asked in `turns` turns that each find `frames`.
    fn asked(habit: &mut Habit, turns: usize, frames: usize) -> usize {
        let mut asked = 0;
        for _ in 0..turns {
            let mut found = 0;
            loop {
                asked += 1;
                if found == frames {
                    break;
                }
                found += 1;
                if !habit.asks_again(found) {
                    break;
                }
            }
            habit.turn_ended(found, found * 100);
        }
        asked
    }

    #[test]
    fn a_dialogue_costs_hardly_a_question_in_vain() {
        let mut habit = Habit::default();
        assert_eq!(asked(&mut habit, 4, 1), 8, "at first it is asked each time");
        assert_eq!(asked(&mut habit, 800, 1), 900);
        assert_eq!(asked(&mut habit, 100, 0), 100);
    }

    #[test]
    fn several_small_frames_a_turn_become_a_habit_and_are_soon_forgotten() {
        let mut habit = Habit::default();
        let turns = |habit: &mut Habit, turns: usize, frames, bytes| {
            (0..turns)
                .take_while(|_| {
                    habit.turn_ended(frames, bytes);
                    habit.is_several()
                })
                .count()
        };
        for _ in 0..3 {
            habit.turn_ended(3, 300);
            assert!(!habit.is_several());
        }
        assert_eq!(turns(&mut habit, 1000, 2, 4000), 1000);
        assert_eq!(turns(&mut habit, 1000, 0, 0), 1000, "nothing is no other habit");
        assert_eq!(turns(&mut habit, 1000, 1, 100), 7, "a dialogue");
        assert_eq!(turns(&mut habit, 1000, 4, 100_000), 0, "bulk");
    }

    #[test]
    fn a_burst_is_noticed_within_eight_turns() {
        let mut habit = Habit::default();
        asked(&mut habit, 1000, 1);
        asked(&mut habit, 8, 20);
        assert_eq!(asked(&mut habit, 10, 20), 210, "all of it in each turn");
    }
}
