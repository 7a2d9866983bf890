//! Frames on a descriptor that may put a virtio header before each: TUN, TAP, packet sockets.

use std::ffi::c_int;
use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, OwnedFd};

use wire::ethernet::{self, EtherType};
use wire::frame::{
    Capabilities, FrameBuf, Medium, ReceiveChecksum, ReceiveMeta, TransmitChecksum, TransmitMeta,
};
use wire::vnet;

use crate::sys::{gather, tun_device};
use crate::{check, split};

/// A descriptor that gives and takes whole frames.
#[derive(Debug)]
pub(crate) struct FrameDevice {
    /// Does not block.
    pub(crate) device: OwnedFd,
    /// Each frame on the device has a virtio header in front.
    pub(crate) vnet: bool,
    /// What was granted.
    pub(crate) capabilities: Capabilities,
    /// It cuts messages of UDP into datagrams. Where it does not, we do.
    pub(crate) cuts_datagrams: bool,
}

impl FrameDevice {
    pub(crate) fn receive(&self, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        match gather::read(self.device.as_fd(), frame.whole_buffer())? {
            Some(length) => self.accept(frame, length).map(Some),
            None => Ok(None),
        }
    }

    /// Makes a frame of the `length` bytes that the device put into the buffer.
    ///
    /// A device cuts a frame that is too long without a word, so one that fills the buffer counts as
    /// too long.
    pub(crate) fn accept(&self, frame: &mut FrameBuf, length: usize) -> io::Result<ReceiveMeta> {
        if length >= frame.capacity() {
            return Err(check::invalid(format!(
                "a frame longer than the buffer of {} bytes came: it is lost",
                frame.capacity()
            )));
        }
        frame.set_filled(length);
        if !self.vnet {
            return Ok(ReceiveMeta::default());
        }
        let Some((header, _)) = vnet::Header::parse(frame) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a read without a virtio header",
            ));
        };
        frame.advance(vnet::HEADER_LEN);
        Ok(meta_of(&header))
    }

    pub(crate) fn send(
        &self,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        let each = |header: &[u8], payload: &[&[u8]], meta: &TransmitMeta| {
            self.write(&self.prepare(header, payload, meta)?, header, payload)
        };
        self.each_datagram(header, payload, meta, each)
    }

    /// Gives a frame to `send` as the device takes it: a message of UDP in pieces, where nobody else
    /// cuts it. What does not fit behind the first piece is lost, as datagrams may be.
    pub(crate) fn each_datagram(
        &self,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
        mut send: impl FnMut(&[u8], &[&[u8]], &TransmitMeta) -> io::Result<()>,
    ) -> io::Result<()> {
        let is_udp = |meta: &TransmitMeta| match meta.checksum {
            TransmitChecksum::Partial { offset, .. } => check::is_udp(offset),
            TransmitChecksum::Complete => false,
        };
        let size = meta.segment_size.filter(|_| !self.cuts_datagrams && is_udp(meta));
        let Some(size) = size else { return send(header, payload, meta) };
        check::frame_length(&self.capabilities, header, payload, meta)?;
        let whole = [&[header], payload].concat().concat();
        let pieces = split::split(self.capabilities.medium, &whole, size);
        let mut pieces = pieces.map_err(|why| check::invalid(why.to_string()))?;
        let complete = TransmitMeta { comment: meta.comment, ..TransmitMeta::default() };
        let (mut piece, mut sent) = (Vec::new(), 0);
        while pieces.next_into(&mut piece) {
            match send(&piece, &[], &complete) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && sent > 0 => break,
                outcome => outcome?,
            }
            sent += 1;
        }
        Ok(())
    }

    /// Sends a frame that was prepared.
    pub(crate) fn write(
        &self,
        outgoing: &Outgoing,
        header: &[u8],
        payload: &[&[u8]],
    ) -> io::Result<()> {
        let prefix = self.prefix(outgoing);
        gather::write(self.device.as_fd(), prefix, header, payload, outgoing.length)?;
        Ok(())
    }

    /// Whether the device may refuse frames because it is full: somebody has set how much it holds.
    pub(crate) fn pushes_back(&self) -> bool {
        tun_device::send_buffer(self.device.as_fd()).is_ok_and(|size| size < c_int::MAX)
    }

    /// Checks a frame that is to be sent, and makes what the device wants in front of it.
    pub(crate) fn prepare(
        &self,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<Outgoing> {
        let length = check::frame_length(&self.capabilities, header, payload, meta)?;
        let prefix = vnet_header(self.capabilities.medium, header, meta)?.to_bytes();
        let before = if self.vnet { prefix.len() } else { 0 };
        Ok(Outgoing { prefix, length: before + length })
    }

    /// What stands in front of the frame on the device.
    pub(crate) fn prefix<'a>(&self, outgoing: &'a Outgoing) -> &'a [u8] {
        if self.vnet { &outgoing.prefix } else { &[] }
    }
}

/// A frame to be sent, besides its bytes.
pub(crate) struct Outgoing {
    prefix: [u8; vnet::HEADER_LEN],
    /// Of prefix and frame together, in bytes.
    pub(crate) length: usize,
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
        out.gso_type = match check::is_udp(offset) {
            true => vnet::GsoType::UDP_L4,
            false => gso_type(medium, header)?,
        };
        // CWR goes out once, on the first segment (RFC 3168 section 6.1.2).
        let flags = header.get(usize::from(start) + 13).filter(|_| !check::is_udp(offset));
        if flags.is_some_and(|flags| flags & 0x80 != 0) {
            out.gso_type.0 |= vnet::GsoType::ECN;
        }
        out.gso_size = size.get();
        let headers = check::headers(header, start, offset);
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
