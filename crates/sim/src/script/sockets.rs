//! The program of a script: its file descriptors, and the options that it sets on them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use stack::{Config, ConnectionId, KeepAlive, ListenerId, Stack, TcpOptions};
use wire::time::{Duration, Instant};

use super::calls::Epoll;
use super::{Problem, not_supported};

/// The open file descriptors.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    table: BTreeMap<i64, Socket>,
    epolls: BTreeMap<i64, Epoll>,
    /// The connection that was used last.
    latest: Option<ConnectionId>,
}

/// What a file descriptor stands for.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) kind: Kind,
    /// What was set before there was anything to set it on.
    pub(super) options: TcpOptions,
    pub(super) bound: Option<SocketAddr>,
    /// `O_NONBLOCK`.
    pub(super) nonblocking: bool,
    /// The remote end, for a connection to the script's remote host.
    pub(super) peer: Option<u16>,
    /// How far a blocked `write` came.
    pub(super) progress: usize,
    /// The last call that sent had `MSG_MORE`.
    pub(super) more: bool,
    /// `TCP_CORK` as it was before `MSG_MORE`.
    pub(super) corked: bool,
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
    pub(super) fn open(&mut self, fd: i64, socket: Socket) -> Result<(), Problem> {
        if self.is_open(fd) {
            return Err(format!("{fd} is open already").into());
        }
        self.note(&socket);
        self.table.insert(fd, socket);
        Ok(())
    }

    pub(super) fn get(&mut self, fd: i64) -> Result<&mut Socket, Problem> {
        let socket = self.table.get_mut(&fd).ok_or_else(|| format!("{fd} is not open"))?;
        if let Kind::Connection(id) = socket.kind {
            self.latest = Some(id);
        }
        Ok(socket)
    }

    pub(super) fn close(&mut self, fd: i64) -> Result<Socket, Problem> {
        let socket = self.table.remove(&fd).ok_or_else(|| format!("{fd} is not open"))?;
        if matches!((socket.kind, self.latest), (Kind::Connection(a), Some(b)) if a == b) {
            self.latest = self.table.values().find_map(Socket::connection);
        }
        Ok(socket)
    }

    /// `epoll_create` made `fd`.
    pub(super) fn open_epoll(&mut self, fd: i64) -> Result<(), Problem> {
        if self.is_open(fd) {
            return Err(format!("{fd} is open already").into());
        }
        self.epolls.insert(fd, Epoll::default());
        Ok(())
    }

    pub(super) fn epoll(&mut self, fd: i64) -> Result<&mut Epoll, Problem> {
        self.epolls.get_mut(&fd).ok_or_else(|| format!("{fd} is no epoll instance").into())
    }

    /// Whether `fd` was an epoll instance, which is closed now.
    pub(super) fn close_epoll(&mut self, fd: i64) -> bool {
        self.epolls.remove(&fd).is_some()
    }

    fn is_open(&self, fd: i64) -> bool {
        self.table.contains_key(&fd) || self.epolls.contains_key(&fd)
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
        Self {
            kind,
            options,
            bound: None,
            nonblocking: false,
            peer: None,
            progress: 0,
            more: false,
            corked: false,
        }
    }

    pub(super) fn connection(&self) -> Option<ConnectionId> {
        match self.kind {
            Kind::Connection(id) => Some(id),
            Kind::Fresh | Kind::Listener(_) => None,
        }
    }

    /// `setsockopt`: sets the option called `name` to `value`, or fails with an errno.
    pub(super) fn set_option(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        name: &str,
        value: i64,
    ) -> Result<Result<(), &'static str>, Problem> {
        self.change_options(stack, now, |options| set(options, name, value))
    }

    /// Changes the options, unless `change` fails.
    pub(super) fn change_options(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        change: impl FnOnce(&mut TcpOptions) -> Result<(), Wrong>,
    ) -> Result<Result<(), &'static str>, Problem> {
        let mut options = match self.kind {
            Kind::Connection(id) => {
                stack.tcp_options(id).map_err(|error| error.to_string())?.clone()
            }
            Kind::Fresh | Kind::Listener(_) => self.options.clone(),
        };
        match change(&mut options) {
            Ok(()) => {}
            Err(Wrong::Errno(errno)) => return Ok(Err(errno)),
            Err(Wrong::Problem(problem)) => return Err(problem),
        }
        match self.kind {
            Kind::Connection(id) => {
                stack.set_tcp_options(now, id, options).map_err(|error| error.to_string())?;
            }
            Kind::Fresh => self.options = options,
            Kind::Listener(_) => return Err(not_supported("an option set after listen")),
        }
        Ok(Ok(()))
    }
}

/// Why an option was not set.
#[derive(Debug)]
pub(super) enum Wrong {
    /// As Linux would say.
    Errno(&'static str),
    /// The script cannot go on.
    Problem(Problem),
}

impl From<Problem> for Wrong {
    fn from(problem: Problem) -> Wrong {
        Wrong::Problem(problem)
    }
}

/// The `l_linger` that stands for "off" in [`set`].
pub(super) const LINGER_OFF: i64 = -1;

/// The least and the largest `TCP_MAXSEG` of Linux.
const MAX_SEGMENT: std::ops::RangeInclusive<i64> = 88..=32_767;

/// What `SO_MAX_PACING_RATE` means by no limit: as many bytes a second as 32 bits hold.
const NO_RATE: u64 = u32::MAX as u64;

fn set(options: &mut TcpOptions, name: &str, value: i64) -> Result<(), Wrong> {
    let wrong = Wrong::Errno("EINVAL");
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let bytes = usize::try_from(value);
    let keepalive = options.keepalive.unwrap_or_default();
    // Linux keeps the three numbers while keep-alive is off; here they turn it on with the rest,
    // so scripts set SO_KEEPALIVE first.
    let keep = |changed: Option<KeepAlive>| match (options.keepalive, changed) {
        (_, None) => Err(Wrong::Errno("EINVAL")),
        (None, _) => Err(not_supported("the numbers of keep-alive before SO_KEEPALIVE").into()),
        (Some(_), changed) => Ok(changed),
    };
    match name {
        // Several listeners never share a port here, and TIME-WAIT does not keep one from listening.
        "SO_REUSEADDR" => {}
        "SO_KEEPALIVE" => options.keepalive = (value != 0).then_some(keepalive),
        "TCP_KEEPIDLE" => {
            let idle = positive(value).map(Duration::from_secs);
            options.keepalive = keep(idle.map(|idle| KeepAlive { idle, ..keepalive }))?;
        }
        "TCP_KEEPINTVL" => {
            let interval = positive(value).map(Duration::from_secs);
            options.keepalive = keep(interval.map(|interval| KeepAlive { interval, ..keepalive }))?;
        }
        "TCP_KEEPCNT" => {
            let probes = u8::try_from(value).ok().filter(|probes| (1..=127).contains(probes));
            options.keepalive = keep(probes.map(|probes| KeepAlive { probes, ..keepalive }))?;
        }
        "SO_LINGER" if value == LINGER_OFF => options.linger = None,
        "SO_LINGER" if value == 0 => options.linger = Some(Duration::ZERO),
        "SO_LINGER" => return Err(not_supported("a linger time other than zero").into()),
        "SO_RCVBUF" => options.receive_buffer = Some(bytes.map_err(|_| wrong)?),
        "SO_SNDBUF" => options.send_buffer = Some(bytes.map_err(|_| wrong)?),
        "SO_MAX_PACING_RATE" => {
            options.max_pacing_rate = u64::try_from(value).ok().filter(|rate| *rate < NO_RATE);
        }
        "TCP_NODELAY" => options.nodelay = value != 0,
        "TCP_CORK" => options.cork = value != 0,
        "TCP_USER_TIMEOUT" => {
            let millis = u64::try_from(value).map_err(|_| wrong)?;
            options.user_timeout = Some(Duration::from_millis(millis)).filter(|t| !t.is_zero());
        }
        "TCP_SYNCNT" => {
            let count = u8::try_from(value).ok().filter(|count| (1..=127).contains(count));
            options.syn_retries = Some(count.ok_or(wrong)?);
        }
        "TCP_LINGER2" => options.fin_wait_2 = positive(value).map(Duration::from_secs),
        "TCP_DEFER_ACCEPT" => options.defer_accept = positive(value).map(Duration::from_secs),
        "TCP_WINDOW_CLAMP" | "TCP_NOTSENT_LOWAT" => {
            let most = Some(u32::try_from(value).map_err(|_| wrong)?).filter(|most| *most > 0);
            match name {
                "TCP_WINDOW_CLAMP" => options.window_clamp = most,
                _ => options.notsent_lowat = most,
            }
        }
        "TCP_MAXSEG" if value == 0 => options.max_segment = None,
        "TCP_MAXSEG" if !MAX_SEGMENT.contains(&value) => return Err(wrong),
        "TCP_MAXSEG" => options.max_segment = u16::try_from(value).ok(),
        "IPV6_V6ONLY" => options.only_v6 = value != 0,
        "IP_TTL" => options.ttl = Some(u8::try_from(value).map_err(|_| wrong)?),
        "IP_TOS" => options.traffic_class = u8::try_from(value).map_err(|_| wrong)?,
        _ => return Err(not_supported(format!("the option {name}")).into()),
    }
    Ok(())
}

/// `getsockopt`: the value of the option called `name`.
pub(super) fn get(options: &TcpOptions, first: &Config, name: &str) -> Result<i64, Problem> {
    let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    let keepalive = options.keepalive.unwrap_or_default();
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Ok(match name {
        "SO_KEEPALIVE" => i64::from(options.keepalive.is_some()),
        "TCP_KEEPIDLE" => seconds(keepalive.idle),
        "TCP_KEEPINTVL" => seconds(keepalive.interval),
        "TCP_KEEPCNT" => i64::from(keepalive.probes),
        // Linux tells the double: it counts what it needs to keep the bytes, too.
        "SO_RCVBUF" => {
            number(options.receive_buffer.unwrap_or(first.receive_buffer.initial).saturating_mul(2))
        }
        "SO_SNDBUF" => {
            number(options.send_buffer.unwrap_or(first.send_buffer.initial).saturating_mul(2))
        }
        "SO_MAX_PACING_RATE" => {
            i64::try_from(options.max_pacing_rate.unwrap_or(NO_RATE)).unwrap_or(i64::MAX)
        }
        "TCP_MAXSEG" => i64::from(options.max_segment.unwrap_or(536)),
        "TCP_SYNCNT" => i64::from(options.syn_retries.unwrap_or(first.syn_retries)),
        "TCP_LINGER2" => seconds(options.fin_wait_2.unwrap_or(first.fin_wait_2)),
        "TCP_DEFER_ACCEPT" => seconds(options.defer_accept.unwrap_or_default()),
        "TCP_WINDOW_CLAMP" => i64::from(options.window_clamp.unwrap_or(0)),
        "TCP_NOTSENT_LOWAT" => i64::from(options.notsent_lowat.unwrap_or(0)),
        "TCP_NODELAY" => i64::from(options.nodelay),
        "TCP_CORK" => i64::from(options.cork),
        "TCP_USER_TIMEOUT" => {
            let millis = options.user_timeout.unwrap_or_default().as_millis();
            i64::try_from(millis).unwrap_or(i64::MAX)
        }
        "IPV6_V6ONLY" => i64::from(options.only_v6),
        "IP_TTL" => i64::from(options.ttl.unwrap_or(stack::DEFAULT_TTL)),
        "IP_TOS" => i64::from(options.traffic_class),
        _ => return Err(not_supported(format!("the option {name}"))),
    })
}
