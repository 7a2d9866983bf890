//! The only place where one kind of endpoint becomes another, or goes.
//!
//! A listener, a half-open entry, a connection and a TIME-WAIT are four types of four sizes. Each
//! change from one to the next, with what it means for the tables and timers, stands here.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use wire::frame::FrameBuf;

use crate::error::Error;
use crate::event::Ready as Readiness;
use crate::ip::Interfaces;
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::tcp::connection::{Connection, Opening, Turn};
use crate::tcp::recv::ack::AckNeed;
use crate::tcp::reply::Reply;
use crate::tcp::segment::Segment;
use crate::tcp::state::{Event, State};
use crate::tcp::timewait::{TimeWait, TimeWaitId, TimeWaitVerdict};
use crate::tcp::{Ready, Target, Tcp, TimerOwner};
use crate::timers::Wheel;
use crate::trace::{Timer, What};
use crate::{ConnectionId, FourTuple};

/// How many programs that wait for memory are woken by one event.
const WOKEN_AT_ONCE: usize = 16;

impl Tcp {
    /// A new connection in CLOSED, in all tables. `None` when there are too many, or the memory is
    /// spent.
    pub(super) fn create(&mut self, shared: &Shared, opening: Opening) -> Option<ConnectionId> {
        if self.connections.len() >= shared.config.connection_limit || shared.memory.is_spent() {
            return None;
        }
        let tuple = opening.tuple;
        let config = &shared.config;
        let id =
            self.connections.insert_with_key(|id| Box::new(Connection::new(id, opening, config)));
        self.register(&tuple, Target::Connection(id));
        Some(id)
    }

    /// After anything happened to a connection: it leaves the tables when its state says so, its
    /// timers stand as its deadlines say, and it queues up when it may have something to send.
    pub(super) fn settle(&mut self, shared: &mut Shared, id: ConnectionId) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        match conn.state {
            State::Closed => self.bury(shared, id),
            State::TimeWait => self.enter_time_wait(shared, id),
            _ => {
                settle_fin_wait_2(conn, shared);
                arm(&mut self.wheel, conn);
                conn.queue_up(&mut self.ready);
                conn.settle_memory(shared);
                return self.wake_starved(shared);
            }
        }
        self.settle_memory(shared, id);
    }

    /// Brings the stack's books in line with what a connection pins, and wakes who waits for memory.
    pub(super) fn settle_memory(&mut self, shared: &mut Shared, id: ConnectionId) {
        if let Some(conn) = self.connections.get_mut(id) {
            conn.settle_memory(shared);
        }
        self.wake_starved(shared);
    }

    /// Wakes who waits for memory, if there is some now.
    #[inline]
    fn wake_starved(&mut self, shared: &mut Shared) {
        if self.starved.is_empty() {
            return;
        }
        // Not all at once, for there is not enough for all; whoever gets some settles again.
        for _ in 0..WOKEN_AT_ONCE.min(self.starved.len()) {
            if shared.memory.is_spent() {
                return;
            }
            let Some(starved) = self.starved.pop_front() else { return };
            let Some(conn) = self.connections.get_mut(starved) else { continue };
            if shared.memory.is_short() && !conn.snd.work.queue.is_empty() {
                self.starved.push_back(starved);
                continue;
            }
            (conn.user.starved, conn.user.wants_room) = (false, false);
            conn.announce(shared, Readiness::WRITE);
        }
    }

    /// A program could not write because memory is short: it is told when there is some.
    pub(super) fn wait_for_memory(&mut self, id: ConnectionId) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        conn.user.wants_room = true;
        if !core::mem::replace(&mut conn.user.starved, true) {
            self.starved.push_back(id);
        }
    }

    /// Takes a connection out of its table, and what it pins out of the books.
    fn remove(&mut self, shared: &mut Shared, id: ConnectionId) {
        if let Some(mut conn) = self.connections.remove(id) {
            if conn.rcv.work.is_awake() {
                conn.rcv.work.queue.clear(&mut shared.spare);
            }
            shared.memory.charge(&mut conn.charge, 0);
            conn.rest(shared);
            if conn.counted {
                self.sources.uncount(conn.tuple().remote.ip());
            }
        }
    }

    /// CLOSED: nothing arrives for it any more. It stays while the program holds it, with what is
    /// left to read and the reason to tell.
    fn bury(&mut self, shared: &mut Shared, id: ConnectionId) {
        let tuple = self.connections[id].tuple();
        if self.find(&tuple) == Some(Target::Connection(id)) {
            self.unregister(&tuple);
        }
        self.lay_down(shared, id);
    }

    /// TIME-WAIT (RFC 9293 3.6.1): 32 bytes stay behind for 2 MSL, the rest goes.
    fn enter_time_wait(&mut self, shared: &mut Shared, id: ConnectionId) {
        let conn = &self.connections[id];
        if self.find(&conn.tuple()) != Some(Target::Connection(id)) {
            return; // It is there already, and the program still holds the socket.
        }
        let entry = TimeWait {
            tuple: conn.tuple(),
            snd_nxt: conn.snd.nxt,
            rcv_nxt: conn.rcv.nxt,
            ts_recent: conn.timestamps.map(|ours| ours.recent()),
        };
        self.unregister(&entry.tuple);
        // The ACK of the peer's FIN, before the connection that owes it is gone.
        if let AckNeed::Now(reason) = self.connections[id].rcv.ack.need() {
            let mut ack = Reply::ack(entry.tuple, entry.snd_nxt, entry.rcv_nxt, reason)
                .with(&self.connections[id].options);
            ack.window = self.connections[id].advertised_window_field();
            ack.options.timestamps =
                self.connections[id].timestamps.map(|ts| ts.option(shared.now));
            self.replies.push(shared, ack);
        }
        let (time_wait, evicted) =
            self.time_wait.insert(shared.now, &entry, shared.config.time_wait);
        if let Some((old, tuple)) = evicted {
            self.forget_time_wait(shared, old, tuple);
        }
        self.register(&entry.tuple, Target::TimeWait(time_wait));
        self.lay_down(shared, id);
    }

    /// Takes a connection out of everything that runs. It is removed when nobody holds it.
    fn lay_down(&mut self, shared: &mut Shared, id: ConnectionId) {
        let conn = &mut self.connections[id];
        conn.stop_timers();
        self.wheel.disarm(&mut conn.deadlines.entry);
        conn.snd.work.abandon();
        if conn.rcv.work.is_awake() {
            conn.rcv.work.assembler.clear(&mut shared.spare);
        }
        (conn.reply, conn.snd.probe, conn.snd.retransmit_head) = (None, None, None);
        if let Some(listener) = conn.user.listener {
            self.remove_from_accept_queue(listener, id);
        } else if !conn.user.orphaned {
            return;
        }
        self.remove(shared, id);
    }

    /// The program closed a connection that is in no table any more: nothing is left of it.
    pub(super) fn remove_closed(&mut self, shared: &mut Shared, id: ConnectionId) {
        self.remove(shared, id);
        self.settle_memory(shared, id);
    }

    /// 2 MSL are over.
    pub(super) fn time_wait_expired(
        &mut self,
        shared: &mut Shared,
        id: TimeWaitId,
        tuple: FourTuple,
    ) {
        shared.trace(Some(tuple), What::Timer { timer: Timer::TimeWait });
        self.forget_time_wait(shared, id, tuple);
    }

    fn forget_time_wait(&mut self, shared: &mut Shared, id: TimeWaitId, tuple: FourTuple) {
        self.demux.remove_value(&tuple, Target::TimeWait(id));
        let (from, to) = (State::TimeWait, State::Closed);
        shared.trace(Some(tuple), What::Transition { from, to, cause: Event::TimeWaitOver });
    }

    /// A segment for a TIME-WAIT: an answer, or a new connection in its place (RFC 6191).
    pub(super) fn time_wait_arrives(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        id: TimeWaitId,
        seg: Segment,
        frame: FrameBuf,
    ) {
        let entry = self.time_wait.get(id);
        let listens = self.listening.find(seg.tuple.local).is_some();
        match entry.on_segment(&seg, listens) {
            TimeWaitVerdict::AllowNewConnection { isn_floor } => {
                self.time_wait.remove(id);
                self.forget_time_wait(shared, id, seg.tuple);
                return self.listen_arrives(shared, interfaces, seg, frame, Some(isn_floor));
            }
            TimeWaitVerdict::AcknowledgeAndRestart => {
                self.time_wait.restart(id, shared.now, shared.config.time_wait);
                self.acknowledge_for(shared, &entry, Sent::TimeWaitAck);
            }
            TimeWaitVerdict::Acknowledge => {
                self.acknowledge_for(shared, &entry, Sent::OutOfWindowAck);
            }
            TimeWaitVerdict::IgnoreReset => {
                shared.drop_packet(Some(seg.tuple), Dropped::TimeWaitReset);
            }
            TimeWaitVerdict::Ignore => shared.drop_packet(Some(seg.tuple), Dropped::TimeWaitOld),
        }
        shared.recycle(frame);
    }

    fn acknowledge_for(&mut self, shared: &mut Shared, entry: &TimeWait, reason: Sent) {
        let mut ack = Reply::ack(entry.tuple, entry.snd_nxt, entry.rcv_nxt, reason);
        let offset = self.isn.timestamp_offset(&entry.tuple);
        ack.options.timestamps = entry.ts_recent.map(|recent| wire::tcp::Timestamps {
            value: super::timestamps::clock(shared.now, offset),
            echo: recent,
        });
        self.replies.push(shared, ack);
    }

    /// `address` is somebody else's: every connection from it ends, and the peers are told (RFC 5227 2.4).
    pub(crate) fn reset_all_from(&mut self, shared: &mut Shared, address: IpAddr) {
        let uses = |conn: &Connection| {
            conn.tuple().local.ip() == address
                && !matches!(conn.state, State::Closed | State::TimeWait)
        };
        let users = self.connections.iter().filter(|(_, conn)| uses(conn)).map(|(id, _)| id);
        for id in users.collect::<Vec<_>>() {
            let Some(conn) = self.connections.get_mut(id) else { continue };
            if conn.state != State::SynSent {
                let reset = Reply::reset_of(conn, shared.now, Sent::ResetAddressLost);
                self.replies.push(shared, reset);
            }
            conn.fail(shared, Error::ConnectionAborted, Event::Abort);
            self.settle(shared, id);
        }
    }

    pub(super) fn register(&mut self, tuple: &FourTuple, target: Target) {
        let Self { demux, connections, half_open, time_wait, .. } = self;
        demux.insert(tuple, target, |target| match target {
            Target::Connection(id) => connections[id].tuple(),
            Target::HalfOpen(id) => half_open[id].tuple(),
            Target::TimeWait(id) => time_wait.tuple(id),
        });
    }

    pub(super) fn unregister(&mut self, tuple: &FourTuple) {
        let Self { demux, connections, half_open, time_wait, .. } = self;
        demux.remove(tuple, |target| match target {
            Target::Connection(id) => connections[id].tuple(),
            Target::HalfOpen(id) => half_open[id].tuple(),
            Target::TimeWait(id) => time_wait.tuple(id),
        });
    }
}

/// Brings the timing wheel in line with the connection's deadlines. An entry that is too early
/// stays: when it fires, it is armed anew. With each segment a timeout moves to later, and this
/// way the wheel hears of it once in the time of a timeout.
pub(super) fn arm(wheel: &mut Wheel<TimerOwner>, conn: &mut Connection) {
    let next = conn.next_deadline();
    let timers = &mut conn.deadlines;
    match next {
        Some(at) if timers.entry.is_some() && timers.armed <= at => {}
        Some(at) => {
            timers.armed = at;
            wheel.arm(&mut timers.entry, at, TimerOwner::Connection(conn.id));
        }
        None => wheel.disarm(&mut timers.entry),
    }
}

/// The program closed and the peer does not: a bound on how long that is waited for.
fn settle_fin_wait_2(conn: &mut Connection, shared: &Shared) {
    let waits = conn.state == State::FinWait2 && conn.user.orphaned;
    if !waits {
        conn.stop_timer(Timer::FinWait2);
    } else if !conn.timer_runs(Timer::FinWait2) {
        let patience = conn.options.fin_wait_2.unwrap_or(shared.config.fin_wait_2);
        conn.set_timer(Timer::FinWait2, shared.now.after(patience));
    }
}

impl Connection {
    /// Queues up for output, once.
    #[inline]
    pub(super) fn queue_up(&mut self, ready: &mut VecDeque<Ready>) {
        if self.turn == Turn::None {
            self.turn = Turn::Queued;
            ready.push_back(Ready::Connection(self.id));
        }
    }

    /// Brings the stack's books in line with what it pins.
    #[inline]
    fn settle_memory(&mut self, shared: &mut Shared) {
        let pinned = self.pinned();
        shared.memory.charge(&mut self.charge, pinned);
        self.rest(shared);
    }

    /// The connection ends badly: whoever holds it is told why.
    pub(crate) fn fail(&mut self, shared: &mut Shared, error: Error, event: Event) {
        // A connection that both sides had closed, or that waits for its last ACK, had all it
        // wanted: its end is no error for the program.
        let over = matches!(self.state, State::Closing | State::LastAck | State::TimeWait);
        self.transition(shared, event);
        self.user.failed = true;
        if !over || error == Error::TimedOut {
            self.user.error.get_or_insert(error);
            self.announce(shared, Readiness::ERROR);
        }
        self.announce(
            shared,
            Readiness::READ | Readiness::WRITE | Readiness::READ_CLOSED | Readiness::WRITE_CLOSED,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, HeaderBuf, InterfaceId, ListenerId, SocketId, Stack, TcpOptions};
    use core::net::{IpAddr, Ipv4Addr, SocketAddr};
    use wire::frame::{Capabilities, Medium, ReceiveMeta};
    use wire::time::{Duration, Instant};

    const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 80);

    struct Host(Stack, InterfaceId);

    impl Host {
        fn new(last: u8) -> Self {
            let mut stack = Stack::new(Config::default(), [last; 32]);
            let (medium, mtu) = (Medium::Ip, 1500);
            let interface = stack.add_interface(Capabilities {
                medium,
                mtu,
                checksum: false,
                segmentation: false,
            });
            stack.add_address(interface, Ipv4Addr::new(10, 0, 0, last).into(), 24).unwrap();
            Self(stack, interface)
        }

        /// Hands over what it has to send, but for what the dice lose; whether there was something.
        fn send_to(
            &mut self,
            now: Instant,
            other: &mut Self,
            lose: &mut dyn FnMut() -> bool,
        ) -> bool {
            let mut header = HeaderBuf::default();
            let mut sent = false;
            while let Some(packet) = self.0.poll_transmit(now, &mut header) {
                sent = true;
                if !lose() {
                    let frame = packet.to_frame();
                    other.0.handle_frame(now, other.1, frame, ReceiveMeta::default());
                }
            }
            while self.0.poll_event().is_some() {}
            sent
        }

        fn connection(&self, id: ConnectionId) -> &Connection {
            &self.0.tcp.connections[id]
        }
    }

    /// A client, a server that listens, and the time.
    struct World {
        now: Instant,
        client: Host,
        server: Host,
        listener: ListenerId,
        packets: u32,
        /// Every how many packets one is lost; zero for none.
        loss: u32,
    }

    impl World {
        fn new() -> Self {
            let now = Instant::from_millis(1);
            let (client, mut server) = (Host::new(1), Host::new(2));
            let listener = server.0.listen(now, SERVER, 4096, TcpOptions::default()).unwrap();
            Self { now, client, server, listener, packets: 0, loss: 0 }
        }

        fn connect(&mut self) -> ConnectionId {
            self.client.0.connect(self.now, None, SERVER, TcpOptions::default()).unwrap()
        }

        fn accept(&mut self) -> ConnectionId {
            self.server.0.accept(self.now, self.listener).unwrap().0
        }

        fn carry(&mut self) {
            let (loss, packets) = (self.loss, &mut self.packets);
            let mut lose = || {
                *packets += 1;
                loss > 0 && packets.is_multiple_of(loss)
            };
            let (client, server) = (&mut self.client, &mut self.server);
            while client.send_to(self.now, server, &mut lose)
                | server.send_to(self.now, client, &mut lose)
            {}
        }

        /// Carries packets until nothing is due within `time`.
        fn pass(&mut self, time: Duration) {
            let until = self.now.after(time);
            loop {
                self.carry();
                let deadlines = [self.client.0.poll_timeout(), self.server.0.poll_timeout()];
                let next = deadlines.into_iter().flatten().min().filter(|at| *at <= until);
                self.now = self.now.max(next.unwrap_or(until));
                self.client.0.handle_timeout(self.now);
                self.server.0.handle_timeout(self.now);
                if next.is_none() {
                    return;
                }
            }
        }

        /// Brings `length` bytes from the client to the server's reader.
        fn transfer(&mut self, (from, to): (ConnectionId, ConnectionId), length: usize) {
            let (mut left, mut got) = (length, 0);
            let mut buffer = [7; 8192];
            for _ in 0..10_000 {
                let next = &buffer[..left.min(8192)];
                left -= self.client.0.write(self.now, from, next).unwrap_or(0);
                self.pass(Duration::from_millis(5));
                while let Ok(count @ 1..) = self.server.0.read(self.now, to, &mut buffer) {
                    got += count;
                }
                if got == length {
                    return self.pass(Duration::from_secs(60));
                }
            }
            panic!("{got} of {length} bytes in too long a time");
        }
    }

    #[test]
    fn who_has_nothing_under_way_keeps_no_memory_for_it() {
        for loss in [0, 40] {
            let mut world = World::new();
            let client = world.connect();
            world.pass(Duration::from_secs(10));
            let server = world.accept();
            world.loss = loss;
            world.transfer((client, server), 500_000);
            for conn in [world.client.connection(client), world.server.connection(server)] {
                assert!(!conn.snd.work.is_awake(), "loss {loss}: {:?}", conn.snd.work);
                assert!(!conn.rcv.work.is_awake(), "loss {loss}: {:?}", conn.rcv.work);
                assert_eq!(conn.deadlines.entry, None);
            }
            assert_eq!((world.client.0.memory_used(), world.server.0.memory_used()), (0, 0));
        }
    }

    #[test]
    fn what_came_before_accept_is_announced_with_it() {
        let mut world = World::new();
        let client = world.connect();
        world.carry();
        world.client.0.write(world.now, client, b"early").unwrap();
        world.carry();
        assert_eq!(world.server.0.poll_event(), None);
        let server = world.accept();
        let event = world.server.0.poll_event().expect("there is something to read");
        assert_eq!(event.socket, SocketId::Connection(server));
        assert_eq!(event.ready, Readiness::READ);
    }

    #[test]
    fn what_waits_to_be_read_or_sent_is_kept() {
        let mut world = World::new();
        let client = world.connect();
        world.carry();
        let server = world.accept();
        world.client.0.write(world.now, client, b"unread").unwrap();
        assert!(world.client.connection(client).snd.work.is_awake(), "not sent");
        world.pass(Duration::from_secs(60));
        assert!(!world.client.connection(client).snd.work.is_awake(), "acknowledged");
        assert!(world.server.connection(server).rcv.work.is_awake(), "not read");
        world.server.0.read(world.now, server, &mut [0; 100]).unwrap();
        assert!(!world.server.connection(server).rcv.work.is_awake());
    }

    #[test]
    fn a_wave_of_connections_leaves_tables_empty() {
        let mut world = World::new();
        let clients: alloc::vec::Vec<_> = (0..3000).map(|_| world.connect()).collect();
        world.pass(Duration::from_secs(1));
        for client in &clients {
            world.client.0.write(world.now, *client, b"hello").unwrap();
        }
        world.pass(Duration::from_secs(1));
        for client in clients {
            let server = world.accept();
            world.server.0.read(world.now, server, &mut [0; 9]).unwrap();
            world.client.0.close(world.now, client);
            world.server.0.close(world.now, server);
        }
        world.pass(Duration::from_secs(200));
        for Host(stack, _) in [&world.client, &world.server] {
            let tcp = &stack.tcp;
            assert!(tcp.connections.is_empty() && tcp.half_open.is_empty());
            assert_eq!((tcp.demux.len(), tcp.wheel.len(), tcp.time_wait.len()), (0, 0, 0));
            assert_eq!(stack.memory_used(), 0);
        }
    }
}
