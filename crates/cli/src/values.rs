//! Values as people write them: `10.77.0.1/24`, `http:80=DIR`, and those of [`sim::units`].

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(crate) use sim::units::{BitRate, Probability, duration};

/// A time that is not over at once, where a number alone is one of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let time = match text.parse() {
        Ok(number) => Duration::from_secs(u64::from(number)),
        Err::<u32, _>(_) => duration(text)?,
    };
    if time < Duration::from_millis(1) {
        return Err(format!("'{text}' is over at once: give a millisecond or more"));
    }
    Ok(time)
}

/// An address of the kernel's side and the length of its network's prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cidr {
    /// The kernel's address.
    pub(crate) address: Ipv4Addr,
    /// How many bits of it name the network: 8 to 30.
    pub(crate) prefix: u8,
}

impl Cidr {
    /// The address after the kernel's: the stack's own.
    pub(crate) fn stack_address(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() + 1)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no address with a prefix: write it like 10.77.0.1/24");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if !(8..=30).contains(&prefix) {
            return Err(format!("'/{prefix}' leaves no room for two hosts: use /8 to /30"));
        }
        if address.is_loopback() || address.is_multicast() || address.octets()[0] == 0 {
            return Err(format!("{address} cannot be the address of an interface"));
        }
        let hosts = u32::MAX >> prefix;
        let host = address.to_bits() & hosts;
        if host == 0 || host >= hosts - 1 {
            return Err(format!(
                "{address}/{prefix}: the kernel has this address and the stack the next one; \
                 both must be host addresses of the network"
            ));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The same of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cidr6 {
    /// The kernel's address.
    pub(crate) address: Ipv6Addr,
    /// How many bits of it name the network: 8 to 126.
    pub(crate) prefix: u8,
}

impl Cidr6 {
    /// The network of a lab.
    pub(crate) const LAB: Cidr6 =
        Cidr6 { address: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1), prefix: 64 };

    /// The address after the kernel's: the stack's own.
    pub(crate) fn stack_address(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.address.to_bits() + 1)
    }
}

impl FromStr for Cidr6 {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' is no IPv6 address with a prefix: write it like fd77::1/64");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv6Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if !(8..=126).contains(&prefix) {
            return Err(format!("'/{prefix}' leaves no room for two hosts: use /8 to /126"));
        }
        if address.is_multicast() || address.to_bits() >> 96 == 0 {
            return Err(format!("{address} cannot be the address of an interface"));
        }
        let host = address.to_bits() & u128::MAX >> prefix;
        if host == 0 || host == u128::MAX >> prefix {
            return Err(format!(
                "{address}/{prefix}: the kernel has this address and the stack the next one; \
                 both must be host addresses of the network"
            ));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A server to run on the stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Serve {
    /// What it does.
    pub(crate) service: Service,
    /// The TCP port it listens on.
    pub(crate) port: u16,
}

/// What a built-in server does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    /// Sends back what it gets (RFC 862).
    Echo,
    /// Throws away what it gets (RFC 863).
    Discard,
    /// Sends characters until the client has enough (RFC 864).
    Chargen,
    /// Serves a page of its own, or a directory.
    Http(Option<PathBuf>),
}

impl FromStr for Serve {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is no server: write echo:7, discard:9, chargen:19, http:80 or \
                 http:80=DIRECTORY"
            )
        };
        let (service, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (port, directory) = match rest.split_once('=') {
            Some((port, directory)) => (port, Some(PathBuf::from(directory))),
            None => (rest, None),
        };
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let service = match (service, directory) {
            ("echo", None) => Service::Echo,
            ("discard", None) => Service::Discard,
            ("chargen", None) => Service::Chargen,
            ("http", directory) => Service::Http(directory),
            _ => return Err(wrong()),
        };
        if let Service::Http(Some(directory)) = &service
            && !directory.is_dir()
        {
            return Err(format!("'{}' is no directory to serve", directory.display()));
        }
        Ok(Self { service, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let cidr: Cidr = "11.0.0.1/24".parse().unwrap();
        assert_eq!(cidr.stack_address(), Ipv4Addr::new(11, 0, 0, 2));
        assert_eq!(cidr.to_string(), "11.0.0.1/24");
        for wrong in [
            "",
            "11.0.0.1",
            "11.0.0.1/31",
            "11.0.0.1/33",
            "11.0.0.254/24",
            "11.0.0.255/24",
            "11.0.0.0/24",
            "127.0.0.1/8",
            "224.0.0.1/24",
            "0.0.0.1/24",
            "::1/64",
        ] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn networks_of_ipv6() {
        let cidr: Cidr6 = "fd77::1/64".parse().unwrap();
        assert_eq!(cidr, Cidr6::LAB);
        assert_eq!(cidr.stack_address().to_string(), "fd77::2");
        assert_eq!(cidr.to_string(), "fd77::1/64");
        for wrong in [
            "",
            "fd77::1",
            "fd77::1/127",
            "fd77::/64",
            "fd77::ffff:ffff:ffff:ffff/64",
            "ff02::1/64",
            "::1/64",
            "10.77.0.1/24",
        ] {
            assert!(wrong.parse::<Cidr6>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn servers() {
        assert_eq!("echo:7".parse(), Ok(Serve { service: Service::Echo, port: 7 }));
        assert_eq!("http:80".parse(), Ok(Serve { service: Service::Http(None), port: 80 }));
        assert_eq!(
            "http:80=/".parse(),
            Ok(Serve { service: Service::Http(Some("/".into())), port: 80 })
        );
        for wrong in ["", "echo", "echo:0", "echo:7=/", "http:80=/no/such/directory", "ftp:21"] {
            assert!(wrong.parse::<Serve>().is_err(), "{wrong}");
        }
    }
}
