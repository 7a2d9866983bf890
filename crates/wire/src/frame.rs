//! What a frame is besides its bytes: its buffer, its offload meta, and what a link can do.
//!
//! `link` and `stack` do not know each other; these are the words they share.

use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::ops::{Deref, DerefMut};

use crate::ethernet::EthernetAddress;

/// The longest frame that a link hands over: a 64 KiB IP packet and its link header.
pub const MAX_FRAME: usize = 65_535 + 18;

/// Room for every header that the stack writes in front of a payload: Ethernet with a VLAN tag,
/// the longest IPv4 header, the longest TCP header, and some to spare for IPv6 extensions.
pub const MAX_HEADER: usize = 192;

/// An owned buffer that holds one frame, and of it the part that is still of interest.
///
/// Buffers are pooled by whoever reads the device: the stack takes a frame by value, may keep it
/// in a receive queue, and gives it back when it is read. The bytes outside the visible range
/// stay allocated, so a buffer can be used again at its full capacity.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct FrameBuf {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl FrameBuf {
    /// An empty frame whose buffer has room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: alloc::vec![0; capacity], start: 0, end: 0 }
    }

    /// A frame that holds a copy of `bytes`.
    #[must_use]
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), start: 0, end: bytes.len() }
    }

    /// How many bytes the buffer can hold in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// The whole buffer, for a device to write into; follow it with [`FrameBuf::set_filled`].
    pub fn whole_buffer(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Makes the first `length` bytes of the buffer the frame (at most its capacity).
    pub fn set_filled(&mut self, length: usize) {
        self.start = 0;
        self.end = length.min(self.bytes.len());
    }

    /// Hides the first `count` bytes (a header that was read); at most all of them.
    pub fn advance(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Shows again the last `count` bytes that are hidden in front; at most all of them.
    pub fn retreat(&mut self, count: usize) {
        self.start = self.start.saturating_sub(count);
    }

    /// The last `count` bytes that are hidden in front (headers that were read); at most all of
    /// them.
    #[must_use]
    pub fn hidden(&self, count: usize) -> &[u8] {
        &self.bytes[self.start.saturating_sub(count)..self.start]
    }

    /// Keeps only the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.end = self.end.min(self.start.saturating_add(length));
    }

    /// How many bytes fit behind the frame.
    #[must_use]
    pub fn room(&self) -> usize {
        self.bytes.len() - self.end
    }

    /// Appends as many of `bytes` as the buffer has room for behind the frame, and says how many.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let room = &mut self.bytes[self.end..];
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.end += count;
        count
    }
}

impl Deref for FrameBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

impl DerefMut for FrameBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }
}

impl From<Vec<u8>> for FrameBuf {
    fn from(bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Self { bytes, start: 0, end }
    }
}

/// What a link knows about a frame that it received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReceiveMeta {
    /// How far the transport checksum was checked already.
    pub checksum: ReceiveChecksum,
    /// For a super-segment of TCP, or several datagrams of UDP in one: the payload size of each packet
    /// that it stands for.
    pub segment_size: Option<NonZeroU16>,
}

/// The state of the transport checksum of a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReceiveChecksum {
    /// Nobody looked: the receiver must verify it.
    #[default]
    Unverified,
    /// The link vouches for it (it came from the same machine, or hardware checked it).
    Verified,
    /// The sender left it for hardware to complete (`VIRTIO_NET_HDR_F_NEEDS_CSUM`): only the
    /// pseudo-header is summed, and the bytes never left the machine.
    Partial,
}

/// What a link must do with, and may tell about, a frame that it is given to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TransmitMeta {
    /// What is left to do for the transport checksum.
    pub checksum: TransmitChecksum,
    /// For a super-segment: cut the payload into pieces of this size, each with a copy of the
    /// headers. Only given to a link whose capabilities have `segmentation`.
    pub segment_size: Option<NonZeroU16>,
    /// Why the stack sent this, for a capture to write beside the packet. Opaque to links;
    /// empty when there is nothing to say.
    pub comment: &'static str,
}

/// What is left to do for the transport checksum of a frame to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TransmitChecksum {
    /// The frame is complete.
    #[default]
    Complete,
    /// Sum everything from byte `start` of the frame to its end, and store the result `offset`
    /// bytes after `start`; the field holds the pseudo-header's sum already. Only given to a
    /// link whose capabilities have `checksum`.
    Partial {
        /// Where the transport header starts, in bytes from the start of the frame.
        start: u16,
        /// Where its checksum field is, in bytes from `start`.
        offset: u16,
    },
}

/// What a link carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// IP packets, as on a TUN device.
    Ip,
    /// Ethernet frames, as on a TAP device; the stack's own address on the link.
    Ethernet(EthernetAddress),
}

/// What a link can do, fixed when it is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// IP packets or Ethernet frames.
    pub medium: Medium,
    /// The largest IP packet in bytes that one frame carries (super-segments aside).
    pub mtu: u16,
    /// The link completes partial transport checksums.
    pub checksum: bool,
    /// The link cuts super-segments of TCP and messages of UDP, over IPv4 and IPv6, up to 64 KiB each.
    pub segmentation: bool,
}
