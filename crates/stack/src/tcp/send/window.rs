//! The peer's window: how much it lets us send (RFC 9293 3.8.6), and how a closed one is probed.

use wire::time::Duration;

use crate::tcp::seq::Seq;

/// SND.WND and the segment that it came from (RFC 9293 3.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SendWindow {
    /// SND.WND in bytes, already scaled, counted from the ACK that it came with.
    size: u32,
    /// SND.WL1: the sequence number of the segment that set it.
    wl1: Seq,
    /// SND.WL2: the acknowledgment number of that segment.
    wl2: Seq,
    /// MAX.SND.WND: the largest window that the peer ever offered, in bytes (RFC 5961 5.2, and
    /// RFC 9293 3.8.6.2.1 where it is Max(SND.WND)).
    max: u32,
    /// Probes sent since the window closed (RFC 9293 3.8.6.1).
    probes: u8,
    /// Probes sent since the peer was last heard.
    unanswered: u8,
}

/// What an update did to the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WindowChange {
    /// The segment is older than the one that the window came from.
    Stale,
    /// Nothing, or the peer took data out of it as it should.
    Same,
    /// It was closed and is open: the persist timer stops, data may leave.
    Opened,
    /// There is room for more than before.
    Grew,
    /// Its right edge moved back. The peer SHOULD NOT do that, but we must live with it (RFC 9293
    /// 3.8.6): data beyond the edge is not sent anew, and is sent again if its timer expires.
    Shrank,
    /// It is closed now.
    Closed,
}

impl SendWindow {
    /// No window yet: the peer's first segment sets it.
    pub(crate) const fn new() -> Self {
        Self { size: 0, wl1: Seq(0), wl2: Seq(0), max: 0, probes: 0, unanswered: 0 }
    }

    /// Takes the window of the segment that opens the connection, whatever stood here before.
    pub(crate) fn set(&mut self, size: u32, seq: Seq, ack: Seq) {
        let probes = if size == 0 { self.probes } else { 0 };
        let max = self.max.max(size);
        *self = Self { size, wl1: seq, wl2: ack, max, probes, unanswered: 0 };
    }

    /// Takes the window of an acceptable ACK (RFC 9293 3.10.7.4, fifth): only if the segment is
    /// newer than the one that set it, by its sequence number or else by its acknowledgment, so
    /// that a reordered old segment cannot close a window that was opened since.
    ///
    /// A higher acknowledgment is newer whatever the sequence number, for the peer's RCV.NXT never
    /// goes back: its retransmissions have old numbers and bring new windows.
    ///
    /// `size` is scaled already, in bytes.
    pub(crate) fn update(&mut self, seq: Seq, ack: Seq, size: u32) -> WindowChange {
        let newer = self.wl2.is_before(ack)
            || self.wl1.is_before(seq)
            || (self.wl1 == seq && self.wl2 == ack);
        if !newer {
            return WindowChange::Stale;
        }
        let (old_edge, new_edge) = (self.wl2.plus(self.size), ack.plus(size));
        let was_closed = self.size == 0;
        self.set(size, seq, ack);
        match (was_closed, size) {
            (true, 0) => WindowChange::Same,
            (true, _) => WindowChange::Opened,
            (false, 0) => WindowChange::Closed,
            _ if new_edge.is_after(old_edge) => WindowChange::Grew,
            _ if new_edge.is_before(old_edge) => WindowChange::Shrank,
            _ => WindowChange::Same,
        }
    }

    /// SND.WND, in bytes.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// MAX.SND.WND, in bytes.
    pub(crate) fn max(&self) -> u32 {
        self.max
    }

    /// The peer takes nothing beyond `una`: it closed its window, or its edge was reached by ACKs
    /// that brought no newer window.
    pub(crate) fn is_closed(&self, una: Seq) -> bool {
        !self.edge().is_after(una)
    }

    /// The first position that the peer does not take: `SND.WL2 + SND.WND`.
    ///
    /// That is `SND.UNA + SND.WND` when the window came with the newest ACK. When it did not (that
    /// ACK's segment was stale by its sequence number), counting from SND.UNA would stretch the
    /// window by what was acknowledged since.
    pub(crate) fn edge(&self) -> Seq {
        self.wl2.plus(self.size)
    }

    /// The usable window `SND.UNA + SND.WND - SND.NXT` in bytes (RFC 9293 3.8.6.2.1); zero when
    /// the peer shrank its window to before what was sent.
    pub(crate) fn usable(&self, nxt: Seq) -> u32 {
        let edge = self.edge();
        if nxt.is_before(edge) { edge.distance_from(nxt) } else { 0 }
    }

    /// How long to wait before the next probe of a closed window (RFC 9293 3.8.6.1): one
    /// retransmission timeout at first, and twice as long after each probe, up to `max`.
    ///
    /// A peer that keeps answering with a closed window is alive, and may be probed for ever.
    pub(crate) fn probe_interval(&self, rto: Duration, max: Duration) -> Duration {
        let factor = 1_u32 << u32::from(self.probes).min(31);
        rto.saturating_mul(factor).min(max)
    }

    /// A probe was sent.
    pub(crate) fn probe_sent(&mut self) {
        self.probes = self.probes.saturating_add(1);
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// The peer acknowledged something, be it old: it is alive.
    pub(crate) fn peer_heard(&mut self) {
        self.unanswered = 0;
    }

    /// Probes sent since the window closed.
    pub(crate) fn probes(&self) -> u8 {
        self.probes
    }

    /// Probes sent since the peer was last heard.
    pub(crate) fn unanswered(&self) -> u8 {
        self.unanswered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEQ: Seq = Seq(u32::MAX - 2);
    const ACK: Seq = Seq(u32::MAX - 1);

    fn open(size: u32) -> SendWindow {
        let mut window = SendWindow::new();
        window.set(size, SEQ, ACK);
        window
    }

    #[test]
    fn rfc9293_3_10_7_4_only_a_newer_segment_moves_the_window() {
        use WindowChange::{Closed, Grew, Same, Shrank, Stale};
        let table = [
            // (seq, ack, window), offsets from those of the segment before; what it does.
            (1, 0, 1000, Same),
            (0, 0, 1000, Same),
            (0, 100, 900, Same),
            (0, 100, 1000, Grew),
            (0, 100, 500, Shrank),
            (1, 0, 0, Closed),
            (-1, 100, 5000, Grew),
            (-1, 0, 5000, Stale),
            (0, -1, 5000, Stale),
            // A newer sequence number outweighs an older acknowledgment.
            (1, -1, 5000, Grew),
        ];
        for (seq, ack, size, expected) in table {
            let mut window = open(1000);
            let before = window;
            let step = |at: Seq, by: i32| Seq(at.0.wrapping_add_signed(by));
            let change = window.update(step(SEQ, seq), step(ACK, ack), size);
            assert_eq!(change, expected, "seq {seq} ack {ack} window {size}");
            assert_eq!(
                window == before,
                matches!(change, Stale) || (seq, ack, size) == (0, 0, 1000)
            );
        }
    }

    #[test]
    fn a_closed_window_opens() {
        let mut window = open(0);
        assert!(window.is_closed(ACK));
        assert_eq!(window.update(SEQ, ACK, 0), WindowChange::Same);
        assert_eq!(window.update(SEQ, ACK, 1), WindowChange::Opened);
        assert!(!window.is_closed(ACK));
    }

    #[test]
    fn the_largest_window_is_remembered() {
        let mut window = open(1000);
        window.update(SEQ, ACK, 4000);
        window.update(SEQ, ACK, 10);
        assert_eq!((window.size(), window.max()), (10, 4000));
    }

    #[test]
    fn rfc9293_3_8_6_a_shrunk_window_is_not_negative() {
        let window = open(1000);
        assert_eq!(window.usable(ACK), 1000);
        assert_eq!(window.usable(ACK.plus(999)), 1);
        assert_eq!(window.usable(ACK.plus(1000)), 0);
        assert_eq!(window.usable(ACK.plus(1001)), 0);
    }

    #[test]
    fn rfc9293_3_8_6_1_probes_come_at_growing_intervals_and_never_end() {
        let mut window = open(0);
        let (rto, max) = (Duration::from_millis(300), Duration::from_secs(120));
        let mut waits = alloc::vec::Vec::new();
        for _ in 0..11 {
            waits.push(window.probe_interval(rto, max).as_millis());
            window.probe_sent();
            // The answer: still closed.
            window.update(SEQ, ACK, 0);
        }
        assert_eq!(waits[..5], [300, 600, 1200, 2400, 4800]);
        assert_eq!(waits[9..], [120_000, 120_000]);
        for _ in 0..1000 {
            window.probe_sent();
        }
        assert_eq!((window.probes(), window.probe_interval(rto, max)), (255, max));
        window.update(SEQ, ACK, 1);
        assert_eq!((window.probes(), window.probe_interval(rto, max)), (0, rto));
    }
}
