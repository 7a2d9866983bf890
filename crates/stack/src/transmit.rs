//! A packet on its way out: headers in the caller's buffer, payload still where it is.

use arrayvec::ArrayVec;
use wire::frame::{FrameBuf, MAX_HEADER, TransmitMeta};

use crate::{ConnectionId, InterfaceId};

/// Into how many slices the payload of one packet may fall.
pub const MAX_SLICES: usize = 16;

/// The buffer that a driver lends to [`crate::Stack::poll_transmit`] for one packet's headers.
#[derive(Clone, Debug)]
pub struct HeaderBuf(pub(crate) [u8; MAX_HEADER]);

impl Default for HeaderBuf {
    fn default() -> Self {
        Self([0; MAX_HEADER])
    }
}

/// One packet to send: a gathered write of `header`, then each slice of `payload`.
#[derive(Debug)]
pub struct Transmit<'a> {
    /// The interface to send it on.
    pub interface: InterfaceId,
    /// Every header, from the link's to the transport's.
    pub header: &'a [u8],
    /// The payload, borrowed from the send queue.
    pub payload: ArrayVec<&'a [u8], MAX_SLICES>,
    /// What is left for the link to do, and why the packet is sent.
    pub meta: TransmitMeta,
}

impl Transmit<'_> {
    /// The length of the whole frame, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.header.len() + self.payload.iter().map(|slice| slice.len()).sum::<usize>()
    }

    /// Whether there is nothing in it; never true for a packet of the stack.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame in one piece, for tests and for links that cannot gather.
    #[must_use]
    pub fn to_frame(&self) -> FrameBuf {
        let mut bytes = alloc::vec::Vec::with_capacity(self.len());
        bytes.extend_from_slice(self.header);
        for slice in &self.payload {
            bytes.extend_from_slice(slice);
        }
        FrameBuf::from(bytes)
    }
}

/// A packet whose headers were written and whose payload is still to be gathered.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Where it goes.
    pub(crate) interface: InterfaceId,
    /// How many bytes of the header buffer are used.
    pub(crate) header_len: usize,
    /// What follows the headers.
    pub(crate) body: Body,
    /// What is left for the link.
    pub(crate) meta: TransmitMeta,
}

/// What follows the headers of a packet.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// Bytes of a connection's send queue.
    Stream {
        /// Whose.
        connection: ConnectionId,
        /// From which byte of the queue on.
        offset: usize,
        /// How many bytes.
        length: usize,
        /// Where the TCP header starts, when the checksum must be completed here: the link has no
        /// checksum offload. The field holds the pseudo-header's sum.
        complete_checksum_at: Option<usize>,
    },
    /// A buffer of its own: a datagram, an echo.
    Frame(FrameBuf),
}
