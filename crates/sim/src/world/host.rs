//! A host: the real stack, its address, and its one interface.

use std::net::Ipv4Addr;

use stack::{Config, HeaderBuf, InterfaceId, ListenerId, Stack, State};
use wire::frame::{Capabilities, Medium};

/// A host of a world.
#[derive(Debug)]
pub struct Host {
    /// Its stack, unchanged.
    pub stack: Stack,
    /// Where its packets come and go.
    pub interface: InterfaceId,
    /// Its address.
    pub address: Ipv4Addr,
    /// The listener of its server program, when it has one.
    pub listener: Option<ListenerId>,
    /// Its link takes super-segments and vouches for checksums.
    pub offload: bool,
    /// For the headers of the packet that leaves.
    pub(super) header: HeaderBuf,
}

impl Host {
    /// The host number `number`, whose address is 10.0.0.1 and so on.
    ///
    /// # Panics
    /// When the stack does not take its own address.
    #[must_use]
    pub fn new(number: usize, config: Config, seed: [u8; 32], mtu: u16, offload: bool) -> Self {
        let mut stack = Stack::new(config, seed);
        stack.set_trace(true);
        let interface = stack.add_interface(Capabilities {
            medium: Medium::Ip,
            mtu,
            checksum: offload,
            segmentation: offload,
        });
        let address = address(number);
        stack.add_address(interface, address.into(), 24).expect("an address for the interface");
        let header = HeaderBuf::default();
        Self { stack, interface, address, listener: None, offload, header }
    }

    /// Whether every connection, half-open entry and TIME-WAIT is gone.
    #[must_use]
    pub fn has_only_listeners(&self) -> bool {
        self.stack.sockets().iter().all(|entry| entry.state == State::Listen)
    }

    /// The sockets besides listeners, one a line.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let entries = self.stack.sockets();
        let left = entries.iter().filter(|entry| entry.state != State::Listen);
        left.map(|e| {
            let (state, local, remote) = (e.state, e.local, e.remote);
            let (recv, send) = (e.receive_queue, e.send_queue);
            format!("{state} {local} {remote} recv-q {recv} send-q {send} timer {:?}", e.timer)
        })
        .collect()
    }
}

/// The address of the host number `number`.
#[must_use]
pub fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(number + 1).unwrap_or(u8::MAX))
}

/// The number of the host that a packet is for.
#[must_use]
pub fn number_of(packet: &[u8]) -> Option<usize> {
    match packet.get(16..20)? {
        [10, 0, 0, last] => usize::from(*last).checked_sub(1),
        _ => None,
    }
}
