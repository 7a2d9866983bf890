//! Frames on a descriptor that may put a virtio header before each: TUN, TAP, packet sockets.

use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, OwnedFd};

use wire::ethernet::{self, EtherType};
use wire::frame::{
    Capabilities, FrameBuf, Medium, ReceiveChecksum, ReceiveMeta, TransmitChecksum, TransmitMeta,
};
use wire::vnet;

use crate::check;
use crate::sys::gather::{self, Read};

/// A descriptor that gives and takes whole frames.
#[derive(Debug)]
pub(crate) struct FrameDevice {
    /// Does not block.
    pub(crate) device: OwnedFd,
    /// Each frame on the device has a virtio header in front.
    pub(crate) vnet: bool,
    /// What was granted.
    pub(crate) capabilities: Capabilities,
}

impl FrameDevice {
    pub(crate) fn receive(&self, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        let prefix = if self.vnet { vnet::HEADER_LEN } else { 0 };
        match gather::read(self.device.as_fd(), prefix, frame.whole_buffer())? {
            Read::Nothing => Ok(None),
            Read::Frame(length) => {
                frame.set_filled(length);
                if !self.vnet {
                    return Ok(Some(ReceiveMeta::default()));
                }
                let header = vnet::Header::parse(frame).map(|(header, _)| header);
                frame.advance(prefix);
                Ok(Some(header.map_or_else(ReceiveMeta::default, |header| meta_of(&header))))
            }
            Read::TooLong => Err(check::invalid(format!(
                "a frame longer than the buffer of {} bytes came: it is lost",
                frame.capacity()
            ))),
            Read::TooShort => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a read without a virtio header"))
            }
        }
    }

    pub(crate) fn send(
        &self,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        let length = check::frame_length(&self.capabilities, header, payload, meta)?;
        let prefix = vnet_header(self.capabilities.medium, header, meta)?.to_bytes();
        let prefix = if self.vnet { &prefix[..] } else { &[] };
        gather::write(self.device.as_fd(), prefix, header, payload, prefix.len() + length)?;
        Ok(())
    }
}

fn meta_of(header: &vnet::Header) -> ReceiveMeta {
    let checksum = if header.flags.contains(vnet::Flags::NEEDS_CSUM) {
        ReceiveChecksum::Partial
    } else if header.flags.contains(vnet::Flags::DATA_VALID) {
        ReceiveChecksum::Verified
    } else {
        ReceiveChecksum::Unverified
    };
    let segmented = header.gso_type.kind() != vnet::GsoType::NONE;
    let segment_size = NonZeroU16::new(header.gso_size).filter(|_| segmented);
    ReceiveMeta { checksum, segment_size }
}

/// The virtio header for a frame that [`check::frame_length`] let pass.
fn vnet_header(medium: Medium, header: &[u8], meta: &TransmitMeta) -> io::Result<vnet::Header> {
    let mut out = vnet::Header::default();
    let TransmitChecksum::Partial { start, offset } = meta.checksum else {
        return Ok(out);
    };
    out.flags = vnet::Flags::NEEDS_CSUM;
    out.csum_start = start;
    out.csum_offset = offset;
    if let Some(size) = meta.segment_size {
        // CWR goes out once, on the first segment (RFC 3168 section 6.1.2).
        let cwr = header.get(usize::from(start) + 13).is_some_and(|flags| flags & 0x80 != 0);
        out.gso_type = gso_type(medium, header)?;
        if cwr {
            out.gso_type.0 |= vnet::GsoType::ECN;
        }
        out.gso_size = size.get();
        let headers = check::tcp_headers(header, start);
        out.hdr_len = u16::try_from(headers).map_err(|_| check::invalid("a long header"))?;
    }
    Ok(out)
}

fn gso_type(medium: Medium, header: &[u8]) -> io::Result<vnet::GsoType> {
    let version = match medium {
        Medium::Ip => wire::ip::version(header),
        Medium::Ethernet(_) => match ethernet::View::new(header).map(|view| view.ethertype()) {
            Some(EtherType::IPV4) => Some(4),
            Some(EtherType::IPV6) => Some(6),
            _ => None,
        },
    };
    match version {
        Some(4) => Ok(vnet::GsoType::TCPV4),
        Some(6) => Ok(vnet::GsoType::TCPV6),
        _ => Err(check::invalid("a super-segment that is neither IPv4 nor IPv6")),
    }
}
