//! setsockopt, getsockopt and ioctl, by Linux's numbers.

use stack::tcp::congestion;
use stack::{Config, ConnectionId, KeepAlive, TcpOptions};
use wire::time::Duration;

use crate::errno;
use crate::sockets::Kind;
use crate::world::World;

impl World {
    pub(crate) fn set_option(
        &mut self,
        fd: i32,
        level: i32,
        name: i32,
        value: &[u8],
    ) -> Result<i32, i32> {
        let socket = self.sockets.socket(fd)?;
        let connection = match socket.kind {
            Kind::Connection(id) => Some(id),
            Kind::Fresh | Kind::Listener(_) => None,
        };
        let mut options = match connection {
            Some(id) => self.stack.tcp_options(id).map_err(errno::number)?.clone(),
            None => socket.options.clone(),
        };
        set(&mut options, level, name, value)?;
        match connection {
            None => socket.options = options,
            Some(id) => {
                self.stack.set_tcp_options(self.now, id, options).map_err(errno::number)?;
            }
        }
        Ok(0)
    }

    /// The value as bytes.
    pub(crate) fn get_option(&mut self, fd: i32, level: i32, name: i32) -> Result<Vec<u8>, i32> {
        let socket = self.sockets.socket(fd)?;
        let number = |value: i32| Ok(value.to_ne_bytes().to_vec());
        let connection = match (socket.kind, level, name) {
            (kind, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => {
                return number(i32::from(matches!(kind, Kind::Listener(_))));
            }
            (_, libc::SOL_SOCKET, libc::SO_TYPE) => return number(libc::SOCK_STREAM),
            (Kind::Connection(id), ..) => Some(id),
            (_, libc::SOL_SOCKET, libc::SO_ERROR) => return number(0),
            _ => None,
        };
        let Some(id) = connection else {
            return get(&socket.options, self.stack.config(), level, name);
        };
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_ERROR) => match self.stack.take_error(id) {
                Ok(None) => number(0),
                Ok(Some(error)) | Err(error) => number(errno::number(error)),
            },
            (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => {
                let info = self.stack.info(id).map_err(errno::number)?;
                number(i32::try_from(info.snd_mss).unwrap_or(i32::MAX))
            }
            _ => {
                let options = self.stack.tcp_options(id).map_err(errno::number)?;
                get(options, self.stack.config(), level, name)
            }
        }
    }

    /// How many bytes wait, for `FIONREAD` and its relatives.
    pub(crate) fn ioctl(&mut self, fd: i32, request: u64) -> Result<i32, i32> {
        /// Bytes that were not sent yet (`linux/sockios.h`).
        const SIOCOUTQNSD: u64 = 0x894b;
        let id: ConnectionId = match self.sockets.socket(fd)?.kind {
            Kind::Connection(id) => id,
            Kind::Fresh | Kind::Listener(_) => return Err(libc::EINVAL),
        };
        let info = self.stack.info(id).map_err(errno::number)?;
        let count = match request {
            libc::FIONREAD => self.stack.readable_bytes(id).map_err(errno::number)? as u64,
            libc::TIOCOUTQ => u64::from(info.unacked).saturating_add(info.notsent),
            SIOCOUTQNSD => info.notsent,
            _ => return Err(libc::ENOTTY),
        };
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

fn set(options: &mut TcpOptions, level: i32, name: i32, value: &[u8]) -> Result<(), i32> {
    if (level, name) == (libc::IPPROTO_TCP, libc::TCP_CONGESTION) {
        let name = std::str::from_utf8(value).map_err(|_| libc::ENOENT)?;
        options.congestion =
            congestion::by_name(name.trim_end_matches('\0')).ok_or(libc::ENOENT)?;
        return Ok(());
    }
    if (level, name) == (libc::SOL_SOCKET, libc::SO_LINGER) {
        let (on, seconds) = (word(value, 0)?, word(value, 4)?);
        let time = u64::try_from(seconds).map_err(|_| libc::EINVAL)?;
        options.linger = (on != 0).then_some(Duration::from_secs(time));
        return Ok(());
    }
    let value = match value {
        [byte] => i32::from(*byte),
        bytes => word(bytes, 0)?,
    };
    let positive = u64::try_from(value).map_err(|_| libc::EINVAL);
    let size = usize::try_from(value).map_err(|_| libc::EINVAL);
    let keepalive = options.keepalive.unwrap_or_default();
    match (level, name) {
        (libc::SOL_SOCKET, libc::SO_REUSEADDR | libc::SO_REUSEPORT) => {}
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => {
            options.keepalive = (value != 0).then_some(keepalive);
        }
        (libc::SOL_SOCKET, libc::SO_RCVBUF) => options.receive_buffer = Some(size?),
        (libc::SOL_SOCKET, libc::SO_SNDBUF) => options.send_buffer = Some(size?),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY) => options.nodelay = value != 0,
        (libc::IPPROTO_TCP, libc::TCP_CORK) => options.cork = value != 0,
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => {
            let idle = Duration::from_secs(positive?);
            options.keepalive = Some(KeepAlive { idle, ..keepalive });
        }
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => {
            let interval = Duration::from_secs(positive?);
            options.keepalive = Some(KeepAlive { interval, ..keepalive });
        }
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => {
            let probes = u8::try_from(value).map_err(|_| libc::EINVAL)?;
            options.keepalive = Some(KeepAlive { probes, ..keepalive });
        }
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => {
            options.user_timeout =
                Some(Duration::from_millis(positive?)).filter(|time| !time.is_zero());
        }
        (libc::IPPROTO_TCP, libc::TCP_MAXSEG) if (88..=32_767).contains(&value) => {
            options.max_segment = u16::try_from(value).ok();
        }
        (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => return Err(libc::EINVAL),
        (libc::IPPROTO_IP, libc::IP_TTL) => {
            options.ttl = Some(u8::try_from(value).map_err(|_| libc::EINVAL)?);
        }
        (libc::IPPROTO_IP, libc::IP_TOS) => {
            options.traffic_class = u8::try_from(value).map_err(|_| libc::EINVAL)?;
        }
        _ => return Err(libc::ENOPROTOOPT),
    }
    Ok(())
}

fn get(options: &TcpOptions, config: &Config, level: i32, name: i32) -> Result<Vec<u8>, i32> {
    let keepalive = options.keepalive.unwrap_or_default();
    let seconds = |time: Duration| i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
    let size = |bytes: usize| i32::try_from(bytes.saturating_mul(2)).unwrap_or(i32::MAX);
    let value = match (level, name) {
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => i32::from(options.keepalive.is_some()),
        (libc::SOL_SOCKET, libc::SO_RCVBUF) => {
            size(options.receive_buffer.unwrap_or(config.receive_buffer.initial))
        }
        (libc::SOL_SOCKET, libc::SO_SNDBUF) => {
            size(options.send_buffer.unwrap_or(config.send_buffer.initial))
        }
        (libc::IPPROTO_TCP, libc::TCP_NODELAY) => i32::from(options.nodelay),
        (libc::IPPROTO_TCP, libc::TCP_CORK) => i32::from(options.cork),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => seconds(keepalive.idle),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => seconds(keepalive.interval),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => i32::from(keepalive.probes),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => {
            let millis = options.user_timeout.unwrap_or_default().as_millis();
            i32::try_from(millis).unwrap_or(i32::MAX)
        }
        (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => i32::from(options.max_segment.unwrap_or(536)),
        (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => {
            let mut name = (options.congestion)(1460).name().as_bytes().to_vec();
            name.resize(16, 0);
            return Ok(name);
        }
        (libc::IPPROTO_IP, libc::IP_TTL) => i32::from(options.ttl.unwrap_or(stack::DEFAULT_TTL)),
        (libc::IPPROTO_IP, libc::IP_TOS) => i32::from(options.traffic_class),
        _ => return Err(libc::ENOPROTOOPT),
    };
    Ok(value.to_ne_bytes().to_vec())
}

/// The `int` at `offset`.
fn word(bytes: &[u8], offset: usize) -> Result<i32, i32> {
    let bytes = bytes.get(offset..).and_then(|rest| rest.first_chunk()).ok_or(libc::EINVAL)?;
    Ok(i32::from_ne_bytes(*bytes))
}
