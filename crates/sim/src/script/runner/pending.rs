//! System calls: those that return, and those that block until something happens.

use wire::time::Instant;

use super::{Runner, placed, shown};
use crate::script::ast::Call;
use crate::script::calls::{Outcome, Returned};
use crate::script::matcher::Due;
use crate::script::{Failure, Position};

/// A system call that has not returned yet.
pub(super) struct Pending {
    call: Call,
    position: Position,
    began: Instant,
    /// When it should return.
    until: Instant,
    /// When it stops waiting by itself.
    pub(super) wakes_at: Option<Instant>,
}

impl Runner {
    pub(super) fn call(
        &mut self,
        call: &Call,
        until: Option<Instant>,
        at: Position,
    ) -> Result<(), Failure> {
        self.finish_call(at)?;
        self.log(&format!("{}(…)", call.name));
        let began = self.now;
        let outcome = self.attempt(call, began).map_err(|problem| at.failure(problem))?;
        match (outcome, until) {
            (Outcome::Returned(returned), None) => check_return(call, &returned, at),
            (Outcome::Returned(_), Some(until))
                if until > self.now.after(self.tolerance(until)) =>
            {
                Err(at.failure(format!("{} returned at once instead of blocking", call.name)))
            }
            (Outcome::Returned(returned), Some(_)) => check_return(call, &returned, at),
            (Outcome::Blocks(wakes_at), Some(until)) => {
                let call = call.clone();
                self.pending = Some(Pending { call, position: at, began, until, wakes_at });
                Ok(())
            }
            (Outcome::Blocks(_), None) => Err(at.failure(format!(
                "{} blocks; write `+0...TIME` when it should return later",
                call.name
            ))),
        }
    }

    /// Tries a blocked call again: something happened.
    pub(super) fn retry_call(&mut self) -> Result<(), Failure> {
        let Some(mut pending) = self.pending.take() else { return Ok(()) };
        let at = pending.position;
        let outcome = self.attempt(&pending.call, pending.began);
        match outcome.map_err(|problem| at.failure(problem))? {
            Outcome::Blocks(wakes_at) => {
                pending.wakes_at = wakes_at;
                self.pending = Some(pending);
            }
            Outcome::Returned(returned) => {
                self.drain();
                check_return(&pending.call, &returned, at)?;
                let due = Due { earliest: pending.until, latest: pending.until };
                if !due.admits(self.now, self.tolerance(pending.until)) {
                    return Err(at.failure(format!(
                        "{} returned at {}, expected at {}",
                        pending.call.name,
                        shown(self.now),
                        shown(pending.until)
                    )));
                }
            }
        }
        Ok(())
    }

    /// Lets time pass until a blocked call has returned.
    pub(super) fn finish_call(&mut self, at: Position) -> Result<(), Failure> {
        let Some(pending) = &self.pending else { return Ok(()) };
        let limit = pending.until.after(self.tolerance(pending.until));
        while self.pending.is_some() {
            if !self.step(limit).map_err(|failure| placed(failure, at))? {
                break;
            }
        }
        match &self.pending {
            None => Ok(()),
            Some(pending) => {
                Err(pending.position.failure(format!("{} does not return", pending.call.name)))
            }
        }
    }
}

fn check_return(call: &Call, returned: &Returned, at: Position) -> Result<(), Failure> {
    returned.check(call).map_err(|problem| at.failure(problem))
}
