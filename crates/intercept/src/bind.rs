//! `bind` and `listen`.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use estab::{SocketEntry, State, TcpOptions};
use rustix::io::Errno;

use crate::accept::waits;
use crate::address::{Domain, Name, parse_v4, unmapped};
use crate::bound::Sharing;
use crate::connect::fill;
use crate::errno;
use crate::network::Listener;
use crate::process;
use crate::request::{Outcome, Request};
use crate::supervisor::Supervisor;
use crate::table::{Key, Kind, Listening, Shared, Socket, Tcp};

/// The backlog of `listen` is cut to this, as `net.core.somaxconn` does it.
const MAX_BACKLOG: usize = 4096;

impl Supervisor {
    /// `bind(fd, address, length)` of TCP: the address and port are this socket's, and nothing else
    /// happens: a SYN that comes is answered with a reset until somebody listens.
    pub(crate) fn bind(&mut self, key: Key, request: &Request) -> Outcome {
        let local = match self.local_name(key, request) {
            Ok(local) => local,
            Err(errno) => return Outcome::fail(errno),
        };
        let Some(socket) = self.table.get(key) else { return Outcome::Continue };
        // Who has an address alone may have another one.
        if socket.bound.is_some() || !matches!(socket.kind, Kind::Tcp(Tcp::Fresh)) {
            return Outcome::fail(Errno::INVAL);
        }
        if socket.settings.bind_without_port && local.port() == 0 {
            if let Some(socket) = self.table.get_mut(key) {
                socket.bound_address = Some(local.ip());
            }
            return Outcome::DONE;
        }
        self.bind_to(key, local).into()
    }

    /// Takes an address and port for a socket.
    fn bind_to(&mut self, key: Key, local: SocketAddr) -> Result<(), Errno> {
        let socket = self.table.get(key).ok_or(Errno::BADF)?;
        let only_v6 = socket.settings.only_v6;
        let sharing =
            Sharing { address: socket.settings.reuse_address, port: socket.settings.reuse_port };
        let entries = self.network.stack.sockets();
        if local.port() != 0 && entries.iter().any(|entry| hinders(entry, local, sharing)) {
            return Err(Errno::ADDRINUSE);
        }
        let used: Vec<u16> = entries.iter().map(|entry| entry.local.port()).collect();
        let is_free = |port| !used.contains(&port);
        let hold = self.bound.bind(local, only_v6, sharing, random_port(), is_free)?;
        self.table.get_mut(key).ok_or(Errno::BADF)?.bound = Some(hold);
        Ok(())
    }

    /// The address that a program binds to, if it is one of the stack's.
    pub(crate) fn local_name(&self, key: Key, request: &Request) -> Result<SocketAddr, Errno> {
        let domain = self.table.get(key).ok_or(Errno::BADF)?.domain;
        let local = match request.name(&self.notifier, 1, 2, domain)? {
            Name::At(local) => local,
            // An old habit that Linux knows: no family, and any address.
            Name::Nobody if domain == Domain::V4 => {
                let length = usize::try_from(request.int(2)).unwrap_or(0).min(128);
                let bytes = process::read(request.thread, request.arguments[1], length)?;
                let local = parse_v4(&bytes)?;
                if !local.ip().is_unspecified() {
                    return Err(Errno::AFNOSUPPORT);
                }
                local
            }
            Name::Nobody => return Err(Errno::AFNOSUPPORT),
        };
        let local = unmapped(local);
        if self.is_ours(local.ip()) { Ok(local) } else { Err(Errno::ADDRNOTAVAIL) }
    }

    fn is_ours(&self, ip: IpAddr) -> bool {
        ip.is_unspecified()
            || ip.is_loopback()
            || ip.is_multicast()
            || self.network.stack.addresses().iter().any(|(ours, _)| *ours == ip)
    }

    /// `listen(fd, backlog)`
    pub(crate) fn listen(&mut self, key: Key, request: &Request, descriptor: &OwnedFd) -> Outcome {
        // A negative backlog is a large one (Linux compares it unsigned).
        let backlog = usize::try_from(request.int(1)).unwrap_or(MAX_BACKLOG).min(MAX_BACKLOG);
        match self.table.get_mut(key).map(|socket| &mut socket.kind) {
            Some(Kind::Tcp(Tcp::Fresh)) => {
                self.begin_to_listen(key, request, backlog, descriptor).into()
            }
            Some(Kind::Tcp(Tcp::Listening(listening))) => {
                listening.backlog = backlog;
                Outcome::DONE
            }
            Some(_) => Outcome::fail(Errno::INVAL),
            None => Outcome::Continue,
        }
    }

    fn begin_to_listen(
        &mut self,
        key: Key,
        request: &Request,
        backlog: usize,
        descriptor: &OwnedFd,
    ) -> Result<(), Errno> {
        let socket = self.table.get(key).ok_or(Errno::BADF)?;
        if socket.ours.is_none() {
            return Err(Errno::INVAL);
        }
        let renewed = match socket.has_listened {
            true => Some(self.renew_end(key, request, !waits(descriptor))?),
            false => None,
        };
        let descriptor = renewed.as_ref().unwrap_or(descriptor);
        let socket = self.table.get(key).ok_or(Errno::BADF)?;
        if socket.bound.is_none() {
            let any = socket.domain.unspecified();
            let any = socket.bound_address.map_or(any, |ip| SocketAddr::new(ip, 0));
            self.bind_to(key, any)?;
        }
        let socket = self.table.get(key).ok_or(Errno::BADF)?;
        let hold = socket.bound.as_ref().ok_or(Errno::INVAL)?;
        hold.set_listens(true)?;
        let listener = match self.listener_of_group(key, socket) {
            Some(listener) => listener,
            None => match self.open_listener(key, socket, backlog) {
                Ok(listener) => listener,
                Err(errno) => {
                    // As it was: nobody listened.
                    hold.set_listens(false)?;
                    return Err(errno);
                }
            },
        };
        listener.members.borrow_mut().push(key);
        let listening = Listening {
            listener,
            ready: std::collections::VecDeque::new(),
            waiting: 0,
            fill: fill(descriptor),
            tokens: 0,
            backlog,
        };
        // Who writes to a listener has a broken pipe. The junk went before.
        let _ = rustix::net::shutdown(descriptor, rustix::net::Shutdown::Write);
        let socket = self.table.get_mut(key).ok_or(Errno::BADF)?;
        socket.has_listened = true;
        socket.kind = Kind::Tcp(Tcp::Listening(Box::new(listening)));
        // Registers it for news.
        self.stack_ready(key);
        Ok(())
    }

    /// The listener of the sockets that share the port with this one.
    fn listener_of_group(&self, key: Key, socket: &Socket) -> Option<Rc<Shared>> {
        let hold = socket.bound.as_ref().filter(|hold| hold.sharing().port)?;
        self.table.iter().find_map(|(other, candidate)| {
            let theirs = candidate.bound.as_ref().filter(|hold| hold.sharing().port)?;
            let same = other != key && theirs.local() == hold.local();
            match &candidate.kind {
                Kind::Tcp(Tcp::Listening(listening)) if same => {
                    Some(Rc::clone(&listening.listener))
                }
                _ => None,
            }
        })
    }

    fn open_listener(
        &self,
        key: Key,
        socket: &Socket,
        backlog: usize,
    ) -> Result<Rc<Shared>, Errno> {
        let local = socket.bound.as_ref().ok_or(Errno::INVAL)?.local();
        let only_v6 = socket.settings.only_v6;
        let options = TcpOptions { only_v6, ..socket.settings.tcp(&self.network) };
        let listener = Listener::bind(&self.network, key, local, backlog, &options)
            .map_err(|error| errno::from_stack(&error))?;
        Ok(Rc::new(Shared { listener, members: std::cell::RefCell::default() }))
    }
}

/// Whether what the stack has already, perhaps of others, keeps a socket from `local`. A connection that is
/// over, or was accepted there, does not if the address may be shared; a listener does if the port may not.
/// What has the other family does not: whether it has both shows when somebody listens.
fn hinders(entry: &SocketEntry, local: SocketAddr, sharing: Sharing) -> bool {
    let (theirs, ours) = (unmapped(entry.local), local);
    let any = theirs.ip().is_unspecified() || ours.ip().is_unspecified();
    let same = theirs.port() == ours.port() && theirs.is_ipv4() == ours.is_ipv4();
    let overlaps = same && (any || theirs.ip() == ours.ip());
    let shared = match entry.state {
        State::Listen => sharing.port,
        _ => sharing.address || sharing.port,
    };
    entry.protocol == "tcp" && overlaps && !shared
}

/// Where the search for a free port begins (RFC 6056 3.3.1).
fn random_port() -> u16 {
    let mut bytes = [0; 2];
    // Without randomness it begins at the first.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    u16::from_ne_bytes(bytes)
}
