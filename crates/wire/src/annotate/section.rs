//! The pen that writes rows: fields of one layer, one behind the other.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::{Layer, Row, Verdict};

/// How many bytes of a long field are shown.
const SHOWN_BYTES: usize = 16;

/// One layer of a packet, and how far it is explained.
pub(super) struct Section<'a, 'r> {
    rows: &'r mut Vec<Row>,
    /// What is left of the packet from the layer's start on.
    bytes: &'a [u8],
    layer: Layer,
    quoted: bool,
    /// Where the layer starts, in bytes from the start of the packet.
    start: usize,
    /// Where the next field starts, in bits from the start of the layer.
    next_bit: usize,
}

impl<'a, 'r> Section<'a, 'r> {
    pub(super) fn new(rows: &'r mut Vec<Row>, packet: &'a [u8]) -> Self {
        Self { rows, bytes: packet, layer: Layer::Payload, quoted: false, start: 0, next_bit: 0 }
    }

    /// The same place, as the start of `layer`.
    pub(super) fn layer(mut self, layer: Layer) -> Self {
        let skipped = self.next_byte();
        self.bytes = &self.bytes[skipped..];
        self.start += skipped;
        self.next_bit = 0;
        self.layer = layer;
        self
    }

    /// Lets `explain` explain the next `count` bytes, as if the packet ended behind them, and
    /// goes on behind them.
    pub(super) fn within(&mut self, count: usize, explain: impl FnOnce(Section<'a, '_>)) {
        let skipped = self.next_byte();
        let count = count.min(self.remaining());
        explain(Section {
            rows: &mut *self.rows,
            bytes: &self.bytes[skipped..skipped + count],
            layer: self.layer,
            quoted: self.quoted,
            start: self.start + skipped,
            next_bit: 0,
        });
        self.next_bit += count * 8;
    }

    /// From here on it is a packet that an ICMP error quotes.
    pub(super) const fn into_quoted(mut self) -> Self {
        self.quoted = true;
        self
    }

    pub(super) const fn is_quoted(&self) -> bool {
        self.quoted
    }

    /// The bytes of the layer and of everything behind it.
    pub(super) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the next field starts, in whole bytes from the start of the layer.
    pub(super) const fn next_byte(&self) -> usize {
        self.next_bit / 8
    }

    /// How many bytes are not explained yet.
    pub(super) const fn remaining(&self) -> usize {
        self.bytes.len() - self.next_byte()
    }

    /// Explains the next `length` bits, at most 64, by what `explain` says of their value.
    /// `None` when they are not all there: then a row says so, and the layer ends.
    pub(super) fn field(
        &mut self,
        name: &'static str,
        length: usize,
        explain: impl FnOnce(u64) -> String,
    ) -> Option<u64> {
        self.judged(name, length, |value| (explain(value), Verdict::Plain))
    }

    /// As [`Section::field`], with a verdict.
    pub(super) fn judged(
        &mut self,
        name: &'static str,
        length: usize,
        explain: impl FnOnce(u64) -> (String, Verdict),
    ) -> Option<u64> {
        if self.next_bit + length > self.bytes.len() * 8 {
            self.cut_short(name, length);
            return None;
        }
        let value = self.value(self.next_bit, length);
        let (meaning, verdict) = explain(value);
        self.push(name, length, meaning, verdict);
        Some(value)
    }

    /// Explains the next `N` bytes by what `explain` says of them. `None` when they are not all
    /// there: then a row says so, and the layer ends.
    pub(super) fn octets<const N: usize>(
        &mut self,
        name: &'static str,
        explain: impl FnOnce([u8; N]) -> String,
    ) -> Option<[u8; N]> {
        let Some(&octets) = self.bytes[self.next_byte()..].first_chunk() else {
            self.cut_short(name, N * 8);
            return None;
        };
        self.push(name, N * 8, explain(octets), Verdict::Plain);
        Some(octets)
    }

    /// Explains the next `count` bytes, as far as they are there, together; no row for none.
    pub(super) fn run(
        &mut self,
        name: &'static str,
        count: usize,
        verdict: Verdict,
        explain: impl FnOnce(&'a [u8]) -> String,
    ) {
        let start = self.next_byte();
        let bytes = &self.bytes[start..][..count.min(self.remaining())];
        if !bytes.is_empty() {
            self.push(name, bytes.len() * 8, explain(bytes), verdict);
        }
    }

    /// Explains all that is left as payload.
    pub(super) fn payload(self, explain: impl FnOnce(&'a [u8]) -> String) {
        let mut section = self.layer(Layer::Payload);
        let count = section.remaining();
        section.run("payload", count, Verdict::Plain, explain);
    }

    fn cut_short(&mut self, name: &'static str, length: usize) {
        let available = self.bytes.len() * 8 - self.next_bit;
        let missing = length - available;
        // A router quotes as much as it likes.
        let (end, verdict) = if self.quoted {
            ("the quote ends here", Verdict::Plain)
        } else {
            ("the packet ends here", Verdict::Malformed)
        };
        self.push(name, available, format!("{end}; {missing} bits are missing"), verdict);
    }

    fn push(&mut self, name: &'static str, length: usize, meaning: String, verdict: Verdict) {
        self.rows.push(Row {
            layer: self.layer,
            quoted: self.quoted,
            layer_start: self.start,
            bit_offset: self.next_bit,
            bit_len: length,
            raw: self.raw(length),
            name,
            meaning,
            verdict,
        });
        self.next_bit += length;
    }

    /// The number that `length` bits from bit `start` on make.
    fn value(&self, start: usize, length: usize) -> u64 {
        (start..start + length).fold(0, |value, bit| {
            let byte = self.bytes[bit / 8];
            value << 1 | u64::from(byte >> (7 - bit % 8) & 1)
        })
    }

    /// The next `length` bits as text.
    fn raw(&self, length: usize) -> String {
        let mut text = String::new();
        if length > 64 {
            let bytes = &self.bytes[self.next_byte()..][..length / 8];
            for (index, byte) in bytes.iter().take(SHOWN_BYTES).enumerate() {
                let space = if index == 0 { "" } else { " " };
                // Writing to a string cannot fail.
                let _ = write!(text, "{space}{byte:02x}");
            }
            if bytes.len() > SHOWN_BYTES {
                text.push_str(" ...");
            }
        } else if length.is_multiple_of(4) && length > 0 {
            let value = self.value(self.next_bit, length);
            let _ = write!(text, "0x{value:0width$x}", width = length / 4);
        } else {
            let value = self.value(self.next_bit, length);
            for bit in (0..length).rev() {
                text.push(if value >> bit & 1 == 1 { '1' } else { '0' });
                if bit > 0 && bit.is_multiple_of(4) {
                    text.push(' ');
                }
            }
        }
        text
    }
}

/// What can be said of bytes that no header explains: how many they are, and their text.
pub(super) fn describe(bytes: &[u8]) -> String {
    let mut text = format!("{} bytes", bytes.len());
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if !bytes.is_empty() && bytes.iter().all(is_text) {
        let shown = &bytes[..bytes.len().min(4 * SHOWN_BYTES)];
        let dots = if shown.len() < bytes.len() { "..." } else { "" };
        let _ = write!(text, ": \"{}{dots}\"", shown.escape_ascii());
    }
    text
}
