//! `socket`: a pair, one of whose ends is the program's.

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::SocketType;

use crate::address::Domain;
use crate::errno;
use crate::process::Place;
use crate::request::{Outcome, Request};
use crate::supervisor::Supervisor;
use crate::table::{Key, Kind, Pair, Tcp};

const SOCK_STREAM: i32 = 1;
const SOCK_DGRAM: i32 = 2;
const SOCK_RAW: i32 = 3;
const SOCK_NONBLOCK: i32 = 0o4000;
const SOCK_CLOEXEC: i32 = 0o2000000;

const SOCK_MAX: i32 = 11;

const IPPROTO_MAX: i32 = 263;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_UDP: i32 = 17;

impl Supervisor {
    /// `socket(domain, type, protocol)`
    pub(crate) fn create(&mut self, request: &Request) -> Outcome {
        let domain = if request.int(0) == 2 { Domain::V4 } else { Domain::V6 };
        let flags = request.int(1) & (SOCK_NONBLOCK | SOCK_CLOEXEC);
        let (kind, protocol) = (request.int(1) & !flags, request.int(2));
        if !(0..SOCK_MAX).contains(&kind) || !(0..IPPROTO_MAX).contains(&protocol) {
            return Outcome::fail(Errno::INVAL);
        }
        let (kind, pair_type) = match (kind, protocol) {
            (SOCK_STREAM, 0 | IPPROTO_TCP) => (Kind::Tcp(Tcp::Fresh), SocketType::STREAM),
            // Datagrams of their own lengths, and an end that can be seen.
            (SOCK_DGRAM, 0 | IPPROTO_UDP) => (Kind::Udp(Box::default()), SocketType::SEQPACKET),
            (SOCK_RAW, _) => return Outcome::fail(Errno::PERM),
            (SOCK_STREAM | SOCK_DGRAM, _) => return Outcome::fail(Errno::PROTONOSUPPORT),
            _ => return Outcome::fail(Errno::SOCKTNOSUPPORT),
        };
        let pair = match Pair::new(pair_type, flags & SOCK_NONBLOCK != 0) {
            Ok(pair) => pair,
            Err(error) => return Outcome::fail(of_ours(&error)),
        };
        let place = Place { thread: request.thread, descriptor: u32::MAX };
        let (key, theirs) = self.table.insert(pair, domain, kind, place);
        let given = self.watch_pair(key);
        let given =
            given.and_then(|()| self.give(key, request, &theirs, flags & SOCK_CLOEXEC != 0));
        match given {
            Ok(descriptor) => Outcome::Given(Some(descriptor)),
            Err(error) => {
                self.table.remove(key);
                refused(&error)
            }
        }
    }

    /// Hears of what the program writes from now on.
    pub(crate) fn watch_pair(&self, key: Key) -> io::Result<()> {
        let ours = self.table.get(key).and_then(|socket| socket.ours.as_ref());
        self.network.watch_pair(key, ours.ok_or(io::ErrorKind::NotFound)?)
    }

    /// Gives the program its end of a new socket, as the answer to its call.
    pub(crate) fn give(
        &mut self,
        key: Key,
        request: &Request,
        theirs: &impl AsFd,
        close_on_exec: bool,
    ) -> io::Result<i32> {
        let descriptor = self.notifier.give(request.id, theirs.as_fd(), close_on_exec)?;
        if let Some(socket) = self.table.get_mut(key) {
            let descriptor = descriptor.cast_unsigned();
            socket.place = Place { thread: request.thread, descriptor };
        }
        self.summary.sockets += 1;
        Ok(descriptor)
    }
}

/// Why a descriptor could not be given: its own limit is the program's to see; else it is gone.
pub(crate) fn refused(error: &io::Error) -> Outcome {
    match errno::from_stack(error) {
        Errno::NOENT | Errno::SRCH | Errno::INPROGRESS => Outcome::Given(None),
        errno => Outcome::fail(errno),
    }
}

/// What a program is told when the supervisor has no descriptors left: the system has none, and not the
/// program.
pub(crate) fn of_ours(error: &io::Error) -> Errno {
    match errno::from_stack(error) {
        Errno::MFILE => Errno::NFILE,
        errno => errno,
    }
}
