//! A second, naive reader of TCP over either IP, for checkers: it shares no mistake with the stack's.
//!
//! Unlike [`Segment`](crate::segment::Segment) it copies nothing, since it looks at every packet of
//! every world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::segment::Flags;

/// The fields of a segment, read where they stand.
#[derive(Clone, Copy, Debug)]
pub struct Peek<'a> {
    /// Who sends it.
    pub source: SocketAddr,
    /// Whom it is for.
    pub destination: SocketAddr,
    /// The ECN bits of the IP header.
    pub ecn: u8,
    /// Its flags.
    pub flags: Flags,
    /// Where its first byte (or SYN) is in the sequence space.
    pub seq: u32,
    /// What the sender expects next.
    pub ack: u32,
    /// The window field, not scaled.
    pub window: u16,
    /// The option bytes.
    options: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
}

impl<'a> Peek<'a> {
    /// Reads a packet; `None` when it is not TCP right behind an IP header. Checksums are not looked at.
    #[must_use]
    pub fn new(packet: &'a [u8]) -> Option<Self> {
        let (source, destination, traffic_class, transport) = match packet.first()? >> 4 {
            4 => read_v4(packet)?,
            6 => read_v6(packet)?,
            _ => return None,
        };
        let tcp: &[u8; 20] = transport.first_chunk()?;
        let half = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let word = |at: usize| u32::from(half(at)) << 16 | u32::from(half(at + 2));
        let data_offset = usize::from(tcp[12] >> 4) * 4;
        Some(Self {
            source: SocketAddr::new(source, half(0)),
            destination: SocketAddr::new(destination, half(2)),
            ecn: traffic_class & 3,
            flags: Flags(tcp[13]),
            seq: word(4),
            ack: word(8),
            window: half(14),
            options: transport.get(20..data_offset)?,
            payload: transport.get(data_offset..)?,
        })
    }

    /// How much of the sequence space it takes (RFC 9293 3.4).
    #[must_use]
    pub fn sequence_len(&self) -> u32 {
        let flags = u32::from(self.flags.has(Flags::SYN)) + u32::from(self.flags.has(Flags::FIN));
        u32::try_from(self.payload.len()).unwrap_or(u32::MAX).wrapping_add(flags)
    }

    /// Its options: kind and data of each.
    pub fn options(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = self.options;
        std::iter::from_fn(move || {
            loop {
                let (&kind, after) = rest.split_first()?;
                match kind {
                    0 => return None,
                    1 => rest = after,
                    _ => {
                        let length = usize::from(*after.first()?);
                        let data = rest.get(2..length)?;
                        rest = rest.get(length..)?;
                        return Some((kind, data));
                    }
                }
            }
        })
    }

    /// The edges of its SACK blocks (RFC 2018 3).
    pub fn sack_blocks(&self) -> impl Iterator<Item = (u32, u32)> {
        let data = self.options().find(|(kind, _)| *kind == 5).map_or(&[][..], |(_, data)| data);
        let word = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
        data.chunks_exact(8).map(move |block| (word(&block[..4]), word(&block[4..])))
    }
}

/// Source, destination, traffic class, and what follows.
type Envelope<'a> = (IpAddr, IpAddr, u8, &'a [u8]);

fn read_v4(packet: &[u8]) -> Option<Envelope<'_>> {
    let ip: &[u8; 20] = packet.first_chunk()?;
    let header = usize::from(ip[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]).into();
    (ip[9] == 6).then_some((address(12), address(16), ip[1], packet.get(header..total)?))
}

fn read_v6(packet: &[u8]) -> Option<Envelope<'_>> {
    let (ip, rest) = packet.split_first_chunk::<40>()?;
    let length = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    let address = |at: usize| {
        let bytes = ip[at..at + 16].try_into().unwrap_or([0; 16]);
        Ipv6Addr::from(bytes).into()
    };
    let traffic_class = ip[0] << 4 | ip[1] >> 4;
    (ip[6] == 6).then_some((address(8), address(24), traffic_class, rest.get(..length)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Segment, TcpOption};

    #[test]
    fn it_reads_what_the_other_reader_reads() {
        for pair in [["10.0.0.1:5", "10.0.0.2:6"], ["[fd77::1]:5", "[fd77::2]:6"]] {
            reads_what_the_other_reads(pair);
        }
    }

    fn reads_what_the_other_reads([source, destination]: [&str; 2]) {
        let segment = Segment {
            flags: Flags::FIN.with(Flags::ACK),
            seq: 0xffff_fff0,
            ack: 77,
            window: 1000,
            options: vec![TcpOption::Nop, TcpOption::Nop, TcpOption::Sack(vec![(5, 9), (20, 30)])],
            payload: vec![1, 2, 3],
            traffic_class: 2,
            ..Segment::new(source.parse().unwrap(), destination.parse().unwrap())
        };
        let packet = segment.to_packet();
        let peek = Peek::new(&packet).unwrap();
        assert_eq!((peek.source, peek.destination), (segment.source, segment.destination));
        assert_eq!((peek.seq, peek.ack, peek.window), (segment.seq, 77, 1000));
        assert_eq!((peek.flags, peek.ecn, peek.payload), (segment.flags, 2, &[1, 2, 3][..]));
        assert_eq!(peek.sequence_len(), 4);
        assert_eq!(peek.sack_blocks().collect::<Vec<_>>(), [(5, 9), (20, 30)]);
        for length in 0..packet.len() {
            assert!(Peek::new(&packet[..length]).is_none());
        }
    }
}
