//! Errors by the numbers and names that programs know.

use std::io;

use rustix::io::Errno;

/// The names of the errors that a socket's calls give.
const NAMES: &[(Errno, &str)] = &[
    (Errno::PERM, "EPERM"),
    (Errno::NOENT, "ENOENT"),
    (Errno::INTR, "EINTR"),
    (Errno::IO, "EIO"),
    (Errno::BADF, "EBADF"),
    (Errno::AGAIN, "EAGAIN"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::ACCESS, "EACCES"),
    (Errno::FAULT, "EFAULT"),
    (Errno::NODEV, "ENODEV"),
    (Errno::NOTTY, "ENOTTY"),
    (Errno::INVAL, "EINVAL"),
    (Errno::NFILE, "ENFILE"),
    (Errno::MFILE, "EMFILE"),
    (Errno::PIPE, "EPIPE"),
    (Errno::DOM, "EDOM"),
    (Errno::NOSYS, "ENOSYS"),
    (Errno::DESTADDRREQ, "EDESTADDRREQ"),
    (Errno::MSGSIZE, "EMSGSIZE"),
    (Errno::NOPROTOOPT, "ENOPROTOOPT"),
    (Errno::PROTONOSUPPORT, "EPROTONOSUPPORT"),
    (Errno::SOCKTNOSUPPORT, "ESOCKTNOSUPPORT"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::AFNOSUPPORT, "EAFNOSUPPORT"),
    (Errno::ADDRINUSE, "EADDRINUSE"),
    (Errno::ADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (Errno::NETDOWN, "ENETDOWN"),
    (Errno::NETUNREACH, "ENETUNREACH"),
    (Errno::CONNABORTED, "ECONNABORTED"),
    (Errno::CONNRESET, "ECONNRESET"),
    (Errno::NOBUFS, "ENOBUFS"),
    (Errno::ISCONN, "EISCONN"),
    (Errno::NOTCONN, "ENOTCONN"),
    (Errno::TIMEDOUT, "ETIMEDOUT"),
    (Errno::CONNREFUSED, "ECONNREFUSED"),
    (Errno::HOSTUNREACH, "EHOSTUNREACH"),
    (Errno::ALREADY, "EALREADY"),
    (Errno::INPROGRESS, "EINPROGRESS"),
];

/// The name of an error, if it is one that sockets give.
pub(crate) fn name(number: i32) -> Option<&'static str> {
    let known = NAMES.iter().find(|(errno, _)| errno.raw_os_error() == number);
    known.map(|(_, name)| *name)
}

/// The number that Linux gives for what the stack says.
pub(crate) fn from_stack(error: &io::Error) -> Errno {
    use estab::core::Error as Stack;
    if let Some(errno) = error.raw_os_error() {
        return Errno::from_raw_os_error(errno);
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Stack>());
    match inner {
        Some(Stack::MessageTooBig) => Errno::MSGSIZE,
        Some(Stack::LimitReached) => Errno::NOBUFS,
        Some(Stack::ProtocolUnreachable) => Errno::NOPROTOOPT,
        Some(Stack::Prohibited) => Errno::HOSTUNREACH,
        _ => from_kind(error.kind()),
    }
}

fn from_kind(kind: io::ErrorKind) -> Errno {
    use io::ErrorKind;
    match kind {
        ErrorKind::WouldBlock => Errno::AGAIN,
        ErrorKind::NotConnected => Errno::NOTCONN,
        ErrorKind::AddrInUse => Errno::ADDRINUSE,
        ErrorKind::AddrNotAvailable => Errno::ADDRNOTAVAIL,
        ErrorKind::InvalidInput => Errno::INVAL,
        ErrorKind::QuotaExceeded => Errno::NOBUFS,
        ErrorKind::ConnectionRefused => Errno::CONNREFUSED,
        ErrorKind::ConnectionReset => Errno::CONNRESET,
        ErrorKind::ConnectionAborted => Errno::CONNABORTED,
        ErrorKind::BrokenPipe => Errno::PIPE,
        ErrorKind::TimedOut => Errno::TIMEDOUT,
        ErrorKind::HostUnreachable => Errno::HOSTUNREACH,
        ErrorKind::NetworkUnreachable => Errno::NETUNREACH,
        ErrorKind::PermissionDenied => Errno::ACCESS,
        ErrorKind::NotFound => Errno::NOENT,
        ErrorKind::NetworkDown => Errno::NETDOWN,
        _ => Errno::IO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_one_name() {
        for (errno, text) in NAMES {
            assert_eq!(name(errno.raw_os_error()), Some(*text));
        }
        assert_eq!(name(4095), None);
    }

    #[test]
    fn the_stacks_errors_have_linuxs_numbers() {
        let with = |kind, inner: estab::core::Error| from_stack(&io::Error::new(kind, inner));
        let too_big = with(io::ErrorKind::InvalidInput, estab::core::Error::MessageTooBig);
        assert_eq!(too_big, Errno::MSGSIZE);
        let refused = with(io::ErrorKind::ConnectionRefused, estab::core::Error::ConnectionRefused);
        assert_eq!(refused, Errno::CONNREFUSED);
        assert_eq!(from_stack(&io::Error::from_raw_os_error(libc::EMFILE)), Errno::MFILE);
    }
}
