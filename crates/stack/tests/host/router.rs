//! Routers that speak to the host, and what it makes of that.

use std::net::{IpAddr, Ipv6Addr};

use estab_stack::{AddressChange, AddressFate, Config};
use wire::ip::Protocol;
use wire::ndp::{Header, NdpOption, Preference, PrefixInformation, RouterAdvertisement};

use super::v6::{ALL_NODES, Discovery, ndp_frame, parse_ndp, tap_with};
use super::{Host, THEIR_HARDWARE};

pub(crate) const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 7, 0, 0, 0, 0);
pub(crate) const HOUR: u32 = 3600;

pub(crate) fn advertisement(lifetime: u16) -> RouterAdvertisement {
    RouterAdvertisement {
        hop_limit: 64,
        managed: false,
        other_configuration: false,
        preference: Preference::Medium,
        router_lifetime: lifetime,
        reachable_time: 0,
        retransmit_time: 0,
    }
}

pub(crate) fn prefix(valid: u32, preferred: u32) -> PrefixInformation {
    PrefixInformation {
        prefix: PREFIX,
        prefix_len: 64,
        on_link: true,
        autonomous: true,
        valid_lifetime: valid,
        preferred_lifetime: preferred,
    }
}

pub(crate) fn advertise(
    host: &mut Host,
    router: Ipv6Addr,
    said: RouterAdvertisement,
    prefix: Option<PrefixInformation>,
) {
    let mut options = vec![NdpOption::SourceLinkLayer(THEIR_HARDWARE)];
    options.extend(prefix.map(NdpOption::Prefix));
    let header = Header::RouterAdvertisement(said);
    host.arrives(&ndp_frame((router, ALL_NODES), header, &options));
}

/// Time passes in small steps, with all that is sent meanwhile.
pub(crate) fn passes(host: &mut Host, millis: u64) -> Vec<Vec<u8>> {
    let mut frames = host.sends();
    for _ in 0..millis.div_ceil(100) {
        host.later_millis(100);
        frames.extend(host.sends());
    }
    frames
}

pub(crate) fn addresses(host: &Host) -> Vec<Ipv6Addr> {
    let addresses = host.stack.addresses(host.interface);
    let v6 = addresses.filter_map(|(address, _)| match address {
        IpAddr::V6(v6) => Some(v6),
        IpAddr::V4(_) => None,
    });
    v6.collect()
}

pub(crate) fn changes(host: &mut Host) -> Vec<(Ipv6Addr, AddressFate)> {
    let mut changes = Vec::new();
    while let Some(AddressChange { address, fate, .. }) = host.stack.poll_address_change() {
        let IpAddr::V6(address) = address else { panic!("{address}") };
        changes.push((address, fate));
    }
    changes
}

pub(crate) fn is_mld(frame: &[u8]) -> bool {
    frame[20] == Protocol::HOP_BY_HOP.0
}

/// The messages of neighbour discovery among what was sent.
pub(crate) fn discovery(frames: &[Vec<u8>]) -> Vec<Discovery> {
    frames.iter().filter(|frame| !is_mld(frame)).map(|frame| parse_ndp(frame)).collect()
}

/// A host whose addresses are made by itself and are ready.
pub(crate) fn configured() -> Host {
    let mut host = tap_with(Config::default());
    host.stack.autoconfigure(host.interface).unwrap();
    passes(&mut host, 2500);
    advertise(&mut host, ROUTER, advertisement(1800), Some(prefix(24 * HOUR, 4 * HOUR)));
    passes(&mut host, 2500);
    assert_eq!(changes(&mut host).len(), 2);
    host
}

pub(crate) fn global(host: &Host) -> Option<Ipv6Addr> {
    addresses(host).into_iter().find(|address| !address.is_unicast_link_local())
}
