//! The calls of the program (RFC 9293 3.10.1-3.10.6), by their names in the sockets interface.

use alloc::sync::Arc;
use core::net::SocketAddr;

use wire::time::{Duration, Instant};

use crate::binding::{self, Binding};
use crate::config::TcpOptions;
use crate::error::Error;
use crate::event::{Ready as Readiness, SocketId};
use crate::ip::without_scope;
use crate::reason::Sent;
use crate::shared::Shared;
use crate::stack::Stack;
use crate::tcp::connection::{Connection, Opening, receive_scale};
use crate::tcp::listen::listener::Listener;
use crate::tcp::listen::places::ANY_PORT;
use crate::tcp::reply::Reply;
use crate::tcp::state::{Event, State};
use crate::tcp::timestamps::Timestamps;
use crate::tcp::wildcard;
use crate::trace::{Call, Timer, What};
use crate::{ConnectionId, Family, FourTuple, ListenerId, Shutdown};

mod data;

/// Passive and active OPEN (RFC 9293 3.10.1).
impl Stack {
    /// Listens on a local address and port. The unspecified address stands for all of ours, that of
    /// IPv6 for those of IPv4 too unless [`TcpOptions::only_v6`] is set; port 0 for one that is free.
    /// `backlog` bounds both queues; the accept queue takes one more.
    ///
    /// # Errors
    /// [`Error::AddressInUse`] when a listener has the port on this address, on all, or on one of them
    /// where `local` is all, [`Error::AddressNotAvailable`] when the address is not ours or no port is
    /// free, [`Error::InvalidInput`] for IPv4 written as IPv6 under `only_v6`.
    pub fn listen(
        &mut self,
        now: Instant,
        local: SocketAddr,
        backlog: usize,
        options: TcpOptions,
    ) -> Result<ListenerId, Error> {
        self.shared.set_time(now);
        options.validate()?;
        let binding = Binding::new(local, options.only_v6)?;
        let ip = binding.local.ip();
        if !ip.is_unspecified() && !self.interfaces.is_local(ip) {
            return Err(Error::AddressNotAvailable);
        }
        let binding = self.listening_binding(binding)?;
        Ok(self.listen_at(binding, backlog, options))
    }

    /// Listens on every port of every address of one family, where no other listener does: of ours, and
    /// of others' on interfaces that [take any address](Stack::set_any_address). A proxy's way to have
    /// every flow; see [`Stack::decide_first`].
    ///
    /// # Errors
    /// [`Error::AddressInUse`] when there is such a listener, [`Error::InvalidInput`] for options that
    /// make no sense.
    pub fn listen_any(
        &mut self,
        now: Instant,
        family: Family,
        backlog: usize,
        options: TcpOptions,
    ) -> Result<ListenerId, Error> {
        self.shared.set_time(now);
        options.validate()?;
        let binding = Binding::to(SocketAddr::new(family.unspecified(), ANY_PORT));
        if !self.tcp.listening.is_free(&binding.local) {
            return Err(Error::AddressInUse);
        }
        Ok(self.listen_at(binding, backlog, options))
    }

    fn listen_at(&mut self, binding: Binding, backlog: usize, options: TcpOptions) -> ListenerId {
        let backlog = backlog.min(self.shared.config.backlog_limit);
        let tcp = &mut self.tcp;
        let options = tcp.options.share(options);
        let id = tcp.listeners.insert(Listener::new(binding, backlog, options));
        tcp.listening.take(&binding.places(), id);
        let flow = nobody_with(binding.local);
        self.shared.trace(Some(flow), What::Command { call: Call::Listen(backlog) });
        let (from, to) = (State::Closed, State::Listen);
        let cause = Event::PassiveOpen;
        self.shared.trace(Some(flow), What::Transition { from, to, cause });
        id
    }

    /// Checks what a listener is to have, and finds a port when it names none.
    fn listening_binding(&mut self, binding: Binding) -> Result<Binding, Error> {
        let tcp = &mut self.tcp;
        let free = |binding: Binding| binding.places().iter().all(|at| tcp.listening.is_free(at));
        if binding.local.port() != 0 {
            return if free(binding) { Ok(binding) } else { Err(Error::AddressInUse) };
        }
        let (ip, any) = (binding.local.ip(), wildcard(binding.local));
        let port = tcp.ports.allocate(ip, any, |port| free(binding.with_port(port)));
        port.map(|port| binding.with_port(port)).ok_or(Error::AddressNotAvailable)
    }

    /// Takes the oldest connection that waits in the accept queue.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when none waits.
    pub fn accept(
        &mut self,
        now: Instant,
        id: ListenerId,
    ) -> Result<(ConnectionId, SocketAddr), Error> {
        self.shared.set_time(now);
        let listener = self.tcp.listeners.get_mut(id).ok_or(Error::NoSuchSocket)?;
        let accepted = listener.accept_queue.pop_front().ok_or(Error::WouldBlock)?;
        let conn = self.tcp.connections.get_mut(accepted).ok_or(Error::WouldBlock)?;
        conn.user.listener = None;
        // What came while it waited was announced to nobody.
        let seen = Readiness::READ | Readiness::READ_CLOSED | Readiness::ERROR;
        let ready = conn.readiness() & seen;
        conn.announce(&mut self.shared, ready);
        let (tuple, mapped) = (conn.tuple(), conn.tuple.is_mapped());
        self.shared.trace(Some(tuple), What::Command { call: Call::Accept });
        let peer = self.interfaces.show_peer(tuple.local.ip(), tuple.remote);
        Ok((accepted, if mapped { binding::mapped(peer) } else { peer }))
    }

    /// How many connections wait for [`accept`](Stack::accept).
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] after it was closed.
    pub fn waiting_connections(&self, id: ListenerId) -> Result<usize, Error> {
        let listener = self.tcp.listeners.get(id).ok_or(Error::NoSuchSocket)?;
        Ok(listener.accept_queue.len())
    }

    /// Changes what connections start with that come from now on; those that are open keep what they have.
    /// [`TcpOptions::only_v6`] is settled by [`Stack::listen`].
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] after it was closed, [`Error::InvalidInput`] for values that make no
    /// sense.
    pub fn set_listener_options(
        &mut self,
        id: ListenerId,
        options: TcpOptions,
    ) -> Result<(), Error> {
        options.validate()?;
        let listener = self.tcp.listeners.get_mut(id).ok_or(Error::NoSuchSocket)?;
        listener.options = self.tcp.options.share(options);
        Ok(())
    }

    /// The address and port that a listener has.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] after it was closed.
    pub fn listener_local(&self, id: ListenerId) -> Result<SocketAddr, Error> {
        let binding = self.tcp.listeners.get(id).ok_or(Error::NoSuchSocket)?.binding;
        Ok(binding.show(binding.local))
    }

    /// Stops listening. Handshakes under way and connections that were not accepted are reset;
    /// accepted ones stay.
    pub fn close_listener(&mut self, now: Instant, id: ListenerId) {
        self.shared.set_time(now);
        let Some(listener) = self.tcp.listeners.get_mut(id) else { return };
        let binding = listener.binding;
        let waiting = core::mem::take(&mut listener.accept_queue);
        for connection in waiting {
            self.abort_connection(connection, Sent::ResetAborted);
        }
        let (tcp, shared) = (&mut self.tcp, &mut self.shared);
        tcp.remove_half_opens_of(shared, id);
        tcp.listeners.remove(id);
        tcp.listening.release(&binding.places());
        let flow = nobody_with(binding.local);
        let (from, to) = (State::Listen, State::Closed);
        shared.trace(Some(flow), What::Transition { from, to, cause: Event::Close });
    }

    /// Opens a connection; it is in SYN-SENT when this returns. [`Readiness::WRITE`] is announced
    /// when the handshake is over, well or badly; [`Stack::take_error`] tells which. A peer like
    /// `::ffff:10.0.0.1` is reached over IPv4.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a peer without address or port, one of another family than `local`,
    /// and for options that make no sense,
    /// [`Error::NetworkUnreachable`] without a route, or for IPv4 written as IPv6 under
    /// [`TcpOptions::only_v6`], [`Error::AddressNotAvailable`] when `local` is
    /// not ours, belongs to another shard ([`Stack::owner_of_connection`]), or no port is free, [`Error::AddressInUse`] when this very connection exists, [`Error::LimitReached`].
    pub fn connect(
        &mut self,
        now: Instant,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: TcpOptions,
    ) -> Result<ConnectionId, Error> {
        self.shared.set_time(now);
        options.validate()?;
        let (binding, remote) = Binding::of_connection(local, remote, options.only_v6)?;
        // RFC 9293 3.9.2.3: a connection is between two hosts, not with a group.
        let group = remote.ip().is_multicast() || self.interfaces.is_broadcast(remote.ip());
        if remote.port() == 0 || remote.ip().is_unspecified() || group {
            return Err(Error::InvalidInput);
        }
        let source = Some(binding.local.ip()).filter(|ip| !ip.is_unspecified());
        if source.is_some_and(|ip| !self.interfaces.is_local(ip)) {
            return Err(Error::AddressNotAvailable);
        }
        let source = self.interfaces.source_in_scope(source, remote)?;
        let remote = without_scope(remote);
        let route = self.interfaces.route(source, remote.ip())?;
        let asked = SocketAddr::new(route.source, binding.local.port());
        let tuple = self.choose_tuple(asked, remote)?;
        let tcp = &mut self.tcp;
        let iss = tcp.isn.next(self.shared.now, &tuple);
        let offset = tcp.isn.timestamp_offset(&tuple);
        let timestamps = self.shared.config.timestamps.then(|| Timestamps::new(offset));
        let scale = receive_scale(&options, &self.shared.config);
        let options = tcp.options.share(options);
        let opening = Opening { tuple, options, route: route.hop, iss, timestamps };
        let id = tcp.create(&self.shared, opening).ok_or(Error::LimitReached)?;
        let conn = &mut *tcp.connections[id];
        conn.rcv.scale = if self.shared.config.window_scaling { scale } else { 0 };
        conn.tuple.set_mapped(binding.maps(remote));
        self.shared.trace(Some(tuple), What::Command { call: Call::Connect });
        conn.transition(&mut self.shared, Event::ActiveOpen);
        tcp.settle(&mut self.shared, id);
        Ok(id)
    }

    /// The local end of a new connection: as asked, or with an ephemeral port (RFC 6056).
    fn choose_tuple(&mut self, asked: SocketAddr, remote: SocketAddr) -> Result<FourTuple, Error> {
        let source = asked.ip();
        let with_port = |port| FourTuple { local: SocketAddr::new(source, port), remote };
        if asked.port() != 0 {
            let tuple = with_port(asked.port());
            if !self.steering.owns_flow(&tuple) {
                return Err(Error::AddressNotAvailable);
            }
            // Also from an end to itself (RFC 9293 3.5, Figure 7, with one host as both): who asks for it.
            return match self.tcp.find(&tuple) {
                None => Ok(tuple),
                Some(_) => Err(Error::AddressInUse),
            };
        }
        // Taken out for the time of the question, which looks at the rest of the tables.
        let mut ports = core::mem::take(&mut self.tcp.ports);
        let is_free = |port| {
            let tuple = with_port(port);
            !same_ends(&tuple)
                && self.steering.owns_flow(&tuple)
                && self.tcp.find(&tuple).is_none()
                && self.tcp.listening.find(tuple.local).is_none()
        };
        let port = ports.allocate(source, remote, is_free);
        self.tcp.ports = ports;
        port.map(with_port).ok_or(Error::AddressNotAvailable)
    }
}

/// A listener's end, with nobody at the other.
fn nobody_with(local: SocketAddr) -> FourTuple {
    FourTuple { local, remote: wildcard(SocketAddr::new(local.ip(), 0)) }
}

/// A connection from an end to itself: what a port of the stack's choice must not lead to.
fn same_ends(tuple: &FourTuple) -> bool {
    tuple.local == tuple.remote
}

/// CLOSE, ABORT and the options (RFC 9293 3.10.4, 3.10.5).
impl Stack {
    /// Ends one half of a connection, or both. What was written before goes out first, then FIN.
    ///
    /// # Errors
    /// [`Error::NotConnected`] before the handshake is over or after the connection failed.
    pub fn shutdown(&mut self, now: Instant, id: ConnectionId, how: Shutdown) -> Result<(), Error> {
        self.connection_mut(now, id)?;
        let (conn, shared) = (&mut *self.tcp.connections[id], &mut self.shared);
        if matches!(conn.state, State::SynSent | State::SynReceived) || conn.user.failed {
            return Err(Error::NotConnected);
        }
        if how != Shutdown::Write {
            shared.trace(Some(conn.tuple()), What::Command { call: Call::ShutdownRead });
            conn.user.read_shutdown = true;
            conn.rcv.work.queue.clear(&mut shared.spare);
            conn.announce(shared, Readiness::READ | Readiness::READ_CLOSED);
        }
        if how != Shutdown::Read && !conn.snd.fin_queued {
            shared.trace(Some(conn.tuple()), What::Command { call: Call::ShutdownWrite });
            conn.close_sending(shared);
            conn.announce(shared, Readiness::WRITE | Readiness::WRITE_CLOSED);
        }
        self.tcp.settle(shared, id);
        Ok(())
    }

    /// Gives the connection up to the stack, which finishes it alone: what was written goes out,
    /// then FIN. The id means nothing afterwards.
    ///
    /// The connection is reset instead when bytes are unread, for the peer must know that they
    /// were lost (RFC 9293 3.6.1), and when the linger time is zero.
    pub fn close(&mut self, now: Instant, id: ConnectionId) {
        let Ok(conn) = self.connection_mut(now, id) else { return };
        let (tuple, state) = (conn.tuple(), conn.state);
        let unread = !conn.rcv.work.queue.is_empty();
        let abrupt = conn.options.linger.is_some_and(|time| time.is_zero());
        self.shared.trace(Some(tuple), What::Command { call: Call::Close });
        match state {
            State::SynSent => {
                let conn = &mut *self.tcp.connections[id];
                conn.user.orphaned = true;
                conn.transition(&mut self.shared, Event::Close);
                self.tcp.settle(&mut self.shared, id);
            }
            State::Closed | State::TimeWait => self.tcp.remove_closed(&mut self.shared, id),
            _ if unread => self.abort_connection(id, Sent::ResetUnreadData),
            _ if abrupt => self.abort_connection(id, Sent::ResetLinger),
            _ => {
                let (conn, shared) = (&mut *self.tcp.connections[id], &mut self.shared);
                conn.user.orphaned = true;
                conn.close_sending(shared);
                self.tcp.settle(shared, id);
            }
        }
    }

    /// Ends the connection at once, with a reset (RFC 9293 3.10.5). What was not sent, and what
    /// was not read, is lost. The id means nothing afterwards.
    pub fn abort(&mut self, now: Instant, id: ConnectionId) {
        let Ok(conn) = self.connection_mut(now, id) else { return };
        let tuple = conn.tuple();
        self.shared.trace(Some(tuple), What::Command { call: Call::Abort });
        self.abort_connection(id, Sent::ResetAborted);
    }

    fn abort_connection(&mut self, id: ConnectionId, reason: Sent) {
        let (tcp, shared) = (&mut self.tcp, &mut self.shared);
        let Some(conn) = tcp.connections.get_mut(id) else { return };
        conn.user.orphaned = true;
        match conn.state {
            State::Closed | State::TimeWait => return tcp.remove_closed(shared, id),
            State::SynSent => {}
            _ => {
                let reset = Reply::reset_of(conn, shared.now, reason);
                tcp.replies.push(shared, reset);
            }
        }
        conn.transition(shared, Event::Abort);
        tcp.settle(shared, id);
    }

    /// Changes what the program can set. A controller or a buffer size takes effect where it
    /// can: the window scale, for one, is settled by the handshake.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] after it was closed, [`Error::InvalidInput`] for values that make no
    /// sense.
    pub fn set_tcp_options(
        &mut self,
        now: Instant,
        id: ConnectionId,
        options: TcpOptions,
    ) -> Result<(), Error> {
        self.connection_mut(now, id)?;
        options.validate()?;
        let options = self.tcp.options.share(options);
        let (conn, shared) = (&mut *self.tcp.connections[id], &mut self.shared);
        conn.apply_options(shared, options);
        if !matches!(conn.state, State::Closed | State::TimeWait) {
            self.tcp.settle(shared, id);
        }
        Ok(())
    }

    /// Takes the reason why the connection failed (`SO_ERROR`); `None` when it did not, or when
    /// the program was told.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] after it was closed.
    pub fn take_error(&mut self, id: ConnectionId) -> Result<Option<Error>, Error> {
        let conn = self.tcp.connections.get_mut(id).ok_or(Error::NoSuchSocket)?;
        Ok(conn.user.error.take())
    }

    fn connection_mut(&mut self, now: Instant, id: ConnectionId) -> Result<&mut Connection, Error> {
        self.shared.set_time(now);
        self.tcp.connections.get_mut(id).map(|conn| &mut **conn).ok_or(Error::NoSuchSocket)
    }
}

impl Connection {
    /// CLOSE of the sending side (RFC 9293 3.10.4): FIN follows what is queued.
    fn close_sending(&mut self, shared: &mut Shared) {
        if !self.snd.fin_queued {
            self.snd.fin_queued = true;
            self.transition(shared, Event::Close);
        }
    }

    fn apply_options(&mut self, shared: &Shared, options: Arc<TcpOptions>) {
        let other_controller = !core::ptr::fn_addr_eq(self.options.congestion, options.congestion);
        let user_timeout = core::mem::replace(&mut self.options, options).user_timeout;
        self.change_user_timeout(shared.now, user_timeout);
        if other_controller {
            self.replace_controller(shared.now);
        }
        self.limit_segments();
        self.start_keepalive(shared.now);
    }

    /// A changed user timeout counts for what is out already, from the moment it counted before.
    fn change_user_timeout(&mut self, now: Instant, before: Option<Duration>) {
        let waits = self.timer_runs(Timer::Retransmission);
        match (before, self.options.user_timeout) {
            (_, None) => self.stop_timer(Timer::UserTimeout),
            (None, Some(limit)) if waits => {
                self.set_timer(Timer::UserTimeout, now.after(limit));
            }
            (Some(old), Some(limit)) => {
                if let Some(at) = self.timer(Timer::UserTimeout) {
                    let waited = old.saturating_sub(at.since(now));
                    let left = limit.saturating_sub(waited);
                    self.set_timer(Timer::UserTimeout, now.after(left));
                }
            }
            (None, Some(_)) => {}
        }
    }

    /// Announces nothing; says what is true now.
    pub(crate) fn readiness(&self) -> Readiness {
        let mut ready = Readiness::empty();
        let handshake = matches!(self.state, State::SynSent | State::SynReceived);
        let read_closed = self.user.failed || self.user.read_shutdown || !self.state.may_receive();
        let write_closed = self.user.failed || self.snd.fin_queued;
        let room = self.send_room() > 0;
        ready.set(Readiness::READ_CLOSED, read_closed);
        ready.set(Readiness::WRITE_CLOSED, write_closed);
        ready.set(Readiness::READ, read_closed || !self.rcv.work.queue.is_empty());
        ready.set(Readiness::WRITE, write_closed || (!handshake && room));
        ready.set(Readiness::ERROR, self.user.error.is_some());
        ready.set(Readiness::DRAINED, !handshake && self.is_drained());
        ready
    }
}

impl SocketId {
    /// The connection's id, for a socket that is one.
    #[must_use]
    pub fn connection(self) -> Option<ConnectionId> {
        match self {
            SocketId::Connection(id) => Some(id),
            _ => None,
        }
    }
}
