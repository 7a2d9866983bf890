//! IGMP: telling routers, and bridges that listen, which groups of IPv4 our sockets joined (RFC 9776).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use wire::ethernet::{EtherType, EthernetAddress};
use wire::frame::{FrameBuf, TransmitMeta};
use wire::igmp::{self, Message, Record};
use wire::ip::Protocol;
use wire::ipv4::{self, Ipv4Option};
use wire::time::Duration;

use crate::ip::group_record::{GroupRecord, Sizes, pack};
use crate::ip::group_talk::{Due, Query};
use crate::ip::groups::is_source_specific;
use crate::ip::interfaces::Interfaces;
use crate::ip::output::LinkHeader;
use crate::ip::{Incoming, InterfaceId};
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::trace::What;
use crate::transmit::{Body, HeaderBuf, Packet};

/// What a packet has before the records of a report, in bytes: IPv4 with router alert, the report's
/// header.
const BEFORE_RECORDS: usize = ipv4::MIN_HEADER_LEN + 4 + igmp::HEADER_LEN;

/// The lengths of a record without sources, and of a source, in bytes.
const RECORD_LEN: usize = 8;
const SOURCE_LEN: usize = 4;

/// A message about groups on its way to the link.
#[derive(Debug)]
pub(crate) struct Report {
    interface: InterfaceId,
    destination: Ipv4Addr,
    bytes: Vec<u8>,
}

impl Interfaces {
    /// A router asks who is in groups, or in older versions somebody says that he is.
    pub(crate) fn igmp_arrives(
        &mut self,
        shared: &mut Shared,
        packet: &Incoming,
    ) -> Result<(), Dropped> {
        let received = &packet.received;
        let (interface, IpAddr::V4(destination)) = (received.interface, received.destination)
        else {
            return Err(Dropped::MalformedIgmp);
        };
        let message = &received.frame[..];
        if !igmp::is_checksum_valid(message) {
            return Err(Dropped::MalformedIgmp);
        }
        let headers = received.frame.hidden(packet.header_len);
        let (ip, _) = ipv4::Header::parse_quoted(headers).map_err(|_| Dropped::MalformedIgmp)?;
        let alert = ip.options.iter().any(|option| matches!(option, Ipv4Option::RouterAlert(_)));
        let parsed = Message::parse(message).map_err(|_| Dropped::MalformedIgmp)?;
        let (source, destination_ip) = (received.source, received.destination);
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let kind = name_of(&parsed);
        shared.trace(None, What::PacketIn { kind, source, destination: destination_ip, length });
        if !parsed.is_trusted(destination, alert) {
            return Err(Dropped::MalformedIgmp);
        }
        match parsed {
            Message::Query(query) => {
                if query.version() < 3
                    && shared.config.source_specific_groups
                    && is_source_specific(query.group.into())
                {
                    return Err(Dropped::OldSourceQuery);
                }
                let sources = query.v3.map_or(&[][..], |v3| v3.sources);
                let question = Query {
                    group: (!query.group.is_unspecified()).then_some(query.group.into()),
                    sources: sources.iter().map(|&octets| Ipv4Addr::from(octets).into()).collect(),
                    version: query.version(),
                    max_response: Duration::from_millis(query.max_response_time().into()),
                };
                let autoconf = &mut self.autoconf;
                let ours: Vec<_> = autoconf.groups.members(interface, true).collect();
                let (groups, random) = (&mut autoconf.groups, &mut autoconf.random);
                groups.asked(shared, random, interface, true, question, &ours);
                autoconf.active = true;
                Ok(())
            }
            Message::ReportV1 { group } | Message::ReportV2 { group } => {
                self.membership_overheard(shared, interface, group.into());
                Ok(())
            }
            Message::Leave { .. } | Message::Report(_) | Message::Unknown { .. } => {
                Err(Dropped::IgmpIgnored)
            }
        }
    }

    /// Says what is due.
    pub(super) fn report_v4(&mut self, due: &Due) {
        let interface = due.interface;
        let ours: Vec<_> = self.autoconf.groups.members(interface, true).collect();
        if due.version < 3 {
            return self.report_old(due, &ours);
        }
        self.report_records(interface, self.changed_records(due));
        self.report_records(interface, self.answers(due, &ours));
    }

    /// A message for each group, which goes to the group itself; of version 1 nobody says that he
    /// leaves (RFC 9776 7.2.1, RFC 2236 3).
    fn report_old(&mut self, due: &Due, ours: &[IpAddr]) {
        let changed = due.changes.iter().map(|(group, _)| group);
        let asked = due.specific.iter().map(|(group, _)| group);
        for group in changed.clone().chain(asked).filter(|group| ours.contains(group)) {
            let IpAddr::V4(group) = *group else { continue };
            let message = match due.version {
                1 => Message::ReportV1 { group },
                _ => Message::ReportV2 { group },
            };
            self.push_report(due.interface, group, &message);
        }
        let left = changed.filter(|group| due.version == 2 && !ours.contains(group));
        for group in left {
            let IpAddr::V4(group) = *group else { continue };
            self.push_report(due.interface, igmp::ALL_ROUTERS, &Message::Leave { group });
        }
    }

    fn report_records(&mut self, interface: InterfaceId, records: Vec<GroupRecord>) {
        let mtu = self.capabilities(interface).map_or(0, |link| usize::from(link.mtu));
        let room = mtu.saturating_sub(BEFORE_RECORDS);
        let sizes = Sizes { room, record: RECORD_LEN, source: SOURCE_LEN };
        for report in pack(records, sizes) {
            let sources: Vec<Vec<[u8; 4]>> = report.iter().map(octets_of_sources).collect();
            let records = report.iter().zip(&sources);
            let records = records.filter_map(|(record, sources)| match record.group {
                IpAddr::V4(group) => Some(Record { kind: record.kind, group, sources }),
                IpAddr::V6(_) => None,
            });
            let mut bytes = alloc::vec![0; igmp::report_len(records.clone())];
            igmp::emit_report(records, &mut bytes);
            igmp::fill_checksum(&mut bytes);
            let destination = igmp::ALL_V3_ROUTERS;
            self.group_reports.push_back(Report { interface, destination, bytes });
        }
    }

    fn push_report(
        &mut self,
        interface: InterfaceId,
        destination: Ipv4Addr,
        message: &Message<'_>,
    ) {
        let mut bytes = alloc::vec![0; message.encoded_len()];
        message.emit(&mut bytes);
        igmp::fill_checksum(&mut bytes);
        self.group_reports.push_back(Report { interface, destination, bytes });
    }

    /// The next message about groups of IPv4.
    pub(super) fn next_group_report(
        &mut self,
        shared: &mut Shared,
        header: &mut HeaderBuf,
    ) -> Option<Packet> {
        let Report { interface, destination, bytes } = self.group_reports.pop_front()?;
        let link = match self.ethernet_address(interface) {
            Some(source) => {
                let destination = EthernetAddress::of_ipv4_group(destination);
                LinkHeader::Ethernet { source, destination }
            }
            None => LinkHeader::None,
        };
        // Who has no address yet speaks as nobody (RFC 9776 4.2.14).
        let source = match self.source_on(interface, destination.into()) {
            Some(IpAddr::V4(source)) => source,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let ip = ipv4::Header {
            source,
            destination,
            protocol: Protocol::IGMP,
            ttl: igmp::TTL,
            traffic_class: igmp::TRAFFIC_CLASS,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            payload_len: u16::try_from(bytes.len()).unwrap_or(u16::MAX),
            options: ipv4::Options::ROUTER_ALERT,
        };
        let mut end = link.emit(&mut header.0, EtherType::IPV4);
        end += ip.emit(&mut header.0[end..]);
        let reason = Sent::MembershipReport;
        shared.counters.count_sent(reason);
        let kind = Message::parse(&bytes).map_or("IGMP", |message| name_of(&message));
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (source, destination) = (source.into(), destination.into());
        shared.trace(None, What::PacketOut { kind, source, destination, length, reason });
        let meta = TransmitMeta { comment: reason.comment(), ..TransmitMeta::default() };
        Some(Packet { interface, header_len: end, body: Body::Frame(FrameBuf::from(bytes)), meta })
    }
}

fn octets_of_sources(record: &GroupRecord) -> Vec<[u8; 4]> {
    let sources = record.sources.iter().filter_map(|source| match source {
        IpAddr::V4(source) => Some(source.octets()),
        IpAddr::V6(_) => None,
    });
    sources.collect()
}

fn name_of(message: &Message<'_>) -> &'static str {
    match message {
        Message::Query(_) => "IGMP query",
        Message::ReportV1 { .. } | Message::ReportV2 { .. } | Message::Report(_) => "IGMP report",
        Message::Leave { .. } => "IGMP leave",
        Message::Unknown { .. } => "IGMP",
    }
}
