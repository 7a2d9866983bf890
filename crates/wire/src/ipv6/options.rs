//! The options of hop-by-hop and destination headers (RFC 8200 section 4.2, RFC 2711).

use core::fmt;

use crate::ip::Protocol;
use crate::walk::{Length, Walk};

/// The type octets of IPv6 options (IANA "Destination Options and Hop-by-Hop Options").
pub mod option {
    /// One byte of padding, without a length.
    pub const PAD1: u8 = 0x00;
    /// Two bytes of padding or more.
    pub const PADN: u8 = 0x01;
    /// Router alert (RFC 2711).
    pub const ROUTER_ALERT: u8 = 0x05;
    /// The length of a jumbogram (RFC 2675), which is not spoken here: it is refused as any option
    /// whose two highest bits are 11.
    pub const JUMBO_PAYLOAD: u8 = 0xc2;
}

/// What a router alert is for (IANA "IPv6 Router Alert Option Values").
pub mod router_alert {
    /// The packet is a message of multicast listener discovery.
    pub const MULTICAST_LISTENER_DISCOVERY: u16 = 0;
}

/// The hop-by-hop header that has only a router alert of `value` in it, as MLD sends it
/// (RFC 9777 section 5); eight bytes, filled up with a PadN.
#[must_use]
pub const fn router_alert_header(next_header: Protocol, value: u16) -> [u8; 8] {
    let [high, low] = value.to_be_bytes();
    [next_header.0, 0, option::ROUTER_ALERT, 2, high, low, option::PADN, 0]
}

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ipv6Option<'a> {
    /// One byte of padding.
    Pad1,
    /// Padding of two bytes and these, which should be zeros.
    PadN(&'a [u8]),
    /// Routers should look into the packet, which is of this kind ([`router_alert`]).
    RouterAlert(u16),
    /// Any other option.
    Unknown {
        /// The type octet, whose two highest bits say what to do with the packet.
        kind: u8,
        /// What follows type and length.
        data: &'a [u8],
    },
    /// A router alert whose length is not 2.
    WrongSize {
        /// The type octet.
        kind: u8,
        /// What follows type and length.
        data: &'a [u8],
    },
    /// An option that reaches beyond the header, or ends before its length. The list ends here.
    BadLength {
        /// The type octet.
        kind: u8,
        /// The stated length of the data in bytes, if it is there.
        length: Option<u8>,
    },
}

/// The options of a header one by one. It ends behind [`Ipv6Option::BadLength`].
#[derive(Clone, Debug)]
pub struct OptionsIter<'a>(Walk<'a>);

impl<'a> OptionsIter<'a> {
    /// Reads the options in `bytes`: what follows the first two bytes of the header.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(Walk::new(bytes))
    }

    /// Where the next option starts, in bytes from the start of the options.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.0.position()
    }
}

impl<'a> Iterator for OptionsIter<'a> {
    type Item = Ipv6Option<'a>;

    fn next(&mut self) -> Option<Ipv6Option<'a>> {
        let kind = self.0.kind()?;
        if kind == option::PAD1 {
            self.0.pass();
            return Some(Ipv6Option::Pad1);
        }
        Some(match self.0.data(Length::Data) {
            Ok(data) => read(kind, data),
            Err(length) => Ipv6Option::BadLength { kind, length },
        })
    }
}

fn read(kind: u8, data: &[u8]) -> Ipv6Option<'_> {
    match (kind, data) {
        (option::PADN, _) => Ipv6Option::PadN(data),
        (option::ROUTER_ALERT, &[high, low]) => {
            Ipv6Option::RouterAlert(u16::from_be_bytes([high, low]))
        }
        (option::ROUTER_ALERT, _) => Ipv6Option::WrongSize { kind, data },
        _ => Ipv6Option::Unknown { kind, data },
    }
}

impl fmt::Display for Ipv6Option<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ipv6Option::Pad1 => f.write_str("pad1"),
            Ipv6Option::PadN(data) => write!(f, "padn [{} bytes]", data.len()),
            Ipv6Option::RouterAlert(value) => write!(f, "router alert value {value}"),
            Ipv6Option::Unknown { kind, data } => {
                write!(f, "unknown {kind:#04x} [{} bytes]", data.len())
            }
            Ipv6Option::WrongSize { kind, data } => {
                write!(f, "option {kind:#04x} of wrong size [{} bytes]", data.len())
            }
            Ipv6Option::BadLength { kind, length: Some(length) } => {
                write!(f, "option {kind:#04x} with bad length {length}")
            }
            Ipv6Option::BadLength { kind, length: None } => {
                write!(f, "option {kind:#04x} without length")
            }
        }
    }
}
