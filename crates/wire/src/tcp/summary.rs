//! A segment in one line, as tcpdump prints it.

use core::fmt;

use super::options::SackBlock;
use super::{Flags, Header, MAX_OPTIONS_LEN, TcpOption};

/// A segment in one line, in tcpdump's style, from [`Header::summary`]:
///
/// `Flags [S.], seq 1, ack 2, win 64240, options [mss 1460,nop,wscale 7], length 0`
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a> {
    header: &'a Header,
    payload_len: usize,
    sequence_base: u32,
    acknowledgment_base: u32,
}

impl<'a> Summary<'a> {
    pub(super) const fn new(header: &'a Header, payload_len: usize) -> Self {
        Self { header, payload_len, sequence_base: 0, acknowledgment_base: 0 }
    }

    /// Prints numbers relative to the initial sequence number of the sender and of the receiver,
    /// except those of a SYN itself, as tcpdump does.
    #[must_use]
    pub const fn relative_to(mut self, sender: u32, receiver: u32) -> Self {
        self.sequence_base = sender;
        self.acknowledgment_base = receiver;
        self
    }

    /// Everything but the length.
    pub(super) fn fmt_header(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { flags, sequence, acknowledgment, window, urgent, options, .. } = self.header;
        write!(f, "Flags [{flags}]")?;
        let synchronises = flags.intersects(Flags::SYN | Flags::FIN | Flags::RST);
        if self.payload_len > 0 || synchronises {
            let base = if flags.contains(Flags::SYN) { 0 } else { self.sequence_base };
            let first = sequence.wrapping_sub(base);
            write!(f, ", seq {first}")?;
            // A segment has at most 64 KiB; more would only print wrong.
            let length = u32::try_from(self.payload_len).unwrap_or(u32::MAX);
            if length > 0 {
                write!(f, ":{}", first.wrapping_add(length))?;
            }
        }
        if flags.contains(Flags::ACK) {
            write!(f, ", ack {}", acknowledgment.wrapping_sub(self.acknowledgment_base))?;
        }
        write!(f, ", win {window}")?;
        if flags.contains(Flags::URG) {
            write!(f, ", urg {urgent}")?;
        }
        let mut bytes = [0; MAX_OPTIONS_LEN];
        let mut separator = ", options [";
        for option in options.laid_out(&mut bytes) {
            f.write_str(separator)?;
            self.fmt_option(f, option)?;
            separator = ",";
        }
        if separator == "," { f.write_str("]") } else { Ok(()) }
    }

    /// SACK blocks are numbers of the receiver's data, so they are relative to its base.
    fn fmt_option(&self, f: &mut fmt::Formatter<'_>, option: TcpOption<'_>) -> fmt::Result {
        let TcpOption::Sack(blocks) = option else {
            return fmt::Display::fmt(&option, f);
        };
        write!(f, "sack {} ", blocks.len())?;
        blocks.iter().try_for_each(|SackBlock { left, right }| {
            let base = self.acknowledgment_base;
            write!(f, "{{{}:{}}}", left.wrapping_sub(base), right.wrapping_sub(base))
        })
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_header(f)?;
        write!(f, ", length {}", self.payload_len)
    }
}
