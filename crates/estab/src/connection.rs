//! TCP connections as both socket families see them, with their operations.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use stack::config::ControllerFactory;
use stack::{ConnectionId, Error, Ready, SocketId, TcpInfo, TcpOptions};
use wire::time::Instant;

use crate::Stack;
use crate::shards::Hold;
use crate::socket::Socket;
use crate::wait::{Side, Waiters};

/// What something to read, or nothing more to read, looks like.
#[cfg(feature = "tokio")]
pub(crate) const READABLE: Ready = Ready::READ.union(Ready::READ_CLOSED).union(Ready::ERROR);
/// What room to write, or no way to write any more, looks like.
pub(crate) const WRITABLE: Ready = Ready::WRITE.union(Ready::WRITE_CLOSED).union(Ready::ERROR);

/// How many pieces of what arrived are lent at once. 64 full segments are 90 KB, and one
/// super-segment is one piece.
const LENT_SLICES: usize = 64;

/// What an operation on the stack gives.
pub(crate) type Answer<T> = Result<T, Error>;

/// A TCP connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    id: ConnectionId,
}

impl Connection {
    /// Makes a socket of a connection that the stack of `shard` has.
    pub(crate) fn adopt(shard: &Arc<Hold>, id: ConnectionId) -> io::Result<Self> {
        let waiters = Arc::new(Waiters::default());
        // Whoever is to wait for the socket does not have it yet, so nobody misses an event.
        shard.shared().enter(|engine, _| {
            engine.waiters.insert(SocketId::Connection(id), Arc::clone(&waiters));
        })?;
        Ok(Self::with_waiters(shard, id, waiters))
    }

    /// The same for one whose waiters are in the table already.
    pub(crate) fn with_waiters(shard: &Arc<Hold>, id: ConnectionId, waiters: Arc<Waiters>) -> Self {
        Self { socket: Socket::new(shard, SocketId::Connection(id), waiters), id }
    }

    /// Begins to connect; [`Connection::handshake`] tells how it went. Each connection goes to another
    /// shard, unless it comes from a port that belongs to one.
    pub(crate) fn connect(
        stack: &Stack,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: Option<&TcpOptions>,
    ) -> io::Result<Self> {
        let asked = local.filter(|local| local.port() != 0);
        let owner = asked.map(|local| stack.owner_of_connection(local, remote)).transpose()?;
        let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for shard in stack.holds_from(owner) {
            let opened = Socket::open(shard, SocketId::Connection, |core, now| {
                let options = options.unwrap_or(&core.config().tcp).clone();
                core.connect(now, local, remote, options)
            });
            match opened {
                Ok((socket, id)) => return Ok(Self { socket, id }),
                // It has none of its part of the ports or of the limits left: others may.
                Err(error) if is_of_one_shard(&error) => refused = error,
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Waits for the end of the handshake, and fails when it failed.
    pub(crate) fn handshake(&self) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<()> {
        let id = self.id;
        let is_over = self.socket.is_ready(WRITABLE);
        move |core, now| {
            is_over(core, now)?;
            core.take_error(id)?.map_or(Ok(()), Err)
        }
    }

    /// Reads into `buffer`. An empty one is full at once.
    pub(crate) fn read(
        &self,
        buffer: &mut [u8],
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<usize> {
        let id = self.id;
        move |core, now| if buffer.is_empty() { Ok(0) } else { core.read(now, id, buffer) }
    }

    /// Reads into one buffer after the other, as long as there is something.
    pub(crate) fn read_vectored(
        &self,
        buffers: &mut [IoSliceMut<'_>],
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<usize> {
        let id = self.id;
        move |core, now| {
            let mut total = 0;
            for buffer in buffers.iter_mut().filter(|buffer| !buffer.is_empty()) {
                // An end or an error behind the bytes belongs to the next call.
                if total > 0 && core.readable_bytes(id)? == 0 {
                    break;
                }
                let count = core.read(now, id, buffer)?;
                total += count;
                if count < buffer.len() {
                    break;
                }
            }
            Ok(total)
        }
    }

    /// Lends what has arrived to `f`, and takes as much of it as `f` says.
    pub(crate) fn lend(
        &self,
        f: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> impl FnOnce(&mut stack::Stack, Instant) -> Answer<io::Result<usize>> {
        let id = self.id;
        move |core, now| {
            let mut slices = [IoSlice::new(&[]); LENT_SLICES];
            let mut count = 0;
            for (place, chunk) in slices.iter_mut().zip(core.chunks(id)?) {
                *place = IoSlice::new(chunk);
                count += 1;
            }
            let taken = f(&slices[..count]);
            if let Ok(taken) = &taken {
                core.consume(now, id, *taken)?;
            }
            Ok(taken)
        }
    }

    /// Reads and leaves it there.
    pub(crate) fn peek(
        &self,
        buffer: &mut [u8],
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<usize> {
        let id = self.id;
        move |core, _| if buffer.is_empty() { Ok(0) } else { core.peek(id, buffer) }
    }

    /// Writes as much of `bytes` as there is room for.
    pub(crate) fn write(
        &self,
        bytes: &[u8],
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<usize> {
        let id = self.id;
        move |core, now| if bytes.is_empty() { Ok(0) } else { core.write(now, id, bytes) }
    }

    /// Writes one buffer after the other before anything is sent, so that they share segments.
    pub(crate) fn write_vectored(
        &self,
        buffers: &[IoSlice<'_>],
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<usize> {
        let id = self.id;
        move |core, now| {
            let mut total = 0;
            for buffer in buffers.iter().filter(|buffer| !buffer.is_empty()) {
                match core.write(now, id, buffer) {
                    Ok(count) => {
                        total += count;
                        if count < buffer.len() {
                            break;
                        }
                    }
                    Err(Error::WouldBlock) if total > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(total)
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => stack::Shutdown::Read,
            Shutdown::Write => stack::Shutdown::Write,
            Shutdown::Both => stack::Shutdown::Both,
        };
        self.socket.call(|core, now| core.shutdown(now, self.id, how))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(|core, _| core.local_address(self.id))
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(|core, _| core.remote_address(self.id))
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let error = self.socket.call(|core, _| core.take_error(self.id))?;
        Ok(error.map(crate::error::from_stack))
    }

    pub(crate) fn info(&self) -> io::Result<TcpInfo> {
        self.socket.call(|core, _| core.info(self.id))
    }

    pub(crate) fn ttl(&self) -> io::Result<u32> {
        self.socket.call(|core, _| core.tcp_ttl(self.id).map(u32::from))
    }

    pub(crate) fn options(&self) -> io::Result<TcpOptions> {
        self.socket.call(|core, _| core.tcp_options(self.id).cloned())
    }

    pub(crate) fn set_options(&self, options: TcpOptions) -> io::Result<()> {
        self.socket.call(|core, now| core.set_tcp_options(now, self.id, options))
    }

    /// Changes some of the options, in one step.
    pub(crate) fn change_options(&self, change: impl FnOnce(&mut TcpOptions)) -> io::Result<()> {
        self.socket.call(|core, now| {
            let mut options = core.tcp_options(self.id)?.clone();
            change(&mut options);
            core.set_tcp_options(now, self.id, options)
        })
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(&self) -> io::Result<()> {
        self.socket.call(|core, now| {
            core.abort(now, self.id);
            Ok(())
        })?;
        // The stack announces nothing for a socket that it forgot; clones may wait for it.
        self.socket.wake_all();
        Ok(())
    }

    /// What `close` does with `SO_LINGER`: says that nothing follows, and waits in this thread at
    /// most `limit` until everything is acknowledged.
    pub(crate) fn linger(&self, limit: Duration) {
        if self.shutdown(Shutdown::Write).is_ok() {
            let drained = self.socket.is_ready(Ready::DRAINED | Ready::ERROR);
            // Late or failed: closing goes on in the background, as it does on Linux.
            let _ = self.socket.block_for(Side::Write, Some(limit), drained);
        }
    }
}

/// Whether another shard may have what this one has not.
fn is_of_one_shard(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::QuotaExceeded)
}

/// Makes an IP TTL of what `std::net` calls one.
pub(crate) fn ttl_from(ttl: u32) -> io::Result<u8> {
    match u8::try_from(ttl) {
        Ok(ttl @ 1..) => Ok(ttl),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "a TTL is 1 to 255")),
    }
}

/// What makes the congestion controller of this name.
pub(crate) fn controller_from(name: &str) -> io::Result<ControllerFactory> {
    stack::tcp::congestion::by_name(name).ok_or_else(|| {
        let known = stack::tcp::congestion::NAMES.join(", ");
        let why = format!("no congestion controller '{name}': use one of {known}");
        io::Error::new(io::ErrorKind::NotFound, why)
    })
}

/// The accessors that every TCP stream has, whatever its family.
macro_rules! stream_accessors {
    () => {
        /// This side's address and port.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn local_addr(&self) -> io::Result<SocketAddr> {
            self.connection().local_addr()
        }

        /// The peer's address and port.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn peer_addr(&self) -> io::Result<SocketAddr> {
            self.connection().peer_addr()
        }

        /// Whether small segments are sent at once (`TCP_NODELAY`).
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn nodelay(&self) -> io::Result<bool> {
            Ok(self.connection().options()?.nodelay)
        }

        /// Sends small segments at once instead of collecting them while older ones are not
        /// acknowledged (RFC 9293 3.7.4).
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
            self.connection().change_options(|options| options.nodelay = nodelay)
        }

        /// The time to live of packets sent (`IP_TTL`): what was set, else what routers advertise over
        /// IPv6, else 64.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn ttl(&self) -> io::Result<u32> {
            self.connection().ttl()
        }

        /// Sets the time to live of packets sent (`IP_TTL`): 1 to 255.
        ///
        /// # Errors
        /// `InvalidInput` for another number, `NetworkDown` when the stack has ended.
        pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
            let ttl = $crate::connection::ttl_from(ttl)?;
            self.connection().change_options(|options| options.ttl = Some(ttl))
        }

        /// How closing treats what is not delivered yet (`SO_LINGER`).
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn linger(&self) -> io::Result<Option<Duration>> {
            Ok(self.connection().options()?.linger)
        }

        /// The name of the congestion controller (`TCP_CONGESTION`): `cubic`, unless another was
        /// chosen.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn congestion(&self) -> io::Result<&'static str> {
            Ok(self.connection().info()?.congestion)
        }

        /// Chooses the congestion controller by its name (`TCP_CONGESTION`), at any time:
        /// [`congestion::NAMES`](crate::congestion::NAMES). It begins anew with what is known of the
        /// round trip. One of your own goes into the [`options`](Self::set_options), see
        /// [`congestion`](crate::congestion).
        ///
        /// # Errors
        /// `NotFound` for a name that nobody has (as on Linux), `NetworkDown` when the stack has ended.
        pub fn set_congestion(&self, name: &str) -> io::Result<()> {
            let factory = $crate::connection::controller_from(name)?;
            self.connection().change_options(|options| options.congestion = factory)
        }

        /// All options (`getsockopt`): keep-alive, user timeout, buffers, ECN, the limits of the
        /// retransmission timeout, pacing and the rest.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn options(&self) -> io::Result<TcpOptions> {
            self.connection().options()
        }

        /// Sets all options; begin with [`options`](Self::options) to change some of them.
        ///
        /// # Errors
        /// `InvalidInput` for a value that makes no sense, `NetworkDown` when the stack has ended.
        pub fn set_options(&self, options: TcpOptions) -> io::Result<()> {
            self.connection().set_options(options)
        }

        /// A snapshot of the connection (`TCP_INFO`).
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn info(&self) -> io::Result<TcpInfo> {
            self.connection().info()
        }

        /// The error that ended the connection (`SO_ERROR`), once.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn take_error(&self) -> io::Result<Option<io::Error>> {
            self.connection().take_error()
        }

        /// Ends the connection at once with a reset: both sides lose what is under way.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn reset(self) -> io::Result<()> {
            self.connection().reset()
        }
    };
}
pub(crate) use stream_accessors;
