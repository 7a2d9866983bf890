//! The control bits.

use core::fmt;

bitflags::bitflags! {
    /// The control bits of a segment (RFC 9293 section 3.1, RFC 3168, RFC 9768).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Flags: u16 {
        /// No more data from the sender.
        const FIN = 0x001;
        /// Synchronise sequence numbers.
        const SYN = 0x002;
        /// Reset the connection.
        const RST = 0x004;
        /// Push: hand the data to the application without waiting for more.
        const PSH = 0x008;
        /// The acknowledgment field counts.
        const ACK = 0x010;
        /// The urgent pointer counts.
        const URG = 0x020;
        /// ECN echo: the network was congested.
        const ECE = 0x040;
        /// Congestion window reduced.
        const CWR = 0x080;
        /// Accurate ECN (RFC 9768); once the nonce sum.
        const AE = 0x100;
    }
}

impl Flags {
    /// SYN and ACK.
    pub const SYN_ACK: Flags = Flags::SYN.union(Flags::ACK);
    /// FIN and ACK.
    pub const FIN_ACK: Flags = Flags::FIN.union(Flags::ACK);
    /// RST and ACK.
    pub const RST_ACK: Flags = Flags::RST.union(Flags::ACK);
    /// PSH and ACK.
    pub const PSH_ACK: Flags = Flags::PSH.union(Flags::ACK);
}

impl fmt::Display for Flags {
    /// A letter each, as tcpdump prints them: `S.` is SYN and ACK; `none` without any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: [(Flags, &str); 9] = [
            (Flags::FIN, "F"),
            (Flags::SYN, "S"),
            (Flags::RST, "R"),
            (Flags::PSH, "P"),
            (Flags::ACK, "."),
            (Flags::URG, "U"),
            (Flags::ECE, "E"),
            (Flags::CWR, "W"),
            (Flags::AE, "e"),
        ];
        if self.is_empty() {
            return f.write_str("none");
        }
        LETTERS
            .iter()
            .filter(|(flag, _)| self.contains(*flag))
            .try_for_each(|(_, letter)| f.write_str(letter))
    }
}
