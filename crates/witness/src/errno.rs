//! The stack's errors as Linux numbers them.

use stack::Error;

/// The errno of `error`, as a TCP socket of Linux reports it.
pub(crate) fn number(error: Error) -> i32 {
    match error {
        Error::WouldBlock => libc::EAGAIN,
        Error::NoSuchSocket => libc::EBADF,
        Error::NotConnected => libc::ENOTCONN,
        Error::AddressInUse => libc::EADDRINUSE,
        Error::AddressNotAvailable => libc::EADDRNOTAVAIL,
        Error::InvalidInput => libc::EINVAL,
        Error::MessageTooBig => libc::EMSGSIZE,
        Error::LimitReached => libc::ENOBUFS,
        Error::ConnectionRefused => libc::ECONNREFUSED,
        Error::ConnectionReset => libc::ECONNRESET,
        Error::ConnectionAborted => libc::ECONNABORTED,
        Error::BrokenPipe => libc::EPIPE,
        Error::TimedOut => libc::ETIMEDOUT,
        Error::HostUnreachable | Error::Prohibited => libc::EHOSTUNREACH,
        Error::NetworkUnreachable => libc::ENETUNREACH,
        Error::ProtocolUnreachable => libc::ENOPROTOOPT,
        Error::PermissionDenied => libc::EACCES,
        _ => libc::EIO,
    }
}
