//! How sockets end: closed by the program, by the peer, by both; and what is left of them.
//!
//! `close` is no call that comes here. That the last descriptor of a program's end is gone shows at our
//! end of the pair. A connection that both sides have shut down has no pair any more; what is left is a
//! *tombstone*, with a name and an error, for a program that still has the descriptor. Of those that pile
//! up it is looked in `/proc` who has one.

use std::collections::HashSet;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::process::{Place, sockets_in_proc};
use crate::supervisor::Supervisor;
use crate::table::{Key, Kind, Over, Socket, Tcp};

impl Supervisor {
    /// The program has closed: what it wrote was moved, and the stack finishes the rest.
    pub(crate) fn close(&mut self, key: Key) {
        let shown = self.before_close(key);
        if matches!(
            self.table.get(key).map(|socket| &socket.kind),
            Some(Kind::Tcp(Tcp::Listening(_)))
        ) {
            self.stop_listening(key, None);
        }
        let Some(socket) = self.table.remove(key) else { return };
        self.leave(flow_of(&socket));
        drop(socket);
        self.show_close(shown);
    }

    /// The program has closed without reading all that came: the peer is to know that.
    pub(crate) fn abort(&mut self, key: Key) {
        let shown = self.before_close(key);
        if let Some(Socket { kind: Kind::Tcp(Tcp::Connected(connected)), .. }) =
            self.table.remove(key)
        {
            connected.stream.reset();
        }
        self.show_close(shown);
    }

    /// Both sides have said that nothing follows, and the program may have the descriptor yet.
    pub(crate) fn bury(&mut self, key: Key) {
        let Some(socket) = self.table.get_mut(key) else { return };
        let (flow, local) = (flow_of(socket), socket.local());
        socket.kind = Kind::Tcp(Tcp::Over(Over { local: Some(local), attempt_failed: false }));
        socket.ours = None;
        self.leave(flow);
        self.add_tombstone(key);
    }

    /// The connection has failed: reads and writes of the program fail, and `SO_ERROR` says why.
    pub(crate) fn failed(&mut self, key: Key, errno: Errno) {
        let Some(socket) = self.table.get_mut(key) else { return };
        let local = socket.local();
        let Kind::Tcp(tcp) = &mut socket.kind else { return };
        let over = Over { local: Some(local), attempt_failed: false };
        let Tcp::Connected(connected) = std::mem::replace(tcp, Tcp::Over(over)) else { return };
        // Who has the whole stream is told of its end, not of what happened afterwards.
        if !connected.fin_given {
            socket.error = Some(errno);
            self.throw_reset(key);
        }
        if let Some(socket) = self.table.get_mut(key) {
            socket.ours = None;
        }
        self.add_tombstone(key);
    }

    /// A connection has failed whose stream from the peer was whole: what the program writes from now on is
    /// a broken pipe.
    pub(crate) fn failed_behind_the_end(&mut self, key: Key) {
        if self.connected(key).is_some_and(|connected| connected.fin_given) {
            self.failed(key, Errno::PIPE);
        }
    }

    /// Has the program's end see a reset when ours is closed: it does when a byte is unread at ours.
    fn throw_reset(&mut self, key: Key) {
        let Some(socket) = self.table.get(key) else { return };
        let Some(ours) = &socket.ours else { return };
        if rustix::io::ioctl_fionread(ours).is_ok_and(|unread| unread > 0) {
            return;
        }
        let (place, inode) = (socket.place, socket.inode);
        let write = |supervisor: &mut Self, place: Place| {
            let end = supervisor.processes.fetch(place).ok();
            let end = end.filter(|end| supervisor.table.find(end) == Some(key));
            end.map(|end| send(&end, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL)).is_some()
        };
        if !write(self, place) {
            // Another process may have it. If nobody has, nobody needs to be told.
            let found = sockets_in_proc().into_iter().find(|(found, _)| *found == inode);
            if let Some((_, place)) = found {
                write(self, place);
            }
        }
    }

    fn add_tombstone(&mut self, key: Key) {
        self.table.tombstones.push_back(key);
        if self.table.tombstones.len() > self.options.tombstones.max(1) {
            self.remove_orphaned_tombstones();
        }
    }

    /// Removes what is left of sockets whose descriptors are gone.
    fn remove_orphaned_tombstones(&mut self) {
        let alive: HashSet<u64> = sockets_in_proc().into_iter().map(|(inode, _)| inode).collect();
        let mut kept = std::mem::take(&mut self.table.tombstones);
        kept.retain(|key| match self.table.get(*key) {
            Some(socket) if !socket.is_over() => false, // It is used again.
            Some(socket) if alive.contains(&socket.inode) => true,
            Some(_) => {
                self.table.remove(*key);
                false
            }
            None => false,
        });
        // If most of them are in use there is no point in looking each time.
        let limit = self.options.tombstones.max(1);
        self.options.tombstones = limit.max(kept.len() * 2);
        self.table.tombstones = kept;
    }

    /// The programs are gone, and what is left of their sockets goes, too.
    pub(crate) fn close_abandoned(&mut self) {
        for key in self.table.keys() {
            let Some(socket) = self.table.get(key) else { continue };
            match &socket.kind {
                Kind::Tcp(Tcp::Connected(_)) => self.move_out(key),
                Kind::Tcp(_) | Kind::Udp(_) => self.close(key),
            }
        }
    }
}

impl Socket {
    /// Whether it had a connection, and nothing goes through its pair any more.
    fn is_over(&self) -> bool {
        matches!(self.kind, Kind::Tcp(Tcp::Over(_)))
    }
}

/// The two ends of a connection, which the stack knows it by.
fn flow_of(socket: &Socket) -> Option<(std::net::SocketAddr, std::net::SocketAddr)> {
    match &socket.kind {
        Kind::Tcp(Tcp::Connected(connected)) => {
            Some((connected.stream.local().ok()?, connected.stream.peer().ok()?))
        }
        _ => None,
    }
}
