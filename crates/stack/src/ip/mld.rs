//! Multicast listener discovery: telling routers, and bridges that listen, which groups we are in
//! (RFC 9777, RFC 4861 7.2.1). The groups are those in which our addresses are asked for.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use wire::ipv6;
use wire::membership::RecordKind;
use wire::mld::{self, Record};
use wire::time::{Duration, Instant};

use crate::ip::interfaces::Interfaces;
use crate::ip::ndp::Message;
use crate::ip::{Incoming, InterfaceId};
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;

/// How often a change is told (RFC 9777 9.14.1: Robustness Variable, 2).
const ROBUSTNESS: u8 = 2;

/// The most time between two reports of the same change (RFC 9777 9.11).
const UNSOLICITED_INTERVAL: Duration = Duration::from_secs(1);

/// Reports that are to be sent.
#[derive(Debug, Default)]
pub(super) struct Reports {
    changes: Vec<Change>,
    /// Whom a query waits for, and when it is answered.
    answers: Vec<(InterfaceId, Instant)>,
}

/// A change that is still to be told.
#[derive(Debug)]
struct Change {
    interface: InterfaceId,
    group: Ipv6Addr,
    kind: RecordKind,
    left: u8,
    due: Instant,
}

impl Reports {
    pub(super) fn joined(&mut self, shared: &Shared, interface: InterfaceId, group: Ipv6Addr) {
        self.change(shared, interface, group, RecordKind::TO_EXCLUDE);
    }

    pub(super) fn left(&mut self, shared: &Shared, interface: InterfaceId, group: Ipv6Addr) {
        self.change(shared, interface, group, RecordKind::TO_INCLUDE);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let changes = self.changes.iter().map(|change| change.due);
        changes.chain(self.answers.iter().map(|&(_, due)| due)).min()
    }

    /// RFC 9777 6.1: a new change takes the place of an older one about the same group.
    fn change(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        group: Ipv6Addr,
        kind: RecordKind,
    ) {
        self.changes.retain(|other| (other.interface, other.group) != (interface, group));
        let (left, due) = (ROBUSTNESS, shared.now);
        self.changes.push(Change { interface, group, kind, left, due });
    }
}

impl Interfaces {
    /// RFC 9777 6.2: a router asks who listens. Each link is answered once, after a random time.
    pub(crate) fn listener_query_arrives(
        &mut self,
        shared: &Shared,
        packet: &Incoming,
    ) -> Result<(), Dropped> {
        let interface = packet.received.interface;
        self.ethernet_address(interface).ok_or(Dropped::IcmpIgnored)?;
        let headers = packet.received.frame.hidden(packet.header_len);
        let (ip, extensions) =
            ipv6::Header::parse_quoted(headers).map_err(|_| Dropped::MalformedMld)?;
        let chain = ipv6::Chain::walk(&ip, extensions, &ipv6::Limits::DEFAULT);
        let alert = chain.ok().and_then(|chain| chain.router_alert);
        let message = mld::Message::parse(&ip, alert, &packet.received.frame);
        let Ok(mld::Message::Query(query)) = message else { return Err(Dropped::MalformedMld) };
        let most = Duration::from_millis(query.max_response_time().into());
        let due = self.autoconf.soon(shared.now, most);
        let answers = &mut self.autoconf.reports.answers;
        match answers.iter_mut().find(|(other, _)| *other == interface) {
            Some((_, earlier)) => *earlier = due.min(*earlier),
            None => answers.push((interface, due)),
        }
        Ok(())
    }

    /// Sends the reports that are due, one for each link and kind.
    pub(super) fn report_groups(&mut self, shared: &Shared) {
        for interface in self.ids() {
            let is_due = |due: Instant| due <= shared.now;
            let again = self.autoconf.soon(shared.now, UNSOLICITED_INTERVAL);
            let mut told = Vec::new();
            for change in &mut self.autoconf.reports.changes {
                if change.interface == interface && is_due(change.due) {
                    told.push((change.group, change.kind));
                    (change.left, change.due) = (change.left - 1, again);
                }
            }
            self.autoconf.reports.changes.retain(|change| change.left > 0);
            self.report(interface, &told);
            let answers = &mut self.autoconf.reports.answers;
            let before = answers.len();
            answers.retain(|&(other, due)| other != interface || !is_due(due));
            if answers.len() != before {
                let groups = self.solicited_nodes(interface);
                let kind = RecordKind::IS_EXCLUDE;
                let state: Vec<_> = groups.into_iter().map(|group| (group, kind)).collect();
                self.report(interface, &state);
            }
        }
    }

    fn report(&mut self, interface: InterfaceId, said: &[(Ipv6Addr, RecordKind)]) {
        if said.is_empty() || self.autoconf.is_silent() {
            return;
        }
        // Who has no address yet speaks as nobody (RFC 9777 5.2.13).
        let source = self.link_local(interface);
        let source = source.filter(|&address| self.has_address(interface, address.into()));
        let source = source.unwrap_or(Ipv6Addr::UNSPECIFIED);
        let destination = ipv6::group::ALL_MLDV2_ROUTERS;
        let records = said.iter().map(|&(group, kind)| Record { kind, group, sources: &[] });
        let mut bytes = alloc::vec![0; mld::report_len(records.clone())];
        mld::emit_report(records, &mut bytes);
        wire::icmpv6::fill_checksum(source, destination, &mut bytes);
        self.discovery.push_back(Message {
            interface,
            source,
            destination,
            hop_limit: mld::HOP_LIMIT,
            router_alert: true,
            bytes,
            kind: "ICMPv6 listener report",
            reason: Sent::ListenerReport,
        });
    }

    /// The groups of the interface, each once.
    fn solicited_nodes(&self, interface: InterfaceId) -> Vec<Ipv6Addr> {
        let mut groups = Vec::new();
        for own in self.assigned(interface) {
            if let core::net::IpAddr::V6(address) = own.address {
                let group = ipv6::solicited_node(address);
                if !groups.contains(&group) {
                    groups.push(group);
                }
            }
        }
        groups
    }
}
