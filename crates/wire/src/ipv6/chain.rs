//! The chain of extension headers (RFC 8200 section 4).

use super::chain_malformed::ChainMalformed;
use super::options::{Ipv6Option, OptionsIter};
use super::{Fragment, HEADER_LEN, Header, NEXT_HEADER_OFFSET};
use crate::ip::Protocol;
use crate::{tcp, udp};

/// How much of a chain a receiver looks at, so that no packet keeps it busy (RFC 8504 section 5.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// The most extension headers in a packet.
    pub headers: u8,
    /// The most options in one header, padding not counted.
    pub options: u8,
}

impl Limits {
    /// Eight of each: the default that RFC 8504 section 5.3 recommends for options. No packet in
    /// use has more than four headers.
    pub const DEFAULT: Limits = Limits { headers: 8, options: 8 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Where the chain of extension headers ends, and what it said. Places are in bytes from the
/// start of the packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Chain {
    /// What follows the last header that was walked: a transport, [`Protocol::NO_NEXT_HEADER`], or
    /// something that is not known here. Of a fragment, what the fragmentable part begins with (of
    /// the first fragment only, RFC 8200 section 4.5).
    pub protocol: Protocol,
    /// Where it starts. In a fragment, where the fragment's payload starts.
    pub start: usize,
    /// Where the Next Header field is that names it: the pointer of a parameter problem with
    /// "unrecognized next header".
    pub named_at: usize,
    /// The packet is a fragment; `None` also for one that is whole in spite of a fragment header
    /// (RFC 6946).
    pub fragment: Option<PlacedFragment>,
    /// The value of a router alert in the hop-by-hop header.
    pub router_alert: Option<u16>,
}

/// A fragment header and its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PlacedFragment {
    /// What it says.
    pub header: Fragment,
    /// Where it starts. What stands before it is the part of the packet that every fragment has.
    pub start: usize,
    /// Where the Next Header field is that names it, in which the reassembled packet has
    /// [`Fragment::next_header`] of the first fragment.
    pub named_at: usize,
}

impl Chain {
    /// Follows the extension headers of a packet from its fixed header on. `payload` is what
    /// [`Header::parse`] gave with `header`.
    ///
    /// Hop-by-hop, routing, destination and authentication headers are passed, the last unread.
    /// The walk ends at a fragment, at a transport, and at what is not known here; whether that is
    /// spoken is for the caller to say. A first fragment must hold all headers, but what is in
    /// those behind the fragment header is judged when the packet is whole again.
    ///
    /// # Errors
    /// At the first thing for which the packet must be discarded.
    pub fn walk(header: &Header, payload: &[u8], limits: &Limits) -> Result<Chain, ChainMalformed> {
        let mut router_alert = None;
        let mut extensions = Extensions::new(header.next_header, payload);
        let mut count = 0;
        while let Some(extension) = extensions.next() {
            let Extension { kind, start, named_at, .. } = extension;
            count += 1;
            if count > u32::from(limits.headers) {
                return Err(ChainMalformed::TooManyHeaders { at: start });
            }
            match kind {
                Protocol::HOP_BY_HOP if named_at != NEXT_HEADER_OFFSET => {
                    return Err(ChainMalformed::HopByHopNotFirst { named_at });
                }
                Protocol::HOP_BY_HOP => router_alert = extension.check_options(limits)?,
                Protocol::DESTINATION_OPTIONS => drop(extension.check_options(limits)?),
                Protocol::ROUTING => extension.check_routing()?,
                _ => {}
            }
            let fragment = extension.fragment().filter(|header| !header.is_atomic());
            if let Some(header) = fragment {
                let fragment = PlacedFragment { header, start, named_at };
                fragment.check(payload, &extensions)?;
                return Ok(extensions.end(Some(fragment), router_alert));
            }
        }
        if extensions.is_cut_short() {
            let Extensions { protocol: header, start: at, rest, .. } = extensions;
            return Err(ChainMalformed::HeaderBeyondPacket { header, at, length: rest.len() });
        }
        Ok(extensions.end(None, router_alert))
    }
}

impl PlacedFragment {
    /// What RFC 8200 section 4.5 demands of a fragment before it is put to others. `behind` has
    /// just passed its header.
    fn check(&self, payload: &[u8], behind: &Extensions<'_>) -> Result<(), ChainMalformed> {
        let Fragment { offset, more_fragments, .. } = self.header;
        let length = behind.rest.len();
        if length == 0 && offset == 0 {
            return Err(ChainMalformed::FirstFragmentIncomplete);
        }
        if length == 0 {
            return Err(ChainMalformed::FragmentEmpty);
        }
        if more_fragments && !length.is_multiple_of(8) {
            return Err(ChainMalformed::FragmentLength { length });
        }
        // The reassembled packet has what stands before the fragment header, too.
        let unfragmentable = payload.len() - length - Fragment::LEN;
        if unfragmentable + usize::from(offset) + length > usize::from(u16::MAX) {
            let at = self.start + 2;
            return Err(ChainMalformed::FragmentBeyondEnd { offset, length, at });
        }
        if offset == 0 && !behind.clone().reaches_transport() {
            return Err(ChainMalformed::FirstFragmentIncomplete);
        }
        Ok(())
    }
}

/// The extension headers of a packet one by one, without judging what is in them. It ends at what
/// is no extension header known here, and at one that reaches beyond the packet.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    protocol: Protocol,
    start: usize,
    named_at: usize,
    rest: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Begins behind the fixed header, which says that `next_header` is the first of `payload`.
    #[must_use]
    pub const fn new(next_header: Protocol, payload: &'a [u8]) -> Self {
        let named_at = NEXT_HEADER_OFFSET;
        Self { protocol: next_header, start: HEADER_LEN, named_at, rest: payload }
    }

    /// What comes next: an extension header, and at the end what is none.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where that starts, in bytes from the start of the packet.
    #[must_use]
    pub const fn start(&self) -> usize {
        self.start
    }

    /// All that is left of the packet from there on.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether what comes next is an extension header that reaches beyond the packet.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.next_len().is_some_and(|length| length > self.rest.len())
    }

    /// The length of the next extension header in bytes; `None` when none is next.
    fn next_len(&self) -> Option<usize> {
        let stated = self.rest.get(1).copied().map_or(0, usize::from);
        match self.protocol {
            Protocol::HOP_BY_HOP | Protocol::ROUTING | Protocol::DESTINATION_OPTIONS => {
                Some((stated + 1) * 8)
            }
            Protocol::FRAGMENT => Some(Fragment::LEN),
            // In units of four bytes, two of which are not counted (RFC 4302 section 2.2).
            Protocol::AUTHENTICATION => Some((stated + 2) * 4),
            _ => None,
        }
    }

    /// Whether the chain ends inside the bytes that are there, the header of the transport
    /// included (RFC 7112 section 5; of ICMPv6 the first four bytes count, section 3).
    fn reaches_transport(mut self) -> bool {
        self.by_ref().for_each(drop);
        let needed = match self.protocol {
            Protocol::TCP => tcp::MIN_HEADER_LEN,
            Protocol::UDP => udp::HEADER_LEN,
            Protocol::ICMPV6 => 4,
            Protocol::NO_NEXT_HEADER => 0,
            _ => 1,
        };
        !self.is_cut_short() && self.rest.len() >= needed
    }

    const fn end(&self, fragment: Option<PlacedFragment>, router_alert: Option<u16>) -> Chain {
        let Extensions { protocol, start, named_at, .. } = *self;
        Chain { protocol, start, named_at, fragment, router_alert }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        let length = self.next_len()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        let extension =
            Extension { kind: self.protocol, start: self.start, named_at: self.named_at, bytes };
        self.protocol = Protocol(*bytes.first()?);
        self.named_at = self.start;
        self.start += length;
        self.rest = rest;
        Some(extension)
    }
}

/// One extension header, all of which is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extension<'a> {
    /// Which one it is.
    pub kind: Protocol,
    /// Where it starts, in bytes from the start of the packet.
    pub start: usize,
    /// Where the Next Header field is that names it.
    pub named_at: usize,
    /// Its bytes, from the Next Header field on: 8 or more.
    pub bytes: &'a [u8],
}

impl<'a> Extension<'a> {
    /// The options of a hop-by-hop or destination header.
    #[must_use]
    pub fn options(&self) -> OptionsIter<'a> {
        OptionsIter::new(self.bytes.get(2..).unwrap_or_default())
    }

    /// What a fragment header says; `None` for other headers.
    #[must_use]
    pub fn fragment(&self) -> Option<Fragment> {
        let is_fragment = self.kind == Protocol::FRAGMENT;
        self.bytes.first_chunk().filter(|_| is_fragment).map(Fragment::parse)
    }

    /// Judges the options, and gives the value of a router alert.
    fn check_options(&self, limits: &Limits) -> Result<Option<u16>, ChainMalformed> {
        let mut options = self.options();
        let mut router_alert = None;
        let mut others = 0u32;
        let mut padding = 0;
        loop {
            let at = self.start + 2 + options.position();
            let Some(option) = options.next() else { return Ok(router_alert) };
            let (is_zero, length) = match option {
                Ipv6Option::Pad1 => (true, 1),
                Ipv6Option::PadN(data) => (data.iter().all(|&byte| byte == 0), 2 + data.len()),
                _ => {
                    padding = 0;
                    others += 1;
                    if others > u32::from(limits.options) {
                        return Err(ChainMalformed::TooManyOptions { at });
                    }
                    if let Some(value) = self.check_option(&option, at)? {
                        router_alert = Some(value);
                    }
                    continue;
                }
            };
            padding += length;
            if padding > 7 || !is_zero {
                return Err(ChainMalformed::Padding { at });
            }
        }
    }

    fn check_option(
        &self,
        option: &Ipv6Option<'_>,
        at: usize,
    ) -> Result<Option<u16>, ChainMalformed> {
        let is_hop_by_hop = self.kind == Protocol::HOP_BY_HOP;
        match *option {
            Ipv6Option::RouterAlert(value) if is_hop_by_hop => Ok(Some(value)),
            Ipv6Option::WrongSize { kind, .. } if is_hop_by_hop => {
                Err(ChainMalformed::OptionLength { kind, at })
            }
            Ipv6Option::BadLength { kind, .. } => Err(ChainMalformed::OptionLength { kind, at }),
            // The two highest bits are zero: skip it.
            Ipv6Option::Unknown { kind, .. } if kind >> 6 != 0 => {
                Err(ChainMalformed::UnknownOption { kind, at })
            }
            _ => Ok(None),
        }
    }

    fn check_routing(&self) -> Result<(), ChainMalformed> {
        match *self.bytes {
            [_, _, kind, segments_left, ..] if segments_left > 0 => {
                Err(ChainMalformed::RoutingType { kind, at: self.start + 2 })
            }
            _ => Ok(()),
        }
    }
}
