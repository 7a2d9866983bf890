//! Ethernet II frames.

/// An Ethernet (MAC) address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EthernetAddress(pub [u8; 6]);

impl EthernetAddress {
    /// All ones: every station.
    pub const BROADCAST: EthernetAddress = EthernetAddress([0xff; 6]);
}
