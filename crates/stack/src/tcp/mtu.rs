//! How large a segment may be: what the peer announced, what the link and the path carry, what the
//! program asked for (RFC 9293 3.7.1, RFC 1191).

use crate::FourTuple;
use crate::config::TcpOptions;
use crate::tcp::connection::Connection;

/// Headers of TCP and IP without options: what RFC 9293 3.7.1 subtracts from the MTU.
fn fixed_headers(tuple: &FourTuple) -> u32 {
    if tuple.local.is_ipv4() { 40 } else { 60 }
}

/// RFC 9293 3.7.1: what to assume when the peer sends no MSS option.
pub(crate) fn default_mss(tuple: &FourTuple) -> u16 {
    if tuple.local.is_ipv4() { 536 } else { 1220 }
}

/// The least that makes sense of a hostile option (a peer that announces 1 would make us send a packet
/// per byte).
const LEAST_MSS: u32 = 48;
/// Timestamps as they are padded: NOP, NOP, kind, length, two values (RFC 7323 appendix A).
const TIMESTAMPS_LENGTH: u32 = 12;

impl Connection {
    /// Settles the send MSS (RFC 9293 3.7.1): the peer's, the link's and the program's, less the
    /// options that every segment will carry.
    pub(crate) fn set_peer_mss(&mut self, offered: Option<u16>) {
        let offered = u32::from(offered.unwrap_or_else(|| default_mss(&self.tuple())));
        let offered = offered.max(LEAST_MSS);
        let options = if self.timestamps.is_some() { TIMESTAMPS_LENGTH } else { 0 };
        let limit = link_mss(&self.tuple(), self.route.mtu, &self.options);
        self.snd.mss = offered.min(limit).saturating_sub(options).max(1);
        self.make_controller();
    }

    /// The path takes packets of at most `mtu` bytes (RFC 1191): smaller segments from now on.
    pub(crate) fn lower_path_mtu(&mut self, mtu: u16) -> bool {
        let options = if self.timestamps.is_some() { TIMESTAMPS_LENGTH } else { 0 };
        let mss =
            link_mss(&self.tuple(), mtu, &self.options).saturating_sub(options).max(LEAST_MSS);
        let lowered = mss < self.snd.mss;
        if lowered {
            self.snd.mss = mss;
            self.route.mtu = mtu;
            self.snd.controller.set_mss(mss);
        }
        lowered
    }
}

/// The largest payload of a segment without options on a link of this MTU (RFC 9293 3.7.1).
pub(crate) fn link_mss(tuple: &FourTuple, mtu: u16, options: &TcpOptions) -> u32 {
    let limit = u32::from(mtu).saturating_sub(fixed_headers(tuple)).max(LEAST_MSS);
    options.max_segment.map_or(limit, |asked| u32::from(asked).clamp(LEAST_MSS, limit))
}
