//! Calls that open and close: socket, bind, listen, accept, connect, shutdown, close, fcntl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use stack::{ConnectionId, Error, Ready, Shutdown, SocketId};

use super::arguments::Arguments;
use super::{Attempt, Outcome, failed, result, returned, returned_fd};
use crate::script::ast::{Call, Expression};
use crate::script::runner::Runner;
use crate::script::sockets::{Kind, Socket};
use crate::script::{errno, not_supported};

impl Runner {
    pub(super) fn socket(&mut self, call: &Call, arguments: Arguments<'_>) -> Attempt {
        let of_v6 =
            matches!(arguments.get(0)?, Expression::Names(names) if names[..] == ["AF_INET6"]);
        if of_v6 && self.settings.as_named(self.settings.local).is_ipv4() {
            return Err(not_supported("AF_INET6 without --ip_version=ipv4-mapped-ipv6 or ipv6"));
        }
        let kinds = arguments.names(1)?;
        if !kinds.contains(&"SOCK_STREAM") {
            return Err(not_supported(format!("sockets of type {}", kinds.join("|"))));
        }
        let mut socket = Socket::new(Kind::Fresh, self.settings.config.tcp.clone());
        socket.nonblocking = kinds.contains(&"SOCK_NONBLOCK");
        let fd = returned_fd(call)?;
        self.sockets.open(fd, socket)?;
        returned(fd)
    }

    pub(super) fn bind(&mut self, arguments: Arguments<'_>) -> Attempt {
        let local = self.settings.as_named(self.settings.local);
        let default = SocketAddr::new(local, self.settings.bind_port);
        let address = arguments.address(1, default)?;
        self.sockets.get(arguments.integer(0)?)?.bound = Some(address);
        returned(0)
    }

    pub(super) fn listen(&mut self, arguments: Arguments<'_>) -> Attempt {
        let backlog = usize::try_from(arguments.integer(1)?).unwrap_or(0);
        let socket = self.sockets.get(arguments.integer(0)?)?;
        let any = match self.settings.as_named(self.settings.local) {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let local = socket.bound.unwrap_or(SocketAddr::new(any, 0));
        let options = socket.options.clone();
        match self.stack.listen(self.now, local, backlog, options) {
            Err(error) => failed(errno::name(error)),
            Ok(id) => {
                socket.kind = Kind::Listener(id);
                self.listens();
                returned(0)
            }
        }
    }

    pub(super) fn accept(&mut self, call: &Call, arguments: Arguments<'_>) -> Attempt {
        let listener = self.sockets.get(arguments.integer(0)?)?;
        let Kind::Listener(id) = listener.kind else { return failed("EINVAL") };
        let (options, nonblocking) = (listener.options.clone(), listener.nonblocking);
        let flags = arguments.flags(3)?;
        match self.stack.accept(self.now, id) {
            Err(Error::WouldBlock) if !nonblocking => Ok(Outcome::Blocks(None)),
            Err(error) => failed(errno::name(error)),
            Ok((connection, remote)) => {
                let mut socket = Socket::new(Kind::Connection(connection), options);
                socket.peer = self.peer_of(remote);
                socket.nonblocking = flags.contains(&"SOCK_NONBLOCK");
                let fd = returned_fd(call)?;
                self.sockets.open(fd, socket)?;
                returned(fd)
            }
        }
    }

    pub(super) fn connect(&mut self, arguments: Arguments<'_>) -> Attempt {
        let fd = arguments.integer(0)?;
        let host = self.settings.as_named(self.settings.remote);
        let default = SocketAddr::new(host, self.settings.connect_port);
        let remote = arguments.address(1, default)?;
        let peer = self.peer_of(remote);
        let socket = self.sockets.get(fd)?;
        match socket.kind {
            Kind::Listener(_) => return failed("EISCONN"),
            Kind::Connection(id) => return self.connecting(fd, id),
            Kind::Fresh => {}
        }
        let local = socket.bound;
        let (options, nonblocking) = (socket.options.clone(), socket.nonblocking);
        match self.stack.connect(self.now, local, remote, options) {
            Err(error) => return failed(errno::name(error)),
            Ok(id) => {
                self.sockets.connects(fd, id, peer);
                let local = self.stack.local_address(id).map_err(|error| error.to_string())?;
                if let Some(peer) = peer {
                    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
                    self.flow(peer).connects_from(local);
                    self.connects_to(peer);
                }
            }
        }
        if nonblocking { failed("EINPROGRESS") } else { Ok(Outcome::Blocks(None)) }
    }

    /// A second `connect`, or the same one still waiting.
    fn connecting(&mut self, fd: i64, id: ConnectionId) -> Attempt {
        let nonblocking = self.sockets.get(fd)?.nonblocking;
        let ready = self.stack.readiness(SocketId::Connection(id));
        if !ready.contains(Ready::WRITE) {
            return if nonblocking { failed("EALREADY") } else { Ok(Outcome::Blocks(None)) };
        }
        match self.stack.take_error(id) {
            Ok(Some(error)) | Err(error) => failed(errno::name(error)),
            Ok(None) => returned(0),
        }
    }

    pub(super) fn shutdown(&mut self, arguments: Arguments<'_>) -> Attempt {
        let how = match arguments.names(1)?[..] {
            ["SHUT_RD"] => Shutdown::Read,
            ["SHUT_WR"] => Shutdown::Write,
            ["SHUT_RDWR"] => Shutdown::Both,
            _ => return Err("shutdown takes SHUT_RD, SHUT_WR or SHUT_RDWR".into()),
        };
        let Kind::Connection(id) = self.sockets.get(arguments.integer(0)?)?.kind else {
            return failed("ENOTCONN");
        };
        result(self.stack.shutdown(self.now, id, how).map(|()| 0))
    }

    pub(super) fn close(&mut self, arguments: Arguments<'_>) -> Attempt {
        let fd = arguments.integer(0)?;
        if self.sockets.close_epoll(fd) {
            return returned(0);
        }
        let socket = self.sockets.close(fd)?;
        match socket.kind {
            Kind::Fresh => {}
            Kind::Listener(id) => self.stack.close_listener(self.now, id),
            Kind::Connection(id) => self.stack.close(self.now, id),
        }
        returned(0)
    }

    pub(super) fn fcntl(&mut self, arguments: Arguments<'_>) -> Attempt {
        let command = arguments.names(1)?;
        let socket = self.sockets.get(arguments.integer(0)?)?;
        match command[..] {
            ["F_GETFL"] => returned(if socket.nonblocking { 0o4002 } else { 2 }),
            ["F_SETFL"] => {
                let flags = arguments.flags(2)?;
                let known = |flag: &&&str| matches!(**flag, "O_RDWR" | "O_RDONLY" | "O_NONBLOCK");
                if let Some(other) = flags.iter().find(|flag| !known(flag)) {
                    return Err(not_supported(format!("fcntl with {other}")));
                }
                socket.nonblocking = flags.contains(&"O_NONBLOCK");
                returned(0)
            }
            _ => Err(not_supported(format!("fcntl with {}", command.join("|")))),
        }
    }
}
