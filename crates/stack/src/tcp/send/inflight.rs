//! What was sent and is not acknowledged: a record of each transmission, oldest first.
//!
//! RACK asks when a segment was sent (RFC 8985 5.2), the scoreboard whether it arrived (RFC 2018 5),
//! the output what has to go out again. A super-segment is one record; a block of the peer's that
//! covers a part of it splits it.
//!
//! Sending appends and acknowledging takes from the front, so both are O(1); looking a sequence
//! number up is a binary search. Nothing is searched from the beginning twice: `fresh` and
//! `lost_from` say how far a walk has come.

use alloc::collections::VecDeque;

use wire::time::Instant;

use crate::tcp::send::rate::RateStamp;
use crate::tcp::seq::Seq;

/// More room than this is given back when everything is acknowledged.
const IDLE_CAPACITY: usize = 16;

/// One transmission, or what is left of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Record {
    /// Its first sequence number.
    pub(crate) start: Seq,
    /// The one after its last; a FIN counts.
    pub(crate) end: Seq,
    /// When it was sent last.
    pub(crate) sent_at: Instant,
    /// The payload of the segments that it was cut into.
    size: u16,
    /// What is known about it.
    pub(crate) fate: Fate,
    /// It was sent more than once.
    pub(crate) resent: bool,
    /// What the delivery rate's sample needs to know about its sending.
    pub(crate) stamp: RateStamp,
}

/// How something is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sending {
    /// When.
    pub(crate) at: Instant,
    /// The payload of the segments that it is cut into.
    pub(crate) size: u16,
    /// What the delivery rate's sample needs to know.
    pub(crate) stamp: RateStamp,
}

/// What became of a transmission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It is on its way, as far as we know.
    Flying,
    /// The peer has it, behind a hole.
    Sacked,
    /// It is taken for lost, and waits to be sent again.
    Lost,
}

/// What a walk over the records decides about one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is lost.
    Lost,
    /// It is lost if it is not acknowledged by then.
    Wait(Instant),
    /// Nothing can be said; nor about those that were sent after it.
    Unknown,
}

/// All transmissions from SND.UNA to SND.NXT.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// By sequence number, without holes.
    records: VecDeque<Record>,
    /// Bytes that the peer has behind a hole.
    sacked: u32,
    /// Bytes that wait to be sent again.
    lost: u32,
    /// Bytes on their way that were sent before.
    copies: u32,
    /// Every record before this that was sent once only is judged: sacked or lost.
    fresh: Seq,
    /// No record before this is lost.
    lost_from: Seq,
    /// What was sent again, by time, with what is out of date among it.
    resent: VecDeque<Resent>,
}

/// A range that was sent again.
#[derive(Clone, Copy, Debug)]
struct Resent {
    start: Seq,
    end: Seq,
    at: Instant,
}

impl Record {
    /// It leaves for the first time.
    pub(crate) fn new(start: Seq, end: Seq, sending: Sending) -> Self {
        let Sending { at: sent_at, size, stamp } = sending;
        Self { start, end, sent_at, size, fate: Fate::Flying, resent: false, stamp }
    }

    /// It is on its way, and not for the first time.
    fn is_copy(&self) -> bool {
        self.resent && self.fate == Fate::Flying
    }

    /// Its sequence numbers.
    pub(crate) fn length(&self) -> u32 {
        self.end.distance_from(self.start)
    }

    /// The sequence numbers of its longest segment.
    pub(crate) fn longest_piece(&self) -> u32 {
        self.length().min(self.size.into())
    }
}

impl InFlight {
    /// Nothing is out. Allocates nothing.
    pub(crate) const fn new() -> Self {
        Self {
            records: VecDeque::new(),
            sacked: 0,
            lost: 0,
            copies: 0,
            fresh: Seq(0),
            lost_from: Seq(0),
            resent: VecDeque::new(),
        }
    }

    /// Everything was acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Sequence numbers that are on their way: sent, not known to have arrived and not taken for
    /// lost (`pipe` of RFC 6675 2).
    pub(crate) fn pipe(&self) -> u32 {
        self.span() - self.sacked - self.lost
    }

    /// Sequence numbers that the peer has behind a hole.
    pub(crate) fn sacked(&self) -> u32 {
        self.sacked
    }

    /// How many segments the peer has behind a hole, counted up to `most`.
    pub(crate) fn sacked_segments(&self, most: u32) -> u32 {
        if self.sacked == 0 {
            return 0;
        }
        let mut count = 0;
        for record in self.records.iter().filter(|record| record.fate == Fate::Sacked) {
            count += record.length().div_ceil(u32::from(record.size.max(1)));
            if count >= most {
                return most;
            }
        }
        count
    }

    /// Whether the peer has a segment of `size` bytes, or a longer one, behind a hole.
    pub(crate) fn has_sacked_piece_of(&self, size: u32) -> bool {
        let as_long =
            |record: &Record| record.fate == Fate::Sacked && record.longest_piece() >= size;
        self.sacked >= size && self.records.iter().any(as_long)
    }

    /// Sequence numbers that wait to be sent again.
    pub(crate) fn lost(&self) -> u32 {
        self.lost
    }

    /// Bytes on their way that were sent before.
    pub(crate) fn copied(&self) -> u32 {
        self.copies
    }

    /// Whether something is on its way that was sent before.
    pub(crate) fn has_copies(&self) -> bool {
        self.copies > 0
    }

    /// What is on its way and was sent before.
    pub(crate) fn copies(&self) -> impl Iterator<Item = (Seq, Seq)> {
        let copies = self.records.iter().filter(|record| record.is_copy());
        copies.map(|record| (record.start, record.end))
    }

    /// Whether everything that is out left in order and once, and is on its way.
    pub(crate) fn is_plain(&self) -> bool {
        (self.sacked, self.lost, self.copies) == (0, 0, 0) && self.resent.is_empty()
    }

    /// The oldest record.
    pub(crate) fn first(&self) -> Option<&Record> {
        self.records.front()
    }

    /// The record with the highest sequence numbers.
    pub(crate) fn last(&self) -> Option<&Record> {
        self.records.back()
    }

    /// How many bytes of memory the records take.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.records.capacity() * size_of::<Record>() + self.resent.capacity() * size_of::<Resent>()
    }

    /// A segment with new sequence numbers leaves. `start` is where the last one ended.
    pub(crate) fn push(&mut self, start: Seq, end: Seq, sending: Sending) {
        if self.records.is_empty() {
            (self.fresh, self.lost_from) = (start, start);
        }
        self.records.push_back(Record::new(start, end, sending));
    }

    /// Everything before `ack` arrived; `each` gets every record, or what was acknowledged of it.
    pub(crate) fn acknowledge(&mut self, ack: Seq, mut each: impl FnMut(&Record)) {
        while let Some(gone) = self.take_acknowledged(ack) {
            each(&gone);
        }
        self.forget_acknowledged(ack);
    }

    /// Takes the oldest record, or what of it is before `ack`, if there is something.
    #[inline]
    pub(crate) fn take_acknowledged(&mut self, ack: Seq) -> Option<Record> {
        let front = self.records.front_mut()?;
        if front.start.is_at_or_after(ack) {
            return None;
        }
        let whole = front.end.is_at_or_before(ack);
        let gone = Record { end: front.end.earlier_of(ack), ..*front };
        front.start = gone.end;
        self.uncount(&gone);
        if whole {
            self.records.pop_front();
        }
        Some(gone)
    }

    /// Everything before `ack` was taken.
    pub(crate) fn forget_acknowledged(&mut self, ack: Seq) {
        while self.resent.front().is_some_and(|resent| resent.end.is_at_or_before(ack)) {
            self.resent.pop_front();
        }
        if self.records.is_empty() {
            self.resent.clear();
            if self.records.capacity() > IDLE_CAPACITY {
                *self = Self::default();
            }
        }
    }

    /// The peer has what lies from `left` to `right`; `each` gets every record that is news.
    ///
    /// Only whole segments of a record count, and its rest: a peer that reports every second byte
    /// cannot make more records than there are segments.
    pub(crate) fn sack(&mut self, left: Seq, right: Seq, mut each: impl FnMut(&Record)) {
        let mut index = self.index_of(left);
        while let Some(record) = self.records.get(index).copied() {
            if record.start.is_at_or_after(right) {
                break;
            }
            if record.fate == Fate::Sacked {
                index += 1;
                continue;
            }
            let from = round_up(&record, left);
            let to = round_down(&record, right);
            if from.is_at_or_after(to) {
                index += 1;
                continue;
            }
            index += self.split(index, from);
            self.split(index, to);
            self.set_fate(index, Fate::Sacked);
            each(&Record { fate: record.fate, ..self.records[index] });
            index += 1;
        }
    }

    /// Looks for lost segments, in the order in which they were sent; `judge` is told when a record
    /// was sent and where it ends. Says when to look again.
    pub(crate) fn find_lost(
        &mut self,
        judge: impl Fn(Instant, Seq) -> Verdict,
        mut each: impl FnMut(&Record),
    ) -> Option<Instant> {
        let first = self.find_lost_fresh(&judge, &mut each);
        let again = self.find_lost_resent(&judge, &mut each);
        first.into_iter().chain(again).min()
    }

    /// What was sent once: its order is that of the sequence numbers.
    fn find_lost_fresh(
        &mut self,
        judge: &impl Fn(Instant, Seq) -> Verdict,
        each: &mut impl FnMut(&Record),
    ) -> Option<Instant> {
        let mut index = self.index_of(self.fresh);
        while let Some(record) = self.records.get(index).copied() {
            if record.fate == Fate::Flying && !record.resent {
                match judge(record.sent_at, record.end) {
                    Verdict::Lost => {
                        self.set_fate(index, Fate::Lost);
                        each(&record);
                    }
                    Verdict::Wait(at) => return Some(at),
                    Verdict::Unknown => return None,
                }
            }
            self.fresh = record.end;
            index += 1;
        }
        None
    }

    /// What was sent again: its order is that of the log.
    fn find_lost_resent(
        &mut self,
        judge: &impl Fn(Instant, Seq) -> Verdict,
        each: &mut impl FnMut(&Record),
    ) -> Option<Instant> {
        while let Some(log) = self.resent.front().copied() {
            let mut index = self.index_of(log.start);
            while let Some(record) = self.records.get(index).copied() {
                if record.start.is_at_or_after(log.end) {
                    break;
                }
                if record.fate == Fate::Flying && record.resent && record.sent_at == log.at {
                    match judge(record.sent_at, record.end) {
                        Verdict::Lost => {
                            self.set_fate(index, Fate::Lost);
                            each(&record);
                        }
                        Verdict::Wait(at) => return Some(at),
                        Verdict::Unknown => return None,
                    }
                }
                index += 1;
            }
            self.resent.pop_front();
        }
        None
    }

    /// Takes for lost what `which` says of all that is flying; `each` gets those records.
    pub(crate) fn mark_lost(
        &mut self,
        which: impl Fn(&Record) -> bool,
        mut each: impl FnMut(&Record),
    ) {
        for index in 0..self.records.len() {
            let record = self.records[index];
            if record.fate == Fate::Flying && which(&record) {
                self.set_fate(index, Fate::Lost);
                each(&record);
            }
        }
    }

    /// Takes the oldest segment of at most `mss` bytes for lost, unless the peer has it.
    pub(crate) fn mark_first_lost(&mut self, mss: u32, mut each: impl FnMut(&Record)) {
        let Some(first) = self.records.front().copied() else { return };
        if first.fate == Fate::Flying {
            self.split(0, first.start.plus(mss));
            self.set_fate(0, Fate::Lost);
            each(&self.records[0]);
        }
    }

    /// Nothing was lost after all: what waits to be sent again is on its way.
    pub(crate) fn unmark_lost(&mut self) {
        self.let_fly(Fate::Lost);
    }

    /// The peer threw away what it had said it has (RFC 2018 8): it counts as on its way.
    pub(crate) fn forget_sacked(&mut self) {
        self.let_fly(Fate::Sacked);
    }

    /// The lowest range that waits to be sent again, of at most `limit` bytes.
    pub(crate) fn next_lost(&mut self, limit: u32) -> Option<(Seq, Seq)> {
        if self.lost == 0 {
            return None;
        }
        let from = self.index_of(self.lost_from);
        let ahead = self.records.range(from..).position(|record| record.fate == Fate::Lost)?;
        let mut waiting =
            self.records.range(from + ahead..).take_while(|record| record.fate == Fate::Lost);
        let first = waiting.next()?;
        self.lost_from = first.start;
        let mut end = first.end;
        while end.distance_from(first.start) < limit {
            let Some(record) = waiting.next() else { break };
            end = record.end;
        }
        let length = end.distance_from(first.start).min(limit);
        Some((first.start, first.start.plus(length)))
    }

    /// The range from `start` to `end` leaves again.
    pub(crate) fn resend(&mut self, start: Seq, end: Seq, sending: Sending) {
        let Sending { at, size, stamp } = sending;
        let mut index = self.index_of(start);
        index += self.split(index, start);
        while let Some(record) = self.records.get(index) {
            if record.start.is_at_or_after(end) {
                break;
            }
            self.split(index, end);
            if self.records[index].fate == Fate::Lost {
                self.set_fate(index, Fate::Flying);
            }
            if !self.records[index].is_copy() {
                self.copies += self.records[index].length();
            }
            let record = &mut self.records[index];
            *record = Record { resent: true, sent_at: at, size, stamp, ..*record };
            index += 1;
        }
        self.resent.push_back(Resent { start, end, at });
    }

    /// What has this fate is on its way, and will be judged anew.
    fn let_fly(&mut self, fate: Fate) {
        // The log is made anew: a peer that reports and takes back for ever must not make it grow.
        self.resent.clear();
        for index in 0..self.records.len() {
            if self.records[index].fate == fate {
                self.set_fate(index, Fate::Flying);
            }
            let Record { start, end, sent_at: at, resent, fate: now, .. } = self.records[index];
            if resent && now == Fate::Flying {
                self.resent.push_back(Resent { start, end, at });
            }
        }
        self.resent.make_contiguous().sort_by_key(|resent| resent.at);
        if let Some(first) = self.records.front() {
            self.fresh = first.start;
        }
    }

    /// From the oldest sequence number to the newest.
    fn span(&self) -> u32 {
        match (self.records.front(), self.records.back()) {
            (Some(first), Some(last)) => last.end.distance_from(first.start),
            _ => 0,
        }
    }

    /// The record with `seq` in it, or the first one behind it.
    fn index_of(&self, seq: Seq) -> usize {
        self.records.partition_point(|record| record.end.is_at_or_before(seq))
    }

    /// Makes two records of one where `at` lies inside it, and says how many there are more.
    fn split(&mut self, index: usize, at: Seq) -> usize {
        let Some(record) = self.records.get_mut(index) else { return 0 };
        if at.is_at_or_before(record.start) || at.is_at_or_after(record.end) {
            return 0;
        }
        let rest = Record { start: at, ..*record };
        record.end = at;
        self.records.insert(index + 1, rest);
        1
    }

    fn set_fate(&mut self, index: usize, fate: Fate) {
        let before = self.records[index];
        self.uncount(&before);
        self.records[index].fate = fate;
        let (start, length) = (before.start, before.length());
        match fate {
            Fate::Flying if before.resent => self.copies += length,
            Fate::Flying => {}
            Fate::Sacked => self.sacked += length,
            Fate::Lost => {
                let first = self.lost == 0;
                self.lost_from = if first { start } else { self.lost_from.earlier_of(start) };
                self.lost += length;
            }
        }
    }

    fn uncount(&mut self, record: &Record) {
        let length = record.length();
        match record.fate {
            Fate::Flying if record.resent => self.copies -= length,
            Fate::Flying => {}
            Fate::Sacked => self.sacked -= length,
            Fate::Lost => self.lost -= length,
        }
    }
}

/// The first segment of a record that lies wholly behind `seq`.
fn round_up(record: &Record, seq: Seq) -> Seq {
    if seq.is_at_or_before(record.start) {
        return record.start;
    }
    let size = u32::from(record.size.max(1));
    let segments = seq.distance_from(record.start).div_ceil(size);
    record.start.plus(segments.saturating_mul(size).min(record.length()))
}

/// The end of the last segment of a record that lies wholly before `seq`.
fn round_down(record: &Record, seq: Seq) -> Seq {
    if seq.is_at_or_after(record.end) {
        return record.end;
    }
    let length = seq.distance_from(record.start);
    record.start.plus(length - length % u32::from(record.size.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const MSS: u32 = 10;

    fn sent(at: Instant) -> Sending {
        Sending { at, size: 10, ..Sending::default() }
    }
    /// The numbers wrap inside the first window.
    const BASE: Seq = Seq(u32::MAX - 95);

    fn at(position: u32) -> Seq {
        BASE.plus(position)
    }

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// `count` records of two segments each, sent a millisecond apart.
    fn flight(count: u32) -> InFlight {
        let mut flight = InFlight::new();
        for index in 0..count {
            let now = ms(u64::from(index));
            flight.push(at(index * 20), at(index * 20 + 20), sent(now));
        }
        flight
    }

    #[test]
    fn an_idle_record_keeps_no_memory() {
        let mut out = flight(100);
        out.acknowledge(at(2000), |_| {});
        assert_eq!((out.is_empty(), out.held()), (true, 0));
    }

    #[test]
    fn a_record_is_64_bytes() {
        assert!(size_of::<Record>() <= 64, "{}", size_of::<Record>());
    }

    #[test]
    fn a_block_splits_a_super_segment_at_its_segments() {
        let mut out = flight(2);
        let mut news = Vec::new();
        out.sack(at(5), at(29), |record| news.push((record.start, record.end)));
        assert_eq!(news, [(at(10), at(20))], "whole segments only");
        assert_eq!((out.sacked(), out.pipe()), (10, 30));
        out.sack(at(10), at(40), |record| news.push((record.start, record.end)));
        assert_eq!(news[1..], [(at(20), at(40))]);
    }

    #[test]
    fn a_peer_that_reports_every_second_byte_makes_no_more_records_than_segments() {
        let mut out = flight(10);
        for position in 0..100 {
            out.sack(at(position * 2), at(position * 2 + 1), |_| {});
        }
        assert_eq!((out.records.len(), out.sacked()), (10, 0));
    }

    #[test]
    fn segments_behind_a_hole_are_counted_however_they_were_sent() {
        let mut out = flight(4);
        assert_eq!(out.sacked_segments(3), 0);
        out.sack(at(10), at(20), |_| {});
        assert_eq!(out.sacked_segments(3), 1);
        out.sack(at(40), at(70), |_| {});
        assert_eq!((out.sacked_segments(9), out.sacked_segments(3)), (4, 3));
    }

    #[test]
    fn a_peer_that_takes_back_what_it_reported_pins_no_memory() {
        let mut out = flight(10);
        out.mark_lost(|_| true, |_| {});
        out.resend(at(0), at(200), sent(ms(20)));
        let mut held = 0;
        for round in 0..1000 {
            out.sack(at(0), at(200), |_| {});
            out.forget_sacked();
            if round == 9 {
                held = out.held();
            }
        }
        assert_eq!((out.held(), out.resent.len()), (held, 10));
    }

    #[test]
    fn losses_are_found_in_the_order_of_sending() {
        let mut out = flight(4);
        out.sack(at(60), at(80), |_| {});
        let before = |limit: u64| {
            move |sent: Instant, _| {
                if sent < ms(limit) { Verdict::Lost } else { Verdict::Wait(sent) }
            }
        };
        let mut lost = Vec::new();
        assert_eq!(out.find_lost(before(2), |record| lost.push(record.start)), Some(ms(2)));
        assert_eq!(lost, [at(0), at(20)]);
        assert_eq!(out.next_lost(100), Some((at(0), at(40))));
        out.resend(at(0), at(20), sent(ms(5)));
        assert_eq!(out.next_lost(100), Some((at(20), at(40))));
        out.resend(at(20), at(40), sent(ms(6)));
        assert_eq!((out.next_lost(100), out.pipe()), (None, 60));
        lost.clear();
        assert_eq!(out.find_lost(before(6), |record| lost.push(record.start)), Some(ms(6)));
        assert_eq!(lost, [at(40), at(0)], "a retransmission is lost in its turn");
    }

    #[test]
    fn a_retransmission_is_cut_to_the_limit() {
        let mut out = flight(2);
        out.mark_lost(|_| true, |_| {});
        assert_eq!(out.next_lost(10), Some((at(0), at(10))));
        out.resend(at(0), at(10), sent(ms(9)));
        assert_eq!(out.next_lost(100), Some((at(10), at(40))));
        assert_eq!((out.lost(), out.pipe()), (30, 10));
    }

    /// The naive twin: what is known of each byte.
    #[derive(Clone, Debug)]
    struct Twin {
        una: u32,
        bytes: Vec<Fate>,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u32),
        Acknowledge(u32),
        Sack(u32, u32),
        LoseBefore(u64),
        LoseAll,
        Resend(u32),
        Unmark,
        Renege,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..6_u32).prop_map(|segments| Step::Push(segments * MSS)),
            3 => (0..200_u32).prop_map(Step::Acknowledge),
            4 => (0..40_u32, 1..10_u32)
                .prop_map(|(from, count)| Step::Sack(from * MSS, (from + count) * MSS)),
            3 => (0..60_u64).prop_map(Step::LoseBefore),
            1 => Just(Step::LoseAll),
            4 => (1..6_u32).prop_map(|segments| Step::Resend(segments * MSS)),
            1 => Just(Step::Unmark),
            1 => Just(Step::Renege),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn agrees_with_a_list_of_bytes(steps in proptest::collection::vec(step(), 1..80)) {
            let mut out = InFlight::new();
            let mut twin = Twin { una: 0, bytes: vec![] };
            for (time, step) in steps.into_iter().enumerate() {
                let now = ms(time as u64);
                let nxt = twin.una + twin.bytes.len() as u32;
                match step {
                    Step::Push(length) => {
                        out.push(at(nxt), at(nxt + length), sent(now));
                        twin.bytes.extend(vec![Fate::Flying; length as usize]);
                    }
                    Step::Acknowledge(count) => {
                        let count = (count / MSS * MSS).min(twin.bytes.len() as u32);
                        let mut seen = 0;
                        out.acknowledge(at(twin.una + count), |record| seen += record.length());
                        prop_assert_eq!(seen, count);
                        twin.bytes.drain(..count as usize);
                        twin.una += count;
                    }
                    Step::Sack(from, to) => {
                        let to = to.min(twin.bytes.len() as u32);
                        let from = from.min(to);
                        let mut news = 0;
                        let (left, right) = (at(twin.una + from), at(twin.una + to));
                        out.sack(left, right, |record| news += record.length());
                        let range = &mut twin.bytes[from as usize..to as usize];
                        let expected = range.iter().filter(|fate| **fate != Fate::Sacked).count();
                        prop_assert_eq!(news as usize, expected);
                        range.fill(Fate::Sacked);
                    }
                    Step::LoseBefore(limit) => {
                        let judge = |sent: Instant, _| {
                            if sent < ms(limit) { Verdict::Lost } else { Verdict::Unknown }
                        };
                        let mut ranges = vec![];
                        out.find_lost(judge, |record| ranges.push((record.start, record.end)));
                        for (start, end) in ranges {
                            let from = start.distance_from(at(twin.una)) as usize;
                            let range = &mut twin.bytes[from..][..end.distance_from(start) as usize];
                            prop_assert!(range.iter().all(|fate| *fate == Fate::Flying));
                            range.fill(Fate::Lost);
                        }
                        for record in &out.records {
                            let missed = record.fate == Fate::Flying && record.sent_at < ms(limit);
                            prop_assert!(!missed, "{:?} of {:?}", record, out);
                        }
                    }
                    Step::LoseAll => {
                        out.mark_lost(|_| true, |_| {});
                        for fate in twin.bytes.iter_mut().filter(|fate| **fate == Fate::Flying) {
                            *fate = Fate::Lost;
                        }
                    }
                    Step::Resend(limit) => {
                        let first = twin.bytes.iter().position(|fate| *fate == Fate::Lost);
                        let next = out.next_lost(limit);
                        prop_assert_eq!(next.is_some(), first.is_some());
                        if let (Some((start, end)), Some(first)) = (next, first) {
                            prop_assert_eq!(start, at(twin.una + first as u32));
                            let length = end.distance_from(start);
                            prop_assert!(length > 0 && length <= limit);
                            let range = &mut twin.bytes[first..][..length as usize];
                            prop_assert!(range.iter().all(|fate| *fate == Fate::Lost));
                            range.fill(Fate::Flying);
                            out.resend(start, end, sent(now));
                        }
                    }
                    Step::Unmark => {
                        out.unmark_lost();
                        for fate in twin.bytes.iter_mut().filter(|fate| **fate == Fate::Lost) {
                            *fate = Fate::Flying;
                        }
                    }
                    Step::Renege => {
                        out.forget_sacked();
                        for fate in twin.bytes.iter_mut().filter(|fate| **fate == Fate::Sacked) {
                            *fate = Fate::Flying;
                        }
                    }
                }
                let count = |which| twin.bytes.iter().filter(|fate| **fate == which).count();
                prop_assert_eq!(out.sacked() as usize, count(Fate::Sacked));
                prop_assert_eq!(out.lost() as usize, count(Fate::Lost));
                prop_assert_eq!(out.pipe() as usize, count(Fate::Flying));
                let copies: u32 =
                    out.records.iter().filter(|r| r.is_copy()).map(Record::length).sum();
                prop_assert_eq!(out.copies, copies);
            }
        }
    }
}
