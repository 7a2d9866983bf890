//! System calls as commands of the stack.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use stack::{ConnectionId, Error, Ready, Shutdown, SocketId, State};

use super::ast::{Call, Expression};
use super::errno;
use super::runner::Runner;
use super::sockets::{self, Kind, LINGER_OFF, Socket};

/// The most that one call writes or reads.
const MAX_TRANSFER: i64 = 64 << 20;

/// What a call did.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It returned.
    Returned(Returned),
    /// It waits, because its socket blocks.
    Blocks,
}

/// What a call returned.
#[derive(Debug)]
pub(super) struct Returned {
    value: i64,
    errno: Option<&'static str>,
}

type Attempt = Result<Outcome, String>;

impl Returned {
    /// Compares with what the script says.
    pub(super) fn check(&self, call: &Call) -> Result<(), String> {
        let wanted = match &call.result {
            Expression::Ellipsis => None,
            Expression::Integer(value) => Some(*value),
            _ => return Err("a call returns a number".into()),
        };
        let right_value = wanted.is_none_or(|wanted| wanted == self.value);
        let right_errno = match (&call.errno, self.errno) {
            (Some(wanted), Some(found)) => wanted == found,
            (None, None) => true,
            (None, Some(_)) => wanted.is_none(),
            (Some(_), None) => false,
        };
        if right_value && right_errno {
            return Ok(());
        }
        let wanted = wanted.map_or("...".to_string(), |value| value.to_string());
        let wanted_errno = call.errno.as_deref().unwrap_or_default();
        Err(format!(
            "{} did not return what it should\n  expected  {wanted} {wanted_errno}\n  returned  {} {}",
            call.name,
            self.value,
            self.errno.unwrap_or_default()
        ))
    }
}

fn returned(value: i64) -> Attempt {
    Ok(Outcome::Returned(Returned { value, errno: None }))
}

fn failed(errno: &'static str) -> Attempt {
    Ok(Outcome::Returned(Returned { value: -1, errno: Some(errno) }))
}

fn result(outcome: Result<usize, Error>) -> Attempt {
    match outcome {
        Ok(count) => returned(i64::try_from(count).unwrap_or(i64::MAX)),
        Err(error) => failed(errno::name(error)),
    }
}

impl Runner {
    /// Makes a call. One that blocks is made again when something happened.
    pub(super) fn attempt(&mut self, call: &Call) -> Attempt {
        let arguments = Arguments(&call.arguments);
        match call.name.as_str() {
            "socket" => self.socket(call, arguments),
            "bind" => self.bind(arguments),
            "listen" => self.listen(arguments),
            "accept" => self.accept(call, arguments),
            "connect" => self.connect(arguments),
            "read" | "recv" => self.read(arguments),
            "write" | "send" => self.write(arguments),
            "shutdown" => self.shutdown(arguments),
            "close" => self.close(arguments),
            "fcntl" => self.fcntl(arguments),
            "setsockopt" => self.setsockopt(arguments),
            "getsockopt" => self.getsockopt(arguments),
            "ioctl" => self.ioctl(arguments),
            "poll" => self.poll(arguments),
            other => Err(format!("the system call `{other}` is not supported")),
        }
    }

    fn socket(&mut self, call: &Call, arguments: Arguments<'_>) -> Attempt {
        let kinds = arguments.names(1)?;
        if !kinds.contains(&"SOCK_STREAM") {
            return Err("only sockets of type SOCK_STREAM are supported".into());
        }
        let mut socket = Socket::new(Kind::Fresh, self.settings.config.tcp.clone());
        socket.nonblocking = kinds.contains(&"SOCK_NONBLOCK");
        let fd = returned_fd(call)?;
        self.sockets.open(fd, socket)?;
        returned(fd)
    }

    fn bind(&mut self, arguments: Arguments<'_>) -> Attempt {
        let default = SocketAddrV4::new(self.settings.local, self.settings.bind_port);
        let address = arguments.address(1, default)?;
        self.sockets.get(arguments.integer(0)?)?.bound = Some(address);
        returned(0)
    }

    fn listen(&mut self, arguments: Arguments<'_>) -> Attempt {
        let backlog = usize::try_from(arguments.integer(1)?).unwrap_or(0);
        let socket = self.sockets.get(arguments.integer(0)?)?;
        let (local, options) = (socket.local().into(), socket.options.clone());
        match self.stack.listen(self.now, local, backlog, options) {
            Err(error) => failed(errno::name(error)),
            Ok(id) => {
                socket.kind = Kind::Listener(id);
                returned(0)
            }
        }
    }

    fn accept(&mut self, call: &Call, arguments: Arguments<'_>) -> Attempt {
        let listener = self.sockets.get(arguments.integer(0)?)?;
        let Kind::Listener(id) = listener.kind else { return failed("EINVAL") };
        let (options, nonblocking) = (listener.options.clone(), listener.nonblocking);
        match self.stack.accept(self.now, id) {
            Err(Error::WouldBlock) if !nonblocking => Ok(Outcome::Blocks),
            Err(error) => failed(errno::name(error)),
            Ok((connection, remote)) => {
                let mut socket = Socket::new(Kind::Connection(connection), options);
                socket.peer = self.peer_of_any(remote);
                let fd = returned_fd(call)?;
                self.sockets.open(fd, socket)?;
                returned(fd)
            }
        }
    }

    fn connect(&mut self, arguments: Arguments<'_>) -> Attempt {
        let fd = arguments.integer(0)?;
        let default = SocketAddrV4::new(self.settings.remote, self.settings.connect_port);
        let remote = arguments.address(1, default)?;
        let peer = self.peer_of(remote);
        let socket = self.sockets.get(fd)?;
        match socket.kind {
            Kind::Listener(_) => return failed("EISCONN"),
            Kind::Connection(id) => return self.connecting(fd, id),
            Kind::Fresh => {}
        }
        let local = socket.bound.map(SocketAddr::V4);
        let (options, nonblocking) = (socket.options.clone(), socket.nonblocking);
        match self.stack.connect(self.now, local, remote.into(), options) {
            Err(error) => return failed(errno::name(error)),
            Ok(id) => {
                self.sockets.connects(fd, id, peer);
                let local = self.stack.local_address(id).map_err(|error| error.to_string())?;
                if let (Some(peer), SocketAddr::V4(local)) = (peer, local) {
                    self.flow(peer).connects_from(local);
                }
            }
        }
        if nonblocking { failed("EINPROGRESS") } else { Ok(Outcome::Blocks) }
    }

    /// A second `connect`, or the same one still waiting.
    fn connecting(&mut self, fd: i64, id: ConnectionId) -> Attempt {
        let nonblocking = self.sockets.get(fd)?.nonblocking;
        let ready = self.stack.readiness(SocketId::Connection(id));
        if !ready.contains(Ready::WRITE) {
            return if nonblocking { failed("EALREADY") } else { Ok(Outcome::Blocks) };
        }
        match self.stack.take_error(id) {
            Ok(Some(error)) | Err(error) => failed(errno::name(error)),
            Ok(None) => returned(0),
        }
    }

    fn read(&mut self, arguments: Arguments<'_>) -> Attempt {
        let length = arguments.integer(2)?.clamp(0, MAX_TRANSFER);
        let flags = if arguments.0.len() > 3 { arguments.names_or_zero(3)? } else { Vec::new() };
        if let Some(other) = flags.iter().find(|f| !matches!(**f, "MSG_PEEK" | "MSG_DONTWAIT")) {
            return Err(format!("recv with {other} is not supported"));
        }
        let peek = flags.contains(&"MSG_PEEK");
        let socket = self.sockets.get(arguments.integer(0)?)?;
        let nonblocking = socket.nonblocking || flags.contains(&"MSG_DONTWAIT");
        let Kind::Connection(id) = socket.kind else { return failed("ENOTCONN") };
        let peer = socket.peer;
        let mut into = vec![0; usize::try_from(length).unwrap_or(0)];
        let outcome = if peek {
            self.stack.peek(id, &mut into)
        } else {
            self.stack.read(self.now, id, &mut into)
        };
        if outcome == Err(Error::WouldBlock) && !nonblocking {
            return Ok(Outcome::Blocks);
        }
        if let (Ok(count), Some(peer)) = (outcome, peer)
            && !self.flow(peer).was_read(&into[..count], peek)
        {
            return Err(format!("read {count} bytes that are not what the peer sent"));
        }
        result(outcome)
    }

    fn write(&mut self, arguments: Arguments<'_>) -> Attempt {
        let fd = arguments.integer(0)?;
        let length = usize::try_from(arguments.integer(2)?.clamp(0, MAX_TRANSFER)).unwrap_or(0);
        let flags = if arguments.0.len() > 3 { arguments.names_or_zero(3)? } else { Vec::new() };
        if let Some(other) = flags.iter().find(|f| !matches!(**f, "MSG_DONTWAIT" | "MSG_NOSIGNAL"))
        {
            return Err(format!("send with {other} is not supported"));
        }
        let socket = self.sockets.get(fd)?;
        let nonblocking = socket.nonblocking || flags.contains(&"MSG_DONTWAIT");
        let Kind::Connection(id) = socket.kind else { return failed("EPIPE") };
        let (peer, progress) = (socket.peer.unwrap_or(0), socket.progress);
        let bytes = match arguments.get(1)? {
            Expression::Text(text) => {
                let text = text.as_bytes();
                text[progress.min(text.len())..].to_vec()
            }
            _ => self.flow(peer).generate(length.saturating_sub(progress)),
        };
        match self.stack.write(self.now, id, &bytes) {
            Err(Error::WouldBlock) if !nonblocking => Ok(Outcome::Blocks),
            Ok(count) => {
                self.flow(peer).wrote(&bytes[..count]);
                let socket = self.sockets.get(fd)?;
                let total = progress + count;
                if count < bytes.len() && !nonblocking {
                    socket.progress = total;
                    return Ok(Outcome::Blocks);
                }
                socket.progress = 0;
                result(Ok(total))
            }
            Err(error) => failed(errno::name(error)),
        }
    }

    fn shutdown(&mut self, arguments: Arguments<'_>) -> Attempt {
        let how = match arguments.names(1)?[..] {
            ["SHUT_RD"] => Shutdown::Read,
            ["SHUT_WR"] => Shutdown::Write,
            ["SHUT_RDWR"] => Shutdown::Both,
            _ => return Err("shutdown takes SHUT_RD, SHUT_WR or SHUT_RDWR".into()),
        };
        let Kind::Connection(id) = self.sockets.get(arguments.integer(0)?)?.kind else {
            return failed("ENOTCONN");
        };
        result(self.stack.shutdown(self.now, id, how).map(|()| 0))
    }

    fn close(&mut self, arguments: Arguments<'_>) -> Attempt {
        let socket = self.sockets.close(arguments.integer(0)?)?;
        match socket.kind {
            Kind::Fresh => {}
            Kind::Listener(id) => self.stack.close_listener(self.now, id),
            Kind::Connection(id) => self.stack.close(self.now, id),
        }
        returned(0)
    }

    fn fcntl(&mut self, arguments: Arguments<'_>) -> Attempt {
        let command = arguments.names(1)?;
        let socket = self.sockets.get(arguments.integer(0)?)?;
        match command[..] {
            ["F_GETFL"] => {
                let flags = if socket.nonblocking { 0o4002 } else { 2 };
                returned(flags)
            }
            ["F_SETFL"] => {
                let flags = arguments.names(2)?;
                if let Some(other) = flags.iter().find(|f| !matches!(**f, "O_RDWR" | "O_NONBLOCK"))
                {
                    return Err(format!("fcntl with {other} is not supported"));
                }
                socket.nonblocking = flags.contains(&"O_NONBLOCK");
                returned(0)
            }
            _ => Err("fcntl knows F_GETFL and F_SETFL".into()),
        }
    }

    fn setsockopt(&mut self, arguments: Arguments<'_>) -> Attempt {
        let name = arguments.names(2)?;
        let [name] = name[..] else { return Err("setsockopt needs the name of one option".into()) };
        if let ("TCP_CONGESTION", Expression::Text(controller)) = (name, arguments.get(3)?) {
            let socket = self.sockets.get(arguments.integer(0)?)?;
            socket.set_congestion(&mut self.stack, self.now, controller)?;
            return returned(0);
        }
        let value = match arguments.get(3)? {
            Expression::Record(fields) => linger(fields)?,
            Expression::List(list) => list.first().map_or(Err("empty list".into()), integer)?,
            other => integer(other)?,
        };
        let socket = self.sockets.get(arguments.integer(0)?)?;
        socket.set_option(&mut self.stack, self.now, name, value)?;
        returned(0)
    }

    fn getsockopt(&mut self, arguments: Arguments<'_>) -> Attempt {
        let name = arguments.names(2)?;
        let [name] = name[..] else { return Err("getsockopt needs the name of one option".into()) };
        let wanted = match arguments.get(3)? {
            Expression::List(list) => list.first().map_or(Err("empty list".into()), integer)?,
            _ => return Err("getsockopt compares one number in [ ]".into()),
        };
        let socket = self.sockets.get(arguments.integer(0)?)?;
        let found = match (name, socket.kind) {
            ("SO_ERROR", Kind::Connection(id)) => match self.stack.take_error(id) {
                Ok(None) => 0,
                Ok(Some(error)) | Err(error) => errno::number(errno::name(error)).unwrap_or(-1),
            },
            ("SO_ERROR", _) => 0,
            ("TCP_MAXSEG", Kind::Connection(id)) => {
                let info = self.stack.info(id).map_err(|error| error.to_string())?;
                i64::from(info.snd_mss)
            }
            (_, Kind::Connection(id)) => {
                let options = self.stack.tcp_options(id).map_err(|error| error.to_string())?;
                sockets::get(options, name)?
            }
            (_, Kind::Fresh | Kind::Listener(_)) => sockets::get(&socket.options, name)?,
        };
        if found != wanted {
            return Err(format!("{name} is {found}, expected {wanted}"));
        }
        returned(0)
    }

    fn ioctl(&mut self, arguments: Arguments<'_>) -> Attempt {
        let Kind::Connection(id) = self.sockets.get(arguments.integer(0)?)?.kind else {
            return failed("EINVAL");
        };
        let name = arguments.names(1)?;
        let info = self.stack.info(id).map_err(|error| error.to_string())?;
        let unsent = i64::try_from(info.notsent).unwrap_or(i64::MAX);
        let found = match name[..] {
            ["FIONREAD" | "SIOCINQ"] => {
                let bytes = self.stack.readable_bytes(id).map_err(|error| error.to_string())?;
                i64::try_from(bytes).unwrap_or(i64::MAX)
            }
            ["SIOCOUTQ"] => i64::from(info.unacked).saturating_add(unsent),
            ["SIOCOUTQNSD"] => unsent,
            _ => return Err("ioctl knows FIONREAD, SIOCINQ, SIOCOUTQ and SIOCOUTQNSD".into()),
        };
        let wanted = match arguments.get(2)? {
            Expression::List(list) => list.first().map_or(Err("empty list".into()), integer)?,
            _ => return Err("ioctl compares one number in [ ]".into()),
        };
        if found != wanted {
            return Err(format!("{} is {found}, expected {wanted}", name[0]));
        }
        returned(0)
    }

    fn poll(&mut self, arguments: Arguments<'_>) -> Attempt {
        let Expression::List(entries) = arguments.get(0)? else {
            return Err("poll takes [{fd=.., events=.., revents=..}]".into());
        };
        let timeout = arguments.integer(2)?;
        let mut ready = 0;
        let mut wrong = None;
        for entry in entries {
            let Expression::Record(fields) = entry else { return Err("poll takes records".into()) };
            let field = |name: &str| {
                let found = fields.iter().find(|(n, _)| n == name).map(|(_, value)| value);
                found.ok_or_else(|| format!("a pollfd needs {name}")).and_then(integer)
            };
            let found = self.poll_events(field("fd")?)? & (field("events")? | POLLERR | POLLHUP);
            ready += i64::from(found != 0);
            if found != field("revents")? {
                wrong = Some(format!("poll found revents={found:#x} for fd {}", field("fd")?));
            }
        }
        // With a time limit it waits, and the script's end time says for how long.
        if ready == 0 && timeout != 0 {
            return Ok(Outcome::Blocks);
        }
        wrong.map_or_else(|| returned(ready), Err)
    }

    fn poll_events(&mut self, fd: i64) -> Result<i64, String> {
        let (ready, connecting) = match self.sockets.get(fd)?.kind {
            Kind::Fresh => return Ok(POLLOUT | POLLHUP),
            Kind::Listener(id) => (self.stack.readiness(SocketId::Listener(id)), false),
            Kind::Connection(id) => {
                let state = self.stack.state(id).unwrap_or(State::Closed);
                (self.stack.readiness(SocketId::Connection(id)), state == State::SynSent)
            }
        };
        let hung_up = ready.contains(Ready::READ_CLOSED | Ready::WRITE_CLOSED) && !connecting;
        let bits = [
            (POLLIN, ready.intersects(Ready::READ | Ready::READ_CLOSED)),
            (POLLOUT, ready.intersects(Ready::WRITE)),
            (POLLERR, ready.contains(Ready::ERROR)),
            (POLLHUP, hung_up),
            (POLLRDHUP, ready.contains(Ready::READ_CLOSED)),
        ];
        Ok(bits.iter().filter(|(_, set)| *set).fold(0, |all, (bit, _)| all | bit))
    }
}

const POLLIN: i64 = 1;
const POLLOUT: i64 = 4;
const POLLERR: i64 = 8;
const POLLHUP: i64 = 0x10;
const POLLRDHUP: i64 = 0x2000;

/// The file descriptor that the script says a call returns.
fn returned_fd(call: &Call) -> Result<i64, String> {
    match call.result {
        Expression::Integer(fd) if fd >= 0 => Ok(fd),
        _ => Err(format!("{} returned a socket, which needs a number", call.name)),
    }
}

fn linger(fields: &[(String, Expression)]) -> Result<i64, String> {
    let field = |names: [&str; 2]| {
        let found = fields.iter().find(|(name, _)| names.contains(&name.as_str()));
        found.ok_or_else(|| format!("linger needs {}", names[0])).and_then(|(_, v)| integer(v))
    };
    let on = field(["onoff", "l_onoff"])?;
    if on == 0 { Ok(LINGER_OFF) } else { field(["linger", "l_linger"]) }
}

fn integer(expression: &Expression) -> Result<i64, String> {
    match expression {
        Expression::Integer(value) => Ok(*value),
        Expression::Apply(name, inner) if matches!(name.as_str(), "htons" | "htonl") => {
            inner.first().map_or(Err(format!("{name} needs a number")), integer)
        }
        Expression::Names(names) => {
            names.iter().try_fold(0, |all, name| constant(name).map(|value| all | value))
        }
        _ => Err("expected a number".into()),
    }
}

fn constant(name: &str) -> Result<i64, String> {
    Ok(match name {
        "POLLIN" => POLLIN,
        "POLLOUT" => POLLOUT,
        "POLLERR" => POLLERR,
        "POLLHUP" => POLLHUP,
        "POLLRDHUP" => POLLRDHUP,
        _ => errno::number(name).ok_or_else(|| format!("the constant {name} is not known"))?,
    })
}

/// The arguments of a call, by their place.
#[derive(Clone, Copy)]
struct Arguments<'a>(&'a [Expression]);

impl<'a> Arguments<'a> {
    fn get(self, index: usize) -> Result<&'a Expression, String> {
        self.0.get(index).ok_or_else(|| format!("argument {} is missing", index + 1))
    }

    fn integer(self, index: usize) -> Result<i64, String> {
        integer(self.get(index)?).map_err(|error| format!("argument {}: {error}", index + 1))
    }

    fn names(self, index: usize) -> Result<Vec<&'a str>, String> {
        match self.get(index)? {
            Expression::Names(names) => Ok(names.iter().map(String::as_str).collect()),
            _ => Err(format!("argument {} must be a name", index + 1)),
        }
    }

    fn names_or_zero(self, index: usize) -> Result<Vec<&'a str>, String> {
        match self.get(index)? {
            Expression::Integer(0) => Ok(Vec::new()),
            _ => self.names(index),
        }
    }

    /// A `struct sockaddr_in`, or `default` for `...`.
    fn address(self, index: usize, default: SocketAddrV4) -> Result<SocketAddrV4, String> {
        let fields = match self.get(index)? {
            Expression::Ellipsis => return Ok(default),
            Expression::Record(fields) => fields,
            _ => return Err(format!("argument {} must be an address", index + 1)),
        };
        let mut address = default;
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("sa_family" | "sin_family", _) => {}
                ("sin_port", value) => {
                    let port = u16::try_from(integer(value)?);
                    address.set_port(port.map_err(|_| "the port is too big".to_string())?);
                }
                ("sin_addr", Expression::Apply(name, inner)) if name == "inet_addr" => {
                    let Some(Expression::Text(text)) = inner.first() else {
                        return Err("inet_addr needs a string".into());
                    };
                    address.set_ip(text.parse().map_err(|_| format!("`{text}` is no address"))?);
                }
                ("sin_addr", Expression::Names(names)) if names[..] == ["INADDR_ANY"] => {
                    address.set_ip(Ipv4Addr::UNSPECIFIED);
                }
                _ => return Err(format!("the field {name} of an address is not supported")),
            }
        }
        Ok(address)
    }
}
