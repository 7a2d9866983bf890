//! UDP as both socket families see it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use stack::{
    Error, SocketId, SourceChange, UdpId, UdpOptions, UdpReceived, UdpTransmit, Unreachable,
};
use wire::time::Instant;

use crate::Stack;
use crate::shards::Hold;
use crate::socket::Socket;

type Answer<T> = Result<T, Error>;

/// A UDP socket.
#[derive(Debug)]
pub(crate) struct Datagrams {
    pub(crate) socket: Socket,
    id: UdpId,
}

impl Datagrams {
    /// A port belongs to one shard, and so does its socket; port 0 is one of another shard each time.
    pub(crate) fn bind(stack: &Stack, local: SocketAddr, options: UdpOptions) -> io::Result<Self> {
        let asked =
            (local.port() != 0).then(|| stack.owner_of_udp_port(local.port())).transpose()?;
        let shard = stack.hold(asked);
        let bind = |core: &mut stack::Stack, _| core.udp_bind_with(local, options);
        let (socket, id) = Socket::open(shard, SocketId::Udp, bind)?;
        Ok(Self { socket, id })
    }

    /// A socket of a flow that began.
    pub(crate) fn adopt(shard: &Arc<Hold>, id: UdpId) -> io::Result<Self> {
        let (socket, id) = Socket::open(shard, SocketId::Udp, |_, _| Ok(id))?;
        Ok(Self { socket, id })
    }

    /// Sends to a flow's peer as if from `source`.
    pub(crate) fn send_from(
        &self,
        payload: &[u8],
        source: SocketAddr,
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<usize> {
        let id = self.id;
        move |core, now| core.udp_send_from(now, id, source, payload)
    }

    pub(crate) fn set_idle(&self, idle: Duration) -> io::Result<()> {
        self.socket.call(|core, _| core.udp_set_idle(self.id, idle))
    }

    pub(crate) fn refuse_flow(&self, what: Unreachable) -> io::Result<()> {
        self.socket.call(|core, now| core.udp_refuse_flow(now, self.id, what))
    }

    /// Its number in the core.
    pub(crate) fn id(&self) -> UdpId {
        self.id
    }

    /// Carries out a call about this socket that does not wait.
    pub(crate) fn set(
        &self,
        f: impl FnOnce(&mut stack::Stack, UdpId) -> Answer<()>,
    ) -> io::Result<()> {
        self.socket.call(|core, _| f(core, self.id))
    }

    /// The same for what is asked.
    pub(crate) fn get<T>(
        &self,
        f: impl FnOnce(&stack::Stack, UdpId) -> Answer<T>,
    ) -> io::Result<T> {
        self.socket.call(|core, _| f(core, self.id))
    }

    pub(crate) fn change_source_v4(
        &self,
        change: SourceChange,
        group: Ipv4Addr,
        source: Ipv4Addr,
        interface: Ipv4Addr,
    ) -> io::Result<()> {
        self.set(|core, id| core.udp_change_source_v4(id, change, group, source, interface))
    }

    pub(crate) fn change_source_v6(
        &self,
        change: SourceChange,
        group: Ipv6Addr,
        source: Ipv6Addr,
        interface: u32,
    ) -> io::Result<()> {
        self.set(|core, id| core.udp_change_source_v6(id, change, group, source, interface))
    }

    pub(crate) fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        self.socket.call(|core, _| core.udp_connect(self.id, remote))
    }

    /// Sends to the peer that was connected to, or to `remote`.
    pub(crate) fn send(
        &self,
        payload: &[u8],
        remote: Option<SocketAddr>,
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<usize> {
        let id = self.id;
        move |core, now| match remote {
            Some(remote) => core.udp_send_to(now, id, payload, remote),
            None => core.udp_send(now, id, payload),
        }
    }

    /// Takes the next datagram; what does not fit `buffer` is lost.
    pub(crate) fn receive(
        &self,
        buffer: &mut [u8],
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<(usize, SocketAddr)> {
        let id = self.id;
        move |core, _| core.udp_receive_from(id, buffer)
    }

    /// Sends a datagram with what goes beside it, or several of one length.
    pub(crate) fn send_message(
        &self,
        message: &UdpTransmit<'_>,
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<usize> {
        let id = self.id;
        move |core, now| core.udp_send_message(now, id, message)
    }

    /// Takes the next datagram, and those behind it that are like it.
    pub(crate) fn receive_message(
        &self,
        buffer: &mut [u8],
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<UdpReceived> {
        let id = self.id;
        move |core, _| core.udp_receive_message(id, buffer)
    }

    /// Takes the next datagram alone, and tells the same of it.
    pub(crate) fn receive_one(
        &self,
        buffer: &mut [u8],
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<UdpReceived> {
        let id = self.id;
        move |core, _| core.udp_receive_datagram(id, buffer)
    }

    /// Reads the next datagram and leaves it there.
    pub(crate) fn peek(
        &self,
        buffer: &mut [u8],
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<(usize, SocketAddr)> {
        let id = self.id;
        move |core, _| core.udp_peek_from(id, buffer)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(|core, _| core.udp_local(self.id))
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(|core, _| core.udp_remote(self.id))
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let error = self.socket.call(|core, _| core.udp_take_error(self.id))?;
        Ok(error.map(crate::error::from_stack))
    }

    pub(crate) fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = crate::connection::ttl_from(ttl)?;
        self.socket.call(|core, _| core.udp_set_ttl(self.id, Some(ttl)))
    }
}

/// The accessors that every UDP socket has, whatever its family.
macro_rules! datagram_accessors {
    () => {
        /// This side's address and port.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn local_addr(&self) -> io::Result<SocketAddr> {
            self.datagrams.local_addr()
        }

        /// The address and port that it is connected to.
        ///
        /// # Errors
        /// `NotConnected`; `NetworkDown` when the stack has ended.
        pub fn peer_addr(&self) -> io::Result<SocketAddr> {
            self.datagrams.peer_addr()
        }

        /// The error that the network reported last (`SO_ERROR`), once.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn take_error(&self) -> io::Result<Option<io::Error>> {
            self.datagrams.take_error()
        }

        /// Sets the time to live of packets sent (`IP_TTL`): 1 to 255.
        ///
        /// # Errors
        /// `InvalidInput` for another number, `NetworkDown` when the stack has ended.
        pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
            self.datagrams.set_ttl(ttl)
        }

        /// The options of IPv4 that what is sent from now on carries (`IP_OPTIONS`), at most 40 bytes; none is
        /// none. In a recorded route and in timestamps the stack is the first.
        ///
        /// # Errors
        /// `InvalidInput` for what no receiver could read, `PermissionDenied` for a source route, which is
        /// dropped nearly everywhere (RFC 7126 4.3), `NetworkDown` when the stack has ended.
        pub fn set_options_v4(&self, options: &[u8]) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_set_options(id, options))
        }

        /// What [`set_options_v4`](Self::set_options_v4) set, padded to a multiple of 4 bytes.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn options_v4(&self) -> io::Result<wire::ipv4::Options> {
            self.datagrams.get(stack::Stack::udp_options)
        }

        /// Takes back what [`set_ttl`](Self::set_ttl) said: packets have what routers advertise over IPv6,
        /// else 64, as they had before.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn unset_ttl(&self) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_set_ttl(id, None))
        }

        /// The time to live of packets sent (`IP_TTL`): what was set, else that of the way to the peer, else
        /// 64.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn ttl(&self) -> io::Result<u32> {
            self.datagrams.get(stack::Stack::udp_ttl).map(u32::from)
        }

        /// What becomes of datagrams that are longer than the path takes (`IP_MTU_DISCOVER`).
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn set_mtu_discovery(&self, mode: MtuDiscovery) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_set_mtu_discovery(id, mode))
        }

        /// The longest packet that the way to the peer takes, as far as is known (`IP_MTU`).
        ///
        /// # Errors
        /// `NotConnected`; `NetworkDown` when the stack has ended.
        pub fn path_mtu(&self) -> io::Result<u16> {
            self.datagrams.get(stack::Stack::udp_path_mtu)
        }

        /// Whether what ICMP reports is told also while the socket is not connected (`IP_RECVERR`): it is not,
        /// unless set.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn hear_all_errors(&self, on: bool) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_hear_all_errors(id, on))
        }

        /// Lets others that do the same have the address and port, too, or no others (`SO_REUSEADDR` after
        /// the bind).
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn set_shared(&self, shared: bool) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_set_shared(id, shared))
        }

        /// Joins a group on the interface that has the address `interface`, an unspecified one leaving
        /// the choice to the routes; the routers of the link are told (RFC 9776). From then on it hears
        /// what goes to the group and the socket's port there, from whomever; for some sources only there
        /// is [`join_source_v4`](Self::join_source_v4).
        ///
        /// # Errors
        /// `InvalidInput` when it is no group or the socket is one of IPv6, `AddrNotAvailable` when no
        /// interface has the address, `AddrInUse` when it has joined already, `QuotaExceeded` beyond
        /// [`Config::groups_per_socket`](crate::Config), `NetworkDown` when the stack has ended.
        pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_join_v4(id, group, interface))
        }

        /// Joins a group on the interface with this number, as a link-local address has it for its scope
        /// (links are counted from 1); 0 leaves the choice to the routes. The routers of the link are
        /// told (RFC 9777).
        ///
        /// # Errors
        /// As [`join_multicast_v4`](Self::join_multicast_v4).
        pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_join_v6(id, *group, interface))
        }

        /// Leaves a group that was joined with the same arguments.
        ///
        /// # Errors
        /// `AddrNotAvailable` when it was not, `NetworkDown` when the stack has ended.
        pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_leave_v4(id, group, interface))
        }

        /// The same for IPv6.
        ///
        /// # Errors
        /// As [`leave_multicast_v4`](Self::leave_multicast_v4).
        pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_leave_v6(id, *group, interface))
        }

        /// Joins a group for what `source` sends to it, on the interface that
        /// [`join_multicast_v4`](Self::join_multicast_v4) takes (`IP_ADD_SOURCE_MEMBERSHIP`). Further
        /// calls add further sources; what others send is not heard. The routers of the link are told,
        /// and need not bring it.
        ///
        /// # Errors
        /// `InvalidInput` when it is no group or no host, the socket is one of IPv6, or it blocks sources
        /// of the group; `AddrNotAvailable` when no interface has the address or the source was joined
        /// already; `QuotaExceeded` beyond [`Config::groups_per_socket`](crate::Config) and
        /// `sources_per_group`; `NetworkDown` when the stack has ended.
        pub fn join_source_v4(
            &self,
            group: Ipv4Addr,
            source: Ipv4Addr,
            interface: Ipv4Addr,
        ) -> io::Result<()> {
            self.datagrams.change_source_v4(stack::SourceChange::Join, group, source, interface)
        }

        /// Takes [`join_source_v4`](Self::join_source_v4) back; with its last source the group is left.
        ///
        /// # Errors
        /// `AddrNotAvailable` when the source was not joined; else as
        /// [`join_source_v4`](Self::join_source_v4).
        pub fn leave_source_v4(
            &self,
            group: Ipv4Addr,
            source: Ipv4Addr,
            interface: Ipv4Addr,
        ) -> io::Result<()> {
            self.datagrams.change_source_v4(stack::SourceChange::Leave, group, source, interface)
        }

        /// Hears a group that was [joined](Self::join_multicast_v4) from this source no longer
        /// (`IP_BLOCK_SOURCE`).
        ///
        /// # Errors
        /// `InvalidInput` when the socket is not in the group, or in it for some sources only;
        /// `AddrNotAvailable` when the source is blocked already; else as
        /// [`join_source_v4`](Self::join_source_v4).
        pub fn block_source_v4(
            &self,
            group: Ipv4Addr,
            source: Ipv4Addr,
            interface: Ipv4Addr,
        ) -> io::Result<()> {
            self.datagrams.change_source_v4(stack::SourceChange::Block, group, source, interface)
        }

        /// Hears a source that was [blocked](Self::block_source_v4) again.
        ///
        /// # Errors
        /// `AddrNotAvailable` when it was not; else as [`block_source_v4`](Self::block_source_v4).
        pub fn unblock_source_v4(
            &self,
            group: Ipv4Addr,
            source: Ipv4Addr,
            interface: Ipv4Addr,
        ) -> io::Result<()> {
            self.datagrams.change_source_v4(stack::SourceChange::Unblock, group, source, interface)
        }

        /// [`join_source_v4`](Self::join_source_v4) for IPv6, on the interface with this number; 0 leaves
        /// the choice to the routes.
        ///
        /// # Errors
        /// As [`join_source_v4`](Self::join_source_v4).
        pub fn join_source_v6(
            &self,
            group: &Ipv6Addr,
            source: &Ipv6Addr,
            interface: u32,
        ) -> io::Result<()> {
            self.datagrams.change_source_v6(stack::SourceChange::Join, *group, *source, interface)
        }

        /// [`leave_source_v4`](Self::leave_source_v4) for IPv6.
        ///
        /// # Errors
        /// As [`leave_source_v4`](Self::leave_source_v4).
        pub fn leave_source_v6(
            &self,
            group: &Ipv6Addr,
            source: &Ipv6Addr,
            interface: u32,
        ) -> io::Result<()> {
            self.datagrams.change_source_v6(stack::SourceChange::Leave, *group, *source, interface)
        }

        /// [`block_source_v4`](Self::block_source_v4) for IPv6.
        ///
        /// # Errors
        /// As [`block_source_v4`](Self::block_source_v4).
        pub fn block_source_v6(
            &self,
            group: &Ipv6Addr,
            source: &Ipv6Addr,
            interface: u32,
        ) -> io::Result<()> {
            self.datagrams.change_source_v6(stack::SourceChange::Block, *group, *source, interface)
        }

        /// [`unblock_source_v4`](Self::unblock_source_v4) for IPv6.
        ///
        /// # Errors
        /// As [`unblock_source_v4`](Self::unblock_source_v4).
        pub fn unblock_source_v6(
            &self,
            group: &Ipv6Addr,
            source: &Ipv6Addr,
            interface: u32,
        ) -> io::Result<()> {
            self.datagrams.change_source_v6(
                stack::SourceChange::Unblock,
                *group,
                *source,
                interface,
            )
        }

        /// Datagrams to groups leave by the interface that has this address (`IP_MULTICAST_IF`); an
        /// unspecified one lets routes decide.
        ///
        /// # Errors
        /// `AddrNotAvailable` when no interface has it, `NetworkDown` when the stack has ended.
        pub fn set_multicast_if_v4(&self, interface: &Ipv4Addr) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_set_multicast_interface_v4(id, *interface))
        }

        /// The same for IPv6, by the interface's number; 0 lets routes decide.
        ///
        /// # Errors
        /// As [`set_multicast_if_v4`](Self::set_multicast_if_v4).
        pub fn set_multicast_if_v6(&self, interface: u32) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_set_multicast_interface_v6(id, interface))
        }

        /// How far datagrams to groups go (`IP_MULTICAST_TTL`): 1, unless it is set, stays on the link.
        ///
        /// # Errors
        /// `InvalidInput` above 255, `NetworkDown` when the stack has ended.
        pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
            let ttl = u8::try_from(ttl).map_err(|_| io::ErrorKind::InvalidInput)?;
            self.datagrams.set(|core, id| core.udp_set_multicast_ttl(id, ttl))
        }

        /// How far datagrams to groups go.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
            self.datagrams.get(stack::Stack::udp_multicast_ttl).map(u32::from)
        }

        /// The same for IPv6 (`IPV6_MULTICAST_HOPS`).
        ///
        /// # Errors
        /// As [`set_multicast_ttl_v4`](Self::set_multicast_ttl_v4).
        pub fn set_multicast_hops_v6(&self, hops: u32) -> io::Result<()> {
            self.set_multicast_ttl_v4(hops)
        }

        /// Whether this stack's own sockets hear what this one sends to groups (`IP_MULTICAST_LOOP`):
        /// they do, unless it is set.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_set_multicast_loop(id, on))
        }

        /// Whether they do.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn multicast_loop_v4(&self) -> io::Result<bool> {
            self.datagrams.get(stack::Stack::udp_multicast_loop)
        }

        /// The same for IPv6.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
            self.set_multicast_loop_v4(on)
        }

        /// The same for IPv6.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn multicast_loop_v6(&self) -> io::Result<bool> {
            self.multicast_loop_v4()
        }

        /// Whether the socket may send to everybody on a link (`SO_BROADCAST`): it may not, unless it is
        /// set, and then `send_to` says `PermissionDenied`.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
            self.datagrams.set(|core, id| core.udp_set_broadcast(id, on))
        }

        /// Whether it may.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn broadcast(&self) -> io::Result<bool> {
            self.datagrams.get(stack::Stack::udp_broadcast)
        }
    };
}
pub(crate) use datagram_accessors;
