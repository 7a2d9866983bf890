//! Domain names as they stand in the options of neighbour discovery and DHCP: labels with their
//! lengths, without compression (RFC 1035 section 3.1).

use alloc::vec::Vec;
use core::fmt::{self, Write};

/// The longest name in bytes, its lengths and its end included (RFC 1035 section 3.1).
const MAX_LEN: usize = 255;

/// The longest label in bytes; a length above it would be a compression pointer.
const MAX_LABEL: usize = 63;

/// One name: labels behind their lengths, without the zero that ends it; at least one label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Name<'a> {
    bytes: &'a [u8],
}

impl<'a> Name<'a> {
    /// The labels from the left.
    pub fn labels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (&length, behind) = rest.split_first()?;
            let (label, behind) = behind.split_at_checked(usize::from(length))?;
            rest = behind;
            Some(label)
        })
    }

    /// Splits a name off the front of `bytes`.
    fn split_off(bytes: &'a [u8]) -> Option<(Name<'a>, &'a [u8])> {
        let mut end = 0;
        loop {
            match usize::from(*bytes.get(end)?) {
                0 => break,
                length @ 1..=MAX_LABEL => end += 1 + length,
                _ => return None,
            }
            if end >= MAX_LEN {
                return None;
            }
        }
        let (name, rest) = bytes.split_at_checked(end)?;
        Some((Name { bytes: name }, rest.get(1..)?))
    }
}

impl fmt::Display for Name<'_> {
    /// `example.org`, with what is not printable and dots inside a label escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_char('.')?;
            }
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    0x21..=0x7e => f.write_char(char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

/// Names one behind the other. It ends at an empty name, which is padding, and at one that is
/// malformed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Names<'a> {
    bytes: &'a [u8],
}

impl<'a> Names<'a> {
    /// Reads the names in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes that are not read yet.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether all that is left is padding; if not, the next name is malformed, once the iterator
    /// has ended.
    #[must_use]
    pub fn is_padding(&self) -> bool {
        self.bytes.iter().all(|&byte| byte == 0)
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = Name<'a>;

    fn next(&mut self) -> Option<Name<'a>> {
        let (name, rest) = Name::split_off(self.bytes)?;
        if name.bytes.is_empty() {
            return None;
        }
        self.bytes = rest;
        Some(name)
    }
}

impl fmt::Display for Names<'_> {
    /// The names with spaces between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// The bytes of a name, its end included; `None` when it is empty, has an empty label, or is too
/// long. A dot at its end is allowed.
#[must_use]
pub fn encode(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        let length = u8::try_from(label.len()).ok()?;
        if !(1..=MAX_LABEL).contains(&label.len()) {
            return None;
        }
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    (bytes.len() <= MAX_LEN).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_until_the_padding() {
        let mut bytes = encode("example.org").unwrap();
        bytes.extend(encode("lab.").unwrap());
        bytes.extend([0, 0, 0]);
        let mut names = Names::new(&bytes);
        assert_eq!(names.to_string(), "example.org lab");
        assert_eq!(names.by_ref().count(), 2);
        assert!(names.is_padding());
    }

    #[test]
    fn what_is_no_name_ends_the_list() {
        for bytes in [&[3, b'o', b'r'][..], &[3, b'o', b'r', b'g'], &[0xc0, 12, 0], &[64; 80]] {
            let mut names = Names::new(bytes);
            assert_eq!(names.next(), None);
            assert!(!names.is_padding());
        }
        let long = [&[63; 64][..], &[63; 64], &[63; 64], &[63; 64], &[0]].concat();
        assert_eq!(Names::new(&long).next(), None, "257 bytes");
    }

    #[test]
    fn odd_labels_are_escaped() {
        assert_eq!(Names::new(&[4, b'a', b'.', b'\\', 7, 0]).to_string(), r"a\.\\\007");
    }

    #[test]
    fn names_that_cannot_be_written() {
        let long = "a".repeat(64);
        for name in ["", ".", "a..b", &long, &"abcdefg.".repeat(32)] {
            assert_eq!(encode(name), None, "{name}");
        }
        assert_eq!(encode("ab.c"), Some([2, b'a', b'b', 1, b'c', 0].to_vec()));
    }
}
