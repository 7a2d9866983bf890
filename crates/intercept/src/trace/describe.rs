//! A call as text, as strace writes it.

use std::fmt::Write;

use crate::address::{Domain, Name};
use crate::process;
use crate::request::Request;
use crate::syscall::Call;

/// The call with its arguments.
pub(super) fn call(request: &Request, domain: Option<Domain>) -> String {
    let mut text = format!("{}(", request.call.name());
    let int = |index| request.int(index);
    // Writing to a string cannot fail.
    let _ = match request.call {
        Call::Socket => write!(text, "{}, {}, {}", family(int(0)), kind(int(1)), int(2)),
        Call::Bind | Call::Connect => {
            write!(text, "{}, {}", int(0), address(request, 1, 2, domain))
        }
        Call::Listen => write!(text, "{}, {}", int(0), int(1)),
        Call::Shutdown => write!(text, "{}, {}", int(0), how(int(1))),
        Call::GetOption | Call::SetOption => {
            write!(text, "{}, {}, {}", int(0), level(int(1)), option(int(1), int(2)))
        }
        Call::SendTo => {
            let length = request.arguments[2];
            write!(text, "{}, {length} bytes, {}", int(0), address(request, 4, 5, domain))
        }
        Call::Ioctl => match crate::interface::name(int(1).cast_unsigned()) {
            Some(name) => write!(text, "{}, {name}", int(0)),
            None => write!(text, "{}, {:#x}", int(0), int(1)),
        },
        Call::Accept4 => write!(text, "{}, flags {:#o}", int(0), int(3)),
        _ => write!(text, "{}", int(0)),
    };
    text.push(')');
    text
}

fn address(request: &Request, address: usize, length: usize, domain: Option<Domain>) -> String {
    let length = usize::try_from(request.int(length)).unwrap_or(0).min(128);
    let bytes = process::read(request.thread, request.arguments[address], length);
    match bytes.map(|bytes| domain.unwrap_or(Domain::V4).parse(&bytes)) {
        Ok(Ok(Name::At(address))) => address.to_string(),
        Ok(Ok(Name::Nobody)) => "AF_UNSPEC".to_owned(),
        Ok(Err(_)) | Err(_) => format!("{:#x}", request.arguments[address]),
    }
}

fn family(family: i32) -> &'static str {
    if family == 2 { "AF_INET" } else { "AF_INET6" }
}

fn kind(kind: i32) -> String {
    let name = match kind & 0xf {
        1 => "SOCK_STREAM",
        2 => "SOCK_DGRAM",
        3 => "SOCK_RAW",
        _ => return format!("{kind:#x}"),
    };
    let nonblock = if kind & 0o4000 == 0 { "" } else { "|SOCK_NONBLOCK" };
    let cloexec = if kind & 0o2_000_000 == 0 { "" } else { "|SOCK_CLOEXEC" };
    format!("{name}{nonblock}{cloexec}")
}

fn how(how: i32) -> String {
    match how {
        0 => "SHUT_RD".to_owned(),
        1 => "SHUT_WR".to_owned(),
        2 => "SHUT_RDWR".to_owned(),
        how => how.to_string(),
    }
}

fn level(level: i32) -> String {
    match level {
        0 => "IPPROTO_IP".to_owned(),
        1 => "SOL_SOCKET".to_owned(),
        6 => "IPPROTO_TCP".to_owned(),
        17 => "IPPROTO_UDP".to_owned(),
        41 => "IPPROTO_IPV6".to_owned(),
        level => level.to_string(),
    }
}

/// The names of the options that programs set most.
fn option(level: i32, option: i32) -> String {
    let name = match (level, option) {
        (1, 2) => "SO_REUSEADDR",
        (1, 3) => "SO_TYPE",
        (1, 4) => "SO_ERROR",
        (1, 7) => "SO_SNDBUF",
        (1, 8) => "SO_RCVBUF",
        (1, 9) => "SO_KEEPALIVE",
        (1, 13) => "SO_LINGER",
        (1, 15) => "SO_REUSEPORT",
        (1, 20) => "SO_RCVTIMEO",
        (1, 21) => "SO_SNDTIMEO",
        (6, 1) => "TCP_NODELAY",
        (6, 3) => "TCP_CORK",
        (6, 4) => "TCP_KEEPIDLE",
        (6, 5) => "TCP_KEEPINTVL",
        (6, 6) => "TCP_KEEPCNT",
        (6, 9) => "TCP_DEFER_ACCEPT",
        (6, 11) => "TCP_INFO",
        (6, 12) => "TCP_QUICKACK",
        (6, 13) => "TCP_CONGESTION",
        (6, 18) => "TCP_USER_TIMEOUT",
        (6, 23) => "TCP_FASTOPEN",
        (0, 1) => "IP_TOS",
        (0, 2) => "IP_TTL",
        (0, 4) => "IP_OPTIONS",
        (0, 6) => "IP_RECVOPTS",
        (0, 11) => "IP_RECVERR",
        (41, 26) => "IPV6_V6ONLY",
        _ => return option.to_string(),
    };
    name.to_owned()
}
