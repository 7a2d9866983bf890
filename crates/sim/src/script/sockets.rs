//! The program of a script: its file descriptors, and the options that it sets on them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use stack::tcp::congestion;
use stack::{ConnectionId, KeepAlive, ListenerId, Stack, TcpOptions};
use wire::time::{Duration, Instant};

/// The open file descriptors.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    table: BTreeMap<i64, Socket>,
    /// The connection that was used last.
    latest: Option<ConnectionId>,
}

/// What a file descriptor stands for.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) kind: Kind,
    /// What was set before there was anything to set it on.
    pub(super) options: TcpOptions,
    pub(super) bound: Option<SocketAddrV4>,
    /// `O_NONBLOCK`.
    pub(super) nonblocking: bool,
    /// The remote end, for a connection to the script's remote host.
    pub(super) peer: Option<u16>,
    /// How far a blocked `write` came.
    pub(super) progress: usize,
}

/// How far a socket came.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// `socket` made it.
    Fresh,
    /// `listen` was called.
    Listener(ListenerId),
    /// `connect` was called, or `accept` made it.
    Connection(ConnectionId),
}

impl Sockets {
    /// Opens `fd`, the number that the script gave it.
    pub(super) fn open(&mut self, fd: i64, socket: Socket) -> Result<(), String> {
        if self.table.contains_key(&fd) {
            return Err(format!("{fd} is open already"));
        }
        self.note(&socket);
        self.table.insert(fd, socket);
        Ok(())
    }

    pub(super) fn get(&mut self, fd: i64) -> Result<&mut Socket, String> {
        let socket = self.table.get_mut(&fd).ok_or_else(|| format!("{fd} is not open"))?;
        if let Kind::Connection(id) = socket.kind {
            self.latest = Some(id);
        }
        Ok(socket)
    }

    pub(super) fn close(&mut self, fd: i64) -> Result<Socket, String> {
        let socket = self.table.remove(&fd).ok_or_else(|| format!("{fd} is not open"))?;
        if matches!((socket.kind, self.latest), (Kind::Connection(a), Some(b)) if a == b) {
            self.latest = self.table.values().find_map(Socket::connection);
        }
        Ok(socket)
    }

    /// The program connects with `fd`.
    pub(super) fn connects(&mut self, fd: i64, id: ConnectionId, peer: Option<u16>) {
        if let Some(socket) = self.table.get_mut(&fd) {
            socket.kind = Kind::Connection(id);
            socket.peer = peer;
            self.latest = Some(id);
        }
    }

    /// The connection that `%{ }%` asks about.
    pub(super) fn latest_connection(&self) -> Option<ConnectionId> {
        self.latest
    }

    fn note(&mut self, socket: &Socket) {
        self.latest = socket.connection().or(self.latest);
    }
}

impl Socket {
    pub(super) fn new(kind: Kind, options: TcpOptions) -> Self {
        Self { kind, options, bound: None, nonblocking: false, peer: None, progress: 0 }
    }

    pub(super) fn connection(&self) -> Option<ConnectionId> {
        match self.kind {
            Kind::Connection(id) => Some(id),
            Kind::Fresh | Kind::Listener(_) => None,
        }
    }

    /// Where `listen` listens.
    pub(super) fn local(&self) -> SocketAddrV4 {
        self.bound.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))
    }

    /// `setsockopt`: sets the option called `name` to `value` (and `more`, for linger).
    pub(super) fn set_option(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        name: &str,
        value: i64,
    ) -> Result<(), String> {
        self.change_options(stack, now, |options| set(options, name, value))
    }

    /// `setsockopt` of `TCP_CONGESTION`, whose value is the name of a controller.
    pub(super) fn set_congestion(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        name: &str,
    ) -> Result<(), String> {
        let unknown = || format!("no congestion controller is called {name}");
        let factory = congestion::by_name(name).ok_or_else(unknown)?;
        self.change_options(stack, now, |options| {
            options.congestion = factory;
            Ok(())
        })
    }

    fn change_options(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        change: impl FnOnce(&mut TcpOptions) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut options = match self.kind {
            Kind::Connection(id) => {
                stack.tcp_options(id).map_err(|error| error.to_string())?.clone()
            }
            Kind::Fresh | Kind::Listener(_) => self.options.clone(),
        };
        change(&mut options)?;
        match self.kind {
            Kind::Connection(id) => {
                stack.set_tcp_options(now, id, options).map_err(|error| error.to_string())
            }
            Kind::Fresh => {
                self.options = options;
                Ok(())
            }
            Kind::Listener(_) => Err("options of a listener must be set before listen".into()),
        }
    }
}

/// The `l_linger` that stands for "off" in [`set`].
pub(super) const LINGER_OFF: i64 = -1;

fn set(options: &mut TcpOptions, name: &str, value: i64) -> Result<(), String> {
    let wrong = || format!("{name} cannot be {value}");
    let seconds = || u64::try_from(value).map(Duration::from_secs).map_err(|_| wrong());
    let millis = || u64::try_from(value).map(Duration::from_millis).map_err(|_| wrong());
    let bytes = || usize::try_from(value).map_err(|_| wrong());
    let keepalive = options.keepalive.unwrap_or_default();
    // Linux keeps the three numbers while keep-alive is off; here they turn it on with the rest,
    // so scripts set SO_KEEPALIVE first.
    let mut keep = |keepalive: KeepAlive| -> Result<(), String> {
        if options.keepalive.is_none() {
            return Err("SO_KEEPALIVE must be set before its numbers".into());
        }
        options.keepalive = Some(keepalive);
        Ok(())
    };
    match name {
        // Several listeners never share a port here, and TIME-WAIT does not keep one from listening.
        "SO_REUSEADDR" => {}
        "SO_KEEPALIVE" => options.keepalive = (value != 0).then_some(keepalive),
        "TCP_KEEPIDLE" => keep(KeepAlive { idle: seconds()?, ..keepalive })?,
        "TCP_KEEPINTVL" => keep(KeepAlive { interval: seconds()?, ..keepalive })?,
        "TCP_KEEPCNT" => {
            keep(KeepAlive { probes: u8::try_from(value).map_err(|_| wrong())?, ..keepalive })?;
        }
        "SO_LINGER" if value == LINGER_OFF => options.linger = None,
        "SO_LINGER" if value == 0 => options.linger = Some(Duration::ZERO),
        "SO_LINGER" => return Err("a linger time other than zero is the socket layer's".into()),
        "SO_RCVBUF" => options.receive_buffer = bytes()?,
        "SO_SNDBUF" => options.send_buffer = bytes()?,
        "TCP_NODELAY" => options.nodelay = value != 0,
        "TCP_CORK" => options.cork = value != 0,
        "TCP_USER_TIMEOUT" => options.user_timeout = Some(millis()?).filter(|t| !t.is_zero()),
        "TCP_MAXSEG" => options.max_segment = Some(u16::try_from(value).map_err(|_| wrong())?),
        "IP_TTL" => options.ttl = u8::try_from(value).map_err(|_| wrong())?,
        "IP_TOS" => options.traffic_class = u8::try_from(value).map_err(|_| wrong())?,
        _ => return Err(format!("{name} is not supported")),
    }
    Ok(())
}

/// `getsockopt`: the value of the option called `name`.
pub(super) fn get(options: &TcpOptions, name: &str) -> Result<i64, String> {
    let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    let keepalive = options.keepalive.unwrap_or_default();
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Ok(match name {
        "SO_KEEPALIVE" => i64::from(options.keepalive.is_some()),
        "TCP_KEEPIDLE" => seconds(keepalive.idle),
        "TCP_KEEPINTVL" => seconds(keepalive.interval),
        "TCP_KEEPCNT" => i64::from(keepalive.probes),
        "SO_RCVBUF" => number(options.receive_buffer),
        "SO_SNDBUF" => number(options.send_buffer),
        "TCP_NODELAY" => i64::from(options.nodelay),
        "TCP_CORK" => i64::from(options.cork),
        "TCP_USER_TIMEOUT" => {
            let millis = options.user_timeout.unwrap_or_default().as_millis();
            i64::try_from(millis).unwrap_or(i64::MAX)
        }
        "IP_TTL" => i64::from(options.ttl),
        "IP_TOS" => i64::from(options.traffic_class),
        _ => return Err(format!("{name} is not supported")),
    })
}
