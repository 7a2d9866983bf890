//! Multicast listener discovery: telling routers, and bridges that listen, which groups of IPv6 we are
//! in (RFC 9777, RFC 4861 7.2.1): those that sockets joined, and those in which our addresses are asked
//! for.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use wire::ipv6;
use wire::mld::{self, Message, Record};
use wire::time::Duration;

use crate::ip::group_record::{GroupRecord, Sizes, pack};
use crate::ip::group_talk::{Due, Query};
use crate::ip::groups::is_never_told;
use crate::ip::groups::is_source_specific;
use crate::ip::interfaces::Interfaces;
use crate::ip::{Incoming, InterfaceId, ndp};
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;

/// What a packet has before the records of a report, in bytes: IPv6, router alert, the report's header.
const BEFORE_RECORDS: usize = ipv6::HEADER_LEN + 8 + 8;

/// The lengths of a record without sources, and of a source, in bytes.
const RECORD_LEN: usize = 20;
const SOURCE_LEN: usize = 16;

impl Interfaces {
    /// A router asks who listens, or in version 1 somebody says that he does.
    pub(crate) fn listener_message_arrives(
        &mut self,
        shared: &Shared,
        packet: &Incoming,
    ) -> Result<(), Dropped> {
        let interface = packet.received.interface;
        if !self.autoconf.is_active() {
            return Err(Dropped::IcmpIgnored);
        }
        let headers = packet.received.frame.hidden(packet.header_len);
        let (ip, extensions) =
            ipv6::Header::parse_quoted(headers).map_err(|_| Dropped::MalformedMld)?;
        let chain = ipv6::Chain::walk(&ip, extensions, &ipv6::Limits::DEFAULT);
        let alert = chain.ok().and_then(|chain| chain.router_alert);
        let message = Message::parse(&ip, alert, &packet.received.frame);
        match message.map_err(|_| Dropped::MalformedMld)? {
            Message::Query(query) => {
                if query.v2.is_none()
                    && shared.config.source_specific_groups
                    && is_source_specific(query.group.into())
                {
                    return Err(Dropped::OldSourceQuery);
                }
                let sources = query.v2.map_or(&[][..], |v2| v2.sources);
                let question = Query {
                    group: (!query.group.is_unspecified()).then_some(query.group.into()),
                    sources: mld::addresses(sources).map(IpAddr::V6).collect(),
                    version: if query.v2.is_some() { 2 } else { 1 },
                    max_response: Duration::from_millis(query.max_response_time().into()),
                };
                let ours = self.groups_v6(interface);
                let autoconf = &mut self.autoconf;
                let (groups, random) = (&mut autoconf.groups, &mut autoconf.random);
                groups.asked(shared, random, interface, false, question, &ours);
            }
            Message::ReportV1 { group } => {
                self.membership_overheard(shared, interface, group.into());
            }
            Message::Done { .. } | Message::Report(_) => return Err(Dropped::IcmpIgnored),
        }
        Ok(())
    }

    /// Says what is due.
    pub(super) fn report_v6(&mut self, due: &Due) {
        let ours = self.groups_v6(due.interface);
        if due.version == 1 {
            return self.report_v1(due, &ours);
        }
        self.report(due.interface, self.changed_records(due));
        self.report(due.interface, self.answers(due, &ours));
    }

    /// A message for each group, which goes to the group itself (RFC 2710 3).
    fn report_v1(&mut self, due: &Due, ours: &[IpAddr]) {
        let changed = due.changes.iter().map(|(group, _)| group);
        let asked = due.specific.iter().map(|(group, _)| group);
        for group in changed.clone().chain(asked).filter(|group| ours.contains(group)) {
            if let IpAddr::V6(group) = *group {
                self.report_one(due.interface, group);
            }
        }
        for group in changed.filter(|group| !ours.contains(group)) {
            let IpAddr::V6(group) = *group else { continue };
            let done = Message::Done { group };
            self.say(due.interface, ipv6::group::ALL_ROUTERS, &done, "ICMPv6 listener done");
        }
    }

    fn report_one(&mut self, interface: InterfaceId, group: Ipv6Addr) {
        self.say(interface, group, &Message::ReportV1 { group }, "ICMPv6 listener report");
    }

    fn report(&mut self, interface: InterfaceId, mut records: Vec<GroupRecord>) {
        let mtu = self.capabilities(interface).map_or(0, |link| usize::from(link.mtu));
        let room = mtu.saturating_sub(BEFORE_RECORDS);
        records.retain(|record| self.speaks_for(record.group));
        let sizes = Sizes { room, record: RECORD_LEN, source: SOURCE_LEN };
        for report in pack(records, sizes) {
            let sources: Vec<Vec<[u8; 16]>> = report.iter().map(octets_of_sources).collect();
            let records = report.iter().zip(&sources);
            let records = records.filter_map(|(record, sources)| match record.group {
                IpAddr::V6(group) => Some(Record { kind: record.kind, group, sources }),
                IpAddr::V4(_) => None,
            });
            let mut bytes = alloc::vec![0; mld::report_len(records.clone())];
            mld::emit_report(records, &mut bytes);
            self.send(interface, ipv6::group::ALL_MLDV2_ROUTERS, bytes, "ICMPv6 listener report");
        }
    }

    fn say(
        &mut self,
        interface: InterfaceId,
        to: Ipv6Addr,
        message: &Message<'_>,
        kind: &'static str,
    ) {
        let (Message::ReportV1 { group } | Message::Done { group }) = *message else { return };
        if self.speaks_for(group.into()) {
            let mut bytes = alloc::vec![0; message.encoded_len()];
            message.emit(&mut bytes);
            self.send(interface, to, bytes, kind);
        }
    }

    fn send(
        &mut self,
        interface: InterfaceId,
        destination: Ipv6Addr,
        mut bytes: Vec<u8>,
        kind: &'static str,
    ) {
        // Who has no address yet speaks as nobody (RFC 9777 5.2.14).
        let source = self.link_local(interface);
        let source = source.filter(|&address| self.has_address(interface, address.into()));
        let source = source.unwrap_or(Ipv6Addr::UNSPECIFIED);
        wire::icmpv6::fill_checksum(source, destination, &mut bytes);
        self.discovery.push_back(ndp::Message {
            interface,
            source,
            destination,
            hop_limit: mld::HOP_LIMIT,
            router_alert: true,
            bytes,
            kind,
            reason: Sent::ListenerReport,
        });
    }

    /// RFC 9777 5.2.14: who has an address to speak from at last says again what it said as nobody.
    pub(super) fn tell_groups_v6(&mut self, shared: &Shared, interface: InterfaceId) {
        for group in self.groups_v6(interface) {
            self.autoconf.groups.came_or_went(shared, interface, group);
        }
    }

    /// Of several shards one speaks for our addresses, and each for its sockets.
    fn speaks_for(&self, group: IpAddr) -> bool {
        let IpAddr::V6(group) = group else { return false };
        let asks_for_us = group == ipv6::solicited_node(group);
        !(self.autoconf.is_silent() && asks_for_us)
    }

    /// The groups of the interface of which routers are told, each once.
    fn groups_v6(&self, interface: InterfaceId) -> Vec<IpAddr> {
        let mut groups: Vec<IpAddr> = Vec::new();
        let solicited = self.assigned(interface).filter_map(|own| match own.address {
            IpAddr::V6(address) if self.ethernet_address(interface).is_some() => {
                Some(ipv6::solicited_node(address).into())
            }
            _ => None,
        });
        for group in solicited.chain(self.autoconf.groups.members(interface, false)) {
            if !groups.contains(&group) && !is_never_told(group) {
                groups.push(group);
            }
        }
        groups
    }
}

fn octets_of_sources(record: &GroupRecord) -> Vec<[u8; 16]> {
    let sources = record.sources.iter().filter_map(|source| match source {
        IpAddr::V6(source) => Some(source.octets()),
        IpAddr::V4(_) => None,
    });
    sources.collect()
}
