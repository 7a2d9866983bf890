//! What IGMPv3 and MLDv2 share: the kinds of records, and times as floating-point codes.

use core::fmt;

/// What a record of a report says of a group (RFC 9776 section 4.2.13, RFC 9777 section 5.2.12).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKind(pub u8);

impl RecordKind {
    /// The state: listens to the sources only.
    pub const IS_INCLUDE: RecordKind = RecordKind(1);
    /// The state: listens to all but the sources.
    pub const IS_EXCLUDE: RecordKind = RecordKind(2);
    /// The filter changes: from now on listens to the sources only.
    pub const TO_INCLUDE: RecordKind = RecordKind(3);
    /// The filter changes: from now on listens to all but the sources.
    pub const TO_EXCLUDE: RecordKind = RecordKind(4);
    /// Listens to the sources, too.
    pub const ALLOW: RecordKind = RecordKind(5);
    /// Listens to the sources no longer.
    pub const BLOCK: RecordKind = RecordKind(6);
}

impl fmt::Display for RecordKind {
    /// `to_ex`, as tcpdump prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            RecordKind::IS_INCLUDE => "is_in",
            RecordKind::IS_EXCLUDE => "is_ex",
            RecordKind::TO_INCLUDE => "to_in",
            RecordKind::TO_EXCLUDE => "to_ex",
            RecordKind::ALLOW => "allow",
            RecordKind::BLOCK => "block",
            RecordKind(other) => return write!(f, "record type {other}"),
        })
    }
}

impl fmt::Debug for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A number in eight bits: itself below 128, from there on three bits of exponent and four of
/// mantissa (RFC 9776 sections 4.1.1 and 4.1.7, RFC 9777 section 5.1.9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Code8(pub u8);

impl Code8 {
    /// The number: at most 31 744.
    #[must_use]
    pub const fn value(self) -> u16 {
        let code = self.0 as u16;
        if code < 0x80 { code } else { (code & 0xf | 0x10) << ((code >> 4 & 7) + 3) }
    }

    /// The code of the largest number that is not above `value`.
    #[must_use]
    pub const fn from_value(value: u16) -> Code8 {
        let mut code = u8::MAX;
        while Code8(code).value() > value {
            code -= 1;
        }
        Code8(code)
    }
}

/// A number in 16 bits: itself below 32 768, from there on three bits of exponent and twelve of
/// mantissa (RFC 9777 section 5.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Code16(pub u16);

impl Code16 {
    /// The number: at most 8 387 584.
    #[must_use]
    pub const fn value(self) -> u32 {
        let code = self.0 as u32;
        if code < 0x8000 { code } else { (code & 0xfff | 0x1000) << ((code >> 12 & 7) + 3) }
    }

    /// The code of the largest number that is not above `value`.
    #[must_use]
    pub const fn from_value(value: u32) -> Code16 {
        let mut exponent = 0;
        if value < 0x8000 {
            // Below 2^15.
            return Code16(value as u16);
        }
        while exponent < 7 && value >> (exponent + 3) > 0x1fff {
            exponent += 1;
        }
        let mantissa = value >> (exponent + 3);
        let mantissa = if mantissa > 0x1fff { 0x1fff } else { mantissa };
        // Twelve bits of mantissa, three of exponent, and the highest.
        Code16(0x8000 | (exponent << 12) as u16 | (mantissa & 0xfff) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_eight_bits() {
        for (code, value) in [(0, 0), (127, 127), (0x80, 128), (0x8f, 248), (0x90, 256)] {
            assert_eq!(Code8(code).value(), value);
        }
        assert_eq!(Code8(0xff).value(), 31_744);
        for code in 0..=u8::MAX {
            let value = Code8(code).value();
            assert_eq!(Code8::from_value(value), Code8(code));
            let below = Code8::from_value(value.saturating_sub(1));
            assert_eq!(below, Code8(code.saturating_sub(1)));
        }
        assert_eq!(Code8::from_value(u16::MAX), Code8(0xff));
    }

    #[test]
    fn codes_of_sixteen_bits() {
        for (code, value) in [(0x7fff, 32_767), (0x8000, 32_768), (0x8001, 32_776)] {
            assert_eq!(Code16(code).value(), value);
        }
        for code in 0..=u16::MAX {
            let value = Code16(code).value();
            assert_eq!(Code16::from_value(value), Code16(code));
            let below = Code16::from_value(value.saturating_sub(1));
            assert_eq!(below, Code16(code.saturating_sub(1)));
        }
        assert_eq!(Code16::from_value(u32::MAX), Code16(0xffff));
    }
}
