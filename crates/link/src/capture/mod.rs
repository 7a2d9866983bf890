//! Captures: what passes a link, written as pcapng with the stack's reason beside each packet,
//! and the reader for files of pcap and pcapng.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufWriter, Write};

use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::{PcapNgWriteError, PcapNgWriter};
use wire::frame::{FrameBuf, Medium, ReceiveChecksum, ReceiveMeta, TransmitChecksum, TransmitMeta};
use wire::time::{Duration, Instant};

use crate::{Link, split};

mod queues;
mod read;
#[cfg(test)]
mod tests;

pub use self::queues::QueueCapture;
pub use self::read::{CapturedFrame, Frames, LinkType, read, read_from};

/// Which way a frame went, from the stack's side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The stack received it.
    Inbound,
    /// The stack sent it.
    Outbound,
}

/// How to write a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaptureOptions {
    /// The wall-clock time of [`Instant::ZERO`], since the start of 1970. Zero, the default,
    /// makes captures in virtual time come out the same in every run.
    pub epoch: Duration,
    /// The interface's name to write down; none when empty.
    pub interface: String,
    /// Complete partial checksums in the capture (not in the frame), so that a reader does not
    /// call them wrong. On from the start.
    pub complete_checksums: bool,
    /// Write a super-segment as the packets that it stands for. Off from the start: the capture
    /// shows what passed between stack and link.
    pub split: bool,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            epoch: Duration::ZERO,
            interface: String::new(),
            complete_checksums: true,
            split: false,
        }
    }
}

/// A link that writes down what passes: what the stack gives it to send, and what the link below
/// has received.
///
/// A capture that cannot be written does not hurt the traffic: the first error ends the capture,
/// [`Capture::error`] shows it, and [`Capture::missed`] counts what is not in the file.
#[derive(Debug)]
pub struct Capture<L> {
    /// The link below.
    inner: L,
    /// The file.
    file: CaptureFile,
}

impl<L: Link> Capture<L> {
    /// Captures what passes `inner` into `writer`, which is buffered here. What is buffered is
    /// written on [`Capture::flush`], and when the capture is dropped.
    ///
    /// # Errors
    /// When the file's first blocks cannot be written.
    pub fn new(
        inner: L,
        writer: impl Write + Send + 'static,
        options: CaptureOptions,
    ) -> io::Result<Self> {
        let file = CaptureFile::new(writer, inner.capabilities().medium, options)?;
        Ok(Self { inner, file })
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// When it cannot be written, now or earlier.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// The error that ended the capture, if one did.
    pub fn error(&self) -> Option<&io::Error> {
        self.file.error()
    }

    /// How many packets are not in the file because of [`Capture::error`].
    pub fn missed(&self) -> u64 {
        self.file.missed()
    }

    /// The link below.
    pub fn inner(&self) -> &L {
        &self.inner
    }

    /// The link below, to change it.
    pub fn inner_mut(&mut self) -> &mut L {
        &mut self.inner
    }

    /// Ends the capture: the link below, and whether the whole capture was written.
    pub fn finish(mut self) -> (L, io::Result<()>) {
        let result = self.file.flush();
        (self.inner, result)
    }
}

impl<L: Link> Link for Capture<L> {
    all_but_frames!(self => self.inner);

    fn receive(&mut self, now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        let received = self.inner.receive(now, frame)?;
        if let Some(meta) = &received {
            self.file.received(now, frame, meta);
        }
        Ok(received)
    }

    fn send(
        &mut self,
        now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        self.inner.send(now, header, payload, meta)?;
        self.file.sent(now, header, payload, meta);
        Ok(())
    }
}

/// A pcapng file in the making, for frames that pass no link: a simulator's, or a dump's.
pub struct CaptureFile {
    /// The file; gone after the first error, since half a block may have been written.
    writer: Option<PcapNgWriter<BufWriter<Box<dyn Write + Send>>>>,
    /// How to write.
    options: CaptureOptions,
    /// What kind of frames.
    medium: Medium,
    /// The first error.
    error: Option<io::Error>,
    /// Packets since then.
    missed: u64,
    /// For a frame in one piece.
    whole: Vec<u8>,
    /// For a packet of a super-segment.
    piece: Vec<u8>,
}

impl fmt::Debug for CaptureFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureFile")
            .field("options", &self.options)
            .field("error", &self.error)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

impl CaptureFile {
    /// Starts a file of frames of one medium, with times in nanoseconds.
    ///
    /// # Errors
    /// When the first blocks cannot be written.
    pub fn new(
        writer: impl Write + Send + 'static,
        medium: Medium,
        options: CaptureOptions,
    ) -> io::Result<Self> {
        let writer: Box<dyn Write + Send> = Box::new(writer);
        let mut writer = PcapNgWriter::new(BufWriter::new(writer)).map_err(into_io)?;
        let link_type = match medium {
            Medium::Ip => DataLink::RAW,
            Medium::Ethernet(_) => DataLink::ETHERNET,
        };
        let mut interface = InterfaceDescriptionBlock::new(link_type, 0);
        interface.options.push(InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO));
        if !options.interface.is_empty() {
            let name = Cow::Borrowed(options.interface.as_str());
            interface.options.push(InterfaceDescriptionOption::IfName(name));
        }
        writer.write_pcapng_block(interface).map_err(into_io)?;
        let (whole, piece) = (Vec::new(), Vec::new());
        Ok(Self { writer: Some(writer), options, medium, error: None, missed: 0, whole, piece })
    }

    /// Writes down a frame that was received, as a link describes it.
    pub fn received(&mut self, now: Instant, frame: &[u8], meta: &ReceiveMeta) {
        let mut whole = std::mem::take(&mut self.whole);
        whole.clear();
        whole.extend_from_slice(frame);
        if self.options.complete_checksums && meta.checksum == ReceiveChecksum::Partial {
            split::fill_checksum(self.medium, &mut whole);
        }
        self.pieces(now, Direction::Inbound, &whole, meta.segment_size, "");
        self.whole = whole;
    }

    /// Writes down a frame that was sent, as it is given to a link.
    pub fn sent(&mut self, now: Instant, header: &[u8], payload: &[&[u8]], meta: &TransmitMeta) {
        let mut whole = std::mem::take(&mut self.whole);
        whole.clear();
        whole.extend_from_slice(header);
        for slice in payload {
            whole.extend_from_slice(slice);
        }
        if let (true, TransmitChecksum::Partial { start, offset }) =
            (self.options.complete_checksums, meta.checksum)
        {
            split::complete_checksum(&mut whole, start, offset);
        }
        self.pieces(now, Direction::Outbound, &whole, meta.segment_size, meta.comment);
        self.whole = whole;
    }

    /// Writes down a frame as it is.
    pub fn write(&mut self, now: Instant, direction: Direction, frame: &[u8], comment: &str) {
        let Some(writer) = &mut self.writer else {
            self.missed += 1;
            return;
        };
        // The two lowest bits of epb_flags (pcapng section 4.3.1).
        let flags = match direction {
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        };
        let mut block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: self.options.epoch.saturating_add(now.since(Instant::ZERO)),
            original_len: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(frame),
            options: vec![EnhancedPacketOption::Flags(flags)],
        };
        if !comment.is_empty() {
            let comment = CommonOption::Comment(Cow::Borrowed(comment));
            block.options.push(EnhancedPacketOption::Common(comment));
        }
        if let Err(error) = writer.write_pcapng_block(block) {
            self.fail(into_io(error));
            self.missed += 1;
        }
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// When it cannot be written, now or earlier.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.get_mut().flush()
        {
            self.fail(error);
        }
        match &self.error {
            Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
            None => Ok(()),
        }
    }

    /// The error that ended the file, if one did.
    #[must_use]
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// How many packets are not in the file because of the error.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn pieces(
        &mut self,
        now: Instant,
        direction: Direction,
        whole: &[u8],
        segment_size: Option<std::num::NonZeroU16>,
        comment: &str,
    ) {
        let size = segment_size.filter(|_| self.options.split);
        let Some(Ok(mut pieces)) = size.map(|size| split::split(self.medium, whole, size)) else {
            self.write(now, direction, whole, comment);
            return;
        };
        let mut piece = std::mem::take(&mut self.piece);
        while pieces.next_into(&mut piece) {
            self.write(now, direction, &piece, comment);
        }
        self.piece = piece;
    }

    fn fail(&mut self, error: io::Error) {
        self.error = Some(error);
        if let Some(writer) = self.writer.take() {
            // What is buffered belongs behind what could not be written.
            let _ = writer.into_inner().into_parts();
        }
    }
}

fn into_io(error: PcapNgWriteError) -> io::Error {
    match error {
        PcapNgWriteError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}
