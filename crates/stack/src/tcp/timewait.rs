//! TIME-WAIT (RFC 9293 3.6.1): what stays of a connection for 2 MSL, and how it answers.
//!
//! A busy host has many of these, so an entry takes 32 bytes for IPv4 and 64 for IPv6. Its rules
//! are [`TimeWait::on_segment`]; [`TimeWaitTable`] keeps the entries and their order of expiry.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use wire::time::{Duration, Instant};

use crate::flow::FourTuple;
use crate::tcp::segment::Segment;
use crate::tcp::seq::Seq;

/// How far beyond the last incarnation's numbers the next one begins at least: further than any
/// window without scaling reaches, so that old segments do not look like new ones.
const INCARNATION_GAP: u32 = 65_536;

/// What a connection in TIME-WAIT still knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimeWait {
    /// Our address and the peer's. The flow label of IPv6 is not kept.
    pub(crate) tuple: FourTuple,
    /// SND.NXT: behind our FIN.
    pub(crate) snd_nxt: Seq,
    /// RCV.NXT: behind the peer's FIN.
    pub(crate) rcv_nxt: Seq,
    /// TS.Recent if the connection used timestamps (RFC 7323). Our own offset is not kept: it is
    /// a function of the addresses, see `IsnGenerator::timestamp_offset`.
    pub(crate) ts_recent: Option<u32>,
}

/// What a segment gets from a TIME-WAIT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TimeWaitVerdict {
    /// Nothing: it says nothing new, or is too old to be true.
    Ignore,
    /// A reset, and it does not end the TIME-WAIT (RFC 1337 3, fix 1).
    IgnoreReset,
    /// An ACK that tells the peer where we are.
    Acknowledge,
    /// An ACK, and the 2 MSL begin anew: the peer's FIN came again, so our ACK was lost.
    AcknowledgeAndRestart,
    /// The peer opens the connection anew, and nothing old can be mistaken for the new.
    AllowNewConnection {
        /// The new initial sequence number must not be before this (RFC 9293 3.6.1: larger than
        /// the largest of the previous incarnation).
        isn_floor: Seq,
    },
}

impl TimeWait {
    /// Judges a segment (RFC 9293 3.10.7.4, RFC 6191 2, RFC 1337 3, RFC 7323 5.3).
    ///
    /// `listens`: there is a listener that a new connection could go to.
    pub(crate) fn on_segment(&self, seg: &Segment, listens: bool) -> TimeWaitVerdict {
        if seg.rst() {
            return TimeWaitVerdict::IgnoreReset;
        }
        let timestamp = seg.timestamps().map(|timestamps| timestamps.value);
        if seg.syn() && !seg.acks() && listens && self.may_begin_anew(seg.seq, timestamp) {
            let isn_floor = self.snd_nxt.plus(INCARNATION_GAP);
            return TimeWaitVerdict::AllowNewConnection { isn_floor };
        }
        match (self.ts_recent, timestamp) {
            // RFC 7323 3.2: without the timestamp that was agreed on it is not ours.
            (Some(_), None) if !seg.syn() => return TimeWaitVerdict::Ignore,
            // RFC 7323 5.3 R1: an old duplicate.
            (Some(recent), Some(value)) if Seq(value).is_before(Seq(recent)) => {
                return TimeWaitVerdict::Acknowledge;
            }
            _ => {}
        }
        if seg.syn() {
            // RFC 5961 4.2: a challenge, wherever it lies.
            return TimeWaitVerdict::Acknowledge;
        }
        if !seg.acks() {
            return TimeWaitVerdict::Ignore;
        }
        if seg.fin() && seg.end() == self.rcv_nxt {
            return TimeWaitVerdict::AcknowledgeAndRestart;
        }
        if seg.seq == self.rcv_nxt {
            // A bare ACK is what the peer's last should look like; text behind its own FIN cannot
            // be (RFC 9293 3.10.7.4, seventh), and must not make us talk.
            return TimeWaitVerdict::Ignore;
        }
        TimeWaitVerdict::Acknowledge
    }

    /// RFC 6191 2: whether a SYN with this number and timestamp may begin a new incarnation.
    fn may_begin_anew(&self, seq: Seq, timestamp: Option<u32>) -> bool {
        let beyond = seq.is_after(self.rcv_nxt);
        match (self.ts_recent, timestamp) {
            (Some(recent), Some(value)) if value == recent => beyond,
            (Some(recent), Some(value)) => Seq(value).is_after(Seq(recent)),
            // Now there is a clock, and none before: its PAWS will keep the old ones out.
            (None, Some(_)) => true,
            (_, None) => beyond,
        }
    }
}

/// Which entry of the table; used again after the entry is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TimeWaitId(u32);

/// The bit of an id that says IPv6.
const FAMILY_BIT: u32 = 1 << 31;

/// All TIME-WAITs of a stack, in the order in which they end.
///
/// All of them last equally long, so the one that began first ends first, and a list is as good
/// as a timing wheel. If the duration changes, those that began later still do not end earlier.
#[derive(Debug)]
pub(crate) struct TimeWaitTable {
    v4: Slab<Ends4>,
    v6: Slab<Ends6>,
    /// How many entries there may be; the oldest goes when another comes.
    limit: usize,
}

impl TimeWaitTable {
    /// An empty table for at most `limit` entries: at least one, and two million of each family.
    pub(crate) fn new(limit: usize) -> Self {
        Self { v4: Slab::new(), v6: Slab::new(), limit: limit.clamp(1, INDEX_LIMIT) }
    }

    /// Adds an entry that lasts `duration`. When the table is full, the oldest entry goes, and
    /// comes back as the second value.
    ///
    /// The table does not look for an entry with the same tuple: that is the caller's table.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        entry: &TimeWait,
        duration: Duration,
    ) -> (TimeWaitId, Option<(TimeWaitId, FourTuple)>) {
        let evicted = if self.len() >= self.limit { self.take_oldest(None) } else { None };
        let end = tick_at_or_after(now.after(duration));
        let id = match (entry.tuple.local, entry.tuple.remote) {
            (SocketAddr::V4(local), SocketAddr::V4(remote)) => {
                self.v4.insert(Ends4::pack(local, remote), entry, end)
            }
            (local, remote) => {
                self.v6.insert(Ends6::pack(mapped(local), mapped(remote)), entry, end) | FAMILY_BIT
            }
        };
        (TimeWaitId(id), evicted)
    }

    /// The entry. `id` must be of an entry that is there.
    pub(crate) fn get(&self, id: TimeWaitId) -> TimeWait {
        if id.0 & FAMILY_BIT == 0 { self.v4.get(id.0) } else { self.v6.get(id.0 & !FAMILY_BIT) }
    }

    /// Its addresses. `id` must be of an entry that is there.
    pub(crate) fn tuple(&self, id: TimeWaitId) -> FourTuple {
        self.get(id).tuple
    }

    /// The 2 MSL of an entry begin anew.
    pub(crate) fn restart(&mut self, id: TimeWaitId, now: Instant, duration: Duration) {
        let end = tick_at_or_after(now.after(duration));
        if id.0 & FAMILY_BIT == 0 {
            self.v4.restart(id.0, end);
        } else {
            self.v6.restart(id.0 & !FAMILY_BIT, end);
        }
    }

    /// Removes an entry before its time. `id` must be of an entry that is there.
    pub(crate) fn remove(&mut self, id: TimeWaitId) {
        if id.0 & FAMILY_BIT == 0 {
            self.v4.remove(id.0);
        } else {
            self.v6.remove(id.0 & !FAMILY_BIT);
        }
    }

    /// Removes one entry whose time is over, the oldest first.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(TimeWaitId, FourTuple)> {
        self.take_oldest(Some(now))
    }

    /// When the next entry ends: never before its 2 MSL are over, and up to 1/64 s after.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.v4.oldest(), self.v6.oldest()]
            .into_iter()
            .flatten()
            .map(|(_, end)| instant(end))
            .min()
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.v4.live + self.v6.live
    }

    /// The bytes that the table takes on the heap.
    #[cfg(test)]
    fn memory(&self) -> usize {
        self.v4.slots.capacity() * size_of::<Slot<Ends4>>()
            + self.v6.slots.capacity() * size_of::<Slot<Ends6>>()
    }

    /// Every entry's addresses and when it ends, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FourTuple, Instant)> + '_ {
        self.v4.iter().chain(self.v6.iter())
    }

    /// Removes the entry that ends first, or only if it ends by `limit`.
    fn take_oldest(&mut self, limit: Option<Instant>) -> Option<(TimeWaitId, FourTuple)> {
        let first4 = self.v4.oldest().map(|(index, end)| (end, index));
        let first6 = self.v6.oldest().map(|(index, end)| (end, index | FAMILY_BIT));
        let (end, id) = [first4, first6].into_iter().flatten().min()?;
        if limit.is_some_and(|limit| instant(end) > limit) {
            return None;
        }
        let id = TimeWaitId(id);
        let tuple = self.tuple(id);
        self.remove(id);
        Some((id, tuple))
    }
}

/// Both ends in the bytes that they need.
trait Ends: Copy {
    fn unpack(&self) -> FourTuple;
}

#[derive(Clone, Copy, Debug)]
struct Ends4 {
    local: Ipv4Addr,
    remote: Ipv4Addr,
    local_port: u16,
    remote_port: u16,
}

impl Ends4 {
    fn pack(local: SocketAddrV4, remote: SocketAddrV4) -> Self {
        Self {
            local: *local.ip(),
            remote: *remote.ip(),
            local_port: local.port(),
            remote_port: remote.port(),
        }
    }
}

impl Ends for Ends4 {
    fn unpack(&self) -> FourTuple {
        FourTuple {
            local: SocketAddrV4::new(self.local, self.local_port).into(),
            remote: SocketAddrV4::new(self.remote, self.remote_port).into(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Ends6 {
    local: Ipv6Addr,
    remote: Ipv6Addr,
    local_port: u16,
    remote_port: u16,
    /// The zones of link-local addresses.
    local_scope: u32,
    remote_scope: u32,
}

impl Ends6 {
    fn pack(local: SocketAddrV6, remote: SocketAddrV6) -> Self {
        Self {
            local: *local.ip(),
            remote: *remote.ip(),
            local_port: local.port(),
            remote_port: remote.port(),
            local_scope: local.scope_id(),
            remote_scope: remote.scope_id(),
        }
    }
}

impl Ends for Ends6 {
    fn unpack(&self) -> FourTuple {
        let end = |ip, port, scope| SocketAddrV6::new(ip, port, 0, scope).into();
        FourTuple {
            local: end(self.local, self.local_port, self.local_scope),
            remote: end(self.remote, self.remote_port, self.remote_scope),
        }
    }
}

/// A conversation has one family; should a caller ever mix them, the IPv4 end is mapped.
fn mapped(end: SocketAddr) -> SocketAddrV6 {
    match end {
        SocketAddr::V4(v4) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0),
        SocketAddr::V6(v6) => v6,
    }
}

/// One place for an entry.
#[derive(Clone, Copy, Debug)]
struct Slot<E> {
    ends: E,
    snd_nxt: Seq,
    rcv_nxt: Seq,
    /// TS.Recent; without meaning unless the links say that there is one.
    ts_recent: u32,
    /// Half of [`Links`]: two words need less alignment than one.
    links: [u32; 2],
}

const _: () = assert!(size_of::<Slot<Ends4>>() <= 32);
const _: () = assert!(size_of::<Slot<Ends6>>() <= 64);

/// Bits of an index and of a deadline.
const FIELD_BITS: u32 = 21;
const FIELD_MASK: u64 = (1 << FIELD_BITS) - 1;
/// The index of no slot.
const NIL: u32 = FIELD_MASK as u32;
/// How many entries of one family the links can number.
const INDEX_LIMIT: usize = NIL as usize;

/// The neighbours in the list, the deadline and a flag, in one word.
#[derive(Clone, Copy)]
struct Links {
    /// The slot that ends before this one.
    previous: u32,
    /// The slot that ends after this one; in a free slot, the next free one.
    next: u32,
    /// The low bits of the tick at which the entry ends.
    end: u32,
    /// `ts_recent` counts.
    timestamps: bool,
}

impl Links {
    fn pack(self) -> [u32; 2] {
        let word = u64::from(self.previous)
            | u64::from(self.next) << FIELD_BITS
            | u64::from(self.end) << (2 * FIELD_BITS)
            | u64::from(self.timestamps) << (3 * FIELD_BITS);
        [(word >> 32) as u32, (word & 0xFFFF_FFFF) as u32]
    }

    fn unpack([high, low]: [u32; 2]) -> Self {
        let word = u64::from(high) << 32 | u64::from(low);
        let field = |index: u32| (word >> (index * FIELD_BITS) & FIELD_MASK) as u32;
        Self {
            previous: field(0),
            next: field(1),
            end: field(2),
            timestamps: word >> (3 * FIELD_BITS) != 0,
        }
    }
}

/// A tick is 1/64 s.
const TICK_NANOS: u64 = 1_000_000_000 / 64;

/// The first tick that is not before `deadline`.
fn tick_at_or_after(deadline: Instant) -> u64 {
    deadline.as_nanos().div_ceil(TICK_NANOS)
}

fn instant(tick: u64) -> Instant {
    Instant::from_nanos(tick.saturating_mul(TICK_NANOS))
}

/// The entries of one family: slots, and through them a list from the oldest to the newest and a
/// list of free ones.
#[derive(Debug)]
struct Slab<E> {
    slots: Vec<Slot<E>>,
    /// The entry that ends first.
    first: u32,
    /// The entry that ends last.
    last: u32,
    /// The first free slot.
    free: u32,
    /// How many slots are in use.
    live: usize,
    /// The tick at which the last entry ends. A slot keeps only low bits of its own; the rest is
    /// told from this one, which is not before it. (An entry that were overdue by nine hours
    /// would be told too late, never too early.)
    newest: u64,
}

impl<E: Ends> Slab<E> {
    const fn new() -> Self {
        Self { slots: Vec::new(), first: NIL, last: NIL, free: NIL, live: 0, newest: 0 }
    }

    fn links(&self, index: u32) -> Links {
        Links::unpack(self.slots[index as usize].links)
    }

    fn edit(&mut self, index: u32, change: impl FnOnce(&mut Links)) {
        let slot = &mut self.slots[index as usize];
        let mut links = Links::unpack(slot.links);
        change(&mut links);
        slot.links = links.pack();
    }

    fn insert(&mut self, ends: E, entry: &TimeWait, end: u64) -> u32 {
        let timestamps = entry.ts_recent.is_some();
        let links = Links { previous: NIL, next: NIL, end: 0, timestamps };
        let slot = Slot {
            ends,
            snd_nxt: entry.snd_nxt,
            rcv_nxt: entry.rcv_nxt,
            ts_recent: entry.ts_recent.unwrap_or(0),
            links: links.pack(),
        };
        let index = self.free;
        let index = if index == NIL {
            self.slots.push(slot);
            // The table's limit keeps the count below NIL.
            (self.slots.len() - 1) as u32
        } else {
            self.free = self.links(index).next;
            self.slots[index as usize] = slot;
            index
        };
        self.live += 1;
        self.append(index, end);
        index
    }

    fn get(&self, index: u32) -> TimeWait {
        let slot = &self.slots[index as usize];
        TimeWait {
            tuple: slot.ends.unpack(),
            snd_nxt: slot.snd_nxt,
            rcv_nxt: slot.rcv_nxt,
            ts_recent: Links::unpack(slot.links).timestamps.then_some(slot.ts_recent),
        }
    }

    fn restart(&mut self, index: u32, end: u64) {
        self.unlink(index);
        self.append(index, end);
    }

    fn remove(&mut self, index: u32) {
        self.unlink(index);
        self.live -= 1;
        let free = self.free;
        self.edit(index, |links| links.next = free);
        self.free = index;
        if self.live == 0 {
            // After a busy time nothing stays behind.
            *self = Self::new();
        }
    }

    fn oldest(&self) -> Option<(u32, u64)> {
        (self.first != NIL).then(|| (self.first, self.end_of(self.first)))
    }

    fn end_of(&self, index: u32) -> u64 {
        let behind = self.newest.wrapping_sub(u64::from(self.links(index).end)) & FIELD_MASK;
        self.newest.saturating_sub(behind)
    }

    fn iter(&self) -> impl Iterator<Item = (FourTuple, Instant)> + '_ {
        let start = (self.first != NIL).then_some(self.first);
        core::iter::successors(start, |index| {
            let next = self.links(*index).next;
            (next != NIL).then_some(next)
        })
        .map(|index| (self.slots[index as usize].ends.unpack(), instant(self.end_of(index))))
    }

    /// Puts a slot at the end of the list.
    fn append(&mut self, index: u32, end: u64) {
        self.newest = if self.first == NIL { end } else { self.newest.max(end) };
        let (previous, low) = (self.last, (self.newest & FIELD_MASK) as u32);
        self.edit(index, |links| {
            (links.previous, links.next, links.end) = (previous, NIL, low);
        });
        if previous == NIL {
            self.first = index;
        } else {
            self.edit(previous, |links| links.next = index);
        }
        self.last = index;
    }

    /// Takes a slot out of the list.
    fn unlink(&mut self, index: u32) {
        let Links { previous, next, .. } = self.links(index);
        if previous == NIL {
            self.first = next;
        } else {
            self.edit(previous, |links| links.next = next);
        }
        if next == NIL {
            self.last = previous;
        } else {
            self.edit(next, |links| links.previous = previous);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TimeWaitVerdict::{Acknowledge, AcknowledgeAndRestart, Ignore, IgnoreReset};
    use alloc::collections::VecDeque;
    use core::net::IpAddr;
    use proptest::prelude::*;
    use wire::tcp::{Flags, Header, Options, Timestamps};

    const LIFE: Duration = Duration::from_secs(60);

    fn entry(number: u16, v6: bool) -> TimeWait {
        let (local, remote) = if v6 {
            (
                IpAddr::V6(Ipv6Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
            )
        } else {
            (IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)), IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)))
        };
        TimeWait {
            tuple: FourTuple::new((local, 80), (remote, number)),
            snd_nxt: Seq(1_000 + u32::from(number)),
            rcv_nxt: Seq(u32::MAX - u32::from(number)),
            ts_recent: number.is_multiple_of(2).then_some(u32::from(number)),
        }
    }

    fn segment(flags: Flags, seq: Seq, length: u32, timestamp: Option<u32>) -> Segment {
        let timestamps = timestamp.map(|value| Timestamps { value, echo: 0 });
        let options = Options { timestamps, ..Options::default() };
        let header = Header {
            source_port: 1,
            destination_port: 80,
            sequence: seq.0,
            acknowledgment: 0,
            flags,
            window: 0,
            urgent: 0,
            options,
        };
        Segment::new(entry(1, false).tuple, header, length, 1)
    }

    #[test]
    fn what_a_time_wait_answers() {
        let plain = TimeWait { rcv_nxt: Seq(5), ts_recent: None, ..entry(1, false) };
        let stamped = TimeWait { ts_recent: Some(100), ..plain };
        let new = TimeWaitVerdict::AllowNewConnection { isn_floor: Seq(1_001 + 65_536) };
        let (syn, ack, rst) = (Flags::SYN, Flags::ACK, Flags::RST);
        let fin = Flags::FIN | Flags::ACK;
        let at = |offset: i32| Seq(5_u32.wrapping_add_signed(offset));
        let table = [
            ("RFC 1337: an exact reset", plain, segment(rst, at(0), 0, None), IgnoreReset),
            ("RFC 1337: reset with ACK", stamped, segment(rst | ack, at(9), 0, None), IgnoreReset),
            ("the peer's last ACK again", plain, segment(ack, at(0), 0, None), Ignore),
            ("text behind its FIN", plain, segment(ack, at(0), 10, None), Ignore),
            ("no ACK", plain, segment(Flags::empty(), at(0), 0, None), Ignore),
            ("FIN again", plain, segment(fin, at(-1), 0, None), AcknowledgeAndRestart),
            ("FIN again with text", plain, segment(fin, at(-11), 10, None), AcknowledgeAndRestart),
            ("another FIN", plain, segment(fin, at(-2), 0, None), Acknowledge),
            ("old text", plain, segment(ack, at(-100), 50, None), Acknowledge),
            ("beyond", plain, segment(ack, at(1), 0, None), Acknowledge),
            ("FIN, stamped", stamped, segment(fin, at(-1), 0, Some(100)), AcknowledgeAndRestart),
            ("RFC 7323 5.3: older", stamped, segment(fin, at(-1), 0, Some(99)), Acknowledge),
            ("RFC 7323 3.2: no stamp", stamped, segment(fin, at(-1), 0, None), Ignore),
            // RFC 6191 2, its cases in order.
            ("a later clock", stamped, segment(syn, at(-9), 0, Some(101)), new),
            ("the same clock, beyond", stamped, segment(syn, at(1), 0, Some(100)), new),
            ("the same clock, not beyond", stamped, segment(syn, at(0), 0, Some(100)), Acknowledge),
            ("an older clock", stamped, segment(syn, at(1), 0, Some(99)), Acknowledge),
            ("no clock now, beyond", stamped, segment(syn, at(1), 0, None), new),
            ("no clock now, not beyond", stamped, segment(syn, at(0), 0, None), Acknowledge),
            ("a clock now, none before", plain, segment(syn, at(-9), 0, Some(1)), new),
            ("no clock at all, beyond", plain, segment(syn, at(1), 0, None), new),
            ("no clock at all, not beyond", plain, segment(syn, at(0), 0, None), Acknowledge),
            ("SYN,ACK opens nothing", plain, segment(syn | ack, at(1), 0, None), Acknowledge),
        ];
        for (name, time_wait, seg, expected) in table {
            assert_eq!(time_wait.on_segment(&seg, true), expected, "{name}");
        }
        let seg = segment(syn, at(1), 0, None);
        assert_eq!(plain.on_segment(&seg, false), Acknowledge, "nobody listens");
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut table = TimeWaitTable::new(10);
        for (number, v6) in [(1, false), (2, false), (3, true), (4, true)] {
            let (id, evicted) = table.insert(Instant::ZERO, &entry(number, v6), LIFE);
            assert_eq!((table.get(id), evicted), (entry(number, v6), None));
        }
        let mut scoped = entry(5, true);
        let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
        scoped.tuple.remote = SocketAddrV6::new(address, 9, 0, 7).into();
        let (id, _) = table.insert(Instant::ZERO, &scoped, LIFE);
        assert_eq!(table.get(id), scoped);
    }

    #[test]
    fn it_ends_never_early_and_at_most_a_tick_late() {
        for nanos in [0, 1, TICK_NANOS - 1, TICK_NANOS, TICK_NANOS + 1, 86_400_000_000_001] {
            let mut table = TimeWaitTable::new(10);
            let exact = Instant::from_nanos(nanos).after(LIFE);
            table.insert(Instant::from_nanos(nanos), &entry(1, false), LIFE);
            let deadline = table.next_deadline().unwrap();
            assert!(deadline >= exact && deadline.since(exact) < Duration::from_millis(16));
            assert_eq!(table.expire(Instant::from_nanos(deadline.as_nanos() - 1)), None);
            assert!(table.expire(deadline).is_some());
        }
    }

    #[test]
    fn a_restart_goes_to_the_end_of_the_line() {
        let mut table = TimeWaitTable::new(10);
        let at = |secs: u64| Instant::from_millis(secs * 1000);
        let (first, _) = table.insert(at(0), &entry(1, false), LIFE);
        let (second, _) = table.insert(at(1), &entry(2, false), LIFE);
        table.restart(first, at(2), LIFE);
        assert_eq!(table.next_deadline(), Some(at(61)));
        assert_eq!(table.expire(at(1000)).unwrap().0, second);
        assert_eq!(table.next_deadline(), Some(at(62)));
        assert_eq!(table.expire(at(1000)).unwrap().0, first);
        assert_eq!(table.expire(at(1000)), None);
    }

    #[test]
    fn the_oldest_goes_when_the_table_is_full() {
        let mut table = TimeWaitTable::new(2);
        let at = |secs: u64| Instant::from_millis(secs * 1000);
        let (first, _) = table.insert(at(0), &entry(1, true), LIFE);
        table.insert(at(1), &entry(2, false), LIFE);
        let (_, evicted) = table.insert(at(2), &entry(3, false), LIFE);
        assert_eq!(evicted, Some((first, entry(1, true).tuple)));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn an_empty_table_takes_no_memory() {
        let mut table = TimeWaitTable::new(100_000);
        for number in 0..10_000 {
            table.insert(Instant::ZERO, &entry(number, false), LIFE);
        }
        assert!(table.memory() < 10_000 * 64, "{} bytes", table.memory());
        while table.expire(Instant::FAR_FUTURE).is_some() {}
        assert_eq!((table.len(), table.memory()), (0, 0));
    }

    #[test]
    fn a_day_without_a_call_ends_nothing_early() {
        let mut table = TimeWaitTable::new(10);
        let day = Instant::from_millis(86_400_000);
        table.insert(Instant::ZERO, &entry(1, false), LIFE);
        table.insert(day, &entry(2, false), LIFE);
        let ends: Vec<Instant> = table.iter().map(|(_, end)| end).collect();
        assert!(ends[0] >= Instant::ZERO.after(LIFE));
        assert_eq!(ends[1], day.after(LIFE));
    }

    /// What a naive table would hold: everything in a queue, oldest first.
    type Model = VecDeque<(TimeWaitId, TimeWait, u64)>;

    fn oldest(model: &Model) -> Option<usize> {
        (0..model.len()).min_by_key(|i| (model[*i].2, model[*i].0.0 & FAMILY_BIT))
    }

    proptest! {
        #[test]
        fn the_table_is_a_queue(
            steps in proptest::collection::vec((0..5_u8, any::<u16>(), 0..40_000_u64), 1..300),
        ) {
            let mut table = TimeWaitTable::new(20);
            let mut model = Model::new();
            let mut now = 0;
            for (step, number, millis) in steps {
                now += millis;
                let at = Instant::from_millis(now);
                let end = tick_at_or_after(at.after(LIFE));
                let pick = usize::from(number).checked_rem(model.len());
                match (step, pick) {
                    (0 | 1, _) => {
                        let value = entry(number, number.is_multiple_of(3));
                        let gone = if model.len() == 20 { oldest(&model) } else { None };
                        let gone = gone.and_then(|i| model.remove(i));
                        let (id, evicted) = table.insert(at, &value, LIFE);
                        prop_assert_eq!(evicted, gone.map(|(id, value, _)| (id, value.tuple)));
                        model.push_back((id, value, end));
                    }
                    (2, Some(i)) => {
                        let (id, value, _) = model.remove(i).unwrap();
                        table.restart(id, at, LIFE);
                        model.push_back((id, value, end));
                    }
                    (3, Some(i)) => table.remove(model.remove(i).unwrap().0),
                    _ => {
                        let due = oldest(&model).filter(|i| instant(model[*i].2) <= at);
                        let due = due.and_then(|i| model.remove(i));
                        prop_assert_eq!(table.expire(at), due.map(|(id, v, _)| (id, v.tuple)));
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.iter().count(), model.len());
                for (id, value, _) in &model {
                    prop_assert_eq!(table.get(*id), *value);
                }
                let next = oldest(&model).map(|i| instant(model[i].2));
                prop_assert_eq!(table.next_deadline(), next);
            }
        }
    }
}
