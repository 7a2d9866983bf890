//! What is registered, and what it takes to be told.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::source::Source;
use super::{Interest, Token};
use crate::poller::Poller;
use crate::ready::{ReadyList, Watch};
use crate::shared::{Shared, lock};
use crate::socket::Socket;

/// Where sources are registered with a [`Poll`](super::Poll).
#[derive(Debug)]
pub struct Registry {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) list: Arc<ReadyList>,
    /// Every shard that a source lives on.
    pub(super) shards: Mutex<Vec<Arc<Shared>>>,
    /// Counts the changes of the shards.
    pub(super) version: AtomicUsize,
    /// There is, or was, a descriptor of the kernel.
    pub(super) has_descriptors: AtomicBool,
}

impl Registry {
    pub(super) fn new() -> io::Result<Self> {
        let inner = Inner {
            list: ReadyList::new(Poller::new()?),
            shards: Mutex::default(),
            version: AtomicUsize::new(0),
            has_descriptors: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Begins to tell the poll of what happens to `source`, by the name `token`. What is so already is told
    /// with the next call. Several sources may have one token.
    ///
    /// # Errors
    /// `AlreadyExists` when it is registered with this poll, `InvalidInput` for `Token(usize::MAX)`,
    /// `NetworkDown` when its stack has ended. For a descriptor what epoll_ctl(2) says: `PermissionDenied`
    /// for a file that cannot be waited for.
    pub fn register<S: Source + ?Sized>(
        &self,
        source: &S,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let parts = source.parts();
        if let Some(descriptor) = parts.descriptor() {
            self.inner.has_descriptors.store(true, Ordering::Relaxed);
            let name = name_of(token)?;
            self.inner.list.own().add(descriptor, name, interest.of_descriptor())?;
            // A thread that sleeps on the links alone is to wait for this, too.
            self.inner.list.rouse();
            return Ok(());
        }
        let watch = self.watch(token, interest)?;
        for (count, socket) in parts.sockets().iter().enumerate() {
            if let Err(error) = socket.watch(watch.clone()) {
                for done in &parts.sockets()[..count] {
                    let _ = done.unwatch(&self.inner.list);
                }
                return Err(error);
            }
        }
        parts.sockets().iter().for_each(|socket| self.inner.join(socket));
        Ok(())
    }

    /// Changes what is told of `source`, and its name. What is so is told again with the next call.
    ///
    /// # Errors
    /// `NotFound` when it is not registered with this poll; else as [`register`](Registry::register).
    pub fn reregister<S: Source + ?Sized>(
        &self,
        source: &S,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let (parts, name) = (source.parts(), name_of(token)?);
        if let Some(descriptor) = parts.descriptor() {
            return self.inner.list.own().modify(descriptor, name, interest.of_descriptor());
        }
        let (list, interest) = (&self.inner.list, interest.of_socket());
        parts.sockets().iter().try_for_each(|socket| socket.rewatch(list, token.0, interest))
    }

    /// Nothing more is told of `source`, not even what happened before and was not told yet.
    ///
    /// # Errors
    /// `NotFound` when it is not registered with this poll.
    pub fn deregister<S: Source + ?Sized>(&self, source: &S) -> io::Result<()> {
        let parts = source.parts();
        if let Some(descriptor) = parts.descriptor() {
            return self.inner.list.own().remove(descriptor);
        }
        parts.sockets().iter().try_for_each(|socket| socket.unwatch(&self.inner.list))
    }

    /// The same registry, for another thread.
    ///
    /// # Errors
    /// Never; the signature is that of mio.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { inner: Arc::clone(&self.inner) })
    }

    pub(super) fn watch(&self, token: Token, interest: Interest) -> io::Result<Watch> {
        name_of(token)?;
        Ok(Watch::new(&self.inner.list, token.0, interest.of_socket()))
    }
}

impl Inner {
    /// Has the poll lead the shard of `socket`.
    fn join(&self, socket: &Socket) {
        let shard = socket.shard().shared();
        let mut shards = lock(&self.shards);
        if !shards.iter().any(|known| Arc::ptr_eq(known, shard)) {
            shards.push(Arc::clone(shard));
            self.version.fetch_add(1, Ordering::Release);
            drop(shards);
            self.list.rouse();
        }
    }
}

/// What epoll calls it.
fn name_of(token: Token) -> io::Result<u64> {
    if token.0 == usize::MAX {
        let why = "Token(usize::MAX) is the poll's own";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(token.0 as u64)
}
