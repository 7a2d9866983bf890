//! What `stack` says in its own words, said as `std::io` says it.

use std::io::{Error, ErrorKind};

/// The error of `std::io` for an error of the stack.
///
/// The kinds are those that `std::net` gives on Linux for the same event, and the stack's own
/// error is inside (`get_ref`), so nothing is lost.
pub(crate) fn from_stack(error: stack::Error) -> Error {
    match kind(error) {
        // Frequent, and says nothing more: not worth an allocation.
        ErrorKind::WouldBlock => ErrorKind::WouldBlock.into(),
        kind => Error::new(kind, error),
    }
}

fn kind(error: stack::Error) -> ErrorKind {
    match error {
        stack::Error::WouldBlock => ErrorKind::WouldBlock,
        stack::Error::NoSuchSocket | stack::Error::NotConnected => ErrorKind::NotConnected,
        stack::Error::AddressInUse => ErrorKind::AddrInUse,
        stack::Error::AddressNotAvailable => ErrorKind::AddrNotAvailable,
        stack::Error::InvalidInput | stack::Error::MessageTooBig => ErrorKind::InvalidInput,
        stack::Error::LimitReached => ErrorKind::QuotaExceeded,
        stack::Error::ConnectionRefused => ErrorKind::ConnectionRefused,
        stack::Error::ConnectionReset => ErrorKind::ConnectionReset,
        stack::Error::ConnectionAborted => ErrorKind::ConnectionAborted,
        stack::Error::BrokenPipe => ErrorKind::BrokenPipe,
        stack::Error::TimedOut => ErrorKind::TimedOut,
        stack::Error::HostUnreachable | stack::Error::Prohibited => ErrorKind::HostUnreachable,
        stack::Error::NetworkUnreachable => ErrorKind::NetworkUnreachable,
        stack::Error::ProtocolUnreachable => ErrorKind::Unsupported,
        stack::Error::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Other,
    }
}

/// Why a stack does nothing any more.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// Somebody called `stop`, or nobody held it any more.
    Stopped,
    /// A link is gone for good; what it said.
    LinkGone(String),
    /// A bug: the thread that held the stack panicked.
    Panicked,
}

impl Ended {
    /// What every call on the ended stack answers. `NetworkDown`, because no other kind means
    /// "this will never work again": servers retry `accept` at once after `ConnectionAborted`.
    pub(crate) fn error(&self) -> Error {
        let text = match self {
            Ended::Stopped => "the stack was stopped".to_owned(),
            Ended::LinkGone(why) => format!("the stack lost its link: {why}"),
            Ended::Panicked => "the stack panicked: this is a bug".to_owned(),
        };
        Error::new(ErrorKind::NetworkDown, text)
    }
}

/// Calls `attempt` for each address until one succeeds; else the last error, as `std::net` does.
pub(crate) fn for_each_address<T>(
    addresses: impl std::net::ToSocketAddrs,
    mut attempt: impl FnMut(std::net::SocketAddr) -> std::io::Result<T>,
) -> std::io::Result<T> {
    let mut last = None;
    for address in addresses.to_socket_addrs()? {
        match attempt(address) {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::new(ErrorKind::InvalidInput, "no address to use")))
}
