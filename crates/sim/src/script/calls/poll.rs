//! poll, and what a descriptor is ready for.

use stack::{Ready, SocketId, State};
use wire::time::{Duration, Instant};

use super::arguments::{Arguments, field, integer};
use super::{Attempt, Outcome, returned};
use crate::script::Problem;
use crate::script::ast::Expression;
use crate::script::runner::Runner;
use crate::script::sockets::Kind;

pub(super) const IN: i64 = 1;
pub(super) const OUT: i64 = 4;
pub(super) const ERR: i64 = 8;
pub(super) const HUP: i64 = 0x10;
const RDNORM: i64 = 0x40;
const WRNORM: i64 = 0x100;
pub(super) const RDHUP: i64 = 0x2000;

impl Runner {
    pub(super) fn poll(&mut self, arguments: Arguments<'_>, began: Instant) -> Attempt {
        let Expression::List(entries) = arguments.get(0)? else {
            return Err("poll takes [{fd=.., events=.., revents=..}]".into());
        };
        let mut ready = 0;
        let mut wrong = None;
        for entry in entries {
            let Expression::Record(fields) = entry else { return Err("poll takes records".into()) };
            let value = |name: &str| {
                let found = field(fields, &[name]).ok_or_else(|| format!("a pollfd needs {name}"));
                integer(found?)
            };
            let fd = value("fd")?;
            let found = self.ready_bits(fd)? & (value("events")? | ERR | HUP);
            ready += i64::from(found != 0);
            let wanted = field(fields, &["revents"]).map_or(Ok(0), integer)?;
            if found != wanted {
                wrong = Some(format!(
                    "poll did not find what it should for descriptor {fd}\n  \
                     expected  revents={wanted:#x}\n  found     revents={found:#x}"
                ));
            }
        }
        if ready == 0
            && let Some(wait) = self.wait(arguments.integer(2)?, began)
        {
            return Ok(wait);
        }
        wrong.map_or_else(|| returned(ready), |text| Err(text.into()))
    }

    /// Waiting for `timeout` milliseconds from `began` on (for ever when negative); `None` when
    /// that is over.
    pub(super) fn wait(&self, timeout: i64, began: Instant) -> Option<Outcome> {
        let Ok(millis) = u64::try_from(timeout) else { return Some(Outcome::Blocks(None)) };
        let until = began.after(Duration::from_millis(millis));
        (self.now < until).then_some(Outcome::Blocks(Some(until)))
    }

    /// What a descriptor is ready for, as bits of `poll`.
    pub(super) fn ready_bits(&mut self, fd: i64) -> Result<i64, Problem> {
        let (ready, connecting) = match self.sockets.get(fd)?.kind {
            Kind::Fresh => return Ok(OUT | WRNORM | HUP),
            Kind::Listener(id) => (self.stack.readiness(SocketId::Listener(id)), false),
            Kind::Connection(id) => {
                let state = self.stack.state(id).unwrap_or(State::Closed);
                (self.stack.readiness(SocketId::Connection(id)), state == State::SynSent)
            }
        };
        let hung_up = ready.contains(Ready::READ_CLOSED | Ready::WRITE_CLOSED) && !connecting;
        let bits = [
            (IN | RDNORM, ready.intersects(Ready::READ | Ready::READ_CLOSED)),
            (OUT | WRNORM, ready.intersects(Ready::WRITE)),
            (ERR, ready.contains(Ready::ERROR)),
            (HUP, hung_up),
            (RDHUP, ready.contains(Ready::READ_CLOSED)),
        ];
        Ok(bits.iter().filter(|(_, set)| *set).fold(0, |all, (bit, _)| all | bit))
    }
}
