//! The stack's sockets as the supervisor uses them, and how it hears that one is worth a look.
//!
//! One [`Poll`] waits for the stack's sockets, for our ends of the pairs and for calls; the thread that
//! runs the supervisor carries the stack's frames meanwhile. Nothing here waits besides. Events are edges:
//! whoever hears of one looks until there is nothing more.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::task::Poll as Answer;
use std::time::Duration;

use bytes::Bytes;
use estab::blocking::poll::{Events, Interest, Poll, SourceFd, Token};
use estab::blocking::{TcpListener, TcpStream, UdpSocket};
use estab::core::UdpOptions;
use estab::{Config, Stack, TcpInfo, TcpOptions};
use slotmap::{Key as _, KeyData};

use crate::table::Key;

/// How many events one look takes.
const EVENTS: usize = 256;

// What wakes the loop besides sockets.
const NOTIFY: usize = 0;
const INBOX: usize = 2;

/// The stack, and all that is waited for.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) stack: Stack,
    config: Config,
    poll: Poll,
    events: Events,
}

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Happened {
    /// A call has come.
    Notified,
    /// All programs are gone, but perhaps not all of their calls.
    CallersGone,
    /// Another thread asks something.
    Asked,
    /// Something happened to a socket on the stack: perhaps it has failed.
    OnStack(Key, bool),
    /// Something happened at our end of a pair.
    AtPair(Key, Edges),
}

/// What it was that happened at our end of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Edges {
    /// There is something to read, or an end.
    pub(crate) read: bool,
    /// There is room to write.
    pub(crate) write: bool,
}

impl Network {
    /// Waits for what happens on `stack`, for calls and for questions.
    pub(crate) fn new(stack: &Stack, notifier: &impl AsFd, inbox: &impl AsFd) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        registry.register(&SourceFd(notifier), Token(NOTIFY), Interest::READABLE)?;
        registry.register(&SourceFd(inbox), Token(INBOX), Interest::READABLE)?;
        let config = stack.config()?;
        Ok(Self { stack: stack.clone(), config, poll, events: Events::with_capacity(EVENTS) })
    }

    /// What the stack was started with.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Waits for something to happen, at most for `limit`.
    pub(crate) fn wait(
        &mut self,
        limit: Option<Duration>,
        into: &mut Vec<Happened>,
    ) -> io::Result<()> {
        self.poll.poll(&mut self.events, limit)?;
        into.extend(self.events.iter().map(|event| match event.token().0 {
            NOTIFY if event.is_read_closed() => Happened::CallersGone,
            NOTIFY => Happened::Notified,
            INBOX => Happened::Asked,
            token if token & 1 == 0 => Happened::OnStack(key_of(token), event.is_error()),
            token => {
                let closed = event.is_read_closed() || event.is_write_closed();
                let read = event.is_readable() || event.is_error() || closed;
                Happened::AtPair(key_of(token), Edges { read, write: event.is_writable() })
            }
        }));
        Ok(())
    }

    /// Has our end of a socket's pair watched for what the program writes.
    pub(crate) fn watch_pair(&self, key: Key, ours: &impl AsFd) -> io::Result<()> {
        let name = Token(name_of(key) | 1);
        self.poll.registry().register(&SourceFd(ours), name, Interest::READABLE)
    }

    /// Has it watched for room, too: there is some already, or there will be.
    pub(crate) fn watch_for_room(&self, key: Key, ours: &impl AsFd) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().reregister(&SourceFd(ours), Token(name_of(key) | 1), both)
    }

    fn watch<S: estab::blocking::poll::Source>(&self, key: Key, source: &S) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(source, Token(name_of(key)), both)
    }
}

/// By what the poll knows a socket: the lowest bit is its pair's. A key is never as small as the names of
/// what is no socket, because its upper half counts from one.
fn name_of(key: Key) -> usize {
    usize::try_from(key.data().as_ffi() << 1).unwrap_or_default()
}

fn key_of(name: usize) -> Key {
    KeyData::from_ffi(name as u64 >> 1).into()
}

/// A connection of the stack.
#[derive(Debug)]
pub(crate) struct Stream(TcpStream);

/// What reading a connection into a program's socket came to.
#[derive(Debug)]
pub(crate) enum Moved {
    /// So many bytes went.
    Bytes,
    /// There is nothing yet.
    Nothing,
    /// The peer has said that nothing follows.
    End,
    /// The program's socket did not take them.
    Refused,
    /// The connection has failed.
    Failed(io::Error),
}

impl Stream {
    /// Begins to connect.
    pub(crate) fn connect(
        network: &Network,
        key: Key,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: &TcpOptions,
    ) -> io::Result<Self> {
        let options = without_wait(options.clone());
        let stream = TcpStream::connect_nonblocking_with(&network.stack, local, remote, &options)?;
        network.watch(key, &stream)?;
        Ok(Self(stream))
    }

    /// Tells the socket with `key` from now on.
    pub(crate) fn watch(&self, network: &Network, key: Key) -> io::Result<()> {
        network.watch(key, &self.0)
    }

    /// The hop limit of what is sent.
    pub(crate) fn ttl(&self) -> io::Result<u32> {
        self.0.ttl()
    }

    /// How the handshake ended, when it has.
    pub(crate) fn handshake(&self) -> Answer<io::Result<()>> {
        match self.0.is_connected() {
            Ok(false) => Answer::Pending,
            Ok(true) => Answer::Ready(Ok(())),
            Err(error) => Answer::Ready(Err(error)),
        }
    }

    /// Writes what there is room for.
    pub(crate) fn write(&self, bytes: &mut Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.0.write_bytes(bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The same from a buffer that is not given away; says how much was taken.
    pub(crate) fn write_copied(&self, bytes: &[u8]) -> io::Result<usize> {
        match io::Write::write(&mut &self.0, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            done => done,
        }
    }

    /// Lends what has arrived to `take`, which says how much it took.
    pub(crate) fn read_with(
        &self,
        take: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Moved {
        let mut refused = false;
        let read = self.0.try_read_with(|slices| {
            take(slices).or_else(|_| {
                refused = true;
                Ok(0)
            })
        });
        match read {
            _ if refused => Moved::Refused,
            Ok(0) => Moved::End,
            Ok(_) => Moved::Bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Moved::Nothing,
            Err(error) => Moved::Failed(error),
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    /// Ends it with a reset.
    pub(crate) fn reset(self) {
        // One that is over already has nobody to tell.
        let _ = self.0.reset();
    }

    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    pub(crate) fn info(&self) -> io::Result<TcpInfo> {
        self.0.info()
    }

    pub(crate) fn set_options(&self, options: TcpOptions) -> io::Result<()> {
        self.0.set_options(without_wait(options))
    }
}

/// A socket that is dropped waits as `SO_LINGER` says, which the supervisor must not: a program's `close`
/// has returned already when it hears of it. That it is to be a reset is kept.
fn without_wait(mut options: TcpOptions) -> TcpOptions {
    options.linger = options.linger.filter(Duration::is_zero);
    options
}

/// A listener of the stack.
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
    /// Listens at `local`.
    pub(crate) fn bind(
        network: &Network,
        key: Key,
        local: SocketAddr,
        backlog: usize,
        options: &TcpOptions,
    ) -> io::Result<Self> {
        let options = without_wait(options.clone());
        let listener = TcpListener::bind_with(&network.stack, local, backlog, &options)?;
        listener.set_nonblocking(true)?;
        network.watch(key, &listener)?;
        Ok(Self(listener))
    }

    /// Tells the socket with `key` from now on.
    pub(crate) fn tell(&self, network: &Network, key: Key) -> io::Result<()> {
        let name = Token(name_of(key));
        network.poll.registry().reregister(&self.0, name, Interest::READABLE)
    }

    /// Changes what connections start with from now on.
    pub(crate) fn set_options(&self, options: TcpOptions) -> io::Result<()> {
        self.0.set_options(&without_wait(options))
    }

    /// How many connections wait.
    pub(crate) fn waiting(&self) -> io::Result<usize> {
        self.0.waiting()
    }

    /// Takes a connection, if one waits. Nobody is told of it before it is [watched](Stream::watch).
    pub(crate) fn accept(&self) -> io::Result<Option<(Stream, SocketAddr)>> {
        match self.0.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(true)?;
                Ok(Some((Stream(stream), peer)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A UDP socket of the stack.
#[derive(Debug)]
pub(crate) struct Datagrams {
    pub(crate) inner: UdpSocket,
}

impl Datagrams {
    /// Binds to `local`.
    pub(crate) fn bind(
        network: &Network,
        key: Key,
        local: SocketAddr,
        options: UdpOptions,
    ) -> io::Result<Self> {
        let inner = UdpSocket::bind_with(&network.stack, local, options)?;
        inner.set_nonblocking(true)?;
        network.watch(key, &inner)?;
        Ok(Self { inner })
    }
}
