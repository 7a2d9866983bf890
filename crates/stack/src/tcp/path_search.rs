//! The search for what the way to the peer takes (RFC 4821), where no router says it.
//!
//! Some ways lose what is too long without a word: the message is filtered, or never sent. Then long
//! segments time out again and again, and the connection falls to a size that nearly every way takes,
//! and further where even that vanishes. From there it searches upward: one longer segment among
//! others is the question, and its loss an answer rather than congestion. The first question is about
//! the size from before, as most silences are no black holes. What a whole search found out is
//! remembered for the destination.
//!
//! Only peers with SACK are asked: without it a lost question would hold up all that follows.

mod verification;

use alloc::boxed::Box;

use wire::ipv6;
use wire::time::Instant;

use crate::ip::Interfaces;
use crate::reason::Sent;
use crate::shared::Shared;
use crate::tcp::connection::{Connection, Seldom};
use crate::tcp::mtu::LEAST_MSS;
use crate::tcp::recovery::{Phase, UNMEASURED};
use crate::tcp::send::inflight::Record;
use crate::tcp::seq::Seq;
use verification::Verification;

/// So little is not worth a question (as Linux's `tcp_probe_threshold`), in bytes.
const CLOSE_ENOUGH: u32 = 8;
/// How many segments follow a question, so that its loss is noticed by what arrives behind it.
const FOLLOWERS: u32 = 4;
/// So often the same segment times out before its size is suspected.
const PATIENCE: u8 = 2;
/// The same for what nearly every way takes: there a silence is more likely to be just that.
const LONG_PATIENCE: u8 = 4;

/// When a connection searches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MtuProbing {
    /// 0: never. A way that loses long segments without a word is a dead end.
    Off,
    /// 1: when long segments vanish again and again (RFC 4821 7.7).
    #[default]
    OnBlackHole,
    /// 2: from the start, with the base as first size (RFC 4821 7.2).
    Always,
}

/// How far a search is. All sizes are payloads, in bytes, as `mss` of the sender.
#[derive(Clone, Debug)]
pub(crate) struct PathSearch {
    /// `search_low` of RFC 4821 7.1: this much arrives, as far as we know.
    low: u32,
    /// `search_high`: more does not.
    high: u32,
    /// What the ends of the connection agreed on.
    top: u32,
    /// The next question is about `high` itself, and not about the middle.
    high_first: bool,
    /// The size that vanished: no more than that is worth a question when `top` fails.
    suspect: u32,
    /// The question that is out.
    probe: Option<Probe>,
    /// No question before.
    not_before: Instant,
    /// SND.UNA when the size fell, until something of the new size arrives.
    fell_at: Option<Seq>,
    /// How often the timer had fired by then.
    fell_after: u8,
    /// A search is over, and what it found was not yet remembered.
    news: bool,
    /// The size was raised, and whether that was right is not known yet.
    verification: Option<Verification>,
}

/// A segment that asks whether one of its size arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Probe {
    start: Seq,
    size: u32,
}

impl PathSearch {
    /// `low` is what we begin with; nobody takes more than `top`, which is asked about first.
    fn new(low: u32, top: u32, not_before: Instant) -> Self {
        Self {
            low,
            high: top,
            top,
            high_first: true,
            suspect: top,
            probe: None,
            not_before,
            fell_at: None,
            fell_after: 0,
            news: false,
            verification: None,
        }
    }

    /// The next size to ask about: the middle of what is not known (RFC 4821 7.3). A few bytes are
    /// worth a question only where they may be all that is missing.
    fn next_size(&self) -> Option<u32> {
        let unknown = self.high.saturating_sub(self.low);
        match unknown {
            0 => None,
            _ if self.high_first => Some(self.high),
            1..=CLOSE_ENOUGH => None,
            _ => Some(self.low + unknown / 2),
        }
    }

    /// A segment of this size arrived.
    fn passed(&mut self, size: u32) {
        self.low = self.low.max(size);
        self.high = self.high.max(size);
    }

    /// A segment of this size did not.
    fn failed(&mut self, size: u32) {
        let below = size.saturating_sub(1);
        let high = if self.high_first { below.min(self.suspect) } else { below };
        self.high = self.high.min(high).max(self.low);
        self.high_first = false;
    }

    /// The program wants no more than `most`.
    pub(crate) fn limit(&mut self, most: u32) {
        for size in [&mut self.low, &mut self.high, &mut self.top, &mut self.suspect] {
            *size = most.min(*size);
        }
    }

    /// All is known; it is looked at again later, as ways change (RFC 4821 7.3).
    fn rest_until(&mut self, later: Instant) {
        let verification = self.verification.take();
        *self = Self { news: true, verification, ..Self::new(self.low, self.top, later) };
    }

    /// `size` seemed to arrive and does not; `before` is what does. No question before `later`.
    fn refuted(&mut self, before: u32, size: u32, later: Instant) {
        (self.low, self.high_first, self.probe) = (before, false, None);
        self.not_before = later;
        // A search that rests looked for more already.
        self.high = size;
        self.failed(size);
    }

    /// Where the question begins that is out.
    pub(crate) fn probe_start(&self) -> Option<Seq> {
        self.probe.map(|probe| probe.start)
    }

    /// A question leaves.
    pub(crate) fn probe_sent(&mut self, start: Seq, size: u32) {
        self.probe = Some(Probe { start, size });
    }

    /// Bytes from `start` to `end` leave again: if they were the question's, their ACK is no answer.
    pub(crate) fn sent_again(&mut self, start: Seq, end: Seq) {
        self.probe.take_if(|probe| {
            start.is_before(probe.start.plus(probe.size)) && end.is_after(probe.start)
        });
    }
}

/// The search of a connection that has begun one.
#[inline]
pub(crate) fn search_of(seldom: &mut Option<Box<Seldom>>) -> Option<&mut PathSearch> {
    seldom.as_mut()?.search.as_mut()
}

impl Connection {
    /// RFC 4821 7.2: begins small, for a program that always wants to search.
    pub(crate) fn begin_search(&mut self, now: Instant) {
        let (full, base) = (self.snd.mss, self.payload_of(self.base_packet()));
        if base < full {
            let search = PathSearch::new(base, full, now);
            self.seldom.get_or_insert_default().search = Some(search);
            self.resize_segments(base);
        }
    }

    /// RFC 4821 7.7: the same data timed out again and again. Where that looks like a black hole, segments
    /// are smaller from now on; whether they are is given back.
    pub(crate) fn suspect_black_hole(&mut self, now: Instant, expiries_before: u8) -> bool {
        let head = self.head_length();
        let Some((size, patience)) = self.smaller_than(head) else { return false };
        let una = self.snd.una;
        let fell_after = search_of(&mut self.seldom)
            .filter(|search| search.fell_at == Some(una))
            .map_or(0, |search| search.fell_after);
        let expiries = expiries_before.saturating_add(1);
        let timeouts = expiries.saturating_sub(fell_after);
        // Others as long arrived: it is the dice. But the way may have changed since.
        let believed = fell_after == 0 && timeouts < patience + 2;
        let others_arrive = believed && self.snd.work.inflight.has_sacked_piece_of(head);
        if timeouts < patience || others_arrive {
            return false;
        }
        self.fall_to(now, size, head, expiries);
        true
    }

    /// The same where the timer does not fire, because what is shorter arrives and each repair starts it
    /// anew: `record` was found lost.
    pub(crate) fn suspect_oldest(&mut self, now: Instant, record: &Record) {
        let una = self.snd.una;
        let head = record.longest_piece();
        let Some((size, patience)) = self.smaller_than(head).filter(|_| record.start == una) else {
            return;
        };
        let losses = &mut self.snd.work.repair.oldest_losses;
        let count = if losses.0 == una { losses.1.saturating_add(1) } else { 1 };
        *losses = (una, count);
        // Once for itself, and once for each repair.
        if count > patience && !self.snd.work.inflight.has_sacked_piece_of(head) {
            self.snd.work.repair.oldest_losses.1 = 0;
            self.fall_to(now, size, head, self.snd.rto.expiries());
        }
    }

    /// Segments carry no more than `size` from now on, as `suspect` bytes vanish.
    fn fall_to(&mut self, now: Instant, size: u32, suspect: u32, expiries: u8) {
        let full = self.snd.mss;
        let top = search_of(&mut self.seldom).map_or(full, |search| search.top);
        let mut search = PathSearch::new(size, top, now);
        (search.fell_at, search.fell_after) = (Some(self.snd.una), expiries);
        search.suspect = suspect;
        self.seldom.get_or_insert_default().search = Some(search);
        self.resize_segments(size);
    }

    /// The way takes segments of `size` bytes, which is less than `before`: a router says so, or it is
    /// remembered. It is asked about more when that may have changed (RFC 1191 6.3).
    pub(crate) fn search_after_message(&mut self, later: Instant, before: u32, size: u32) {
        let known = search_of(&mut self.seldom).map(|search| search.top);
        if self.options.mtu_probing != MtuProbing::Off {
            let search = PathSearch::new(size, known.unwrap_or(before), later);
            self.seldom.get_or_insert_default().search = Some(search);
        }
    }

    /// Draws the conclusions from what was acknowledged: what arrived that was smaller than before
    /// shows that there may be a black hole, and an answered question that there is more room, of which what
    /// is lost from `now` on may show the contrary.
    pub(crate) fn advance_search(&mut self, now: Instant) {
        let (una, before, totals) = (self.snd.una, self.snd.mss, self.totals());
        let timeout = self.retransmission_timeout();
        let Some(search) = search_of(&mut self.seldom) else { return };
        search.fell_at.take_if(|at| una.is_after(*at));
        let answered = |probe: &Probe| una.is_at_or_after(probe.start.plus(probe.size));
        let Some(probe) = search.probe.take_if(|probe| answered(probe)) else { return };
        search.passed(probe.size);
        if probe.size > before {
            search.verification = Some(Verification::begin(before, now, timeout, totals));
        }
        self.resize_segments(probe.size);
    }

    /// The size of the question that can be asked now, if there is one; `queued` is what was never
    /// sent (RFC 4821 7.4: what is needed besides so that its loss is noticed).
    pub(crate) fn path_probe_size(&mut self, shared: &Shared, queued: u32) -> Option<u32> {
        let search = search_of(&mut self.seldom)?;
        if search.probe.is_some() || search.fell_at.is_some() || shared.now < search.not_before {
            return None;
        }
        let Some(size) = search.next_size() else {
            search.rest_until(shared.now.after(shared.config.mtu_probe_interval));
            self.forget_route();
            return None;
        };
        let snd = &self.snd;
        let quiet = self.rcv.sack_agreed
            && snd.recovery.phase == Phase::Open
            && snd.recovery.tlp.is_answered()
            && snd.work.inflight.is_plain()
            && self.payload_limit() == snd.mss;
        let needed = size.saturating_add(snd.mss.saturating_mul(FOLLOWERS));
        let room = queued >= needed
            && snd.window.usable(snd.nxt) >= needed
            && self.send_window() >= u64::from(needed);
        (quiet && room).then_some(size)
    }

    /// RFC 4821 7.6.2 and 7.6.4: the question was found lost, or `others` bytes of others while it is
    /// out. Beside others its loss is no answer. By itself it is one, and the congestion controller does not
    /// hear of it; so the next question waits until a loss would be due that is to be heard of: for as
    /// many round trips as the window has segments.
    pub(crate) fn path_probe_lost(&mut self, shared: &Shared, others: u64) {
        let segments = self.send_window() / u64::from(self.snd.mss.max(1));
        let round_trips = match others {
            0 => u32::try_from(segments).unwrap_or(u32::MAX).max(2),
            _ => 2,
        };
        let pause = self.snd.rtt.smoothed().unwrap_or(UNMEASURED).saturating_mul(round_trips);
        let Some(search) = search_of(&mut self.seldom) else { return };
        let Some(probe) = search.probe.take() else { return };
        search.not_before = shared.now.after(pause);
        if others == 0 {
            search.failed(probe.size);
            self.snd.resending = Sent::PathProbeAgain;
        }
    }

    /// RFC 4821 7.6.3: the retransmission timer expired while a question was out. That is its answer if
    /// it was the oldest; either way the next one waits for longer.
    pub(crate) fn path_probe_timed_out(&mut self, now: Instant) {
        let (una, timeout) = (self.snd.una, self.retransmission_timeout());
        let Some(search) = search_of(&mut self.seldom) else { return };
        let Some(probe) = search.probe.take() else { return };
        search.not_before = now.after(timeout.saturating_mul(2));
        if probe.start == una {
            search.failed(probe.size);
        }
    }

    /// A router says that the question was too long, and `size` would not be; whether one was out.
    pub(crate) fn path_probe_too_big(&mut self, size: u32) -> bool {
        let Some(search) = search_of(&mut self.seldom) else { return false };
        let Some(probe) = search.probe.take_if(|probe| probe.size > size) else { return false };
        search.failed(size.saturating_add(1).min(probe.size));
        // The router's number is most likely right.
        search.high_first = true;
        self.snd.work.inflight.mark_lost(|record| record.start == probe.start, |_| {});
        true
    }

    /// Has what a search found out kept for the destination, once.
    pub(crate) fn remember_path(&mut self, shared: &Shared, interfaces: &mut Interfaces) {
        let Some(search) = search_of(&mut self.seldom) else { return };
        if core::mem::take(&mut search.news) {
            let remote = self.tuple().remote.ip();
            interfaces.path_carries(shared, remote, self.packet_of(self.snd.mss));
        }
    }

    /// What to fall to when segments of `head` bytes vanish: the base, then half and half again, down to
    /// what every host must take (RFC 4821 7.7); and after how many times. `None`: no further, or the
    /// program does not want it.
    fn smaller_than(&self, head: u32) -> Option<(u32, u8)> {
        if self.options.mtu_probing == MtuProbing::Off {
            return None;
        }
        let (now, base) = (self.packet_of(head), self.base_packet());
        let (packet, patience) =
            if now > base { (base, PATIENCE) } else { (now / 2, LONG_PATIENCE) };
        let size = self.payload_of(packet);
        (size < head).then_some((size, patience))
    }

    /// The packet to fall to first, and to begin with: the program's, and no less than every link takes.
    fn base_packet(&self) -> u16 {
        let least = if self.tuple().local.is_ipv4() { 0 } else { ipv6::MIN_MTU };
        self.options.mtu_probe_base.max(least)
    }

    /// The payload of a packet of this length, which is made longer where no host has to take less.
    fn payload_of(&self, packet: u16) -> u32 {
        let least = if self.tuple().local.is_ipv4() { 0 } else { ipv6::MIN_MTU };
        let headers = u32::from(self.packet_of(0));
        u32::from(packet.max(least)).saturating_sub(headers).max(LEAST_MSS)
    }

    /// The way is looked up anew with the next segment.
    fn forget_route(&mut self) {
        self.route.generation = self.route.generation.wrapping_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        /// A twin that looks at every size: the search ends at what the way takes, or a few bytes below,
        /// after few questions, each about something that is not known.
        #[test]
        fn rfc4821_7_3_a_search_ends_at_what_the_way_takes(
            low in 48_u32..1000, takes in 48_u32..9000, top in 48_u32..9000,
        ) {
            prop_assume!(low <= takes && low < top);
            let mut search = PathSearch::new(low, top, Instant::ZERO);
            let mut asked = Vec::new();
            while let Some(size) = search.next_size() {
                prop_assert!(size > search.low && size <= top && !asked.contains(&size));
                asked.push(size);
                if size <= takes { search.passed(size) } else { search.failed(size) }
            }
            let best = (low..=top).rev().find(|size| *size <= takes).unwrap_or(low);
            prop_assert!(search.low <= best && best - search.low <= CLOSE_ENOUGH);
            prop_assert!(takes < top || asked == [top], "nothing was in the way");
            prop_assert!(asked.len() <= 12);
        }

        /// Whatever becomes of questions, and whatever routers and programs say meanwhile: the limits stay
        /// in order, what arrived is never given up, and questions have an end.
        #[test]
        fn a_search_keeps_its_limits_in_order(
            low in 48_u32..1000, more in 1_u32..9000, events in proptest::collection::vec(0_u8..5, 0..60),
        ) {
            let mut search = PathSearch::new(low, low + more, Instant::ZERO);
            let (mut arrived, mut asked) = (low, 0);
            for event in events {
                let Some(size) = search.next_size() else { break };
                asked += 1;
                match event {
                    0 => { search.passed(size); arrived = size }
                    1 => search.failed(size),
                    2 => { search.failed(size - 1); search.high_first = true }
                    3 => { search.limit(size); arrived = arrived.min(size) }
                    _ => asked -= 1,
                }
                prop_assert!(search.low == arrived);
                prop_assert!(search.low <= search.high && search.high <= search.top);
            }
            prop_assert!(asked <= 60);
        }
    }

    #[test]
    fn a_search_that_rests_begins_anew_from_what_is_known() {
        let later = Instant::from_millis(600_000);
        let mut search = PathSearch::new(1000, 1448, Instant::ZERO);
        search.failed(1448);
        search.failed(1004);
        assert_eq!(search.next_size(), None);
        search.rest_until(later);
        assert_eq!((search.next_size(), search.not_before), (Some(1448), later));
        search.failed(900);
        assert_eq!(
            (search.high, search.next_size()),
            (1000, None),
            "what arrived once is no failure"
        );
    }

    #[test]
    fn what_vanished_bounds_the_search_once_the_size_from_before_failed() {
        let mut search = PathSearch::new(200, 1448, Instant::ZERO);
        search.suspect = 984;
        assert_eq!(search.next_size(), Some(1448), "it may have been a silence");
        search.failed(1448);
        assert_eq!((search.high, search.next_size()), (984, Some(592)));
    }

    #[test]
    fn a_question_whose_bytes_leave_again_has_no_answer() {
        for (start, end, kept) in
            [(50, 100, true), (50, 101, false), (150, 160, false), (200, 300, true)]
        {
            let mut search = PathSearch::new(50, 100, Instant::ZERO);
            search.probe_sent(Seq(100), 100);
            search.sent_again(Seq(start), Seq(end));
            assert_eq!(search.probe_start().is_some(), kept, "{start}..{end}");
        }
    }
}
