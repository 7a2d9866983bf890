//! Offload in software: cuts super-segments into packets and completes partial checksums.
//!
//! For whoever must see what would be on a wire: the impairment wrapper drops packets, not
//! bundles of 45 of them; a packet socket has no hardware behind it; a capture may want either.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::ops::Range;

use wire::checksum;
use wire::ethernet::{self, EtherType};
use wire::frame::Medium;
use wire::ip::{Outline, Protocol};
use wire::{ipv6, tcp, udp};

use crate::check::link_header;

/// Where the checksum field is in a TCP header, in bytes.
const TCP_CHECKSUM: usize = 16;
/// The flags' byte in a TCP header.
const TCP_FLAGS: usize = 13;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Where the parts of an IP packet are in its frame, in bytes from the frame's start. All of it is
/// inside the frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The whole IP packet, without what pads the frame behind it.
    pub ip: Range<usize>,
    /// The start of the transport header.
    pub transport: usize,
    /// What the transport is.
    pub protocol: Protocol,
    /// The packet's source address.
    pub source: IpAddr,
    /// The packet's destination address.
    pub destination: IpAddr,
}

/// A frame that cannot be cut: it is not a whole packet of TCP or UDP over IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotCuttable;

impl std::fmt::Display for NotCuttable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a whole packet of TCP or UDP over IPv4 or IPv6, so it cannot be cut")
    }
}

impl std::error::Error for NotCuttable {}

/// Finds the IP packet in a frame and the transport in it. `None` for anything else: ARP, a
/// fragment, a packet that is cut off.
#[must_use]
pub fn locate(medium: Medium, frame: &[u8]) -> Option<Layout> {
    let start = ip_start(medium, frame)?;
    let packet = &frame[start..];
    let Outline { source, destination, protocol, start: header, end, fragment } =
        Outline::of(packet)?;
    if fragment.is_some() || header > end || end > packet.len() {
        return None;
    }
    let ip = start..start + end;
    Some(Layout { ip, transport: start + header, protocol, source, destination })
}

/// Computes the transport checksum of a frame anew. `false` when there is none to compute: a
/// fragment, an unknown transport, or not IP at all; the frame is then as it was.
pub fn fill_checksum(medium: Medium, frame: &mut [u8]) -> bool {
    let Some(layout) = locate(medium, frame) else { return false };
    let offset = match layout.protocol {
        Protocol::TCP => TCP_CHECKSUM,
        Protocol::UDP => udp::CHECKSUM_OFFSET,
        Protocol::ICMP | Protocol::ICMPV6 => 2,
        _ => return false,
    };
    let transport = &mut frame[layout.transport..layout.ip.end];
    let Some(field) = transport.get_mut(offset..offset + 2) else { return false };
    field.fill(0);
    let value = if layout.protocol == Protocol::ICMP {
        checksum::sum(transport).finish()
    } else {
        checksum::transport(layout.source, layout.destination, layout.protocol, transport)
    };
    // A UDP checksum of zero would say that there is none (RFC 768).
    let value = if layout.protocol == Protocol::UDP && value == 0 { 0xffff } else { value };
    transport[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
    true
}

/// Completes a partial checksum as hardware does: sums from byte `start` to the end of the frame,
/// the pseudo-header's sum in the field included, and stores the result at `offset` from `start`.
/// `false` when the field is outside the frame, which is then as it was.
pub fn complete_checksum(frame: &mut [u8], start: u16, offset: u16) -> bool {
    let Some(packet) = frame.get_mut(usize::from(start)..) else { return false };
    let value = checksum::sum(packet).finish();
    let value = if value == 0 { 0xffff } else { value };
    match packet.get_mut(usize::from(offset)..usize::from(offset) + 2) {
        Some(field) => {
            field.copy_from_slice(&value.to_be_bytes());
            true
        }
        None => false,
    }
}

/// Cuts a super-segment: payload pieces of at most `segment_size` bytes, each behind a copy of the
/// headers that is right for it, checksums included.
///
/// What differs from packet to packet: the lengths, IPv4's identification (counted up), and of TCP
/// the sequence number, FIN and PSH (on the last only), CWR (on the first only, RFC 3168 section
/// 6.1.2).
///
/// # Errors
/// [`NotCuttable`] when the frame is not a whole packet of TCP or UDP.
pub fn split(
    medium: Medium,
    frame: &[u8],
    segment_size: NonZeroU16,
) -> Result<Pieces<'_>, NotCuttable> {
    let layout = locate(medium, frame).ok_or(NotCuttable)?;
    let packet = &frame[layout.transport..layout.ip.end];
    let header = match layout.protocol {
        Protocol::TCP => tcp::View::new(packet).map(|view| view.header_len()),
        Protocol::UDP => Some(udp::HEADER_LEN),
        _ => None,
    };
    let shortest = if layout.protocol == Protocol::TCP { tcp::MIN_HEADER_LEN } else { 0 };
    let header =
        header.filter(|length| (shortest..=packet.len()).contains(length)).ok_or(NotCuttable)?;
    let (headers, payload) = frame[..layout.ip.end].split_at(layout.transport + header);
    let size = usize::from(segment_size.get());
    Ok(Pieces { medium, headers, layout, payload, size, done: 0, finished: false })
}

/// The packets of one super-segment, in order; see [`split`].
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    /// What the frames begin with.
    medium: Medium,
    /// Every header of the super-segment.
    headers: &'a [u8],
    /// Where things are in `headers`.
    layout: Layout,
    /// The whole payload.
    payload: &'a [u8],
    /// The longest piece of payload in bytes.
    size: usize,
    /// How much of the payload is cut already, in bytes.
    done: usize,
    /// The last piece was given out (it may be empty, so `done` does not tell).
    finished: bool,
}

impl Pieces<'_> {
    /// How many packets are still to come.
    #[must_use]
    pub fn remaining(&self) -> usize {
        if self.finished { 0 } else { (self.payload.len() - self.done).div_ceil(self.size).max(1) }
    }

    /// The medium that the super-segment is for.
    #[must_use]
    pub fn medium(&self) -> Medium {
        self.medium
    }

    /// Writes the next packet over `out`; `false` when there is none.
    pub fn next_into(&mut self, out: &mut Vec<u8>) -> bool {
        if self.finished {
            return false;
        }
        let end = (self.done + self.size).min(self.payload.len());
        let (first, last) = (self.done == 0, end == self.payload.len());
        out.clear();
        out.extend_from_slice(self.headers);
        out.extend_from_slice(&self.payload[self.done..end]);
        self.fix_ip(out);
        match self.layout.protocol {
            Protocol::TCP => self.fix_tcp(out, first, last),
            _ => self.fix_udp(out),
        }
        self.done = end;
        self.finished = last;
        true
    }

    fn fix_ip(&self, out: &mut [u8]) {
        let packet = &mut out[self.layout.ip.start..];
        // The whole super-segment had a length of 16 bits, so each part has.
        let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        if self.layout.source.is_ipv6() {
            let payload = length.saturating_sub(ipv6::HEADER_LEN as u16);
            packet[4..6].copy_from_slice(&payload.to_be_bytes());
            return;
        }
        let header = &mut packet[..self.layout.transport - self.layout.ip.start];
        let index = u16::try_from(self.done / self.size).unwrap_or(u16::MAX);
        let id = u16::from_be_bytes([header[4], header[5]]).wrapping_add(index);
        header[2..4].copy_from_slice(&length.to_be_bytes());
        header[4..6].copy_from_slice(&id.to_be_bytes());
        header[10..12].fill(0);
        let sum = checksum::sum(header).finish();
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    fn fix_tcp(&self, out: &mut [u8], first: bool, last: bool) {
        let segment = &mut out[self.layout.transport..];
        let sequence = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
        let done = u32::try_from(self.done).unwrap_or(u32::MAX);
        segment[4..8].copy_from_slice(&sequence.wrapping_add(done).to_be_bytes());
        if !first {
            segment[TCP_FLAGS] &= !CWR;
        }
        if !last {
            segment[TCP_FLAGS] &= !(FIN | PSH);
        }
        segment[TCP_CHECKSUM..TCP_CHECKSUM + 2].fill(0);
        let (source, destination) = (self.layout.source, self.layout.destination);
        let sum = checksum::transport(source, destination, Protocol::TCP, segment);
        segment[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    }

    fn fix_udp(&self, out: &mut [u8]) {
        let datagram = &mut out[self.layout.transport..];
        // The whole super-segment had a length of 16 bits, so each part has.
        let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
        datagram[4..6].copy_from_slice(&length.to_be_bytes());
        udp::fill_checksum(self.layout.source, self.layout.destination, datagram);
    }
}

/// Where the IP packet starts, if the frame carries one.
fn ip_start(medium: Medium, frame: &[u8]) -> Option<usize> {
    let start = link_header(medium);
    if start == 0 {
        return Some(0);
    }
    match ethernet::View::new(frame)?.ethertype() {
        EtherType::IPV4 | EtherType::IPV6 => Some(start),
        EtherType::VLAN => {
            let inner = frame.get(start + 2..start + 4)?;
            let inner = EtherType(u16::from_be_bytes([inner[0], inner[1]]));
            matches!(inner, EtherType::IPV4 | EtherType::IPV6).then_some(start + 4)
        }
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
