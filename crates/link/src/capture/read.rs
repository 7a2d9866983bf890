//! Reads captures of others: pcap with microseconds or nanoseconds, and pcapng, in either byte
//! order, told apart by their first bytes.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::Block;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::{PcapNgReader, PcapNgState};
use wire::time::Duration;

use super::Direction;

/// What the frames of a capture start with (tcpdump.org/linktypes.html).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkType {
    /// An IP packet, its version in the first four bits (101, and its aliases).
    Ip,
    /// An Ethernet header (1).
    Ethernet,
    /// Something else.
    Other(u32),
}

impl From<DataLink> for LinkType {
    fn from(link: DataLink) -> Self {
        match u32::from(link) {
            1 => Self::Ethernet,
            // 12 and 14 are what BSDs wrote for raw IP; 228 and 229 are IPv4 and IPv6 only.
            12 | 14 | 101 | 228 | 229 => Self::Ip,
            other => Self::Other(other),
        }
    }
}

/// A frame out of a capture file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CapturedFrame {
    /// What the frame starts with.
    pub link_type: LinkType,
    /// When it passed, since the start of 1970; a simple packet block does not tell.
    pub time: Option<Duration>,
    /// The frame, as much of it as was captured.
    pub bytes: Vec<u8>,
    /// How long the frame was, in bytes.
    pub original_length: usize,
    /// Which way it went, if the file says so.
    pub direction: Option<Direction>,
    /// The comment beside it, if there is one.
    pub comment: Option<String>,
}

/// Opens a capture file.
///
/// # Errors
/// When the file cannot be read, and `InvalidData` when it is neither pcap nor pcapng.
pub fn read(path: impl AsRef<Path>) -> io::Result<Frames> {
    read_from(File::open(path)?)
}

/// Reads a capture from anywhere.
///
/// # Errors
/// As [`read`].
pub fn read_from(mut reader: impl Read + 'static) -> io::Result<Frames> {
    const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => bad("too short for a capture"),
        _ => error,
    })?;
    let whole: Box<dyn Read> = Box::new(Cursor::new(magic).chain(reader));
    let source = if magic == PCAPNG {
        Source::PcapNg(PcapNgReader::new(whole).map_err(bad)?)
    } else {
        Source::Pcap(PcapReader::new(whole).map_err(bad)?)
    };
    Ok(Frames { source, ended: false })
}

/// The frames of a capture file, in its order. After an error there is no further frame.
pub struct Frames {
    /// The file.
    source: Source,
    /// The end of the file was met, or an error behind which nothing can be read.
    ended: bool,
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("ended", &self.ended).finish_non_exhaustive()
    }
}

enum Source {
    Pcap(PcapReader<Box<dyn Read>>),
    PcapNg(PcapNgReader<Box<dyn Read>>),
}

impl Iterator for Frames {
    type Item = io::Result<CapturedFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match &mut self.source {
            Source::Pcap(reader) => next_pcap(reader),
            Source::PcapNg(reader) => next_pcapng(reader),
        };
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

fn next_pcap(reader: &mut PcapReader<Box<dyn Read>>) -> Option<io::Result<CapturedFrame>> {
    let link_type = reader.header().datalink.into();
    let packet = match reader.next_packet()? {
        Ok(packet) => packet,
        Err(error) => return Some(Err(bad(error))),
    };
    Some(Ok(CapturedFrame {
        link_type,
        time: Some(packet.timestamp()),
        bytes: packet.data().to_vec(),
        original_length: length(packet.orig_len()),
        direction: None,
        comment: None,
    }))
}

fn next_pcapng(reader: &mut PcapNgReader<Box<dyn Read>>) -> Option<io::Result<CapturedFrame>> {
    loop {
        let (block, state) = match reader.next_block()? {
            Ok(next) => next,
            Err(error) => return Some(Err(bad(error))),
        };
        return Some(Ok(match block {
            Block::EnhancedPacket(packet) => enhanced(packet, state),
            Block::Packet(packet) => CapturedFrame {
                link_type: link_type(state, packet.interface_id.into()),
                time: Some(packet.timestamp),
                bytes: packet.data.into_owned(),
                original_length: length(packet.original_len),
                direction: None,
                comment: None,
            },
            Block::SimplePacket(packet) => CapturedFrame {
                link_type: link_type(state, 0),
                time: None,
                bytes: packet.data.into_owned(),
                original_length: length(packet.original_len),
                direction: None,
                comment: None,
            },
            _ => continue,
        }));
    }
}

fn enhanced(packet: EnhancedPacketBlock<'_>, state: &PcapNgState) -> CapturedFrame {
    let mut frame = CapturedFrame {
        link_type: link_type(state, packet.interface_id),
        time: Some(packet.timestamp),
        bytes: packet.data.into_owned(),
        original_length: length(packet.original_len),
        direction: None,
        comment: None,
    };
    for option in packet.options {
        match option {
            EnhancedPacketOption::Flags(flags) => {
                frame.direction = match flags & 3 {
                    1 => Some(Direction::Inbound),
                    2 => Some(Direction::Outbound),
                    _ => None,
                };
            }
            EnhancedPacketOption::Common(CommonOption::Comment(comment)) => {
                frame.comment = Some(comment.into_owned());
            }
            _ => {}
        }
    }
    frame
}

fn link_type(state: &PcapNgState, interface: u32) -> LinkType {
    let interface = state.interfaces().get(length(interface));
    interface.map_or(LinkType::Other(u32::MAX), |interface| interface.linktype.into())
}

fn length(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn bad(error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a pcap or pcapng capture: {error}"))
}
