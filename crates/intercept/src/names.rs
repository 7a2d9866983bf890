//! `getsockname` and `getpeername`.

use std::net::SocketAddr;

use rustix::io::Errno;

use crate::address::encode;
use crate::request::{Outcome, Request};
use crate::supervisor::Supervisor;
use crate::table::{Key, Kind, Socket, Tcp};

impl Supervisor {
    /// `getsockname(fd, address, length)`
    pub(crate) fn get_sock_name(&self, key: Key, request: &Request) -> Outcome {
        let Some(socket) = self.table.get(key) else { return Outcome::Continue };
        request.write_sized(1, 2, &encode(socket.domain.show(socket.local()))).into()
    }

    /// `getpeername(fd, address, length)`
    pub(crate) fn get_peer_name(&self, key: Key, request: &Request) -> Outcome {
        let Some(socket) = self.table.get(key) else { return Outcome::Continue };
        match socket.peer() {
            Some(peer) => request.write_sized(1, 2, &encode(socket.domain.show(peer))).into(),
            None => Outcome::fail(Errno::NOTCONN),
        }
    }
}

impl Socket {
    /// Its own address and port, unspecified when it has none.
    pub(crate) fn local(&self) -> SocketAddr {
        let bound = self.bound.as_ref().map(crate::bound::Hold::local);
        let bound = bound.or(self.bound_address.map(|ip| SocketAddr::new(ip, 0)));
        let known = match &self.kind {
            Kind::Udp(udp) => udp.local(),
            Kind::Tcp(Tcp::Connecting(connecting)) => connecting.stream.local().ok(),
            Kind::Tcp(Tcp::Connected(connected)) => connected.stream.local().ok(),
            Kind::Tcp(Tcp::Over(over)) => over.local,
            Kind::Tcp(Tcp::Fresh | Tcp::Listening(_)) => None,
        };
        known.or(bound).unwrap_or(self.domain.unspecified())
    }

    /// The peer that it is connected to.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Udp(udp) => udp.peer(),
            Kind::Tcp(Tcp::Connected(connected)) => Some(connected.peer),
            // As on Linux, a connection that is over has no peer.
            Kind::Tcp(_) => None,
        }
    }
}
