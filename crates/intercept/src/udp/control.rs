//! What `recvmsg` tells beside a datagram, and `sendmsg` is told (cmsg(3), ip(7), ipv6(7), udp(7)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use estab::UdpReceived;
use estab::wire::ipv4::Options as Ipv4Options;
use rustix::io::Errno;

use crate::address::{Domain, index_of};

const SOL_SOCKET: i32 = 1;
const IPPROTO_IP: i32 = 0;
const IPPROTO_UDP: i32 = 17;
const IPPROTO_IPV6: i32 = 41;

const SCM_RIGHTS: i32 = 1;
const SCM_CREDENTIALS: i32 = 2;
const SO_TIMESTAMP: i32 = 29;
const SO_TIMESTAMPNS: i32 = 35;
const IP_TOS: i32 = 1;
const IP_TTL: i32 = 2;
const IP_RECVOPTS: i32 = 6;
const IP_RETOPTS: i32 = 7;
const IP_PKTINFO: i32 = 8;
const IPV6_PKTINFO: i32 = 50;
const IPV6_HOPLIMIT: i32 = 52;
const IPV6_TCLASS: i32 = 67;
const UDP_SEGMENT: i32 = 103;

/// The length of a `struct cmsghdr` on 64-bit architectures, and what everything is aligned to.
const HEADER: usize = 16;
const ALIGNMENT: usize = 8;

/// What a program wants to be told beside each datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) timestamp: Option<Precision>,
    /// `IP_PKTINFO`, `IP_RECVTTL`, `IP_RECVTOS`
    pub(crate) address: bool,
    pub(crate) ttl: bool,
    pub(crate) class: bool,
    /// `IP_RECVOPTS`
    pub(crate) options: bool,
    /// `IPV6_RECVPKTINFO`, `IPV6_RECVHOPLIMIT`, `IPV6_RECVTCLASS`
    pub(crate) address_v6: bool,
    pub(crate) ttl_v6: bool,
    pub(crate) class_v6: bool,
}

/// How a time is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Precision {
    /// `SO_TIMESTAMP`: a `struct timeval`.
    Microseconds,
    /// `SO_TIMESTAMPNS`: a `struct timespec`.
    Nanoseconds,
}

/// What is known of a datagram beside its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Beside {
    pub(crate) source: SocketAddr,
    /// Whom it was sent to.
    destination: IpAddr,
    /// Where it came in, as the program numbers it.
    interface: u32,
    ttl: u8,
    class: u8,
    /// Of IPv4.
    options: Ipv4Options,
    at: SystemTime,
}

impl Beside {
    pub(crate) fn new(received: &UdpReceived) -> Self {
        Self {
            source: received.source,
            destination: received.destination,
            interface: index_of(received.interface.scope_id()),
            ttl: received.ttl,
            class: received.traffic_class,
            options: received.options,
            at: SystemTime::now(),
        }
    }

    /// The control data that a program of this family which wants `wanted` gets. `ours` says which of our
    /// addresses an answer comes from to what was sent to the given one.
    pub(crate) fn control(
        &self,
        wanted: &Wanted,
        domain: Domain,
        ours: impl FnOnce(Ipv4Addr) -> Ipv4Addr,
    ) -> Control {
        let mut control = Control::default();
        let since = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        match wanted.timestamp {
            Some(Precision::Microseconds) => {
                control.push(SOL_SOCKET, SO_TIMESTAMP, &time(since, since.subsec_micros()));
            }
            Some(Precision::Nanoseconds) => {
                control.push(SOL_SOCKET, SO_TIMESTAMPNS, &time(since, since.subsec_nanos()));
            }
            None => {}
        }
        if domain == Domain::V6 && wanted.address_v6 {
            let mut info = mapped(self.destination).octets().to_vec();
            info.extend(self.interface.to_ne_bytes());
            control.push(IPPROTO_IPV6, IPV6_PKTINFO, &info);
        }
        match self.destination.to_canonical() {
            IpAddr::V4(destination) => {
                self.control_v4(wanted, destination, ours, &mut control);
            }
            IpAddr::V6(_) => {
                if wanted.ttl_v6 {
                    let hops = i32::from(self.ttl).to_ne_bytes();
                    control.push(IPPROTO_IPV6, IPV6_HOPLIMIT, &hops);
                }
                if wanted.class_v6 {
                    let class = i32::from(self.class).to_ne_bytes();
                    control.push(IPPROTO_IPV6, IPV6_TCLASS, &class);
                }
            }
        }
        control
    }

    fn control_v4(
        &self,
        wanted: &Wanted,
        destination: Ipv4Addr,
        ours: impl FnOnce(Ipv4Addr) -> Ipv4Addr,
        control: &mut Control,
    ) {
        if wanted.address {
            let addresses = [ours(destination).octets(), destination.octets()].concat();
            let info = [&self.interface.to_ne_bytes()[..], &addresses].concat();
            control.push(IPPROTO_IP, IP_PKTINFO, &info);
        }
        if wanted.ttl {
            control.push(IPPROTO_IP, IP_TTL, &i32::from(self.ttl).to_ne_bytes());
        }
        if wanted.class {
            // One byte, unlike all others.
            control.push(IPPROTO_IP, IP_TOS, &[self.class]);
        }
        if wanted.options && !self.options.is_empty() {
            control.push(IPPROTO_IP, IP_RECVOPTS, self.options.as_bytes());
        }
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn time(since: Duration, fraction: u32) -> Vec<u8> {
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    [seconds.to_ne_bytes(), i64::from(fraction).to_ne_bytes()].concat()
}

/// Control data for a program.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Control {
    messages: Vec<(i32, i32, Vec<u8>)>,
}

impl Control {
    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        self.messages.push((level, kind, data.to_vec()));
    }

    /// As it stands in the program's memory, in `room` bytes at most; and whether it was cut.
    pub(crate) fn encode(&self, room: usize) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        for (level, kind, data) in &self.messages {
            let left = room - bytes.len();
            if left < HEADER {
                return (bytes, true);
            }
            let length = (HEADER + data.len()).min(left);
            bytes.extend((length as u64).to_ne_bytes());
            bytes.extend(level.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(&data[..length - HEADER]);
            if length < HEADER + data.len() {
                return (bytes, true);
            }
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT).min(room), 0);
        }
        (bytes, false)
    }
}

/// What a program says beside a datagram that it sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Said {
    /// From which of our addresses.
    pub(crate) source: Option<IpAddr>,
    /// By which interface, as the program numbers it.
    pub(crate) interface: Option<u32>,
    pub(crate) ttl: Option<u8>,
    pub(crate) class: Option<u8>,
    pub(crate) segment: Option<u16>,
    /// Of IPv4.
    pub(crate) options: Option<Ipv4Options>,
}

impl Said {
    /// Reads control data.
    ///
    /// # Errors
    /// `EINVAL` for what is cut or has a value that cannot be, and for what is not known, as Linux has it.
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Self, Errno> {
        let mut said = Self::default();
        while let Some(header) = bytes.get(..HEADER) {
            let length = usize::try_from(word(header, 0)).map_err(|_| Errno::INVAL)?;
            let data = bytes.get(HEADER..length).ok_or(Errno::INVAL)?;
            said.learn(half(header, 8), half(header, 12), data)?;
            bytes = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        }
        Ok(said)
    }

    fn learn(&mut self, level: i32, kind: i32, data: &[u8]) -> Result<(), Errno> {
        match (level, kind) {
            (IPPROTO_IP, IP_PKTINFO) => {
                let info: &[u8; 12] = data.try_into().map_err(|_| Errno::INVAL)?;
                self.interface = Some(half(info, 0).cast_unsigned()).filter(|index| *index != 0);
                let ours = Ipv4Addr::new(info[4], info[5], info[6], info[7]);
                self.source = Some(ours.into()).filter(|_| !ours.is_unspecified());
            }
            (IPPROTO_IPV6, IPV6_PKTINFO) => {
                let info: &[u8; 20] = data.try_into().map_err(|_| Errno::INVAL)?;
                let ours: [u8; 16] = info[..16].try_into().map_err(|_| Errno::INVAL)?;
                let ours = Ipv6Addr::from(ours);
                self.interface = Some(half(info, 16).cast_unsigned()).filter(|index| *index != 0);
                let source = IpAddr::from(ours).to_canonical();
                self.source = Some(source).filter(|source| !source.is_unspecified());
            }
            (IPPROTO_IP, IP_TTL) => {
                let ttl = u8::try_from(whole(data)?).ok().filter(|ttl| *ttl > 0);
                self.ttl = Some(ttl.ok_or(Errno::INVAL)?);
            }
            (IPPROTO_IP, IP_TOS) => {
                let class = match data {
                    [class] => *class,
                    data => u8::try_from(whole(data)?).map_err(|_| Errno::INVAL)?,
                };
                self.class = Some(class);
            }
            // Under this name, because an answer carries what the question had.
            (IPPROTO_IP, IP_RETOPTS) => {
                self.options = Some(Ipv4Options::from_bytes(data).ok_or(Errno::INVAL)?);
            }
            // -1 is what the socket has.
            (IPPROTO_IPV6, IPV6_HOPLIMIT) => self.ttl = byte_or_default(data)?,
            (IPPROTO_IPV6, IPV6_TCLASS) => self.class = byte_or_default(data)?,
            (IPPROTO_UDP, UDP_SEGMENT) => {
                let size: [u8; 2] = data.try_into().map_err(|_| Errno::INVAL)?;
                self.segment = Some(u16::from_ne_bytes(size)).filter(|size| *size > 0);
            }
            // Linux passes descriptors and credentials over, which only Unix sockets carry.
            (SOL_SOCKET, SCM_RIGHTS | SCM_CREDENTIALS) => {}
            (SOL_SOCKET | IPPROTO_IP | IPPROTO_IPV6 | IPPROTO_UDP, _) => return Err(Errno::INVAL),
            // Levels that are not this socket's are passed over, as on Linux.
            _ => {}
        }
        Ok(())
    }
}

fn byte_or_default(data: &[u8]) -> Result<Option<u8>, Errno> {
    match whole(data)? {
        -1 => Ok(None),
        value => u8::try_from(value).map(Some).map_err(|_| Errno::INVAL),
    }
}

fn whole(data: &[u8]) -> Result<i32, Errno> {
    data.try_into().map(i32::from_ne_bytes).map_err(|_| Errno::INVAL)
}

fn half(bytes: &[u8], place: usize) -> i32 {
    let bytes = bytes.get(place..place + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, i32::from_ne_bytes)
}

fn word(bytes: &[u8], place: usize) -> u64 {
    let bytes = bytes.get(place..place + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn beside(destination: &str) -> Beside {
        let destination = destination.parse().unwrap();
        Beside {
            source: "10.0.0.1:9".parse().unwrap(),
            destination,
            interface: 2,
            ttl: 63,
            class: 0x2e,
            options: Ipv4Options::ROUTER_ALERT,
            at: UNIX_EPOCH + Duration::new(7, 8_000_009),
        }
    }

    const ALL: Wanted = Wanted {
        timestamp: Some(Precision::Nanoseconds),
        address: true,
        ttl: true,
        class: true,
        options: true,
        address_v6: true,
        ttl_v6: true,
        class_v6: true,
    };

    #[test]
    fn what_is_told_can_be_said_again() {
        let addresses = Wanted { timestamp: None, options: false, ..ALL };
        let (bytes, cut) =
            beside("10.0.0.2").control(&addresses, Domain::V4, |ours| ours).encode(1024);
        assert!(!cut);
        let said = Said::parse(&bytes).unwrap();
        assert_eq!(said.source, Some("10.0.0.2".parse().unwrap()));
        assert_eq!((said.interface, said.ttl, said.class), (Some(2), Some(63), Some(0x2e)));
        let (bytes, _) =
            beside("fd77::2").control(&addresses, Domain::V6, |ours| ours).encode(1024);
        let said = Said::parse(&bytes).unwrap();
        assert_eq!(said.source, Some("fd77::2".parse().unwrap()));
        assert_eq!((said.interface, said.ttl, said.class), (Some(2), Some(63), Some(0x2e)));
    }

    #[test]
    fn a_family_is_told_of_its_own() {
        let kinds = |destination: &str, domain| -> Vec<(i32, i32)> {
            let control = beside(destination).control(&ALL, domain, |ours| ours);
            control.messages.iter().map(|(level, kind, _)| (*level, *kind)).collect()
        };
        assert_eq!(kinds("10.0.0.2", Domain::V4), [(1, 35), (0, 8), (0, 2), (0, 1), (0, 6)]);
        assert_eq!(kinds("fd77::2", Domain::V6), [(1, 35), (41, 50), (41, 52), (41, 67)]);
        let both = kinds("::ffff:10.0.0.2", Domain::V6);
        assert_eq!(both, [(1, 35), (41, 50), (0, 8), (0, 2), (0, 1), (0, 6)]);
    }

    #[test]
    fn what_has_no_room_is_cut() {
        let control = beside("10.0.0.2").control(&ALL, Domain::V4, |ours| ours);
        let (whole, _) = control.encode(1024);
        assert_eq!(whole.len(), 32 + 32 + 24 + 24 + 24);
        for room in 0..whole.len() {
            let (bytes, cut) = control.encode(room);
            assert!(bytes.len() <= room);
            // What fills up the last one is not missed.
            assert_eq!(cut, room < whole.len() - 4, "{room}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let message = |level, kind, data: &[u8]| {
            let mut control = Control::default();
            control.push(level, kind, data);
            Said::parse(&control.encode(1024).0)
        };
        assert_eq!(message(0, 2, &0_i32.to_ne_bytes()), Err(Errno::INVAL));
        assert_eq!(message(0, 2, &256_i32.to_ne_bytes()), Err(Errno::INVAL));
        assert_eq!(message(0, 99, &[0; 4]), Err(Errno::INVAL));
        assert_eq!(message(41, 52, &(-1_i32).to_ne_bytes()).unwrap().ttl, None);
        assert_eq!(message(17, 103, &1200_u16.to_ne_bytes()).unwrap().segment, Some(1200));
        assert_eq!(
            message(0, 7, &[148, 4, 0, 0]).unwrap().options,
            Some(Ipv4Options::ROUTER_ALERT)
        );
        assert_eq!(message(0, 7, &[1; 41]), Err(Errno::INVAL));
        assert_eq!(message(6, 1, &[0; 4]), Ok(Said::default()));
        let mut long = Control::default();
        long.push(0, 2, &[1, 0, 0, 0]);
        assert_eq!(Said::parse(&long.encode(1024).0[..18]), Err(Errno::INVAL));
    }

    proptest! {
        #[test]
        fn nothing_that_is_said_hurts(bytes: Vec<u8>) {
            let _ = Said::parse(&bytes);
        }
    }
}
