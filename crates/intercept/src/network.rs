//! The stack's sockets as the supervisor uses them, and how it hears that one is worth a look.
//!
//! Nothing here waits. What is not ready is registered with a bell that puts the socket's key into a
//! queue and wakes the supervisor; whoever is woken looks again.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use estab::core::UdpOptions;
use estab::net::{TcpListener, TcpStream, UdpSocket};
use estab::{Config, Stack, TcpInfo, TcpOptions};
use rustix::event::{EventfdFlags, eventfd};

use crate::table::Key;

/// The stack, and what has happened to sockets on it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) stack: Stack,
    config: Config,
    news: Arc<News>,
}

/// The sockets that are worth a look.
#[derive(Debug)]
struct News {
    queue: Mutex<Vec<Arc<Bell>>>,
    /// Wakes the supervisor when there are any.
    kick: OwnedFd,
}

/// Rings for one socket.
#[derive(Debug)]
struct Bell {
    news: Arc<News>,
    key: Key,
    /// It has rung, and nobody has looked.
    rung: AtomicBool,
}

impl Network {
    pub(crate) fn new(stack: &Stack) -> io::Result<Self> {
        let kick = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let news = Arc::new(News { queue: Mutex::default(), kick });
        Ok(Self { stack: stack.clone(), config: stack.config()?, news })
    }

    /// What the stack was started with.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Takes the sockets that are worth a look. Each is rung for again from now on.
    pub(crate) fn take_news(&self, into: &mut Vec<Key>) {
        let _ = rustix::io::read(&self.news.kick, &mut [0; 8]);
        for bell in self.news.lock().drain(..) {
            bell.rung.store(false, Ordering::Release);
            into.push(bell.key);
        }
    }

    /// A bell for the socket with this key.
    pub(crate) fn bell(&self, key: Key) -> Ear {
        let bell = Bell { news: Arc::clone(&self.news), key, rung: AtomicBool::new(false) };
        Ear(Waker::from(Arc::new(bell)))
    }
}

impl AsFd for Network {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.news.kick.as_fd()
    }
}

impl News {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Bell>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut queue = self.news.lock();
        let first = queue.is_empty();
        queue.push(Arc::clone(self));
        drop(queue);
        if first {
            let _ = rustix::io::write(&self.news.kick, &1_u64.to_ne_bytes());
        }
    }
}

/// What registers a socket for news.
#[derive(Clone, Debug)]
pub(crate) struct Ear(Waker);

impl Ear {
    fn listen(&self) -> Context<'_> {
        Context::from_waker(&self.0)
    }
}

/// A connection of the stack.
#[derive(Debug)]
pub(crate) struct Stream {
    inner: TcpStream,
    ear: Ear,
}

/// What reading a connection into a program's socket came to.
#[derive(Debug)]
pub(crate) enum Moved {
    /// So many bytes went.
    Bytes,
    /// There is nothing yet; the bell rings when there is.
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
        let inner = TcpStream::begin_connect(&network.stack, local, remote, options)?;
        Ok(Self { inner, ear: network.bell(key) })
    }

    /// Rings for the socket with `key` from now on.
    pub(crate) fn ring_for(&mut self, network: &Network, key: Key) {
        self.ear = network.bell(key);
    }

    /// How the handshake ended, when it has.
    pub(crate) fn handshake(&self) -> Poll<io::Result<()>> {
        match self.inner.poll_write_ready(&mut self.ear.listen()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(ended)) => Poll::Ready(Err(ended)),
            Poll::Ready(Ok(())) => Poll::Ready(match self.inner.take_error() {
                Ok(None) => Ok(()),
                Ok(Some(error)) | Err(error) => Err(error),
            }),
        }
    }

    /// Writes what there is room for; the bell rings when there is room for the rest.
    pub(crate) fn write(&self, bytes: &mut Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.inner.try_write_bytes(bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.inner.poll_write_ready(&mut self.ear.listen()) {
                        Poll::Pending => return Ok(()),
                        Poll::Ready(ready) => ready?,
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The same from a buffer that is not given away; says how much was taken.
    pub(crate) fn write_copied(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.inner.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            done => done,
        }
    }

    /// Lends what has arrived to `take`, which says how much it took.
    pub(crate) fn read_with(
        &self,
        mut take: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Moved {
        loop {
            let mut refused = false;
            let read = self.inner.try_read_with(|slices| match take(slices) {
                Ok(count) => Ok(count),
                Err(_) => {
                    refused = true;
                    Ok(0)
                }
            });
            return match (read, refused) {
                (_, true) => Moved::Refused,
                (Ok(0), false) => Moved::End,
                (Ok(_), false) => Moved::Bytes,
                (Err(error), false) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.inner.poll_read_ready(&mut self.ear.listen()) {
                        Poll::Pending => Moved::Nothing,
                        Poll::Ready(Ok(())) => continue,
                        Poll::Ready(Err(ended)) => Moved::Failed(ended),
                    }
                }
                (Err(error), false) => Moved::Failed(error),
            };
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner.shutdown_direction(how)
    }

    /// Ends it with a reset.
    pub(crate) fn reset(self) {
        // One that is over already has nobody to tell.
        let _ = self.inner.reset();
    }

    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    pub(crate) fn info(&self) -> io::Result<TcpInfo> {
        self.inner.info()
    }

    pub(crate) fn set_options(&self, options: TcpOptions) -> io::Result<()> {
        self.inner.set_options(options)
    }
}

/// A listener of the stack.
#[derive(Debug)]
pub(crate) struct Listener {
    inner: TcpListener,
    ear: RefCell<Ear>,
}

impl Listener {
    /// Listens at `local`.
    pub(crate) fn bind(
        network: &Network,
        key: Key,
        local: SocketAddr,
        backlog: usize,
        options: &TcpOptions,
    ) -> io::Result<Self> {
        let inner = TcpListener::bind_with(&network.stack, local, backlog, options)?;
        Ok(Self { inner, ear: RefCell::new(network.bell(key)) })
    }

    /// Rings for the socket with `key` from now on.
    pub(crate) fn ring_for(&self, network: &Network, key: Key) {
        *self.ear.borrow_mut() = network.bell(key);
    }

    /// How many connections wait. The bell rings when it may be another number.
    pub(crate) fn waiting(&self) -> io::Result<usize> {
        // No number of connections is this large: it is always told, and always registered.
        match self.inner.poll_waiting(&mut self.ear.borrow().listen(), usize::MAX) {
            Poll::Ready(count) => count,
            Poll::Pending => Ok(0),
        }
    }

    /// Takes a connection for the socket with `key`, if one waits.
    pub(crate) fn accept(
        &self,
        network: &Network,
        key: Key,
    ) -> io::Result<Option<(Stream, SocketAddr)>> {
        match self.inner.poll_accept(&mut self.ear.borrow().listen()) {
            Poll::Ready(accepted) => {
                let (inner, peer) = accepted?;
                Ok(Some((Stream { inner, ear: network.bell(key) }, peer)))
            }
            Poll::Pending => Ok(None),
        }
    }
}

/// A UDP socket of the stack.
#[derive(Debug)]
pub(crate) struct Datagrams {
    pub(crate) inner: UdpSocket,
    ear: Ear,
}

impl Datagrams {
    /// Binds to `local`.
    pub(crate) fn bind(
        network: &Network,
        key: Key,
        local: SocketAddr,
        options: UdpOptions,
    ) -> io::Result<Self> {
        let inner = now(UdpSocket::bind_with(&network.stack, local, options))?;
        Ok(Self { inner, ear: network.bell(key) })
    }

    pub(crate) fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        now(self.inner.connect(remote))
    }

    /// Sends a datagram, or says `WouldBlock`; the bell rings when there is room.
    pub(crate) fn send(&self, payload: &[u8], remote: SocketAddr) -> io::Result<usize> {
        loop {
            match self.inner.try_send_to(payload, remote) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.inner.poll_send_ready(&mut self.ear.listen()) {
                        Poll::Pending => return Err(error),
                        Poll::Ready(ready) => ready?,
                    }
                }
                done => return done,
            }
        }
    }

    /// Takes a datagram and tells who sent it, or says `WouldBlock`; the bell rings when one comes.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            match self.inner.try_recv_from(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.inner.poll_recv_ready(&mut self.ear.listen()) {
                        Poll::Pending => return Err(error),
                        Poll::Ready(ready) => ready?,
                    }
                }
                done => return done,
            }
        }
    }
}

/// The result of a future that never waits.
fn now<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
