//! The stack's errors by the names that system calls give them.

use stack::Error;

/// The errno of `error`, as connected TCP sockets on Linux report it.
pub(super) fn name(error: Error) -> &'static str {
    match error {
        Error::WouldBlock => "EAGAIN",
        Error::NoSuchSocket => "EBADF",
        Error::NotConnected => "ENOTCONN",
        Error::AddressInUse => "EADDRINUSE",
        Error::AddressNotAvailable => "EADDRNOTAVAIL",
        Error::InvalidInput => "EINVAL",
        Error::MessageTooBig => "EMSGSIZE",
        Error::LimitReached => "ENOBUFS",
        Error::ConnectionRefused => "ECONNREFUSED",
        Error::ConnectionReset => "ECONNRESET",
        Error::ConnectionAborted => "ECONNABORTED",
        Error::BrokenPipe => "EPIPE",
        Error::TimedOut => "ETIMEDOUT",
        Error::HostUnreachable | Error::Prohibited => "EHOSTUNREACH",
        Error::NetworkUnreachable => "ENETUNREACH",
        Error::ProtocolUnreachable => "ENOPROTOOPT",
        Error::PermissionDenied => "EACCES",
        _ => "EIO",
    }
}

/// The number of an errno on Linux, for `getsockopt(SO_ERROR)`.
pub(super) fn number(name: &str) -> Option<i64> {
    Some(match name {
        "EPERM" => 1,
        "ENOENT" => 2,
        "EBADF" => 9,
        "EAGAIN" | "EWOULDBLOCK" => 11,
        "EACCES" => 13,
        "EFAULT" => 14,
        "EEXIST" => 17,
        "EINVAL" => 22,
        "EPIPE" => 32,
        "ENOTSOCK" => 88,
        "EDESTADDRREQ" => 89,
        "EMSGSIZE" => 90,
        "ENOPROTOOPT" => 92,
        "EOPNOTSUPP" | "ENOTSUP" => 95,
        "EADDRINUSE" => 98,
        "EADDRNOTAVAIL" => 99,
        "ENETUNREACH" => 101,
        "ECONNABORTED" => 103,
        "ECONNRESET" => 104,
        "ENOBUFS" => 105,
        "EISCONN" => 106,
        "ENOTCONN" => 107,
        "ETIMEDOUT" => 110,
        "ECONNREFUSED" => 111,
        "EHOSTUNREACH" => 113,
        "EALREADY" => 114,
        "EINPROGRESS" => 115,
        _ => return None,
    })
}
