//! What a router at the beginning of a line does with a packet that the line does not take: it cuts it
//! where IPv4 lets it, or else says how much there is room for (RFC 1191 4, RFC 4443 3.2).

use std::net::{Ipv4Addr, Ipv6Addr};

use wire::icmpv4::{self, UnreachableCode};
use wire::ip::Protocol;
use wire::{icmpv6, ipv4, ipv6};

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0xfe);

/// What becomes of a packet that is too long.
#[derive(Debug)]
pub enum TooLong {
    /// Its pieces go on.
    Cut(Vec<Vec<u8>>),
    /// It is lost, and this goes to who sent it.
    Told(Vec<u8>),
}

/// Judges a packet for a line that takes `mtu` bytes; `None` when it fits, or is no packet of IP.
#[must_use]
pub fn too_long(packet: &[u8], mtu: u16) -> Option<TooLong> {
    if packet.len() <= usize::from(mtu) {
        return None;
    }
    match wire::ip::version(packet)? {
        4 => {
            let (header, payload) = ipv4::Header::parse(packet).ok()?;
            if header.dont_fragment {
                Some(TooLong::Told(tell_v4(&header, packet, mtu)))
            } else {
                Some(TooLong::Cut(cut(&header, payload, mtu)))
            }
        }
        _ => {
            let (header, _) = ipv6::Header::parse(packet).ok()?;
            Some(TooLong::Told(tell_v6(&header, packet, mtu)))
        }
    }
}

/// Fragments of a packet, which may be one itself (RFC 791 3.2).
fn cut(header: &ipv4::Header, payload: &[u8], mtu: u16) -> Vec<Vec<u8>> {
    let room = usize::from(mtu).saturating_sub(header.encoded_len()).max(8) / 8 * 8;
    let last = payload.chunks(room).count().saturating_sub(1);
    let pieces = payload.chunks(room).enumerate().map(|(number, piece)| {
        let offset = u16::try_from(number * room).unwrap_or(u16::MAX);
        let header = ipv4::Header {
            fragment_offset: header.fragment_offset.saturating_add(offset),
            more_fragments: header.more_fragments || number < last,
            payload_len: u16::try_from(piece.len()).unwrap_or(u16::MAX),
            ..*header
        };
        packet_v4(&header, piece)
    });
    pieces.collect()
}

fn tell_v4(about: &ipv4::Header, packet: &[u8], mtu: u16) -> Vec<u8> {
    let code = UnreachableCode::FRAGMENTATION_NEEDED;
    let said = icmpv4::Header::DestinationUnreachable { code, next_hop_mtu: mtu };
    let mut message = vec![0; said.encoded_len()];
    said.emit(&mut message);
    // The header and 8 bytes of what follows, as the oldest routers have it.
    message.extend(packet.iter().take(about.encoded_len() + 8));
    icmpv4::fill_checksum(&mut message);
    let header = ipv4::Header {
        source: ROUTER,
        destination: about.source,
        protocol: Protocol::ICMP,
        ttl: 64,
        traffic_class: 0,
        identification: 0,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: u16::try_from(message.len()).unwrap_or(u16::MAX),
        options: ipv4::Options::NONE,
    };
    packet_v4(&header, &message)
}

fn tell_v6(about: &ipv6::Header, packet: &[u8], mtu: u16) -> Vec<u8> {
    let said = icmpv6::Header::PacketTooBig { mtu: mtu.into() };
    let mut message = vec![0; said.encoded_len()];
    said.emit(&mut message);
    // As much as the least MTU has room for.
    message.extend(packet.iter().take(usize::from(ipv6::MIN_MTU) - 48));
    icmpv6::fill_checksum(ROUTER_V6, about.source, &mut message);
    let header = ipv6::Header {
        source: ROUTER_V6,
        destination: about.source,
        next_header: Protocol::ICMPV6,
        hop_limit: 64,
        traffic_class: 0,
        flow_label: 0,
        payload_len: u16::try_from(message.len()).unwrap_or(u16::MAX),
    };
    let mut packet = vec![0; header.encoded_len()];
    header.emit(&mut packet);
    packet.extend(message);
    packet
}

fn packet_v4(header: &ipv4::Header, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; header.encoded_len()];
    header.emit(&mut packet);
    packet.extend_from_slice(payload);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(length: usize, dont_fragment: bool) -> Vec<u8> {
        let header = ipv4::Header {
            source: Ipv4Addr::new(10, 0, 0, 1),
            destination: Ipv4Addr::new(10, 0, 0, 2),
            protocol: Protocol::UDP,
            ttl: 64,
            traffic_class: 0,
            identification: 7,
            dont_fragment,
            more_fragments: false,
            fragment_offset: 0,
            payload_len: u16::try_from(length).unwrap(),
            options: ipv4::Options::NONE,
        };
        packet_v4(&header, &(0..length).map(|i| i.to_le_bytes()[0]).collect::<Vec<_>>())
    }

    #[test]
    fn pieces_are_the_whole() {
        let packet = datagram(3000, false);
        assert!(too_long(&packet, 3020).is_none());
        let Some(TooLong::Cut(pieces)) = too_long(&packet, 1000) else { panic!("not cut") };
        let mut whole = vec![0; 3000];
        for (number, piece) in pieces.iter().enumerate() {
            assert!(piece.len() <= 1000);
            let (header, payload) = ipv4::Header::parse(piece).unwrap();
            assert_eq!(header.more_fragments, number + 1 < pieces.len());
            let at = usize::from(header.fragment_offset);
            whole[at..at + payload.len()].copy_from_slice(payload);
        }
        assert_eq!(whole, packet[20..]);
        // A router further on cuts the pieces again.
        let Some(TooLong::Cut(again)) = too_long(&pieces[0], 300) else { panic!("not cut") };
        let (last, _) = ipv4::Header::parse(again.last().unwrap()).unwrap();
        assert!(last.more_fragments);
    }

    #[test]
    fn who_forbids_it_is_told() {
        let Some(TooLong::Told(answer)) = too_long(&datagram(1480, true), 1400) else {
            panic!("not told")
        };
        let (ip, message) = ipv4::Header::parse(&answer).unwrap();
        assert_eq!(ip.destination, Ipv4Addr::new(10, 0, 0, 1));
        assert!(wire::checksum::is_valid(message));
        let (header, quoted) = icmpv4::Header::parse(message).unwrap();
        let code = UnreachableCode::FRAGMENTATION_NEEDED;
        let expected = icmpv4::Header::DestinationUnreachable { code, next_hop_mtu: 1400 };
        assert_eq!((header, quoted.len()), (expected, 28));
    }
}
