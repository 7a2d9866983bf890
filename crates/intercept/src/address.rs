//! Addresses as programs write them: `struct sockaddr_in` and `sockaddr_in6`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use rustix::io::Errno;

const AF_UNSPEC: u16 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The family that a socket was made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Domain {
    V4,
    V6,
}

/// What a program names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Name {
    /// `AF_UNSPEC`: nobody.
    Nobody,
    At(SocketAddr),
}

impl Name {
    /// The same; a link-local address that does not say which link it means is on the interface that the
    /// program knows by `index`.
    pub(crate) fn in_scope(self, index: Option<u32>) -> Self {
        match (self, index) {
            (Name::At(SocketAddr::V6(mut address)), Some(index))
                if address.scope_id() == 0 && address.ip().is_unicast_link_local() =>
            {
                address.set_scope_id(number_of(index));
                Name::At(address.into())
            }
            _ => self,
        }
    }
}

impl Domain {
    /// `AF_INET` or `AF_INET6`.
    pub(crate) fn family(self) -> u16 {
        match self {
            Domain::V4 => AF_INET,
            Domain::V6 => AF_INET6,
        }
    }

    /// What a socket is called that has no address yet.
    pub(crate) fn unspecified(self) -> SocketAddr {
        match self {
            Domain::V4 => SocketAddr::from(([0; 4], 0)),
            Domain::V6 => SocketAddr::from(([0; 16], 0)),
        }
    }

    /// An address as a socket of this family shows it: one of IPv4 on a socket of IPv6 is mapped
    /// (RFC 4291 2.5.5.2).
    pub(crate) fn show(self, address: SocketAddr) -> SocketAddr {
        match (self, address.ip()) {
            (Domain::V6, IpAddr::V4(v4)) if v4.is_unspecified() => {
                SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port())
            }
            (Domain::V6, IpAddr::V4(v4)) => {
                SocketAddr::new(v4.to_ipv6_mapped().into(), address.port())
            }
            _ => address,
        }
    }

    /// Reads what a program wrote.
    ///
    /// # Errors
    /// `EINVAL` when it is too short, `EAFNOSUPPORT` for another family.
    pub(crate) fn parse(self, bytes: &[u8]) -> Result<Name, Errno> {
        let family = bytes.get(..2).ok_or(Errno::INVAL)?;
        let family = u16::from_ne_bytes([family[0], family[1]]);
        // Linux looks at the length first.
        match (family, self) {
            (AF_UNSPEC, _) => Ok(Name::Nobody),
            (family, Domain::V4) => {
                let address = parse_v4(bytes)?;
                if family == AF_INET { Ok(Name::At(address)) } else { Err(Errno::AFNOSUPPORT) }
            }
            (family, Domain::V6) => {
                let address = parse_v6(bytes)?;
                if family == AF_INET6 { Ok(Name::At(address)) } else { Err(Errno::AFNOSUPPORT) }
            }
        }
    }
}

/// The number by which programs know an interface of the stack: the loopback is their first.
pub(crate) fn index_of(number: u32) -> u32 {
    number.saturating_add(1)
}

/// The stack's number of what a program knows by `index`; zero stands for any, as it does there.
pub(crate) fn number_of(index: u32) -> u32 {
    index.saturating_sub(1)
}

/// The address behind one of IPv6 that stands for one of IPv4.
pub(crate) fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), address.port()),
            None => address,
        },
        IpAddr::V4(_) => address,
    }
}

/// Reads an address of IPv4, whatever the family says.
pub(crate) fn parse_v4(bytes: &[u8]) -> Result<SocketAddr, Errno> {
    let bytes: [u8; 16] = bytes.get(..16).and_then(|b| b.try_into().ok()).ok_or(Errno::INVAL)?;
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    Ok(SocketAddr::from(([bytes[4], bytes[5], bytes[6], bytes[7]], port)))
}

fn parse_v6(bytes: &[u8]) -> Result<SocketAddr, Errno> {
    // Without the scope it is 24 bytes long (RFC 2133).
    let fixed: [u8; 24] = bytes.get(..24).and_then(|b| b.try_into().ok()).ok_or(Errno::INVAL)?;
    let port = u16::from_be_bytes([fixed[2], fixed[3]]);
    let flow = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    let mut ip = [0; 16];
    ip.copy_from_slice(&fixed[8..]);
    let scope = bytes.get(24..28).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
    let scope = number_of(scope);
    Ok(SocketAddrV6::new(ip.into(), port, flow, scope).into())
}

/// Writes an address as programs read it.
pub(crate) fn encode(address: SocketAddr) -> Vec<u8> {
    match address {
        SocketAddr::V4(v4) => {
            let mut bytes = Vec::from(AF_INET.to_ne_bytes());
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.extend([0; 8]);
            bytes
        }
        SocketAddr::V6(v6) => {
            let mut bytes = Vec::from(AF_INET6.to_ne_bytes());
            bytes.extend(v6.port().to_be_bytes());
            bytes.extend(v6.flowinfo().to_be_bytes());
            bytes.extend(v6.ip().octets());
            let scope = match v6.scope_id() {
                0 => 0,
                number => index_of(number),
            };
            bytes.extend(scope.to_ne_bytes());
            bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(v4: [u8; 4], v6: [u8; 16], port: u16, scope in 0..u32::MAX) {
            let v4 = SocketAddr::from((v4, port));
            let v6 = SocketAddr::from(SocketAddrV6::new(v6.into(), port, 0, scope));
            prop_assert_eq!(Domain::V4.parse(&encode(v4)), Ok(Name::At(v4)));
            prop_assert_eq!(Domain::V6.parse(&encode(v6)), Ok(Name::At(v6)));
        }

        #[test]
        fn nothing_that_is_written_hurts(bytes: Vec<u8>) {
            let _ = Domain::V4.parse(&bytes);
            let _ = Domain::V6.parse(&bytes);
        }
    }

    #[test]
    fn families_are_not_mixed() {
        let v4 = SocketAddr::from(([10, 0, 0, 1], 80));
        let v6 = SocketAddr::from(([1; 16], 80));
        assert_eq!(Domain::V4.parse(&encode(v6)), Err(Errno::AFNOSUPPORT));
        assert_eq!(Domain::V6.parse(&encode(v4)), Err(Errno::INVAL));
        assert_eq!(Domain::V4.parse(&[0; 16]), Ok(Name::Nobody));
        assert_eq!(Domain::V4.parse(&encode(v4)[..8]), Err(Errno::INVAL));
        let shown = Domain::V6.show(v4);
        assert_eq!(shown.to_string(), "[::ffff:10.0.0.1]:80");
        assert_eq!(unmapped(shown), v4);
    }
}
