//! How options are laid out in a header.
//!
//! The order and the fillers are those of Linux, so that 32-bit fields are aligned and a stack
//! that is looked at from outside seems a familiar one: a signature, then the maximum segment
//! size, the timestamps (behind "SACK permitted", or behind two fillers), the window scale, the
//! SACK blocks, the fast open cookie. What fits into 40 bytes only without fillers is laid out
//! without them, so whatever was read can be written again.

use super::list::{OptionsIter, TcpOption, kind};
use super::options::Options;
use super::{Authentication, MAX_OPTIONS_LEN, MAX_WINDOW_SCALE};

impl Options {
    /// The length of the options in a header in bytes: 0 to 40, a multiple of 4.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        if let Some(len) = self.common_len() {
            return len;
        }
        self.lay_out().len
    }

    /// Writes the options to the start of `buf` and returns their length: at most 40 bytes, a
    /// multiple of 4.
    ///
    /// The options of a SYN with a fast open cookie fit, and so do timestamps with three SACK
    /// blocks. Where more was asked for, SACK blocks and then whole options are left out from the
    /// end of that order.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Options::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        if let Some(len) = self.common_len() {
            if let Some(timestamps) = &self.timestamps {
                buf[..4].copy_from_slice(&[kind::NO_OP, kind::NO_OP, kind::TIMESTAMPS, 10]);
                buf[4..8].copy_from_slice(&timestamps.value.to_be_bytes());
                buf[8..12].copy_from_slice(&timestamps.echo.to_be_bytes());
            }
            return len;
        }
        let layout = self.lay_out();
        buf[..layout.len].copy_from_slice(&layout.bytes[..layout.len]);
        layout.len
    }

    /// The options as they will stand in a header, one by one with their fillers, written to
    /// `buf`.
    pub(super) fn laid_out<'a>(
        &self,
        buf: &'a mut [u8; MAX_OPTIONS_LEN],
    ) -> impl Iterator<Item = TcpOption<'a>> {
        let layout = self.lay_out();
        *buf = layout.bytes;
        OptionsIter::new(&buf[..layout.len])
    }

    /// The length of what an established connection sends most: nothing, or only timestamps.
    fn common_len(&self) -> Option<usize> {
        let Options {
            mss: None,
            window_scale: None,
            sack_permitted: false,
            timestamps,
            sack,
            fast_open: None,
            authentication: None,
        } = self
        else {
            return None;
        };
        sack.is_empty().then_some(if timestamps.is_some() { 12 } else { 0 })
    }

    fn lay_out(&self) -> Layout {
        let mut aligned = Layout::new(true);
        if aligned.put_all(self) {
            return aligned;
        }
        let mut tight = Layout::new(false);
        if tight.put_all(self) {
            tight.pad();
            return tight;
        }
        aligned
    }
}

/// Options on their way into a header.
struct Layout {
    bytes: [u8; MAX_OPTIONS_LEN],
    len: usize,
    /// Whether fillers align the options.
    aligned: bool,
}

impl Layout {
    const fn new(aligned: bool) -> Self {
        Self { bytes: [0; MAX_OPTIONS_LEN], len: 0, aligned }
    }

    /// Puts all options; false when not all of them fit.
    fn put_all(&mut self, options: &Options) -> bool {
        let mut fits = true;
        if let Some(signature) = &options.authentication {
            fits &= self.put_signature(signature);
        }
        if let Some(mss @ 1..) = options.mss {
            fits &= self.put(0, kind::MAXIMUM_SEGMENT_SIZE, &mss.to_be_bytes());
        }
        // "SACK permitted" takes the place of the two fillers before the timestamps.
        if options.sack_permitted {
            let fillers = if options.timestamps.is_some() { 0 } else { 2 };
            fits &= self.put(fillers, kind::SACK_PERMITTED, &[]);
        }
        if let Some(timestamps) = options.timestamps {
            let fillers = if options.sack_permitted { 0 } else { 2 };
            let mut data = [0; 8];
            data[..4].copy_from_slice(&timestamps.value.to_be_bytes());
            data[4..].copy_from_slice(&timestamps.echo.to_be_bytes());
            fits &= self.put(fillers, kind::TIMESTAMPS, &data);
        }
        if let Some(shift) = options.window_scale {
            fits &= self.put(1, kind::WINDOW_SCALE, &[shift.min(MAX_WINDOW_SCALE)]);
        }
        fits &= self.put_sack(options);
        if let Some(cookie) = &options.fast_open {
            fits &= self.put(0, kind::FAST_OPEN, cookie.as_bytes());
            fits &= !self.aligned || self.align();
        }
        fits
    }

    fn put_signature(&mut self, signature: &Authentication) -> bool {
        let fillers = if signature.kind() == kind::MD5_SIGNATURE { 2 } else { 0 };
        self.put(fillers, signature.kind(), signature.data()) && (!self.aligned || self.align())
    }

    /// Puts as many SACK blocks as fit; false when not all do.
    fn put_sack(&mut self, options: &Options) -> bool {
        let blocks = options.sack.as_slice();
        if blocks.is_empty() {
            return true;
        }
        let fillers = if self.aligned { 2 } else { 0 };
        let room = (MAX_OPTIONS_LEN - self.len).saturating_sub(fillers + 2) / 8;
        let count = room.min(blocks.len());
        if count == 0 {
            return false;
        }
        let mut data = [0; 32];
        for (place, block) in data.chunks_exact_mut(8).zip(blocks) {
            place[..4].copy_from_slice(&block.left.to_be_bytes());
            place[4..].copy_from_slice(&block.right.to_be_bytes());
        }
        self.put(2, kind::SACK, &data[..count * 8]) && count == blocks.len()
    }

    /// Puts one option behind `fillers` fillers; false when it does not fit.
    fn put(&mut self, fillers: usize, kind: u8, data: &[u8]) -> bool {
        let fillers = if self.aligned { fillers } else { 0 };
        let length = 2 + data.len();
        let start = self.len + fillers;
        let (Some(place), Ok(stated)) =
            (self.bytes.get_mut(self.len..start + length), u8::try_from(length))
        else {
            return false;
        };
        place[..fillers].fill(kind::NO_OP);
        place[fillers] = kind;
        place[fillers + 1] = stated;
        place[fillers + 2..].copy_from_slice(data);
        self.len = start + length;
        true
    }

    /// Fills up to a multiple of 4 with fillers between options. It always fits, since there is
    /// room for a multiple of 4.
    fn align(&mut self) -> bool {
        let end = self.len.next_multiple_of(4);
        self.bytes[self.len..end].fill(kind::NO_OP);
        self.len = end;
        true
    }

    /// Fills up to a multiple of 4 with zeros behind the last option.
    const fn pad(&mut self) {
        self.len = self.len.next_multiple_of(4);
    }
}
