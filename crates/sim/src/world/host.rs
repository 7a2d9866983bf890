//! A host: the real stack, its address, and its one interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stack::{Config, HeaderBuf, InterfaceId, ListenerId, SocketEntry, Stack, State};
use wire::frame::{Capabilities, Medium};

/// A host of a world.
#[derive(Debug)]
pub struct Host {
    /// Its stack, unchanged.
    pub stack: Stack,
    /// Where its packets come and go.
    pub interface: InterfaceId,
    /// Its address.
    pub address: IpAddr,
    /// The listener of its server program, when it has one.
    pub listener: Option<ListenerId>,
    /// Its link takes super-segments and vouches for checksums.
    pub offload: bool,
    /// For the headers of the packet that leaves.
    pub(super) header: HeaderBuf,
}

impl Host {
    /// The host number `number`, whose address is 10.0.0.1, or fd77::1 over IPv6, and so on.
    ///
    /// # Panics
    /// When the stack does not take its own address.
    #[must_use]
    pub fn new(
        number: usize,
        config: Config,
        seed: [u8; 32],
        family: Family,
        mtu: u16,
        offload: bool,
    ) -> Self {
        let mut stack = Stack::new(config, seed);
        stack.set_trace(true);
        let interface = stack.add_interface(Capabilities {
            medium: Medium::Ip,
            mtu,
            checksum: offload,
            segmentation: offload,
        });
        let address = address(family, number);
        let prefix_len = if address.is_ipv4() { 24 } else { 64 };
        stack.add_address(interface, address, prefix_len).expect("an address for the interface");
        let header = HeaderBuf::default();
        Self { stack, interface, address, listener: None, offload, header }
    }

    /// Whether every connection, half-open entry and TIME-WAIT is gone.
    #[must_use]
    pub fn has_only_listeners(&self) -> bool {
        self.leftover_entries().is_empty()
    }

    fn leftover_entries(&self) -> Vec<SocketEntry> {
        let mut entries = self.stack.sockets();
        entries.retain(|entry| entry.protocol == "tcp" && entry.state != State::Listen);
        entries
    }

    /// The connections, half-open entries and TIME-WAITs, one a line.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let entries = self.leftover_entries();
        entries
            .iter()
            .map(|e| {
                let (state, local, remote) = (e.state, e.local, e.remote);
                let (recv, send) = (e.receive_queue, e.send_queue);
                format!("{state} {local} {remote} recv-q {recv} send-q {send} timer {:?}", e.timer)
            })
            .collect()
    }
}

/// Which IP a world speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The length of headers without options, of IP and TCP, in bytes.
    #[must_use]
    pub const fn headers(self) -> u16 {
        match self {
            Family::V4 => 40,
            Family::V6 => 60,
        }
    }
}

/// The address of the host number `number`.
#[must_use]
pub fn address(family: Family, number: usize) -> IpAddr {
    let last = u8::try_from(number + 1).unwrap_or(u8::MAX);
    match family {
        Family::V4 => Ipv4Addr::new(10, 0, 0, last).into(),
        Family::V6 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last.into()).into(),
    }
}

/// The number of the host that a packet is for.
#[must_use]
pub fn number_of(packet: &[u8]) -> Option<usize> {
    let last = match packet.first()? >> 4 {
        4 => match packet.get(16..20)? {
            [10, 0, 0, last] => last,
            _ => return None,
        },
        6 => match packet.get(24..40)? {
            [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last] => last,
            _ => return None,
        },
        _ => return None,
    };
    usize::from(*last).checked_sub(1)
}
