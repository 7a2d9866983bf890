//! File descriptors, and the calls on them.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::IntoRawFd;

use stack::{ConnectionId, Error, ListenerId, Ready, Shutdown, SocketId, TcpOptions};

use crate::epoll::Epoll;
use crate::errno;
use crate::world::{Outcome, World};

/// The open descriptors. Their numbers are real ones, that nobody else in the process can get. They
/// stay open when they are closed here: packetdrill closes them, too, and does it itself.
#[derive(Default)]
pub(crate) struct Sockets {
    table: BTreeMap<i32, What>,
}

enum What {
    Socket(Box<Socket>),
    Epoll(Epoll),
}

/// A socket.
pub(crate) struct Socket {
    pub(crate) kind: Kind,
    pub(crate) options: TcpOptions,
    pub(crate) nonblocking: bool,
    bound: Option<SocketAddrV4>,
    /// How far a `write` came that blocks.
    progress: usize,
    /// The last call had `MSG_MORE`, and `TCP_CORK` was this before.
    more: Option<bool>,
}

/// How far a socket came.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Fresh,
    Listener(ListenerId),
    Connection(ConnectionId),
}

impl Socket {
    fn new(kind: Kind, options: TcpOptions, nonblocking: bool) -> Self {
        Self { kind, options, nonblocking, bound: None, progress: 0, more: None }
    }
}

impl Sockets {
    fn open(&mut self, what: What) -> Result<i32, i32> {
        let file = File::open("/dev/null").map_err(|e| e.raw_os_error().unwrap_or(libc::EMFILE))?;
        let fd = file.into_raw_fd();
        self.table.insert(fd, what);
        Ok(fd)
    }

    pub(crate) fn socket(&mut self, fd: i32) -> Result<&mut Socket, i32> {
        match self.table.get_mut(&fd) {
            Some(What::Socket(socket)) => Ok(socket),
            Some(_) => Err(libc::ENOTSOCK),
            None => Err(libc::EBADF),
        }
    }

    pub(crate) fn open_epoll(&mut self) -> Result<i32, i32> {
        self.open(What::Epoll(Epoll::default()))
    }

    pub(crate) fn epoll(&mut self, fd: i32) -> Result<&mut Epoll, i32> {
        match self.table.get_mut(&fd) {
            Some(What::Epoll(epoll)) => Ok(epoll),
            Some(_) => Err(libc::EINVAL),
            None => Err(libc::EBADF),
        }
    }

    fn connection(&mut self, fd: i32, otherwise: i32) -> Result<ConnectionId, i32> {
        match self.socket(fd)?.kind {
            Kind::Connection(id) => Ok(id),
            Kind::Fresh | Kind::Listener(_) => Err(otherwise),
        }
    }
}

impl World {
    pub(crate) fn socket(&mut self, domain: i32, kind: i32, protocol: i32) -> Result<i32, i32> {
        if domain != libc::AF_INET {
            return Err(libc::EAFNOSUPPORT);
        }
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        if kind & !flags != libc::SOCK_STREAM || !matches!(protocol, 0 | libc::IPPROTO_TCP) {
            return Err(libc::ESOCKTNOSUPPORT);
        }
        let nonblocking = kind & libc::SOCK_NONBLOCK != 0;
        let socket = Socket::new(Kind::Fresh, self.defaults.tcp.clone(), nonblocking);
        self.sockets.open(What::Socket(Box::new(socket)))
    }

    pub(crate) fn bind(&mut self, fd: i32, address: SocketAddrV4) -> Result<i32, i32> {
        self.sockets.socket(fd)?.bound = Some(address);
        Ok(0)
    }

    pub(crate) fn listen(&mut self, fd: i32, backlog: i32) -> Result<i32, i32> {
        let socket = self.sockets.socket(fd)?;
        let local = socket.bound.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        let (options, backlog) = (socket.options.clone(), usize::try_from(backlog).unwrap_or(0));
        let id = self.stack.listen(self.now, local.into(), backlog, options);
        socket.kind = Kind::Listener(id.map_err(errno::number)?);
        Ok(0)
    }

    /// The descriptor, and who connected.
    pub(crate) fn accept(&mut self, fd: i32) -> Outcome<(i32, SocketAddr)> {
        let (options, nonblocking, id) = match self.sockets.socket(fd) {
            Err(errno) => return Outcome::Over(Err(errno)),
            Ok(socket) => match socket.kind {
                Kind::Listener(id) => (socket.options.clone(), socket.nonblocking, id),
                _ => return Outcome::Over(Err(libc::EINVAL)),
            },
        };
        match self.stack.accept(self.now, id) {
            Err(Error::WouldBlock) if !nonblocking => Outcome::Blocks(None),
            Err(error) => Outcome::Over(Err(errno::number(error))),
            Ok((id, remote)) => {
                let socket = Socket::new(Kind::Connection(id), options, false);
                Outcome::Over(
                    self.sockets.open(What::Socket(Box::new(socket))).map(|fd| (fd, remote)),
                )
            }
        }
    }

    pub(crate) fn connect(&mut self, fd: i32, remote: SocketAddrV4) -> Outcome<i32> {
        let over = |errno| Outcome::Over(Err(errno));
        let socket = match self.sockets.socket(fd) {
            Ok(socket) => socket,
            Err(errno) => return over(errno),
        };
        let nonblocking = socket.nonblocking;
        let id = match socket.kind {
            Kind::Listener(_) => return over(libc::EISCONN),
            Kind::Connection(id) => id,
            Kind::Fresh => {
                let local = socket.bound.map(SocketAddr::V4);
                let options = socket.options.clone();
                match self.stack.connect(self.now, local, remote.into(), options) {
                    Err(error) => return over(errno::number(error)),
                    Ok(id) => socket.kind = Kind::Connection(id),
                }
                return if nonblocking { over(libc::EINPROGRESS) } else { Outcome::Blocks(None) };
            }
        };
        if !self.stack.readiness(SocketId::Connection(id)).contains(Ready::WRITE) {
            return if nonblocking { over(libc::EALREADY) } else { Outcome::Blocks(None) };
        }
        match self.stack.take_error(id) {
            Ok(Some(error)) | Err(error) => over(errno::number(error)),
            Ok(None) => Outcome::Over(Ok(0)),
        }
    }

    /// Bytes that arrived, at most `length`.
    pub(crate) fn receive(&mut self, fd: i32, length: usize, flags: i32) -> Outcome<Vec<u8>> {
        let id = match self.sockets.connection(fd, libc::ENOTCONN) {
            Ok(id) => id,
            Err(errno) => return Outcome::Over(Err(errno)),
        };
        let blocking = flags & libc::MSG_DONTWAIT == 0
            && self.sockets.socket(fd).is_ok_and(|socket| !socket.nonblocking);
        let there = self.stack.readable_bytes(id).unwrap_or(0);
        if flags & libc::MSG_WAITALL != 0 && blocking && there < length {
            let ready = self.stack.readiness(SocketId::Connection(id));
            if !ready.contains(Ready::READ_CLOSED) {
                return Outcome::Blocks(None);
            }
        }
        let mut into = vec![0; length.min(there.max(1))];
        let outcome = if flags & libc::MSG_PEEK != 0 {
            self.stack.peek(id, &mut into)
        } else {
            self.stack.read(self.now, id, &mut into)
        };
        match outcome {
            Err(Error::WouldBlock) if blocking => Outcome::Blocks(None),
            Err(error) => Outcome::Over(Err(errno::number(error))),
            Ok(count) => {
                into.truncate(count);
                Outcome::Over(Ok(into))
            }
        }
    }

    /// How many of `bytes` were taken: all of them, unless the socket does not block.
    pub(crate) fn send(&mut self, fd: i32, bytes: &[u8], flags: i32) -> Outcome<usize> {
        let over = |errno| Outcome::Over(Err(errno));
        let id = match self.sockets.connection(fd, libc::EPIPE) {
            Ok(id) => id,
            Err(errno) => return over(errno),
        };
        if let Err(errno) = self.more(fd, id, flags & libc::MSG_MORE != 0) {
            return over(errno);
        }
        let Ok(socket) = self.sockets.socket(fd) else { return over(libc::EBADF) };
        let blocking = flags & libc::MSG_DONTWAIT == 0 && !socket.nonblocking;
        let rest = bytes.get(socket.progress..).unwrap_or_default();
        match self.stack.write(self.now, id, rest) {
            Err(Error::WouldBlock) if blocking => Outcome::Blocks(None),
            Err(error) => over(errno::number(error)),
            Ok(count) if count < rest.len() && blocking => {
                socket.progress += count;
                Outcome::Blocks(None)
            }
            Ok(count) => {
                let total = std::mem::take(&mut socket.progress) + count;
                Outcome::Over(Ok(total))
            }
        }
    }

    /// `MSG_MORE` is a cork for one call.
    fn more(&mut self, fd: i32, id: ConnectionId, more: bool) -> Result<(), i32> {
        let socket = self.sockets.socket(fd)?;
        let Ok(options) = self.stack.tcp_options(id) else { return Ok(()) };
        let mut options = options.clone();
        match (socket.more, more) {
            (None, true) => {
                socket.more = Some(options.cork);
                options.cork = true;
            }
            (Some(before), false) => {
                socket.more = None;
                options.cork = before;
            }
            _ => return Ok(()),
        }
        self.stack.set_tcp_options(self.now, id, options).map_err(errno::number)
    }

    pub(crate) fn shutdown(&mut self, fd: i32, how: i32) -> Result<i32, i32> {
        let how = match how {
            libc::SHUT_RD => Shutdown::Read,
            libc::SHUT_WR => Shutdown::Write,
            libc::SHUT_RDWR => Shutdown::Both,
            _ => return Err(libc::EINVAL),
        };
        let id = self.sockets.connection(fd, libc::ENOTCONN)?;
        self.stack.shutdown(self.now, id, how).map(|()| 0).map_err(errno::number)
    }

    pub(crate) fn close(&mut self, fd: i32) -> Result<i32, i32> {
        let what = self.sockets.table.remove(&fd).ok_or(libc::EBADF)?;
        if let What::Socket(socket) = what {
            match socket.kind {
                Kind::Fresh => {}
                Kind::Listener(id) => self.stack.close_listener(self.now, id),
                Kind::Connection(id) => self.stack.close(self.now, id),
            }
        }
        Ok(0)
    }

    pub(crate) fn fcntl(&mut self, fd: i32, command: i32, argument: i32) -> Result<i32, i32> {
        let socket = self.sockets.socket(fd)?;
        match command {
            libc::F_GETFL if socket.nonblocking => Ok(libc::O_RDWR | libc::O_NONBLOCK),
            libc::F_GETFL => Ok(libc::O_RDWR),
            libc::F_SETFL => {
                socket.nonblocking = argument & libc::O_NONBLOCK != 0;
                Ok(0)
            }
            _ => Err(libc::EINVAL),
        }
    }
}
