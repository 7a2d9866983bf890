//! poll and epoll.

use std::collections::BTreeMap;

use stack::{Ready, SocketId, State};
use wire::time::{Duration, Instant};

use crate::sockets::Kind;
use crate::world::{Outcome, World};

const IN: u32 = libc::EPOLLIN as u32 | libc::EPOLLRDNORM as u32;
const OUT: u32 = libc::EPOLLOUT as u32 | libc::EPOLLWRNORM as u32;
const ERR: u32 = libc::EPOLLERR as u32;
const HUP: u32 = libc::EPOLLHUP as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
const EDGE: u32 = 1 << 31;
const ONESHOT: u32 = 1 << 30;

/// What one epoll instance watches.
#[derive(Default)]
pub(crate) struct Epoll {
    watched: BTreeMap<i32, Watch>,
}

#[derive(Clone, Copy)]
struct Watch {
    events: u32,
    data: u64,
    disarmed: bool,
    /// What had happened when it was last reported.
    reported: Option<Activity>,
}

/// How often a socket did what wakes who waits for edges.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Activity {
    readable: u64,
    writable: u64,
    received: u64,
}

impl Activity {
    /// The stack announced `ready`.
    pub(crate) fn note(&mut self, ready: Ready) {
        let reading = Ready::READ | Ready::READ_CLOSED | Ready::ERROR;
        self.readable += u64::from(ready.intersects(reading));
        self.writable += u64::from(ready.intersects(Ready::WRITE | Ready::ERROR));
    }
}

impl World {
    pub(crate) fn poll(
        &mut self,
        watched: &[(i32, i16)],
        timeout: i32,
        began: Instant,
    ) -> Outcome<Vec<i16>> {
        let ready: Vec<i16> = watched
            .iter()
            .map(|(fd, events)| match self.ready(*fd) {
                Err(_) => libc::POLLNVAL,
                Ok(bits) => {
                    let bits = i16::try_from(bits & 0x7fff).unwrap_or(0);
                    bits & (events | libc::POLLERR | libc::POLLHUP)
                }
            })
            .collect();
        match self.wait(timeout, began) {
            Some(wait) if ready.iter().all(|bits| *bits == 0) => wait,
            _ => Outcome::Over(Ok(ready)),
        }
    }

    pub(crate) fn control_epoll(
        &mut self,
        instance: i32,
        operation: i32,
        fd: i32,
        event: Option<(u32, u64)>,
    ) -> Result<i32, i32> {
        self.sockets.socket(fd)?;
        let watched = &mut self.sockets.epoll(instance)?.watched;
        let known = watched.contains_key(&fd);
        match (operation, known, event) {
            (libc::EPOLL_CTL_ADD, true, _) => return Err(libc::EEXIST),
            (libc::EPOLL_CTL_MOD | libc::EPOLL_CTL_DEL, false, _) => return Err(libc::ENOENT),
            (libc::EPOLL_CTL_DEL, ..) => drop(watched.remove(&fd)),
            (libc::EPOLL_CTL_ADD | libc::EPOLL_CTL_MOD, _, Some((events, data))) => {
                watched.insert(fd, Watch { events, data, disarmed: false, reported: None });
            }
            _ => return Err(libc::EINVAL),
        }
        Ok(0)
    }

    /// Events and data of the descriptors that are ready.
    pub(crate) fn wait_epoll(
        &mut self,
        instance: i32,
        most: usize,
        timeout: i32,
        began: Instant,
    ) -> Outcome<Vec<(u32, u64)>> {
        if most == 0 {
            return Outcome::Over(Err(libc::EINVAL));
        }
        let watched = match self.sockets.epoll(instance) {
            Ok(epoll) => epoll.watched.clone(),
            Err(errno) => return Outcome::Over(Err(errno)),
        };
        let mut found = Vec::new();
        for (fd, watch) in watched {
            if found.len() < most
                && let Some((event, watch)) = self.event_of(fd, watch)
            {
                found.push(event);
                if let Ok(epoll) = self.sockets.epoll(instance) {
                    epoll.watched.insert(fd, watch);
                }
            }
        }
        match self.wait(timeout, began) {
            Some(wait) if found.is_empty() => wait,
            _ => Outcome::Over(Ok(found)),
        }
    }

    fn event_of(&mut self, fd: i32, watch: Watch) -> Option<((u32, u64), Watch)> {
        let events = self.ready(fd).ok()? & (watch.events | ERR | HUP);
        if watch.disarmed || events == 0 {
            return None;
        }
        let activity = self.activity_of(fd);
        if let Some(since) = watch.reported.filter(|_| watch.events & EDGE != 0) {
            let reads = (activity.readable, activity.received) != (since.readable, since.received);
            let writes = activity.writable != since.writable;
            let wakes =
                reads && watch.events & (IN | RDHUP) != 0 || writes && watch.events & OUT != 0;
            if !wakes {
                return None;
            }
        }
        let disarmed = watch.events & ONESHOT != 0;
        Some(((events, watch.data), Watch { disarmed, reported: Some(activity), ..watch }))
    }

    fn wait<T>(&self, timeout: i32, began: Instant) -> Option<Outcome<T>> {
        let Ok(millis) = u64::try_from(timeout) else { return Some(Outcome::Blocks(None)) };
        let until = began.after(Duration::from_millis(millis));
        (self.now < until).then_some(Outcome::Blocks(Some(until)))
    }

    fn ready(&mut self, fd: i32) -> Result<u32, i32> {
        let (ready, connecting) = match self.sockets.socket(fd)?.kind {
            Kind::Fresh => return Ok(OUT | HUP),
            Kind::Listener(id) => (self.stack.readiness(SocketId::Listener(id)), false),
            Kind::Connection(id) => {
                let connecting = self.stack.state(id).is_ok_and(|state| state == State::SynSent);
                (self.stack.readiness(SocketId::Connection(id)), connecting)
            }
        };
        let hung_up = ready.contains(Ready::READ_CLOSED | Ready::WRITE_CLOSED) && !connecting;
        let bits = [
            (IN, ready.intersects(Ready::READ | Ready::READ_CLOSED)),
            (OUT, ready.contains(Ready::WRITE)),
            (ERR, ready.contains(Ready::ERROR)),
            (HUP, hung_up),
            (RDHUP, ready.contains(Ready::READ_CLOSED)),
        ];
        Ok(bits.iter().filter(|(_, set)| *set).fold(0, |all, (bit, _)| all | bit))
    }

    fn activity_of(&mut self, fd: i32) -> Activity {
        let Ok(socket) = self.sockets.socket(fd) else { return Activity::default() };
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
