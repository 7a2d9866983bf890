//! What can be registered.

use std::os::fd::{AsFd, BorrowedFd};

use super::super::{Packets, TcpFlows, TcpListener, TcpStream, UdpFlow, UdpFlows, UdpSocket};
use crate::Pinger;
use crate::socket::Socket;

/// What a [`Registry`](super::Registry) takes: every socket of [`blocking`](crate::blocking), a
/// [`Pinger`], and, as a [`SourceFd`], any descriptor.
pub trait Source: Sealed {}

/// A descriptor of the kernel, as a [`Source`]: a socket of the kernel's, a pipe, a timer, an epoll
/// descriptor with thousands of others behind it.
///
/// It has to be one that epoll takes, and is best non-blocking. When it is closed it is registered no more;
/// one that was duplicated must be deregistered first, as epoll(7) explains.
///
/// ```
/// use std::io::Write;
/// use estab::blocking::poll::{Events, Interest, Poll, SourceFd, Token};
///
/// let mut poll = Poll::new()?;
/// let (reader, mut writer) = std::io::pipe()?;
/// poll.registry().register(&SourceFd(&reader), Token(1), Interest::READABLE)?;
/// writer.write_all(b"!")?;
/// let mut events = Events::with_capacity(16);
/// poll.poll(&mut events, None)?;
/// assert_eq!(events.iter().next().unwrap().token(), Token(1));
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct SourceFd<'a, F: AsFd>(
    /// Whose descriptor it is.
    pub &'a F,
);

/// What there is to register.
#[derive(Debug)]
pub struct Parts<'a>(Kind<'a>);

#[derive(Debug)]
enum Kind<'a> {
    /// A socket on one shard.
    Socket(&'a Socket),
    /// One on each of several.
    Sockets(Vec<&'a Socket>),
    /// A descriptor.
    Descriptor(BorrowedFd<'a>),
}

/// Keeps [`Source`] to what this crate can poll.
pub trait Sealed {
    /// What of it is registered.
    #[doc(hidden)]
    fn parts(&self) -> Parts<'_>;
}

impl Parts<'_> {
    /// The descriptor, if it is one.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self.0 {
            Kind::Descriptor(descriptor) => Some(descriptor),
            Kind::Socket(_) | Kind::Sockets(_) => None,
        }
    }

    /// The sockets; none when it is a descriptor.
    pub(super) fn sockets(&self) -> &[&Socket] {
        match &self.0 {
            Kind::Socket(socket) => std::slice::from_ref(socket),
            Kind::Sockets(sockets) => sockets,
            Kind::Descriptor(_) => &[],
        }
    }
}

macro_rules! source {
    ($($socket:ty: $variant:ident),* $(,)?) => {
        $(
            impl Source for $socket {}

            impl Sealed for $socket {
                fn parts(&self) -> Parts<'_> {
                    Parts(Kind::$variant(self.to_poll()))
                }
            }
        )*
    };
}

source! {
    TcpListener: Sockets,
    TcpStream: Socket,
    TcpFlows: Sockets,
    UdpSocket: Socket,
    UdpFlow: Socket,
    UdpFlows: Sockets,
    Packets: Sockets,
    Pinger: Socket,
}

impl<F: AsFd> Source for SourceFd<'_, F> {}

impl<F: AsFd> Sealed for SourceFd<'_, F> {
    fn parts(&self) -> Parts<'_> {
        Parts(Kind::Descriptor(self.0.as_fd()))
    }
}
