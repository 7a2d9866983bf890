//! How large a segment may be: what the peer announced, what the link and the path carry, what the
//! program asked for (RFC 9293 3.7.1, RFC 1191).

use crate::FourTuple;
use crate::config::TcpOptions;
use crate::ip::Hop;
use crate::shared::Shared;
use crate::tcp::connection::Connection;
use crate::tcp::path_search::{MtuProbing, search_of};
use wire::time::Instant;

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
pub(crate) const LEAST_MSS: u32 = 48;
/// Timestamps as they are padded: NOP, NOP, kind, length, two values (RFC 7323 appendix A).
const TIMESTAMPS_LENGTH: u32 = 12;

impl Connection {
    /// Settles the send MSS (RFC 9293 3.7.1): the peer's, the link's and the program's, less the
    /// options that every segment will carry.
    pub(crate) fn set_peer_mss(&mut self, shared: &Shared, offered: Option<u16>) {
        let offered = u32::from(offered.unwrap_or_else(|| default_mss(&self.tuple())));
        let offered = offered.max(LEAST_MSS);
        let options = self.options_length();
        let limited = |mtu| {
            let limit = link_mss(&self.tuple(), mtu, &self.options);
            offered.min(limit).saturating_sub(options).max(1)
        };
        let Hop { mtu, segment_mtu, .. } = self.route;
        let (full, mss) = (limited(segment_mtu), limited(segment_mtu.min(mtu)));
        self.snd.mss = mss;
        if mss < full {
            // The way was found to be narrow before, and may have changed when that is forgotten.
            let later = shared.now.after(shared.config.mtu_probe_interval);
            self.search_after_message(later, full, mss);
        } else if self.options.mtu_probing == MtuProbing::Always {
            self.begin_search(shared.now);
        }
        self.make_controller();
    }

    /// The path takes packets of at most `mtu` bytes (RFC 1191): smaller segments from now on. More is
    /// asked about `later`.
    pub(crate) fn lower_path_mtu(&mut self, later: Instant, mtu: u16) -> bool {
        let (mss, before) = (self.mss_for(mtu), self.snd.mss);
        let lowered = mss < before;
        if lowered {
            self.snd.mss = mss;
            self.route.mtu = mtu;
            self.snd.controller.set_mss(mss);
            self.search_after_message(later, before, mss);
        }
        lowered
    }

    /// The program may want smaller segments than before.
    pub(crate) fn limit_segments(&mut self) {
        if self.options.max_segment.is_none() {
            return;
        }
        let (most, mss) = (self.mss_for(u16::MAX), self.mss_for(self.route.mtu));
        if let Some(search) = search_of(&mut self.seldom) {
            search.limit(most);
        }
        if mss < self.snd.mss {
            self.snd.mss = mss;
            self.snd.controller.set_mss(mss);
        }
    }

    /// The largest payload in a packet of this length.
    pub(crate) fn mss_for(&self, mtu: u16) -> u32 {
        let limit = link_mss(&self.tuple(), mtu, &self.options);
        limit.saturating_sub(self.options_length()).max(LEAST_MSS)
    }

    /// Segments carry so much from now on, and the path is taken to carry them.
    pub(crate) fn resize_segments(&mut self, mss: u32) {
        self.snd.mss = mss;
        self.snd.controller.set_mss(mss);
        self.route.mtu = self.packet_of(mss);
    }

    /// The length of a packet with so much payload.
    pub(crate) fn packet_of(&self, payload: u32) -> u16 {
        let packet = payload.saturating_add(self.options_length() + fixed_headers(&self.tuple()));
        u16::try_from(packet).unwrap_or(u16::MAX)
    }

    /// What the options take that every segment carries, in bytes.
    fn options_length(&self) -> u32 {
        if self.timestamps.is_some() { TIMESTAMPS_LENGTH } else { 0 }
    }
}

/// The largest payload of a segment without options on a link of this MTU (RFC 9293 3.7.1).
pub(crate) fn link_mss(tuple: &FourTuple, mtu: u16, options: &TcpOptions) -> u32 {
    let limit = u32::from(mtu).saturating_sub(fixed_headers(tuple)).max(LEAST_MSS);
    options.max_segment.map_or(limit, |asked| u32::from(asked).clamp(LEAST_MSS, limit))
}
