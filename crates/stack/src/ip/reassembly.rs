//! Fragments become datagrams again (RFC 791 3.2, RFC 815, RFC 8200 4.5, RFC 5722).
//!
//! Both families share the mechanism; what a fragment is, and what its sender is told, is the
//! affair of `input` and `input6`. Nothing is ever overwritten: a fragment that overlaps with what
//! is there condemns its datagram, and all that still comes of it (RFC 5722 4; for IPv4 it closes
//! the holes of RFC 1858 and RFC 3128). The exact copy of a fragment is no overlap (RFC 8200 4.5).
//!
//! What waits is charged by the byte, to its source and in all. Beyond a limit the oldest datagram
//! goes: a flood ages what it brings as fast as what it meets, and an honest datagram needs the
//! room for milliseconds only.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;
use rand_core::Rng;
use wire::frame::FrameBuf;
use wire::ip::{Ecn, Protocol};
use wire::ipv6;
use wire::time::Instant;

use crate::config::Config;
use crate::ip::InterfaceId;
use crate::ip::keyed::KeyedState;
use crate::reason::Dropped;
use crate::shared::Shared;

/// What a datagram costs besides its fragments, and a fragment besides its bytes: about what the
/// tables need for them.
const DATAGRAM_COST: usize = 256;
const FRAGMENT_COST: usize = 64;

/// Which datagram a fragment is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct DatagramKey {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) identification: u32,
    /// Takes part in the name of an IPv4 datagram alone (RFC 791 3.2); zero for IPv6 (RFC 8200 4.5).
    pub(crate) protocol: u8,
}

/// A fragment that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    pub(crate) interface: InterfaceId,
    /// Where its bytes belong, counted in bytes from the start of the part that was cut.
    pub(crate) offset: u32,
    /// It is not the last one.
    pub(crate) more: bool,
    pub(crate) ecn: Ecn,
    /// The headers in front of it, as they came.
    pub(crate) headers: &'a [u8],
    /// At least one byte.
    pub(crate) bytes: &'a [u8],
}

impl Fragment<'_> {
    fn end(&self) -> u32 {
        // An IP packet's payload is far shorter than 4 GiB.
        self.offset.saturating_add(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX))
    }
}

/// A datagram that is whole again, or the first fragment of one that never will be.
#[derive(Debug)]
pub(crate) struct Reassembled {
    pub(crate) key: DatagramKey,
    /// Where the first fragment came from.
    pub(crate) interface: InterfaceId,
    /// The headers of the first fragment as they came, and then the payload.
    pub(crate) packet: Vec<u8>,
    /// How long those headers are.
    pub(crate) header_len: usize,
    /// What all fragments together say about congestion.
    pub(crate) ecn: Ecn,
}

/// The datagrams that wait for the rest of their fragments.
#[derive(Debug)]
pub(crate) struct Reassembly {
    datagrams: HashMap<DatagramKey, Datagram, KeyedState>,
    sources: HashMap<IpAddr, Source, KeyedState>,
    /// When to give up, the first first.
    deadlines: BTreeSet<(Instant, DatagramKey)>,
    /// What `datagrams` cost in all.
    cost: usize,
}

/// What one source has here.
#[derive(Debug, Default)]
struct Source {
    cost: usize,
    datagrams: BTreeSet<(Instant, DatagramKey)>,
}

#[derive(Debug)]
struct Datagram {
    interface: InterfaceId,
    due: Instant,
    /// The headers of the first fragment.
    headers: Option<Box<[u8]>>,
    /// In order, without an overlap.
    parts: Vec<Part>,
    /// How many bytes `parts` hold.
    length: u32,
    /// Where the last fragment ends, once it came.
    end: Option<u32>,
    ecn: EcnOfParts,
    /// Something overlapped: it will never be whole, and takes nothing any more.
    condemned: bool,
    cost: usize,
}

#[derive(Debug)]
struct Part {
    offset: u32,
    bytes: Box<[u8]>,
}

impl Reassembly {
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        Self {
            datagrams: HashMap::with_hasher(KeyedState::new(rng)),
            sources: HashMap::with_hasher(KeyedState::new(rng)),
            deadlines: BTreeSet::new(),
            cost: 0,
        }
    }

    /// Takes a fragment, and gives the datagram when it was the last that was missing.
    ///
    /// # Errors
    /// Why the fragment, and perhaps all of its datagram, is dropped.
    pub(crate) fn add(
        &mut self,
        shared: &mut Shared,
        key: DatagramKey,
        fragment: &Fragment<'_>,
    ) -> Result<Option<Reassembled>, Dropped> {
        let config = &shared.config;
        if let Some(datagram) = self.datagrams.get(&key) {
            if datagram.condemned {
                return Err(Dropped::FragmentCondemned);
            }
            if datagram.holds(fragment) {
                return Err(Dropped::FragmentDuplicate);
            }
            if !datagram.fits(fragment) {
                self.condemn(key);
                return Err(Dropped::FragmentOverlap);
            }
            if datagram.parts.len() >= config.fragments_per_datagram {
                self.condemn(key);
                return Err(Dropped::FragmentLimit);
            }
        }
        let is_new = !self.datagrams.contains_key(&key);
        let headers = if fragment.offset == 0 { fragment.headers.len() } else { 0 };
        let cost = FRAGMENT_COST + fragment.bytes.len() + headers;
        let needed = cost + if is_new { DATAGRAM_COST } else { 0 };
        self.make_room(shared, key, needed)?;
        let wait = reassembly_time(&shared.config, key.source);
        let due = shared.now.after(wait);
        if is_new {
            self.datagrams.insert(key, Datagram::new(fragment.interface, due));
            self.deadlines.insert((due, key));
            self.sources.entry(key.source).or_default().datagrams.insert((due, key));
            self.charge(key, DATAGRAM_COST);
        }
        self.charge(key, cost);
        let Some(datagram) = self.datagrams.get_mut(&key) else { return Ok(None) };
        datagram.insert(fragment);
        if datagram.is_whole() {
            let datagram = self.remove(key);
            return datagram.map(|datagram| datagram.join(key)).transpose();
        }
        Ok(None)
    }

    /// Gives up the next datagram whose time is over. `packet` of the result is its first fragment,
    /// and empty where that did not come.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Reassembled> {
        loop {
            let &(due, key) = self.deadlines.first()?;
            if due > now {
                return None;
            }
            // What was condemned was dropped and counted when that happened.
            if let Some(datagram) = self.remove(key).filter(|datagram| !datagram.condemned) {
                return Some(datagram.first_fragment(key));
            }
        }
    }

    /// When [`Reassembly::pop_expired`] has something to give up.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(due, _)| due)
    }

    /// Sees to it that `needed` more bytes for `key` stay within the limits.
    fn make_room(
        &mut self,
        shared: &mut Shared,
        key: DatagramKey,
        needed: usize,
    ) -> Result<(), Dropped> {
        let per_source = shared.config.reassembly_per_source;
        loop {
            let source = self.sources.get(&key.source);
            if source.is_none_or(|source| source.cost + needed <= per_source) {
                break;
            }
            let oldest = source.and_then(|source| source.datagrams.first());
            self.evict(shared, oldest.copied(), key)?;
        }
        while self.cost + needed > shared.config.reassembly_memory {
            let oldest = self.deadlines.first().copied();
            self.evict(shared, oldest, key)?;
        }
        if needed > per_source { Err(Dropped::FragmentLimit) } else { Ok(()) }
    }

    /// Drops a datagram for the sake of another, unless it is that other itself.
    fn evict(
        &mut self,
        shared: &mut Shared,
        oldest: Option<(Instant, DatagramKey)>,
        key: DatagramKey,
    ) -> Result<(), Dropped> {
        let (_, oldest) = oldest.ok_or(Dropped::FragmentLimit)?;
        if oldest == key {
            self.condemn(key);
            return Err(Dropped::FragmentLimit);
        }
        if self.remove(oldest).is_some_and(|datagram| !datagram.condemned) {
            shared.drop_packet(None, Dropped::FragmentEvicted);
        }
        Ok(())
    }

    /// Forgets what came of a datagram, but not that it is bad, until its time is over.
    fn condemn(&mut self, key: DatagramKey) {
        let Some(datagram) = self.datagrams.get_mut(&key) else { return };
        datagram.condemned = true;
        datagram.parts = Vec::new();
        datagram.headers = None;
        let given_back = datagram.cost - DATAGRAM_COST;
        datagram.cost = DATAGRAM_COST;
        self.cost -= given_back;
        if let Some(source) = self.sources.get_mut(&key.source) {
            source.cost -= given_back;
        }
    }

    fn charge(&mut self, key: DatagramKey, cost: usize) {
        self.cost += cost;
        if let Some(datagram) = self.datagrams.get_mut(&key) {
            datagram.cost += cost;
        }
        if let Some(source) = self.sources.get_mut(&key.source) {
            source.cost += cost;
        }
    }

    fn remove(&mut self, key: DatagramKey) -> Option<Datagram> {
        let datagram = self.datagrams.remove(&key)?;
        self.cost -= datagram.cost;
        self.deadlines.remove(&(datagram.due, key));
        if let Some(source) = self.sources.get_mut(&key.source) {
            source.cost -= datagram.cost;
            source.datagrams.remove(&(datagram.due, key));
            if source.datagrams.is_empty() {
                self.sources.remove(&key.source);
            }
        }
        Some(datagram)
    }
}

impl Datagram {
    fn new(interface: InterfaceId, due: Instant) -> Self {
        Self {
            interface,
            due,
            headers: None,
            parts: Vec::new(),
            length: 0,
            end: None,
            ecn: EcnOfParts::default(),
            condemned: false,
            cost: 0,
        }
    }

    /// The first part that begins at `offset` or behind it.
    fn place(&self, offset: u32) -> usize {
        self.parts.partition_point(|part| part.offset < offset)
    }

    /// Whether the very same fragment is there.
    fn holds(&self, fragment: &Fragment<'_>) -> bool {
        let same = |part: &Part| {
            part.offset == fragment.offset
                && *part.bytes == *fragment.bytes
                && fragment.more == (self.end != Some(part.end()))
        };
        self.parts.get(self.place(fragment.offset)).is_some_and(same)
    }

    /// Whether a fragment touches nothing that is there, and does not contradict it.
    fn fits(&self, fragment: &Fragment<'_>) -> bool {
        let place = self.place(fragment.offset);
        let before = place.checked_sub(1).and_then(|before| self.parts.get(before));
        let free = before.is_none_or(|part| part.end() <= fragment.offset)
            && self.parts.get(place).is_none_or(|part| fragment.end() <= part.offset);
        let last = self.parts.last().map_or(0, Part::end);
        let in_bounds = match (self.end, fragment.more) {
            (None, true) => true,
            (None, false) => last <= fragment.offset,
            (Some(end), true) => fragment.end() < end,
            // The end came already, and it is not this one: `holds` would have said so.
            (Some(_), false) => false,
        };
        free && in_bounds
    }

    fn insert(&mut self, fragment: &Fragment<'_>) {
        if fragment.offset == 0 {
            self.headers = Some(fragment.headers.into());
            self.interface = fragment.interface;
        }
        if !fragment.more {
            self.end = Some(fragment.end());
        }
        self.length += fragment.end() - fragment.offset;
        self.ecn.add(fragment.ecn);
        let place = self.place(fragment.offset);
        self.parts.insert(place, Part { offset: fragment.offset, bytes: fragment.bytes.into() });
    }

    /// Nothing overlaps: as many bytes as there is room for up to the end leave no hole.
    fn is_whole(&self) -> bool {
        self.end == Some(self.length)
    }

    fn join(self, key: DatagramKey) -> Result<Reassembled, Dropped> {
        let headers = self.headers.unwrap_or_default();
        let mut packet = Vec::with_capacity(headers.len() + self.length as usize);
        packet.extend_from_slice(&headers);
        self.parts.iter().for_each(|part| packet.extend_from_slice(&part.bytes));
        let ecn = self.ecn.together().ok_or(Dropped::FragmentEcn)?;
        let (interface, header_len) = (self.interface, headers.len());
        Ok(Reassembled { key, interface, packet, header_len, ecn })
    }

    fn first_fragment(self, key: DatagramKey) -> Reassembled {
        let headers = self.headers.unwrap_or_default();
        let mut packet = headers.to_vec();
        if let Some(first) = self.parts.first().filter(|_| !headers.is_empty()) {
            packet.extend_from_slice(&first.bytes);
        }
        let (interface, header_len) = (self.interface, headers.len());
        Reassembled { key, interface, packet, header_len, ecn: Ecn::NotCapable }
    }
}

impl Part {
    fn end(&self) -> u32 {
        self.offset.saturating_add(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX))
    }
}

impl Reassembled {
    /// What the first fragment says that its payload begins with.
    pub(crate) fn protocol(&self) -> Protocol {
        match self.key.source {
            IpAddr::V4(_) => Protocol(self.key.protocol),
            // The fragment header is the last of the headers, and begins with it (RFC 8200 4.5).
            IpAddr::V6(_) => {
                let at = self.header_len.checked_sub(ipv6::Fragment::LEN);
                let named = at.and_then(|at| self.packet.get(at));
                named.map_or(Protocol::NO_NEXT_HEADER, |named| Protocol(*named))
            }
        }
    }

    /// The packet as a frame that shows its payload, with its headers hidden in front.
    pub(crate) fn into_frame(self) -> FrameBuf {
        let mut frame = FrameBuf::from(self.packet);
        frame.advance(self.header_len);
        frame
    }
}

/// RFC 1122 3.3.2 wants one time for all datagrams; RFC 8200 4.5 says which it is for IPv6.
fn reassembly_time(config: &Config, source: IpAddr) -> wire::time::Duration {
    match source {
        IpAddr::V4(_) => config.reassembly_time_v4,
        IpAddr::V6(_) => config.reassembly_time_v6,
    }
}

/// Which codepoints the fragments have.
#[derive(Clone, Copy, Default, Debug)]
struct EcnOfParts {
    first: Option<Ecn>,
    not_capable: bool,
    congestion: bool,
}

impl EcnOfParts {
    fn add(&mut self, ecn: Ecn) {
        self.first = self.first.or(Some(ecn));
        self.not_capable |= ecn == Ecn::NotCapable;
        self.congestion |= ecn == Ecn::CongestionExperienced;
    }

    /// RFC 3168 5.3: a mark on one fragment is one on the datagram; where another fragment does
    /// not take part at all, the datagram is dropped instead.
    fn together(self) -> Option<Ecn> {
        match (self.congestion, self.not_capable) {
            (true, true) => None,
            (true, false) => Some(Ecn::CongestionExperienced),
            (false, true) => Some(Ecn::NotCapable),
            (false, false) => self.first,
        }
    }
}

#[cfg(test)]
mod tests;
