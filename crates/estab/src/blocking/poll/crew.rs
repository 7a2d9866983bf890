//! The shards whose sockets a poll watches, and its turns on those that it leads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;

use crate::lead::Leading;
use crate::ready::ReadyList;
use crate::seats::Seat;
use crate::shared::{Shared, Wait};

/// How many shards one poll leads at a time. Each is the work of a core.
const MOST_LED: usize = 16;

/// What a poll leads now. The numbers are those of the shards in the crew.
pub(super) type Leads<'a> = ArrayVec<(usize, Leading<'a>), MOST_LED>;

/// How a poll that leads sleeps, one for each shard.
pub(super) type Waits = ArrayVec<Wait, MOST_LED>;

/// Every shard that a poll has sockets on.
#[derive(Debug, Default)]
pub(super) struct Crew {
    shards: Vec<Arc<Shared>>,
    states: Vec<State>,
}

/// What a poll knows of a shard.
#[derive(Debug)]
struct State {
    seat: Arc<Seat>,
    /// It is to be looked what came.
    looks: bool,
    /// The turn before had more than it took, or the next one is expected to find some.
    more: bool,
    /// Calls of this thread leave what they send to the next turn.
    defers: bool,
    /// The poll's own descriptor waits for what this shard waits for.
    shares: bool,
    /// The stack has ended.
    over: bool,
}

impl Crew {
    /// Takes the shards that are new, and lets go of those that ended.
    pub(super) fn update(&mut self, shards: &mut Vec<Arc<Shared>>) {
        let over = |shard: &Arc<Shared>| {
            let known = self.shards.iter().position(|known| Arc::ptr_eq(known, shard));
            known.is_some_and(|known| self.states[known].over)
        };
        shards.retain(|shard| !over(shard));
        for index in (0..self.shards.len()).rev() {
            if self.states[index].over {
                leave(&self.shards.swap_remove(index), &self.states.swap_remove(index));
            }
        }
        for shard in &shards[..] {
            if !self.shards.iter().any(|known| Arc::ptr_eq(known, shard)) {
                self.shards.push(Arc::clone(shard));
                self.states.push(State::new(shard));
            }
        }
    }

    /// Whether something is to be done before it may sleep.
    pub(super) fn has_more(&self) -> bool {
        self.states.iter().any(|state| state.more)
    }

    /// Whether a stack has ended, and is to be let go of.
    pub(super) fn has_ended(&self) -> bool {
        self.states.iter().any(|state| state.over)
    }

    /// Every shard is to be looked at.
    pub(super) fn look_everywhere(&mut self) {
        self.states.iter_mut().for_each(|state| state.looks = true);
    }

    /// The shards, for who leads some of them, and what is to be known of them.
    pub(super) fn split(&mut self) -> (&[Arc<Shared>], Ranks<'_>) {
        (&self.shards, Ranks(&mut self.states))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for (shard, state) in self.shards.iter().zip(&self.states) {
            leave(shard, state);
        }
    }
}

impl State {
    fn new(shard: &Shared) -> Self {
        shard.lead.polls();
        Self {
            seat: shard.seats.take(),
            looks: true,
            more: false,
            defers: false,
            shares: false,
            over: false,
        }
    }
}

fn leave(shard: &Shared, state: &State) {
    shard.seats.give_back(&state.seat);
    shard.lead.polls_no_more();
}

/// The states, while the shards are lent to [`Leads`].
pub(super) struct Ranks<'a>(&'a mut [State]);

impl Ranks<'_> {
    /// Takes the lead of every shard that nobody leads.
    pub(super) fn take_leads<'s>(&self, shards: &'s [Arc<Shared>]) -> Leads<'s> {
        let may = self.0.iter().map(|state| state.seat.may_lead());
        let free = shards.iter().zip(may).enumerate().filter(|(_, (_, may))| *may);
        free.filter_map(|(index, (shard, _))| Some((index, shard.lead.take()?)))
            .take(MOST_LED)
            .collect()
    }

    /// Takes a turn on each shard that is to be looked at; true when another one is worth it at once.
    pub(super) fn take_turns(
        &mut self,
        shards: &[Arc<Shared>],
        leads: &mut Leads<'_>,
        list: &ReadyList,
    ) -> bool {
        let mut again = false;
        leads.retain(|(index, leading)| {
            let (shard, state) = (&shards[*index], &mut self.0[*index]);
            if !std::mem::take(&mut state.looks) {
                return true;
            }
            let Some(turn) = shard.turn_of_poll(&mut leading.turner) else {
                // What is left to do is the driver's.
                (state.over, state.more, state.defers) = (true, false, false);
                return false;
            };
            let woken = leading.turner.woken.wake();
            (state.more, state.defers) = (turn.more, turn.defers);
            if let Some(why) = turn.gone {
                shard.end(why);
                state.over = true;
                return false;
            }
            state.looks = turn.found && turn.more;
            again |= state.looks;
            // As a thread that waits for one socket does: the one that was woken is to go on.
            let keeps = woken != 1 || !leading.may_rest() || state.looks || list.has_some();
            if !keeps {
                state.stop_deferring(shard);
            }
            keeps
        });
        again
    }

    /// Prepares to sleep; `None` when something is to be done first.
    pub(super) fn prepare_waits(
        &mut self,
        shards: &[Arc<Shared>],
        leads: &Leads<'_>,
    ) -> Option<Waits> {
        let mut waits = Waits::new();
        for (index, _) in leads {
            let (shard, state) = (&shards[*index], &mut self.0[*index]);
            state.stop_deferring(shard);
            match shard.prepare_wait() {
                Some(wait) => waits.push(wait),
                None => {
                    state.looks = true;
                    return None;
                }
            }
        }
        Some(waits)
    }

    /// What calls have left to the next turn is sent now.
    pub(super) fn stop_deferring(&mut self, shards: &[Arc<Shared>]) {
        shards.iter().zip(self.0.iter_mut()).for_each(|(shard, state)| state.stop_deferring(shard));
    }

    /// Sleeps on the links of the only shard that is led, at most for `limit`.
    pub(super) fn sleep_on_one(
        &mut self,
        shards: &[Arc<Shared>],
        (index, leading): &mut (usize, Leading<'_>),
        wait: &Wait,
        limit: Option<Duration>,
    ) -> io::Result<()> {
        leading.turner.waited = shards[*index].wait(wait, limit)?;
        self.0[*index].looks = true;
        Ok(())
    }

    /// Has the poll's own descriptor wait for the links of the shards that are led, and of no others.
    pub(super) fn share_links(
        &mut self,
        shards: &[Arc<Shared>],
        leads: &Leads<'_>,
        list: &Arc<ReadyList>,
    ) -> io::Result<()> {
        for (index, (shard, state)) in shards.iter().zip(self.0.iter_mut()).enumerate() {
            let is_led = leads.iter().any(|(led, _)| *led == index);
            if state.shares != is_led {
                shard.share_with(list, is_led)?;
                state.shares = is_led;
            }
        }
        Ok(())
    }

    /// Finds out, after sleeping, which shards something came for; `internal` says that something came
    /// which is none of the program's.
    pub(super) fn look_who_woke(
        &mut self,
        shards: &[Arc<Shared>],
        leads: &Leads<'_>,
        waits: &Waits,
        internal: bool,
    ) -> io::Result<()> {
        for ((index, _), wait) in leads.iter().zip(waits) {
            let is_due = || shards[*index].left_of(wait).0 == Some(Duration::ZERO);
            // One of one is not asked.
            let has_come =
                internal && (leads.len() == 1 || wait.poller.wait(Some(Duration::ZERO))?);
            self.0[*index].looks |= has_come || is_due();
        }
        Ok(())
    }
}

impl State {
    fn stop_deferring(&mut self, shard: &Shared) {
        if std::mem::take(&mut self.defers) {
            shard.send_deferred();
        }
    }
}
