//! What stands in front of every transport header: link header and IP header.

use core::hash::Hasher;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use siphasher::sip::SipHasher13;
use wire::ethernet::{self, EtherType, EthernetAddress};
use wire::ip::Protocol;
use wire::{ipv4, ipv6};

use crate::FourTuple;

/// How many counters of the identification field there are. Destinations share them by a keyed
/// hash, so that nobody can count our packets to somebody else.
const COUNTERS: usize = 64;

/// The header that a link needs in front of an IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LinkHeader {
    /// Nothing, as on a TUN and on the loopback.
    None,
    /// Ethernet II.
    Ethernet {
        /// Our own address on the link.
        source: EthernetAddress,
        /// The next hop's.
        destination: EthernetAddress,
    },
}

impl LinkHeader {
    /// Its length in bytes.
    pub(crate) const fn len(self) -> usize {
        match self {
            LinkHeader::None => 0,
            LinkHeader::Ethernet { .. } => ethernet::HEADER_LEN,
        }
    }

    /// Writes it to the start of `header`, for a packet of type `ethertype`, and gives its length.
    pub(crate) fn emit(self, header: &mut [u8], ethertype: EtherType) -> usize {
        match self {
            LinkHeader::None => 0,
            LinkHeader::Ethernet { source, destination } => {
                ethernet::Header { destination, source, ethertype }.emit(header)
            }
        }
    }
}

/// Everything in front of the transport header of one packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) link: LinkHeader,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: Protocol,
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    /// DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// Routers must not cut it into fragments.
    pub(crate) dont_fragment: bool,
    /// Tells fragments of different packets apart. Without meaning, and best zero, in a packet
    /// with `dont_fragment` (RFC 6864 4.1).
    pub(crate) identification: u16,
    /// What the packets of a flow over IPv6 have in common (RFC 6437); zero for none.
    pub(crate) flow_label: u32,
}

/// Which piece of a datagram a fragment is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Where it belongs in the datagram's payload, in bytes; a multiple of 8.
    pub(super) offset: u16,
    /// Others follow behind it.
    pub(super) more: bool,
    /// What all pieces share.
    pub(super) identification: u32,
}

impl Envelope {
    /// The length of both headers in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.link.len() + self.ip_len()
    }

    /// The length of the IP header in bytes.
    pub(crate) const fn ip_len(&self) -> usize {
        match self.source {
            IpAddr::V4(_) => ipv4::MIN_HEADER_LEN,
            IpAddr::V6(_) => ipv6::HEADER_LEN,
        }
    }

    /// The length of the IP headers of a fragment.
    pub(super) const fn cut_ip_len(&self) -> usize {
        match self.source {
            IpAddr::V4(_) => ipv4::MIN_HEADER_LEN,
            IpAddr::V6(_) => ipv6::HEADER_LEN + ipv6::Fragment::LEN,
        }
    }

    /// Writes both headers to the start of `header`. `transport_len` is what follows them:
    /// transport header and payload, up to 65,515 bytes for a super-segment.
    pub(crate) fn emit(&self, header: &mut [u8], transport_len: usize) {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let link_len = self.link.emit(header, EtherType::IPV4);
                self.header_v4(source, destination, transport_len).emit(&mut header[link_len..]);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let link_len = self.link.emit(header, EtherType::IPV6);
                self.header_v6(source, destination, transport_len).emit(&mut header[link_len..]);
            }
            // No route leads from one family to the other.
            _ => {}
        }
    }

    /// Writes the headers of a packet over IPv4 with options, and says how long they are; one over IPv6
    /// has none.
    pub(crate) fn emit_with(
        &self,
        header: &mut [u8],
        options: ipv4::Options,
        transport_len: usize,
    ) -> usize {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (self.source, self.destination) else {
            self.emit(header, transport_len);
            return self.len();
        };
        let link_len = self.link.emit(header, EtherType::IPV4);
        let ip = ipv4::Header { options, ..self.header_v4(source, destination, transport_len) };
        link_len + ip.emit(&mut header[link_len..])
    }

    /// Writes the headers of a fragment of `length` bytes, and says how long they are.
    pub(super) fn emit_cut(
        &self,
        header: &mut [u8],
        cut: &Cut,
        options: ipv4::Options,
        length: usize,
    ) -> usize {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let link_len = self.link.emit(header, EtherType::IPV4);
                let ip = ipv4::Header {
                    // The lower half, as in a packet that routers cut.
                    identification: cut.identification as u16,
                    dont_fragment: false,
                    more_fragments: cut.more,
                    fragment_offset: cut.offset,
                    options,
                    ..self.header_v4(source, destination, length)
                };
                link_len + ip.emit(&mut header[link_len..])
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let link_len = self.link.emit(header, EtherType::IPV6);
                let length = length + ipv6::Fragment::LEN;
                let mut ip = self.header_v6(source, destination, length);
                ip.next_header = Protocol::FRAGMENT;
                let at = link_len + ip.emit(&mut header[link_len..]);
                let fragment = ipv6::Fragment {
                    next_header: self.protocol,
                    offset: cut.offset,
                    more_fragments: cut.more,
                    identification: cut.identification,
                };
                let end = at + ipv6::Fragment::LEN;
                header[at..end].copy_from_slice(&fragment.to_bytes());
                end
            }
            _ => 0,
        }
    }

    fn header_v6(&self, source: Ipv6Addr, destination: Ipv6Addr, length: usize) -> ipv6::Header {
        ipv6::Header {
            source,
            destination,
            next_header: self.protocol,
            hop_limit: self.ttl,
            traffic_class: self.traffic_class,
            flow_label: self.flow_label,
            payload_len: u16::try_from(length).unwrap_or(u16::MAX),
        }
    }

    #[inline]
    fn header_v4(&self, source: Ipv4Addr, destination: Ipv4Addr, length: usize) -> ipv4::Header {
        ipv4::Header {
            source,
            destination,
            protocol: self.protocol,
            ttl: self.ttl,
            traffic_class: self.traffic_class,
            identification: self.identification,
            dont_fragment: self.dont_fragment,
            more_fragments: false,
            fragment_offset: 0,
            payload_len: u16::try_from(length).unwrap_or(u16::MAX),
            options: ipv4::Options::NONE,
        }
    }
}

/// Gives flows their label (RFC 6437 3): a hash of both ends, so that it stays for as long as a
/// connection does, and balances it over paths without telling how many there are.
#[derive(Clone)]
pub(crate) struct FlowLabels([u64; 2]);

impl FlowLabels {
    pub(crate) fn new(key: [u64; 2]) -> Self {
        Self(key)
    }

    /// The label of a flow, 20 bits; zero for IPv4, which has none.
    #[inline]
    pub(crate) fn of(&self, flow: &FourTuple) -> u32 {
        match (flow.local, flow.remote) {
            (SocketAddr::V6(local), SocketAddr::V6(remote)) => self.of_v6(&local, &remote),
            _ => 0,
        }
    }

    fn of_v6(&self, local: &SocketAddrV6, remote: &SocketAddrV6) -> u32 {
        let ports = u64::from(local.port()) << 16 | u64::from(remote.port());
        // A peer gains nothing from a collision: multiplying is mixing enough for every packet.
        let halves = |ip: &Ipv6Addr| ((ip.to_bits() >> 64) as u64, ip.to_bits() as u64);
        let (local, remote) = (halves(local.ip()), halves(remote.ip()));
        let mut hash = self.0[0] ^ ports;
        for word in [local.0, local.1, remote.0, remote.1] {
            let product = u128::from(hash ^ word) * u128::from(self.0[1] | 1);
            hash = (product >> 64) as u64 ^ product as u64;
        }
        // 20 bits; zero would mean that there is no label.
        ((hash >> 44) as u32).max(1)
    }
}

impl core::fmt::Debug for FlowLabels {
    /// Never prints the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FlowLabels { .. }")
    }
}

/// Gives identification fields to packets that are fragmented here or may be on their way (RFC 6864
/// 4.3): no value comes again soon for the same addresses and protocol. Where they begin is a
/// secret for each pair of addresses, and a counter is shared only by those that a keyed hash brings
/// together, so nobody else can guess or count them (RFC 7739 5.3).
pub(crate) struct Identifications {
    key: [u64; 2],
    counters: [u32; COUNTERS],
}

impl Identifications {
    pub(crate) fn new(key: [u64; 2]) -> Self {
        Self { key, counters: [0; COUNTERS] }
    }

    /// The next value for a packet from `source` to `destination`; IPv4 takes its lower half.
    pub(crate) fn next(&mut self, source: IpAddr, destination: IpAddr) -> u32 {
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        for address in [source, destination] {
            match address {
                IpAddr::V4(v4) => hasher.write(&v4.octets()),
                IpAddr::V6(v6) => hasher.write(&v6.octets()),
            }
        }
        let [a, b, bucket, c, d, ..] = hasher.finish().to_le_bytes();
        let counter = &mut self.counters[usize::from(bucket) % COUNTERS];
        *counter = counter.wrapping_add(1);
        counter.wrapping_add(u32::from_le_bytes([a, b, c, d]))
    }
}

impl core::fmt::Debug for Identifications {
    /// Never prints the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Identifications { .. }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));
    const THEM: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));

    #[test]
    fn an_envelope_parses_to_what_it_was_made_of() {
        let ours = EthernetAddress([2, 0, 0, 0, 0, 2]);
        let theirs = EthernetAddress([2, 0, 0, 0, 0, 1]);
        let envelope = Envelope {
            link: LinkHeader::Ethernet { source: ours, destination: theirs },
            source: US,
            destination: THEM,
            protocol: Protocol::UDP,
            ttl: 64,
            traffic_class: 0xb8,
            dont_fragment: true,
            identification: 7,
            flow_label: 0,
        };
        let mut bytes = [0; 54];
        envelope.emit(&mut bytes, 20);
        assert_eq!(envelope.len(), 34);
        let (frame, packet) = ethernet::Header::parse(&bytes).unwrap();
        assert_eq!((frame.source, frame.destination), (ours, theirs));
        let (ip, payload) = ipv4::Header::parse(packet).unwrap();
        assert_eq!((IpAddr::V4(ip.source), IpAddr::V4(ip.destination)), (US, THEM));
        assert!(ip.dont_fragment && !ip.is_fragment());
        assert_eq!((ip.ttl, ip.traffic_class, ip.identification), (64, 0xb8, 7));
        assert_eq!(payload.len(), 20);
    }

    #[test]
    fn an_envelope_of_ipv6_and_its_fragments_parse_to_what_they_were_made_of() {
        let (us, them): (Ipv6Addr, Ipv6Addr) =
            ("fd77::2".parse().unwrap(), "fd77::1".parse().unwrap());
        let envelope = Envelope {
            link: LinkHeader::None,
            source: us.into(),
            destination: them.into(),
            protocol: Protocol::UDP,
            ttl: 63,
            traffic_class: 0xb8,
            dont_fragment: true,
            identification: 0,
            flow_label: 0xabcde,
        };
        let mut bytes = [0; 60];
        envelope.emit(&mut bytes, 20);
        let (ip, payload) = ipv6::Header::parse(&bytes).unwrap();
        assert_eq!((ip.source, ip.destination, ip.next_header), (us, them, Protocol::UDP));
        assert_eq!((ip.hop_limit, ip.traffic_class, ip.flow_label), (63, 0xb8, 0xabcde));
        assert_eq!((envelope.len(), payload.len()), (40, 20));
        let cut = Cut { offset: 16, more: true, identification: 0x1234_5678 };
        assert_eq!(envelope.emit_cut(&mut bytes, &cut, ipv4::Options::NONE, 8), 48);
        let (ip, payload) = ipv6::Header::parse(&bytes).unwrap();
        let limits = ipv6::Limits::DEFAULT;
        let chain = ipv6::Chain::walk(&ip, payload, &limits).unwrap();
        let fragment = chain.fragment.unwrap().header;
        assert_eq!((fragment.offset, fragment.more_fragments), (16, true));
        assert_eq!(fragment.identification, 0x1234_5678);
        assert_eq!((chain.protocol, chain.start, payload.len()), (Protocol::UDP, 48, 16));
    }

    #[test]
    fn a_flow_keeps_its_label_and_others_have_others() {
        let labels = FlowLabels::new([0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9]);
        let flow = |port| {
            let end =
                |last, port| (IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last)), port);
            FourTuple::new(end(2, 80), end(1, port))
        };
        let all: alloc::collections::BTreeSet<u32> =
            (0..1000).map(|port| labels.of(&flow(port))).collect();
        assert!(all.len() > 990 && all.iter().all(|label| (1..1 << 20).contains(label)));
        assert_eq!(labels.of(&flow(7)), labels.of(&flow(7)));
        let v4 = FourTuple::new((US, 1), (THEM, 2));
        assert_eq!(labels.of(&v4), 0);
    }

    /// RFC 6864 4.3: unique for the same source, destination and protocol within the datagram's
    /// life; here for as long as 16 bits allow.
    #[test]
    fn identifications_to_one_destination_come_again_after_65536() {
        let mut identifications = Identifications::new([1, 2]);
        let mut next = || identifications.next(US, THEM) as u16;
        let first = next();
        for _ in 1..=u16::MAX {
            assert_ne!(next(), first);
        }
        assert_eq!(next(), first);
    }
}
