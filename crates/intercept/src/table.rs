//! The programs' sockets: what each is, and how it is found.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};
use slotmap::SlotMap;

use crate::address::Domain;
use crate::bound::Hold;
use crate::network::{Listener, Stream};
use crate::process::Place;
use crate::replay::LastReply;
use crate::sockopt::Settings;
use crate::udp::Udp;

slotmap::new_key_type! {
    /// Names a socket of a program.
    pub(crate) struct Key;
}

/// A socket of a program.
#[derive(Debug)]
pub(crate) struct Socket {
    /// The kernel's name of the program's end, which is never given again.
    pub(crate) cookie: u64,
    /// By which `/proc` shows it.
    pub(crate) inode: u64,
    pub(crate) domain: Domain,
    /// Our end of the pair; `None` when nothing goes through it any more.
    pub(crate) ours: Option<OwnedFd>,
    /// It is heard of when there is room in the program's end.
    pub(crate) hears_of_room: bool,
    /// Where it was seen last.
    pub(crate) place: Place,
    /// What the program set.
    pub(crate) settings: Settings,
    /// The address that `bind` gave it.
    pub(crate) bound: Option<Hold>,
    /// The address alone that `bind` gave it, which has no port before it connects or listens.
    pub(crate) bound_address: Option<IpAddr>,
    /// What `SO_ERROR` says next.
    pub(crate) error: Option<Errno>,
    pub(crate) kind: Kind,
    /// What the last call was answered that has an effect.
    pub(crate) last_reply: Option<LastReply>,
    /// It is to be looked at again in this turn.
    pub(crate) queued: bool,
    /// Nothing can be written to its pair any more, because it was a listener's.
    pub(crate) has_listened: bool,
}

/// What a socket is.
#[derive(Debug)]
pub(crate) enum Kind {
    Tcp(Tcp),
    Udp(Box<Udp>),
}

/// Where a TCP socket stands, as far as its program's calls go.
#[derive(Debug)]
pub(crate) enum Tcp {
    /// It has at most an address.
    Fresh,
    Listening(Box<Listening>),
    Connecting(Box<Connecting>),
    Connected(Box<Connected>),
    /// It had a connection.
    Over(Over),
}

/// A socket that accepts.
#[derive(Debug)]
pub(crate) struct Listening {
    /// On the stack, where connections wait; shared by a group that was bound with `SO_REUSEPORT`.
    pub(crate) listener: std::rc::Rc<Shared>,
    /// Connections that were taken and not given.
    pub(crate) ready: VecDeque<Ready>,
    /// How many connections wait on the stack.
    pub(crate) waiting: usize,
    /// What fills the program's end, so that it does not poll writable: how many bytes, and the send buffer
    /// that it had.
    pub(crate) fill: Option<(usize, usize)>,
    /// How many bytes lie in the program's end, so that it polls readable.
    pub(crate) tokens: usize,
    pub(crate) backlog: usize,
}

/// A connection that was taken from the stack.
#[derive(Debug)]
pub(crate) enum Ready {
    /// As the stack gave it, and its peer.
    Taken(Stream, SocketAddr),
    /// A socket was made of it, whose program's end could not be given away.
    Made(Key, OwnedFd),
}

/// A listener of the stack, and the sockets that it listens for.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) listener: Listener,
    pub(crate) members: std::cell::RefCell<Vec<Key>>,
}

/// A socket that connects.
#[derive(Debug)]
pub(crate) struct Connecting {
    pub(crate) stream: Stream,
    /// Whom the program named.
    pub(crate) named: SocketAddr,
    /// Keeps the program's end from being writable meanwhile.
    pub(crate) fill: Option<Fill>,
    /// The program was told that it goes on by itself.
    pub(crate) unreported: bool,
}

/// Bytes that fill the program's end, and what is needed to take them out again.
#[derive(Debug)]
pub(crate) struct Fill {
    /// The program's end.
    pub(crate) end: OwnedFd,
    pub(crate) junk: usize,
    /// The send buffer that it had.
    pub(crate) send_buffer: usize,
}

/// A socket with a connection.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) stream: Stream,
    /// Whom the program sees as its peer.
    pub(crate) peer: SocketAddr,
    /// What the program wrote and the stack has not taken.
    pub(crate) unsent: Bytes,
    /// Nothing follows from the program.
    pub(crate) written_all: bool,
    /// The stack was told so.
    pub(crate) fin_sent: bool,
    /// The program was told that nothing follows from the peer.
    pub(crate) fin_given: bool,
    /// The program has called `shutdown`, for reading and for writing.
    pub(crate) shut_read: bool,
    pub(crate) shut_write: bool,
    /// The first `connect` from now on says success: it was told that it goes on.
    pub(crate) unreported: bool,
}

/// What is left of a connection, for a program that still has the descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over {
    pub(crate) local: Option<SocketAddr>,
    /// The handshake failed while the program did not wait for it.
    pub(crate) attempt_failed: bool,
}

impl Connected {
    pub(crate) fn new(stream: Stream, peer: SocketAddr, unreported: bool) -> Self {
        Self {
            stream,
            peer,
            unsent: Bytes::new(),
            written_all: false,
            fin_sent: false,
            fin_given: false,
            shut_read: false,
            shut_write: false,
            unreported,
        }
    }
}

/// All sockets.
#[derive(Debug, Default)]
pub(crate) struct Table {
    sockets: SlotMap<Key, Socket>,
    by_cookie: HashMap<u64, Key>,
    /// Sockets that are over, the oldest first; some may be gone.
    pub(crate) tombstones: VecDeque<Key>,
}

/// The two ends of a pair.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) ours: OwnedFd,
    pub(crate) theirs: OwnedFd,
    cookie: u64,
    inode: u64,
}

/// The buffer of each end of a stream's pair, of which the kernel gives an ordinary user 208 KiB (twice, for
/// what it keeps beside the bytes) unless it is set up otherwise. A writer who was told that it is full is
/// not woken before three quarters of it are read, so that a larger one means fewer changes.
const STREAM_BUFFER: usize = 1 << 20;

impl Pair {
    /// A pair whose program's end may be non-blocking; ours always is.
    pub(crate) fn new(kind: SocketType, nonblocking: bool) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        if !nonblocking {
            rustix::io::ioctl_fionbio(&theirs, false)?;
        }
        if kind == SocketType::STREAM {
            // As large as everybody may have it. Less works, with more changes between the two sides.
            for end in [&ours, &theirs] {
                let _ = sockopt::set_socket_send_buffer_size(end, STREAM_BUFFER);
            }
        }
        let (cookie, inode) = (sockopt::socket_cookie(&theirs)?, fstat(&theirs)?.st_ino);
        Ok(Self { ours, theirs, cookie, inode })
    }

    /// Takes the place of a socket's pair: the program's end is another one from now on.
    pub(crate) fn cookie_and_inode(&self) -> (u64, u64) {
        (self.cookie, self.inode)
    }
}

impl Table {
    /// Adds a socket; its program's end is still to be given away.
    pub(crate) fn insert(
        &mut self,
        pair: Pair,
        domain: Domain,
        kind: Kind,
        place: Place,
    ) -> (Key, OwnedFd) {
        let Pair { ours, theirs, cookie, inode } = pair;
        let key = self.sockets.insert(Socket {
            cookie,
            inode,
            domain,
            ours: Some(ours),
            hears_of_room: false,
            place,
            settings: Settings::default(),
            bound: None,
            bound_address: None,
            error: None,
            kind,
            last_reply: None,
            queued: false,
            has_listened: false,
        });
        self.by_cookie.insert(cookie, key);
        (key, theirs)
    }

    /// Which of the sockets a descriptor is of, if any.
    pub(crate) fn find(&self, descriptor: &impl AsFd) -> Option<Key> {
        let cookie = sockopt::socket_cookie(descriptor).ok()?;
        self.by_cookie.get(&cookie).copied()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Socket> {
        self.sockets.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Socket> {
        self.sockets.get_mut(key)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Socket> {
        let socket = self.sockets.remove(key)?;
        self.by_cookie.remove(&socket.cookie);
        Some(socket)
    }

    /// Gives a socket a new pair.
    pub(crate) fn renew(&mut self, key: Key, pair: Pair) -> Option<OwnedFd> {
        let (cookie, inode) = pair.cookie_and_inode();
        let socket = self.sockets.get_mut(key)?;
        self.by_cookie.remove(&socket.cookie);
        self.by_cookie.insert(cookie, key);
        (socket.cookie, socket.inode) = (cookie, inode);
        (socket.ours, socket.has_listened) = (Some(pair.ours), false);
        socket.hears_of_room = false;
        Some(pair.theirs)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &Socket)> {
        self.sockets.iter()
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.sockets.keys().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}
