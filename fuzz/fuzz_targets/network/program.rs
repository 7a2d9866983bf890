//! The program: sockets of every kind, opened, used and closed as the input says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use stack::{
    ConnectionId, Family, InterfaceId, ListenerId, PendingId, PingId, Refusal, Stack, TcpOptions,
    UdpId, Unreachable,
};
use wire::time::Instant;

use crate::{Bytes, PORT, US, US_V6, packets};

/// How many sockets of a kind are open at a time.
const MOST: usize = 6;

/// What the program has open.
#[derive(Default)]
pub(crate) struct Program {
    sockets: Vec<UdpId>,
    taker: Option<UdpId>,
    pings: Vec<PingId>,
    listeners: Vec<ListenerId>,
    pending: Vec<PendingId>,
    connections: Vec<ConnectionId>,
}

impl Program {
    /// One call or a few.
    pub(crate) fn calls(
        &mut self,
        stack: &mut Stack,
        interface: InterfaceId,
        now: Instant,
        bytes: &mut Bytes<'_>,
    ) {
        match bytes.byte() % 12 {
            0 => self.opens(stack, bytes),
            1 | 2 => self.sends(stack, now, bytes),
            3 => self.receives(stack),
            4 => self.casts(stack, bytes),
            5 => self.takes_flows(stack, now, bytes),
            6 => self.pings(stack, now, bytes),
            7 => self.hands_over(stack, now, bytes),
            8 => self.decides(stack, now, bytes),
            9 | 10 => configures(stack, interface, now, bytes),
            _ => self.closes(stack, now, bytes),
        }
    }

    fn socket(&self, bytes: &mut Bytes<'_>) -> Option<UdpId> {
        let index = usize::from(bytes.byte());
        self.sockets.get(index % self.sockets.len().max(1)).copied()
    }

    fn opens(&mut self, stack: &mut Stack, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        let port = if choice & 32 == 0 { PORT + u16::from(choice >> 7) } else { 0 };
        let local = SocketAddr::new(address(choice), port);
        let socket =
            if choice & 64 == 0 { stack.udp_bind_shared(local) } else { stack.udp_bind(local) };
        if let Ok(id) = socket {
            self.sockets.push(id);
            if choice & 16 != 0 {
                let _ = stack.udp_connect(id, SocketAddr::new(address(bytes.byte()), 9000));
            }
        }
        if self.sockets.len() > MOST {
            let _ = stack.udp_close(self.sockets.remove(0));
        }
    }

    fn sends(&self, stack: &mut Stack, now: Instant, bytes: &mut Bytes<'_>) {
        let Some(id) = self.socket(bytes) else { return };
        let choice = bytes.byte();
        let payload = vec![choice; usize::from(bytes.word() % 5000)];
        let remote = SocketAddr::new(address(bytes.byte()), 9000 + u16::from(choice & 3));
        let _ = match choice >> 6 {
            0 => stack.udp_send(now, id, &payload),
            1 => stack.udp_send_from(now, id, remote, &payload),
            _ => stack.udp_send_to(now, id, &payload, remote),
        };
        let _ = (stack.udp_local(id), stack.udp_remote(id));
    }

    fn receives(&self, stack: &mut Stack) {
        let mut buffer = [0; 2000];
        for id in self.sockets.iter().chain(&self.taker) {
            let _ = stack.udp_peek_from(*id, &mut buffer[..9]);
            let _ = stack.udp_receive_from(*id, &mut buffer);
            let _ = (stack.udp_take_error(*id), stack.udp_take_report(*id));
        }
        for id in &self.pings {
            let _ = stack.ping_receive(*id);
        }
    }

    fn casts(&self, stack: &mut Stack, bytes: &mut Bytes<'_>) {
        let Some(id) = self.socket(bytes) else { return };
        let choice = bytes.byte();
        let (last, number) = (choice >> 6, u32::from(choice >> 4 & 3));
        let group = Ipv4Addr::new(239, 1, 1, last);
        let group_v6 = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, last.into());
        let interface = if choice & 16 == 0 { Ipv4Addr::UNSPECIFIED } else { US };
        let _ = match choice % 9 {
            0 | 1 => stack.udp_join_v4(id, group, interface),
            2 | 3 => stack.udp_join_v6(id, group_v6, number),
            4 => stack.udp_leave_v4(id, group, interface),
            5 => stack.udp_leave_v6(id, group_v6, number),
            6 => stack.udp_set_multicast_loop(id, choice & 64 == 0),
            7 => stack.udp_set_broadcast(id, true),
            _ => stack
                .udp_set_multicast_interface_v4(id, interface)
                .and_then(|()| stack.udp_set_multicast_interface_v6(id, number))
                .and_then(|()| stack.udp_set_multicast_ttl(id, choice))
                .and_then(|()| stack.udp_set_ttl(id, Some(choice >> 2))),
        };
    }

    fn takes_flows(&mut self, stack: &mut Stack, now: Instant, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        let idle = Duration::from_millis(u64::from(bytes.word()));
        let Some(taker) = self.taker else {
            self.taker = stack.udp_take_flows(idle, usize::from(choice & 3)).ok();
            return;
        };
        while let Ok(new) = stack.udp_next_flow(taker) {
            let _ = stack.udp_set_idle(new.id, idle);
            match choice & 3 {
                0 => {
                    let _ = stack.udp_refuse_flow(now, new.id, unreachable(choice >> 2));
                }
                1 => {
                    let _ = stack.udp_close(new.id);
                }
                _ => self.sockets.push(new.id),
            }
        }
        while self.sockets.len() > MOST {
            let _ = stack.udp_close(self.sockets.remove(0));
        }
    }

    fn pings(&mut self, stack: &mut Stack, now: Instant, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        let local = (choice & 1 == 0).then_some(address(choice >> 1));
        if let Ok(id) = stack.ping_open(local) {
            self.pings.push(id);
        }
        if self.pings.len() > MOST {
            let _ = stack.ping_close(self.pings.remove(0));
        }
        let payload = vec![0; usize::from(bytes.word() % 5000)];
        for id in &self.pings {
            let _ = stack.ping_send(now, *id, address(bytes.byte()), 1, &payload);
            let _ = stack.ping_set_ttl(*id, choice);
        }
    }

    /// What the stack leaves to the program, and what the program sends as it is.
    fn hands_over(&mut self, stack: &mut Stack, now: Instant, bytes: &mut Bytes<'_>) {
        while let Some((_, packet)) = stack.poll_packet() {
            let _ = stack.send_packet(now, &packet);
        }
        let network = packets::Network::default();
        for packet in network.speaks(bytes) {
            let _ = stack.send_packet(now, &packet);
        }
        let _ = stack.send_packet(now, &bytes.some(60));
    }

    /// Listeners of every address, whose SYNs wait for a decision.
    fn decides(&mut self, stack: &mut Stack, now: Instant, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        let family = if choice & 1 == 0 { Family::V4 } else { Family::V6 };
        if let Ok(id) = stack.listen_any(now, family, 3, TcpOptions::default()) {
            let _ = stack.decide_first(id, choice & 2 == 0);
            self.listeners.push(id);
        }
        for id in &self.listeners {
            while let Ok(pending) = stack.next_pending(*id) {
                self.pending.push(pending.id);
            }
            while let Ok((connection, _)) = stack.accept(now, *id) {
                self.connections.push(connection);
            }
        }
        // Some stay undecided, and some are decided twice.
        let Some(id) = self.pending.get(usize::from(bytes.byte())).copied() else { return };
        let refusal = Refusal::Unreachable(unreachable(choice >> 5));
        let _ = match choice >> 2 & 7 {
            0..=2 => stack.accept_pending(now, id).map(|id| self.connections.push(id)),
            3 => stack.refuse_pending(now, id, Refusal::Reset),
            4 => stack.refuse_pending(now, id, refusal),
            _ => stack.drop_pending(now, id),
        };
    }

    fn closes(&mut self, stack: &mut Stack, now: Instant, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        let _ = match choice % 5 {
            0 => self.socket(bytes).map(|id| {
                self.sockets.retain(|socket| *socket != id);
                let _ = stack.udp_close(id);
            }),
            1 => self.taker.take().map(|id| {
                let _ = stack.udp_close(id);
            }),
            2 => self.pings.pop().map(|id| {
                let _ = stack.ping_close(id);
            }),
            3 => self.listeners.pop().map(|id| stack.close_listener(now, id)),
            _ => self.connections.pop().map(|id| stack.abort(now, id)),
        };
    }

    /// Everything is closed.
    pub(crate) fn goes(&mut self, stack: &mut Stack, interface: InterfaceId, now: Instant) {
        for id in self.sockets.drain(..).chain(self.taker.take()) {
            let _ = stack.udp_close(id);
        }
        for id in self.pings.drain(..) {
            let _ = stack.ping_close(id);
        }
        self.listeners.drain(..).for_each(|id| stack.close_listener(now, id));
        self.connections.drain(..).for_each(|id| stack.abort(now, id));
        let _ = stack.dhcp_stop(now, interface);
        while stack.poll_packet().is_some() {}
    }
}

/// What an administrator does.
fn configures(stack: &mut Stack, interface: InterfaceId, now: Instant, bytes: &mut Bytes<'_>) {
    let choice = bytes.byte();
    let (about, prefix) = (address(choice >> 3), bytes.byte() % 130);
    let _ = match choice & 7 {
        0 => stack.autoconfigure(interface),
        1 => stack.dhcp_start(now, interface),
        2 => stack.dhcp_stop(now, interface),
        3 => stack.add_address(interface, about, prefix),
        4 => stack.remove_address(interface, about),
        5 => stack.set_gateway(interface, about),
        6 => stack.add_route(interface, about, prefix, Some(address(prefix))),
        _ => stack.remove_route(interface, about, prefix),
    };
    let _ = (stack.dns_servers(), stack.dhcp_lease(interface), stack.is_local(about));
}

fn unreachable(choice: u8) -> Unreachable {
    let all = [Unreachable::Network, Unreachable::Host, Unreachable::Port, Unreachable::Prohibited];
    all[usize::from(choice & 3)]
}

/// An address of any kind.
fn address(choice: u8) -> IpAddr {
    match choice & 15 {
        0 => US.into(),
        1 => US_V6.into(),
        2 => Ipv4Addr::UNSPECIFIED.into(),
        3 => Ipv6Addr::UNSPECIFIED.into(),
        4 => Ipv4Addr::new(10, 0, 0, 2).into(),
        5 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2).into(),
        6 => packets::ROUTER.into(),
        7 => packets::ROUTER_V6.into(),
        8 => Ipv4Addr::new(203, 0, 113, choice >> 4).into(),
        9 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(choice >> 4)).into(),
        10 => Ipv4Addr::new(239, 1, 1, choice >> 6).into(),
        11 => Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, u16::from(choice >> 6)).into(),
        12 => Ipv4Addr::LOCALHOST.into(),
        13 => Ipv6Addr::LOCALHOST.into(),
        14 => Ipv4Addr::BROADCAST.into(),
        _ => Ipv4Addr::new(10, 0, 0, 255).into(),
    }
}
