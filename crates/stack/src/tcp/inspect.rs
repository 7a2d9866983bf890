//! What can be asked of TCP sockets: `TCP_INFO`, `ss`, readiness.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::binding::mapped;
use crate::config::{DEFAULT_TTL, TcpOptions};
use crate::error::Error;
use crate::event::{Ready as Readiness, SocketId};
use crate::info::{Repair, SocketEntry, TcpInfo};
use crate::shared::Shared;
use crate::stack::Stack;
use crate::tcp::connection::Connection;
use crate::tcp::recovery::Phase;
use crate::tcp::state::State;
use crate::tcp::{Tcp, wildcard};
use crate::trace::Timer;
use crate::{ConnectionId, FourTuple, ListenerId};

impl Stack {
    /// The state of a connection.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] after it was closed, here as below.
    pub fn state(&self, id: ConnectionId) -> Result<State, Error> {
        self.connection(id).map(|conn| conn.state)
    }

    /// Our address and port.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`].
    pub fn local_address(&self, id: ConnectionId) -> Result<SocketAddr, Error> {
        self.connection(id).map(|conn| conn.show(conn.tuple().local))
    }

    /// The peer's address and port.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`].
    pub fn remote_address(&self, id: ConnectionId) -> Result<SocketAddr, Error> {
        let conn = self.connection(id)?;
        let tuple = conn.tuple();
        Ok(conn.show(self.interfaces.show_peer(tuple.local.ip(), tuple.remote)))
    }

    /// What the program set.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`].
    pub fn tcp_options(&self, id: ConnectionId) -> Result<&TcpOptions, Error> {
        self.connection(id).map(|conn| &*conn.options)
    }

    /// The TTL of what is sent: that of [`TcpOptions::ttl`], else that of the way to the peer.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`].
    pub fn tcp_ttl(&self, id: ConnectionId) -> Result<u8, Error> {
        let conn = self.connection(id)?;
        let FourTuple { local, remote } = conn.tuple();
        let usual = || self.interfaces.ttl_to(local.ip(), remote.ip());
        Ok(conn.options.ttl.or_else(usual).unwrap_or(DEFAULT_TTL))
    }

    /// How many bytes a `read` can give now (`FIONREAD`).
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`].
    pub fn readable_bytes(&self, id: ConnectionId) -> Result<usize, Error> {
        self.connection(id).map(|conn| conn.rcv.work.queue.len())
    }

    /// Everything that `TCP_INFO` tells.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`].
    pub fn info(&self, id: ConnectionId) -> Result<TcpInfo, Error> {
        self.connection(id).map(Connection::info)
    }

    fn connection(&self, id: ConnectionId) -> Result<&Connection, Error> {
        self.tcp.connections.get(id).map(|conn| &**conn).ok_or(Error::NoSuchSocket)
    }
}

impl Tcp {
    pub(crate) fn listener_readiness(&self, id: ListenerId) -> Readiness {
        match self.listeners.get(id) {
            Some(listener) if !listener.accept_queue.is_empty() => Readiness::READ,
            _ => Readiness::empty(),
        }
    }

    pub(crate) fn connection_readiness(&self, id: ConnectionId) -> Readiness {
        self.connections.get(id).map_or(Readiness::empty(), |conn| conn.readiness())
    }

    pub(crate) fn take_listener_pending(&mut self, id: ListenerId) -> Readiness {
        self.listeners.get_mut(id).map_or(Readiness::empty(), |listener| listener.pending.take())
    }

    pub(crate) fn take_connection_pending(&mut self, id: ConnectionId) -> Readiness {
        self.connections.get_mut(id).map_or(Readiness::empty(), |conn| conn.user.pending.take())
    }

    /// Every endpoint, for `ss`.
    pub(crate) fn list(&self, shared: &Shared, into: &mut Vec<SocketEntry>) {
        for (id, listener) in &self.listeners {
            let local = listener.binding.show(listener.binding.local);
            let remote = wildcard(SocketAddr::new(local.ip(), 0));
            into.push(SocketEntry {
                id: Some(SocketId::Listener(id)),
                receive_queue: listener.accept_queue.len(),
                send_queue: listener.backlog,
                ..bare(State::Listen, local, remote)
            });
        }
        for (_, entry) in &self.half_open {
            into.push(SocketEntry {
                retries: entry.retries(),
                ..bare(State::SynReceived, entry.tuple().local, entry.tuple().remote)
            });
        }
        for (id, conn) in &self.connections {
            // A TIME-WAIT has its own line below; a closed one is no connection any more.
            if !matches!(conn.state, State::Closed | State::TimeWait) {
                into.push(conn.entry(id));
            }
        }
        for (tuple, until) in self.time_wait.iter() {
            into.push(SocketEntry {
                timer: Some((Timer::TimeWait, until.max(shared.now))),
                ..bare(State::TimeWait, tuple.local, tuple.remote)
            });
        }
    }
}

fn bare(state: State, local: SocketAddr, remote: SocketAddr) -> SocketEntry {
    SocketEntry {
        id: None,
        protocol: "tcp",
        state,
        receive_queue: 0,
        send_queue: 0,
        local,
        remote,
        timer: None,
        retries: 0,
        info: None,
    }
}

impl Connection {
    /// An address and port of either end as its socket shows it.
    pub(crate) fn show(&self, address: SocketAddr) -> SocketAddr {
        if self.tuple.is_mapped() { mapped(address) } else { address }
    }

    fn entry(&self, id: ConnectionId) -> SocketEntry {
        let keepalive_probes = u8::try_from(self.keepalive_probes).unwrap_or(u8::MAX);
        SocketEntry {
            id: (!self.user.orphaned).then_some(SocketId::Connection(id)),
            receive_queue: self.rcv.work.queue.len(),
            send_queue: self.snd.work.queue.len(),
            timer: self.next_timer(),
            retries: self.snd.rto.expiries().max(keepalive_probes),
            info: Some(self.info()),
            ..bare(self.state, self.show(self.tuple().local), self.show(self.tuple().remote))
        }
    }

    fn info(&self) -> TcpInfo {
        let sent = self.snd.nxt.distance_from(self.queue_start()) as usize;
        let sent = if self.snd.syn_acked { sent.min(self.snd.work.queue.len()) } else { 0 };
        let scaled = self.snd.scale != 0 || self.rcv.scale != 0;
        TcpInfo {
            state: self.state,
            timestamps: self.timestamps.is_some(),
            sack: self.rcv.sack_agreed,
            repair: self.repair(),
            ecn: self.ecn.agreed,
            ecn_capable_received: self.ecn.capable_received.into(),
            ecn_marks_received: self.ecn.marks_received.into(),
            ecn_echoes_received: self.ecn.echoes_received.into(),
            window_scale: scaled.then_some((self.snd.scale, self.rcv.scale)),
            rto: self.retransmission_timeout(),
            ato: self.options.delayed_ack,
            snd_mss: self.snd.mss,
            rcv_mss: self.rcv.mss,
            advmss: self.rcv.mss,
            pmtu: u32::from(self.route.mtu),
            rtt: self.snd.rtt.smoothed(),
            rttvar: self.snd.rtt.smoothed().map(|_| self.snd.rtt.variation()),
            min_rtt: self.snd.rtt.min(),
            snd_cwnd: self.send_window(),
            snd_ssthresh: self.snd.controller.slow_start_threshold(),
            snd_wnd: self.snd.window.size(),
            rcv_wnd: self.receive_window(),
            receive_buffer: self.receive_buffer(),
            send_buffer: self.send_buffer(),
            rcv_rtt: self.receiver_round_trip(),
            unacked: self.flight_size(),
            sacked: self.snd.work.inflight.sacked(),
            lost: self.snd.work.inflight.lost(),
            retrans: self.snd.work.inflight.copied(),
            delivered: self.snd.rate.delivered(),
            pacing_rate: self.pacing_rate(),
            delivery_rate: self.snd.rate.reported().map(|(rate, _)| rate),
            delivery_rate_app_limited: self.snd.rate.reported().is_some_and(|(_, limited)| limited),
            reordering_seen: self.snd.recovery.rack.reordering_seen(),
            duplicates_reported: self.snd.recovery.duplicates.into(),
            undone: self.snd.recovery.undo.undone.into(),
            notsent: (self.snd.work.queue.len() - sent) as u64,
            probes: u32::from(self.snd.window.unanswered()).max(self.keepalive_probes),
            backoff: self.snd.rto.backoffs(),
            duplicate_acks: self.snd.work.repair.newreno.duplicate_acks(),
            total_retrans: self.counts.total_retrans.into(),
            bytes_sent: self.counts.bytes_sent,
            bytes_acked: self.counts.bytes_acked,
            bytes_received: self.counts.bytes_received,
            bytes_retrans: self.counts.bytes_retrans,
            segs_out: self.counts.segs_out.into(),
            segs_in: self.counts.segs_in.into(),
            congestion: self.snd.controller.name(),
            last_data_sent: self.counts.last_data_sent,
            last_data_received: self.counts.last_data_received,
            last_ack_received: self.counts.last_ack_received,
        }
    }

    fn repair(&self) -> Repair {
        match self.snd.recovery.phase {
            Phase::Open if self.snd.work.inflight.sacked() > 0 => Repair::Disorder,
            Phase::Open => Repair::Open,
            Phase::Fast { .. } => Repair::Recovery,
            Phase::Timeout { .. } => Repair::Loss,
        }
    }
}
