//! Options of kind, length and data, as TCP, IPv4 and IPv6 have them: one after the other, until the
//! bytes end or a length lies.

/// What a length octet counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    /// The whole option, with the octets of kind and length: IPv4 and TCP.
    Whole,
    /// Only the data: IPv6.
    Data,
}

/// A place among options.
#[derive(Clone, Debug)]
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
    position: usize,
}

impl<'a> Walk<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, position: 0 }
    }

    /// Where the next option starts, in bytes from the first.
    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    /// The kind of the next option; `None` behind the last.
    pub(crate) fn kind(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Passes an option that is a single octet.
    pub(crate) fn pass(&mut self) {
        self.skip(1);
    }

    /// Passes an option that is a single octet, and ends the list: what follows is padding.
    pub(crate) fn end(&mut self) {
        self.skip(1);
        self.rest = &[];
    }

    /// Passes an option with a length, and gives its data. A length that cannot be (below 2 where it
    /// counts the whole option, beyond the bytes, or missing) ends the list and is given back, for
    /// nobody knows where the next option starts.
    pub(crate) fn data(&mut self, counts: Length) -> Result<&'a [u8], Option<u8>> {
        let length = self.rest.get(1).copied();
        let end = |length| match counts {
            Length::Whole => usize::from(length),
            Length::Data => 2 + usize::from(length),
        };
        let Some(data) = length.and_then(|length| self.rest.get(2..end(length))) else {
            self.rest = &[];
            return Err(length);
        };
        self.skip(2 + data.len());
        Ok(data)
    }

    /// The bytes are there.
    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count..];
        self.position += count;
    }
}
