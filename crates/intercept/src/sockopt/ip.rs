//! Options of IP (ip(7), ipv6(7)).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use estab::MtuDiscovery;
use estab::blocking::UdpSocket;
use estab::core::{Error as CoreError, options_to_send};
use estab::wire::ipv4::Options as Ipv4Options;
use rustix::io::Errno;

use super::{flag, int, int_or_byte, of_flag, of_int, only_off};
use crate::network::Network;
use crate::table::{Kind, Socket, Tcp};
use crate::udp::control::Wanted;

const IP_TOS: i32 = 1;
const IP_TTL: i32 = 2;
const IP_OPTIONS: i32 = 4;
const IP_RECVOPTS: i32 = 6;
const IP_PKTINFO: i32 = 8;
const IP_MTU_DISCOVER: i32 = 10;
const IP_RECVERR: i32 = 11;
const IP_RECVTTL: i32 = 12;
const IP_RECVTOS: i32 = 13;
const IP_MTU: i32 = 14;
const IP_FREEBIND: i32 = 15;
const IP_TRANSPARENT: i32 = 19;
const IP_BIND_ADDRESS_NO_PORT: i32 = 24;
const IP_MULTICAST_IF: i32 = 32;
const IP_MULTICAST_TTL: i32 = 33;
const IP_MULTICAST_LOOP: i32 = 34;
const IP_ADD_MEMBERSHIP: i32 = 35;
const IP_DROP_MEMBERSHIP: i32 = 36;
const IP_MULTICAST_ALL: i32 = 49;

const IPV6_UNICAST_HOPS: i32 = 16;
const IPV6_MULTICAST_IF: i32 = 17;
const IPV6_MULTICAST_HOPS: i32 = 18;
const IPV6_MULTICAST_LOOP: i32 = 19;
const IPV6_JOIN_GROUP: i32 = 20;
const IPV6_LEAVE_GROUP: i32 = 21;
const IPV6_MTU_DISCOVER: i32 = 23;
const IPV6_MTU: i32 = 24;
const IPV6_RECVERR: i32 = 25;
const IPV6_V6ONLY: i32 = 26;
const IPV6_RECVPKTINFO: i32 = 49;
const IPV6_RECVHOPLIMIT: i32 = 51;
const IPV6_RECVTCLASS: i32 = 66;
const IPV6_TCLASS: i32 = 67;

const UDP_SEGMENT: i32 = 103;

/// How much a program may say about groups before it binds.
const MAX_CHOICES: usize = 64;

/// `IP_PMTUDISC_WANT`: how TCP here finds the path's MTU, as on Linux by default.
const PMTUDISC_WANT: i32 = 1;
/// `IP_PMTUDISC_DO`: to TCP, which sends nothing in fragments, the same.
const PMTUDISC_DO: i32 = 2;

/// What a datagram socket may choose, by its number.
const DISCOVERIES: [MtuDiscovery; 6] = [
    MtuDiscovery::Dont,
    MtuDiscovery::Want,
    MtuDiscovery::Do,
    MtuDiscovery::Probe,
    MtuDiscovery::Interface,
    MtuDiscovery::Omit,
];

/// What a UDP socket was told before it was bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    /// `None`: that of the way, as routers advertise it.
    pub(crate) ttl: Option<u8>,
    pub(crate) multicast_ttl: u8,
    pub(crate) multicast_loop: bool,
    /// DSCP and ECN.
    pub(crate) class: u8,
    pub(crate) mtu_discovery: MtuDiscovery,
    /// `UDP_SEGMENT`
    pub(crate) segment: Option<u16>,
    /// `IP_OPTIONS`
    pub(crate) options: Ipv4Options,
}

/// What a program does about groups, before or after it binds its socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    InterfaceV4(Ipv4Addr),
    InterfaceV6(u32),
    JoinV4(Ipv4Addr, Ipv4Addr),
    LeaveV4(Ipv4Addr, Ipv4Addr),
    JoinV6(Ipv6Addr, u32),
    LeaveV6(Ipv6Addr, u32),
}

impl Choice {
    pub(crate) fn apply(self, udp: &UdpSocket) -> io::Result<()> {
        match self {
            Choice::InterfaceV4(interface) => udp.set_multicast_if_v4(&interface),
            Choice::InterfaceV6(interface) => udp.set_multicast_if_v6(interface),
            Choice::JoinV4(group, interface) => udp.join_multicast_v4(group, interface),
            Choice::LeaveV4(group, interface) => udp.leave_multicast_v4(group, interface),
            Choice::JoinV6(group, interface) => udp.join_multicast_v6(&group, interface),
            Choice::LeaveV6(group, interface) => udp.leave_multicast_v6(&group, interface),
        }
    }
}

impl Default for Settings {
    /// RFC 1122 3.2.1.7, RFC 1112 6.1; Linux's way to the path's MTU.
    fn default() -> Self {
        Self {
            ttl: None,
            multicast_ttl: 1,
            multicast_loop: true,
            class: 0,
            mtu_discovery: MtuDiscovery::Want,
            segment: None,
            options: Ipv4Options::NONE,
        }
    }
}

impl Socket {
    pub(super) fn get_ip_option(&self, option: i32, network: &Network) -> Result<Vec<u8>, Errno> {
        let udp = matches!(self.kind, Kind::Udp(_));
        let settings = self.settings.ip;
        match option {
            IP_TTL => self.ttl(network),
            IP_TOS if !udp => of_int(self.settings.tcp(network).traffic_class.into()),
            IP_TOS => of_int(settings.class.into()),
            IP_MTU_DISCOVER if udp => {
                let place = DISCOVERIES.iter().position(|mode| *mode == settings.mtu_discovery);
                of_int(place.and_then(|place| i32::try_from(place).ok()).unwrap_or(PMTUDISC_WANT))
            }
            IP_MTU_DISCOVER => of_int(self.settings.tcp_mtu_discovery.unwrap_or(PMTUDISC_WANT)),
            IP_MTU => self.path_mtu(),
            IP_RECVERR => of_flag(self.settings.receive_errors),
            IP_MULTICAST_TTL => of_int(settings.multicast_ttl.into()),
            IP_MULTICAST_LOOP => of_flag(settings.multicast_loop),
            IP_MULTICAST_ALL => of_int(0),
            IP_OPTIONS => Ok(settings.options.as_bytes().to_vec()),
            IP_RECVOPTS => of_flag(self.settings.wanted.options),
            IP_PKTINFO => of_flag(self.settings.wanted.address),
            IP_RECVTTL => of_flag(self.settings.wanted.ttl),
            IP_RECVTOS => of_flag(self.settings.wanted.class),
            IP_BIND_ADDRESS_NO_PORT => of_flag(self.settings.bind_without_port),
            IP_FREEBIND | IP_TRANSPARENT => of_int(0),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    pub(super) fn get_ipv6_option(&self, option: i32, network: &Network) -> Result<Vec<u8>, Errno> {
        match option {
            IPV6_V6ONLY => of_flag(self.settings.only_v6),
            IPV6_UNICAST_HOPS => self.get_ip_option(IP_TTL, network),
            IPV6_TCLASS => self.get_ip_option(IP_TOS, network),
            IPV6_MULTICAST_HOPS => self.get_ip_option(IP_MULTICAST_TTL, network),
            IPV6_MULTICAST_LOOP => self.get_ip_option(IP_MULTICAST_LOOP, network),
            IPV6_MTU_DISCOVER => self.get_ip_option(IP_MTU_DISCOVER, network),
            IPV6_MTU => self.path_mtu(),
            IPV6_RECVERR => of_flag(self.settings.receive_errors),
            IPV6_RECVPKTINFO => of_flag(self.settings.wanted.address_v6),
            IPV6_RECVHOPLIMIT => of_flag(self.settings.wanted.ttl_v6),
            IPV6_RECVTCLASS => of_flag(self.settings.wanted.class_v6),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    /// What packets have: what was set, else what the way to the peer has, else the usual.
    fn ttl(&self, network: &Network) -> Result<Vec<u8>, Errno> {
        let of_way = match &self.kind {
            Kind::Udp(udp) => udp.ttl(),
            Kind::Tcp(_) => self.stream().and_then(|stream| stream.ttl().ok()),
        };
        let set = match &self.kind {
            Kind::Udp(_) => self.settings.ip.ttl,
            Kind::Tcp(_) => self.settings.tcp(network).ttl,
        };
        let ttl = set.map(u32::from).or(of_way).unwrap_or(estab::DEFAULT_TTL.into());
        of_int(i32::try_from(ttl).unwrap_or(i32::MAX))
    }

    fn path_mtu(&self) -> Result<Vec<u8>, Errno> {
        if let Kind::Udp(udp) = &self.kind {
            return of_int(udp.path_mtu()?.into());
        }
        let info = self.stream().and_then(|stream| stream.info().ok()).ok_or(Errno::NOTCONN)?;
        of_int(i32::try_from(info.pmtu).unwrap_or(i32::MAX))
    }

    pub(super) fn set_ip_option(
        &mut self,
        option: i32,
        value: &[u8],
        network: &Network,
    ) -> Result<(), Errno> {
        match option {
            IP_TTL => self.set_ttl(int_or_byte(value)?, network),
            IP_TOS => self.set_traffic_class(int_or_byte(value)?, network),
            IP_MTU_DISCOVER => self.set_mtu_discover(int_or_byte(value)?),
            IP_BIND_ADDRESS_NO_PORT => {
                self.settings.bind_without_port = int_or_byte(value)? != 0;
                Ok(())
            }
            IP_RECVERR => self.hear_all_errors(int_or_byte(value)? != 0),
            IP_OPTIONS => self.set_options(value),
            IP_RECVOPTS => self.want(int_or_byte(value)?, |wanted| &mut wanted.options),
            IP_PKTINFO => self.want(int_or_byte(value)?, |wanted| &mut wanted.address),
            IP_RECVTTL => self.want(int_or_byte(value)?, |wanted| &mut wanted.ttl),
            IP_RECVTOS => self.want(int_or_byte(value)?, |wanted| &mut wanted.class),
            IP_MULTICAST_TTL => self.set_multicast_ttl(int_or_byte(value)?),
            IP_MULTICAST_LOOP => self.set_multicast_loop(int_or_byte(value)? != 0),
            IP_MULTICAST_IF => {
                let interface = membership(value).map_or_else(|| v4(value), |(_, ip)| Ok(ip))?;
                self.choose(Choice::InterfaceV4(interface))
            }
            IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP => {
                let (group, interface) = membership(value).ok_or(Errno::INVAL)?;
                match option {
                    IP_ADD_MEMBERSHIP => self.choose(Choice::JoinV4(group, interface)),
                    _ => self.choose(Choice::LeaveV4(group, interface)),
                }
            }
            IP_MULTICAST_ALL | IP_FREEBIND => match int_or_byte(value)? {
                0 => Ok(()),
                _ => Err(Errno::NOPROTOOPT),
            },
            IP_TRANSPARENT => only_off(value, Errno::PERM),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    pub(super) fn set_ipv6_option(
        &mut self,
        option: i32,
        value: &[u8],
        network: &Network,
    ) -> Result<(), Errno> {
        match option {
            IPV6_V6ONLY => {
                let fresh = match &self.kind {
                    Kind::Tcp(Tcp::Fresh) => self.bound.is_none() && self.bound_address.is_none(),
                    Kind::Udp(udp) => !udp.is_bound(),
                    Kind::Tcp(_) => false,
                };
                let on = flag(value)?;
                if !fresh {
                    return Err(Errno::INVAL);
                }
                self.settings.only_v6 = on;
                Ok(())
            }
            IPV6_UNICAST_HOPS => self.set_ttl(int(value)?, network),
            IPV6_TCLASS => self.set_traffic_class(int(value)?, network),
            IPV6_MULTICAST_HOPS => self.set_multicast_ttl(int(value)?),
            IPV6_MULTICAST_LOOP => self.set_multicast_loop(flag(value)?),
            IPV6_MTU_DISCOVER => self.set_mtu_discover(int(value)?),
            IPV6_RECVERR => self.hear_all_errors(flag(value)?),
            IPV6_RECVPKTINFO => self.want(int(value)?, |wanted| &mut wanted.address_v6),
            IPV6_RECVHOPLIMIT => self.want(int(value)?, |wanted| &mut wanted.ttl_v6),
            IPV6_RECVTCLASS => self.want(int(value)?, |wanted| &mut wanted.class_v6),
            IPV6_MULTICAST_IF => {
                let interface = u32::try_from(int(value)?).map_err(|_| Errno::INVAL)?;
                self.choose(Choice::InterfaceV6(interface))
            }
            IPV6_JOIN_GROUP | IPV6_LEAVE_GROUP => {
                let group: [u8; 16] =
                    value.get(..16).and_then(|b| b.try_into().ok()).ok_or(Errno::INVAL)?;
                let interface = int(value.get(16..).unwrap_or_default())?;
                let interface = u32::try_from(interface).map_err(|_| Errno::NODEV)?;
                let group = Ipv6Addr::from(group);
                match option {
                    IPV6_JOIN_GROUP => self.choose(Choice::JoinV6(group, interface)),
                    _ => self.choose(Choice::LeaveV6(group, interface)),
                }
            }
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    /// -1 is the default.
    fn set_ttl(&mut self, ttl: i32, network: &Network) -> Result<(), Errno> {
        let ttl = match ttl {
            -1 => None,
            ttl => Some(u8::try_from(ttl).ok().filter(|ttl| *ttl > 0).ok_or(Errno::INVAL)?),
        };
        match &mut self.kind {
            Kind::Udp(udp) => {
                self.settings.ip.ttl = ttl;
                udp.set(|udp| ttl.map_or_else(|| udp.unset_ttl(), |ttl| udp.set_ttl(ttl.into())))
            }
            Kind::Tcp(_) => self.change_tcp(network, |options| options.ttl = ttl),
        }
    }

    /// To TCP, the two bits of ECN belong to the stack.
    fn set_traffic_class(&mut self, class: i32, network: &Network) -> Result<(), Errno> {
        let class = if class == -1 { 0 } else { u8::try_from(class & 0xff).unwrap_or(0) };
        match &self.kind {
            Kind::Udp(_) => {
                self.settings.ip.class = class;
                Ok(())
            }
            Kind::Tcp(_) => self.change_tcp(network, |options| options.traffic_class = class & !3),
        }
    }

    /// The options that datagrams carry. TCP carries none, and can be told so.
    fn set_options(&mut self, value: &[u8]) -> Result<(), Errno> {
        let Kind::Udp(udp) = &self.kind else {
            return if value.is_empty() { Ok(()) } else { Err(Errno::NOPROTOOPT) };
        };
        let options = options_to_send(value).map_err(|error| match error {
            CoreError::PermissionDenied => Errno::PERM,
            _ => Errno::INVAL,
        })?;
        udp.set(|udp| udp.set_options_v4(value))?;
        self.settings.ip.options = options;
        Ok(())
    }

    fn set_mtu_discover(&mut self, mode: i32) -> Result<(), Errno> {
        let place = usize::try_from(mode).map_err(|_| Errno::INVAL)?;
        let discovery = *DISCOVERIES.get(place).ok_or(Errno::INVAL)?;
        match &self.kind {
            Kind::Udp(udp) => {
                udp.set(|udp| udp.set_mtu_discovery(discovery))?;
                self.settings.ip.mtu_discovery = discovery;
                Ok(())
            }
            Kind::Tcp(_) if matches!(mode, PMTUDISC_WANT | PMTUDISC_DO) => {
                self.settings.tcp_mtu_discovery = Some(mode);
                Ok(())
            }
            // A TCP that sends more than the path takes, or lets it be cut, is none of ours.
            Kind::Tcp(_) => Err(Errno::NOPROTOOPT),
        }
    }

    /// Says what is to be told beside each datagram. Nothing is told beside bytes of a stream, on Linux
    /// either.
    fn want(&mut self, on: i32, what: impl FnOnce(&mut Wanted) -> &mut bool) -> Result<(), Errno> {
        *what(&mut self.settings.wanted) = on != 0;
        Ok(())
    }

    fn hear_all_errors(&mut self, on: bool) -> Result<(), Errno> {
        if let Kind::Udp(udp) = &self.kind {
            udp.set(|udp| udp.hear_all_errors(on))?;
        }
        self.settings.receive_errors = on;
        Ok(())
    }

    pub(super) fn get_udp_option(&self, option: i32) -> Result<Vec<u8>, Errno> {
        match option {
            UDP_SEGMENT => of_int(self.settings.ip.segment.unwrap_or(0).into()),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    pub(super) fn set_udp_option(&mut self, option: i32, value: &[u8]) -> Result<(), Errno> {
        match option {
            UDP_SEGMENT => {
                let size = u16::try_from(int(value)?).map_err(|_| Errno::INVAL)?;
                self.settings.ip.segment = Some(size).filter(|size| *size > 0);
                Ok(())
            }
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn set_multicast_ttl(&mut self, ttl: i32) -> Result<(), Errno> {
        let ttl = if ttl == -1 { 1 } else { u8::try_from(ttl).map_err(|_| Errno::INVAL)? };
        self.settings.ip.multicast_ttl = ttl;
        self.when_bound(|udp| udp.set_multicast_ttl_v4(ttl.into()))
    }

    fn set_multicast_loop(&mut self, on: bool) -> Result<(), Errno> {
        self.settings.ip.multicast_loop = on;
        self.when_bound(|udp| udp.set_multicast_loop_v4(on))
    }

    /// Does something about groups, now or when the socket is bound.
    fn choose(&mut self, choice: Choice) -> Result<(), Errno> {
        let Kind::Udp(udp) = &self.kind else { return Err(Errno::NOPROTOOPT) };
        if udp.is_bound() {
            return udp.set(|udp| choice.apply(udp));
        }
        if self.settings.choices.len() >= MAX_CHOICES {
            return Err(Errno::NOBUFS);
        }
        self.settings.choices.push(choice);
        Ok(())
    }

    /// Sets something on a UDP socket of the stack, which may not be there yet.
    fn when_bound(&self, f: impl FnOnce(&UdpSocket) -> io::Result<()>) -> Result<(), Errno> {
        match &self.kind {
            Kind::Udp(udp) => udp.set(f),
            Kind::Tcp(_) => Err(Errno::NOPROTOOPT),
        }
    }
}

fn v4(value: &[u8]) -> Result<Ipv4Addr, Errno> {
    let bytes: [u8; 4] = value.get(..4).and_then(|b| b.try_into().ok()).ok_or(Errno::INVAL)?;
    Ok(bytes.into())
}

/// A `struct ip_mreq`: a group and an interface by its address.
fn membership(value: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    Some((v4(value.get(..4)?).ok()?, v4(value.get(4..8)?).ok()?))
}
