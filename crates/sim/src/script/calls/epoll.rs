//! epoll: level-triggered, edge-triggered (`EPOLLET`) and once (`EPOLLONESHOT`).

use std::collections::BTreeMap;

use stack::{Ready, SocketId};
use wire::time::Instant;

use super::arguments::{Arguments, field, integer};
use super::poll::{ERR, HUP, IN, OUT, RDHUP};
use super::{Attempt, failed, returned, returned_fd};
use crate::script::ast::{Call, Expression};
use crate::script::runner::Runner;
use crate::script::sockets::Kind;
use crate::script::{Problem, not_supported};

const ONESHOT: i64 = 1 << 30;
const EDGE: i64 = 1 << 31;

/// One epoll instance: the descriptors that it watches.
#[derive(Debug, Default)]
pub(in crate::script) struct Epoll {
    watched: BTreeMap<i64, Watch>,
}

/// A descriptor that is watched.
#[derive(Clone, Debug)]
struct Watch {
    /// What for, and how.
    events: i64,
    /// `fd=`, `u32=`, `u64=` or `ptr=`, given back with the event.
    data: i64,
    /// Reported once, and not asked for again.
    disarmed: bool,
    /// What had happened when it was last reported.
    reported: Option<Activity>,
}

/// How often something happened to a socket that wakes an edge-triggered waiter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::script) struct Activity {
    /// It became readable, ended or failed.
    readable: u64,
    /// It became writable.
    writable: u64,
    /// Bytes that arrived in order: more of them wake again.
    received: u64,
}

impl Activity {
    /// The stack announced `ready`.
    pub(in crate::script) fn note(&mut self, ready: Ready) {
        let reading = Ready::READ | Ready::READ_CLOSED | Ready::ERROR;
        self.readable += u64::from(ready.intersects(reading));
        self.writable += u64::from(ready.intersects(Ready::WRITE | Ready::ERROR));
    }

    fn wakes(self, since: Activity, events: i64) -> bool {
        let reading = (self.readable, self.received) != (since.readable, since.received);
        let writing = self.writable != since.writable;
        reading && events & (IN | RDHUP) != 0 || writing && events & OUT != 0
    }
}

impl Runner {
    pub(super) fn epoll_create(&mut self, call: &Call) -> Attempt {
        let fd = returned_fd(call)?;
        self.sockets.open_epoll(fd)?;
        returned(fd)
    }

    pub(super) fn epoll_ctl(&mut self, arguments: Arguments<'_>) -> Attempt {
        let fd = arguments.integer(2)?;
        self.sockets.get(fd)?;
        let watched = &mut self.sockets.epoll(arguments.integer(0)?)?.watched;
        let known = watched.contains_key(&fd);
        match (arguments.names(1)?[..].first().copied(), known) {
            (Some("EPOLL_CTL_ADD"), true) => return failed("EEXIST"),
            (Some("EPOLL_CTL_MOD" | "EPOLL_CTL_DEL"), false) => return failed("ENOENT"),
            (Some("EPOLL_CTL_ADD" | "EPOLL_CTL_MOD"), _) => {
                let Expression::Record(fields) = arguments.get(3)? else {
                    return Err("epoll_ctl needs {events=.., fd=..}".into());
                };
                let events = field(fields, &["events"]).ok_or("epoll_ctl needs events")?;
                let data = field(fields, &["fd", "u32", "u64", "ptr"]).map_or(Ok(0), integer)?;
                let events = integer(events)?;
                watched.insert(fd, Watch { events, data, disarmed: false, reported: None });
            }
            (Some("EPOLL_CTL_DEL"), true) => drop(watched.remove(&fd)),
            (operation, _) => {
                let operation = operation.unwrap_or_default();
                return Err(not_supported(format!("epoll_ctl with {operation}")));
            }
        }
        returned(0)
    }

    pub(super) fn epoll_wait(&mut self, arguments: Arguments<'_>, began: Instant) -> Attempt {
        let instance = arguments.integer(0)?;
        let most = usize::try_from(arguments.integer(2)?).unwrap_or(0);
        if most == 0 {
            return failed("EINVAL");
        }
        let found = self.take_events(instance, most)?;
        if found.is_empty()
            && let Some(wait) = self.wait(arguments.integer(3)?, began)
        {
            return Ok(wait);
        }
        let wanted = match arguments.get(1)? {
            Expression::List(all) | Expression::Tuple(all) => all.iter().collect(),
            one => vec![one],
        };
        for (wanted, (events, data)) in wanted.into_iter().zip(&found) {
            let Expression::Record(fields) = wanted else { continue };
            let right_events = field(fields, &["events"]).map_or(Ok(*events), integer)?;
            let right_data =
                field(fields, &["fd", "u32", "u64", "ptr"]).map_or(Ok(*data), integer)?;
            if (right_events, right_data) != (*events, *data) {
                return Err(format!(
                    "epoll_wait did not find what it should\n  \
                     expected  events={right_events:#x} fd={right_data}\n  \
                     found     events={events:#x} fd={data}"
                )
                .into());
            }
        }
        returned(i64::try_from(found.len()).unwrap_or(i64::MAX))
    }

    /// The events of up to `most` descriptors, which are reported with this.
    fn take_events(&mut self, instance: i64, most: usize) -> Result<Vec<(i64, i64)>, Problem> {
        let watched = self.sockets.epoll(instance)?.watched.clone();
        let mut found = Vec::new();
        for (fd, mut watch) in watched {
            if found.len() == most || watch.disarmed {
                continue;
            }
            let Ok(bits) = self.ready_bits(fd) else {
                self.sockets.epoll(instance)?.watched.remove(&fd);
                continue;
            };
            let events = bits & (watch.events | ERR | HUP);
            let activity = self.activity(fd);
            let wakes = watch.events & EDGE == 0
                || watch.reported.is_none_or(|since| activity.wakes(since, watch.events));
            if events == 0 || !wakes {
                continue;
            }
            found.push((events, watch.data));
            watch.disarmed = watch.events & ONESHOT != 0;
            watch.reported = Some(activity);
            self.sockets.epoll(instance)?.watched.insert(fd, watch);
        }
        Ok(found)
    }

    fn activity(&mut self, fd: i64) -> Activity {
        let Ok(socket) = self.sockets.get(fd) else { return Activity::default() };
        let (id, received) = match socket.kind {
            Kind::Fresh => return Activity::default(),
            Kind::Listener(id) => (SocketId::Listener(id), 0),
            Kind::Connection(id) => {
                let received = self.stack.info(id).map_or(0, |info| info.bytes_received);
                (SocketId::Connection(id), received)
            }
        };
        let noted = self.activity.get(&id).copied().unwrap_or_default();
        Activity { received, ..noted }
    }
}
