//! `getsockopt` and `setsockopt`: what the stack has is given to it; what it has not is refused, with the
//! error after which programs go on without it. Nothing is accepted and ignored.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use estab::TcpOptions;
use rustix::io::Errno;
use rustix::net::sockopt as native;

use crate::network::Network;
use crate::process;
use crate::request::{Outcome, Request};
use crate::supervisor::Supervisor;
use crate::table::{Key, Kind, Socket, Tcp};
use crate::udp::control::Wanted;

pub(crate) mod ip;
mod socket;
mod tcp;

/// What a program set on a socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// What the stack is to know of a TCP socket; `None` while it is as the stack has it.
    tcp: Option<Box<TcpOptions>>,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    pub(crate) only_v6: bool,
    pub(crate) broadcast: bool,
    /// `SO_KEEPALIVE`, apart from its numbers, which are kept while it is off.
    keepalive: bool,
    keepalive_numbers: Option<estab::KeepAlive>,
    /// `SO_OOBINLINE`: urgent data is always in line.
    oob_inline: bool,
    /// `IP_RECVERR` and `IPV6_RECVERR`: errors that ICMP reports are asked for.
    pub(crate) receive_errors: bool,
    /// What it wants to be told beside a datagram.
    pub(crate) wanted: Wanted,
    /// `IP_BIND_ADDRESS_NO_PORT`: binding to port 0 takes an address alone, and `connect` finds a port for it.
    pub(crate) bind_without_port: bool,
    /// `IP_MTU_DISCOVER` of TCP, of whose values it takes those that mean what it does.
    tcp_mtu_discovery: Option<i32>,
    ip: ip::Settings,
    /// What it said about groups before it was bound.
    choices: Vec<ip::Choice>,
    receive_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
    /// On a listener: what it accepts has to be told.
    pub(crate) changed_while_listening: bool,
}

/// What option is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Name {
    pub(crate) level: i32,
    pub(crate) option: i32,
}

const SOL_SOCKET: i32 = 1;
const IPPROTO_IP: i32 = 0;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_UDP: i32 = 17;
const IPPROTO_IPV6: i32 = 41;

/// The longest value that is read.
const MAX_VALUE: usize = 1024;

impl Settings {
    /// What the stack is to know.
    pub(crate) fn tcp(&self, network: &Network) -> TcpOptions {
        self.tcp.as_deref().cloned().unwrap_or_else(|| network.config().tcp.clone())
    }

    /// Changes it.
    fn change_tcp(&mut self, network: &Network, change: impl FnOnce(&mut TcpOptions)) {
        let mut options = self.tcp(network);
        change(&mut options);
        self.tcp = Some(Box::new(options));
    }

    pub(crate) fn choices(&self) -> &[ip::Choice] {
        &self.choices
    }

    pub(crate) fn ip(&self) -> ip::Settings {
        self.ip
    }

    /// What a connection has of its listener's.
    pub(crate) fn inherited(&self) -> Self {
        self.clone()
    }

    /// Has the kernel keep the time limits of calls that do not come here.
    pub(crate) fn give_timeouts(&self, descriptor: &OwnedFd) {
        if self.receive_timeout.is_some() {
            set_native_timeout(descriptor, native::Timeout::Recv, self.receive_timeout);
        }
        if self.send_timeout.is_some() {
            set_native_timeout(descriptor, native::Timeout::Send, self.send_timeout);
        }
    }

    /// Until when a call that receives waits (`SO_RCVTIMEO`).
    pub(crate) fn receive_until(&self) -> Option<Instant> {
        self.receive_timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }

    /// The same for one that connects (`SO_SNDTIMEO`).
    pub(crate) fn send_until(&self) -> Option<Instant> {
        self.send_timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }
}

impl Supervisor {
    /// `getsockopt(fd, level, name, value, length)`
    pub(crate) fn get_option(
        &mut self,
        key: Key,
        request: &Request,
        descriptor: &OwnedFd,
    ) -> Outcome {
        let name = Name { level: request.int(1), option: request.int(2) };
        match self.option(key, name, descriptor) {
            Ok(value) => write_value(request, &value).into(),
            Err(errno) => Outcome::fail(errno),
        }
    }

    fn option(&mut self, key: Key, name: Name, descriptor: &OwnedFd) -> Result<Vec<u8>, Errno> {
        let socket = self.table.get_mut(key).ok_or(Errno::BADF)?;
        let is_udp = matches!(socket.kind, Kind::Udp(_));
        match name.level {
            SOL_SOCKET => socket.get_socket_option(name.option, descriptor, &self.network),
            IPPROTO_TCP if !is_udp => socket.get_tcp_option(name.option, &self.network),
            IPPROTO_IP => socket.get_ip_option(name.option, &self.network),
            IPPROTO_IPV6 if socket.domain == crate::address::Domain::V6 => {
                socket.get_ipv6_option(name.option, &self.network)
            }
            IPPROTO_UDP if is_udp => socket.get_udp_option(name.option),
            _ => Err(Errno::OPNOTSUPP),
        }
    }

    /// `setsockopt(fd, level, name, value, length)`
    pub(crate) fn set_option(
        &mut self,
        key: Key,
        request: &Request,
        descriptor: &OwnedFd,
    ) -> Outcome {
        let name = Name { level: request.int(1), option: request.int(2) };
        let Ok(length) = usize::try_from(request.int(4)) else {
            return Outcome::fail(Errno::INVAL);
        };
        let value = process::read(request.thread, request.arguments[3], length.min(MAX_VALUE));
        let value = match value {
            Ok(value) => value,
            Err(errno) => return Outcome::fail(errno),
        };
        self.change_option(key, name, &value, descriptor).into()
    }

    fn change_option(
        &mut self,
        key: Key,
        name: Name,
        value: &[u8],
        descriptor: &OwnedFd,
    ) -> Result<(), Errno> {
        let socket = self.table.get_mut(key).ok_or(Errno::BADF)?;
        let is_udp = matches!(socket.kind, Kind::Udp(_));
        match name.level {
            SOL_SOCKET => socket.set_socket_option(name.option, value, descriptor, &self.network),
            IPPROTO_TCP if !is_udp => {
                socket.set_tcp_option(name.option, value, descriptor, &self.network)
            }
            IPPROTO_IP => socket.set_ip_option(name.option, value, &self.network),
            IPPROTO_IPV6 if socket.domain == crate::address::Domain::V6 => {
                socket.set_ipv6_option(name.option, value, &self.network)
            }
            IPPROTO_UDP if is_udp => socket.set_udp_option(name.option, value),
            _ => Err(Errno::NOPROTOOPT),
        }
    }
}

impl Socket {
    /// Changes what the stack knows of a TCP socket, there and here.
    fn change_tcp(
        &mut self,
        network: &Network,
        change: impl FnOnce(&mut TcpOptions),
    ) -> Result<(), Errno> {
        let mut settings = self.settings.clone();
        settings.change_tcp(network, change);
        let stream = match &mut self.kind {
            Kind::Tcp(Tcp::Connected(connected)) => Some(&connected.stream),
            Kind::Tcp(Tcp::Connecting(connecting)) => Some(&connecting.stream),
            Kind::Tcp(Tcp::Listening(listening)) => {
                let set = listening.listener.listener.set_options(settings.tcp(network));
                set.map_err(|error| crate::errno::from_stack(&error))?;
                settings.changed_while_listening = true;
                None
            }
            Kind::Tcp(Tcp::Fresh | Tcp::Over(_)) | Kind::Udp(_) => None,
        };
        if let Some(stream) = stream {
            let set = stream.set_options(settings.tcp(network));
            set.map_err(|error| crate::errno::from_stack(&error))?;
        }
        self.settings = settings;
        Ok(())
    }

    fn stream(&self) -> Option<&crate::network::Stream> {
        match &self.kind {
            Kind::Tcp(Tcp::Connected(connected)) => Some(&connected.stream),
            Kind::Tcp(Tcp::Connecting(connecting)) => Some(&connecting.stream),
            _ => None,
        }
    }
}

/// Writes what the program asked for, cut to the room that it has.
fn write_value(request: &Request, value: &[u8]) -> Result<(), Errno> {
    let length = process::read(request.thread, request.arguments[4], 4)?;
    let room = i32::from_ne_bytes([length[0], length[1], length[2], length[3]]);
    let room = usize::try_from(room).map_err(|_| Errno::INVAL)?;
    let value = &value[..value.len().min(room)];
    process::write(request.thread, request.arguments[3], value)?;
    let length = u32::try_from(value.len()).map_err(|_| Errno::INVAL)?;
    process::write(request.thread, request.arguments[4], &length.to_ne_bytes())
}

/// A value that is an `int`.
fn int(value: &[u8]) -> Result<i32, Errno> {
    let bytes = value.get(..4).and_then(|bytes| bytes.try_into().ok()).ok_or(Errno::INVAL)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// One that may also be a single byte, as options of IP may.
fn int_or_byte(value: &[u8]) -> Result<i32, Errno> {
    match value {
        [] => Err(Errno::INVAL),
        [byte, ..] if value.len() < 4 => Ok(i32::from(*byte)),
        _ => int(value),
    }
}

fn flag(value: &[u8]) -> Result<bool, Errno> {
    Ok(int(value)? != 0)
}

fn of_int(value: i32) -> Result<Vec<u8>, Errno> {
    Ok(value.to_ne_bytes().to_vec())
}

fn of_flag(value: bool) -> Result<Vec<u8>, Errno> {
    of_int(i32::from(value))
}

/// What cannot be switched on can be switched off.
fn only_off(value: &[u8], refusal: Errno) -> Result<(), Errno> {
    if flag(value)? { Err(refusal) } else { Ok(()) }
}

/// Whole seconds of at least one.
fn seconds(value: &[u8], most: u64) -> Result<Duration, Errno> {
    match u64::try_from(int(value)?) {
        Ok(seconds) if (1..=most).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(Errno::INVAL),
    }
}

/// What the kernel says of the program's end, of which some options are kept there, too.
fn set_native_timeout(descriptor: &OwnedFd, id: native::Timeout, timeout: Option<Duration>) {
    // One that the kernel does not take is kept here all the same.
    let _ = native::set_socket_timeout(descriptor, id, timeout);
}
