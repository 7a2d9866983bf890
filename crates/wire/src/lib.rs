//! Packet formats: bytes to meaning and back.
//!
//! One module is one format, and each has two layers:
//!
//! * A **view** ([`tcp::View`], [`ipv4::View`], ...) lays the names of the fields over bytes. It
//!   never judges and never panics: a length field that lies gives a shorter slice. Use it to look
//!   at packets that may be broken, and to read a field without paying for the rest.
//! * A **meaning** ([`tcp::Header`], [`ipv4::Header`], ...) is what a packet says, and cannot hold
//!   what the format cannot say. `parse` gives it together with the payload, or the precise way in
//!   which the bytes are malformed; `emit` writes it. What is emitted parses to the same meaning.
//!
//! Numbers that a registry assigns ([`ip::Protocol`], [`ethernet::EtherType`], ICMP codes) are
//! newtypes with named constants, so a number without a name is still a value and two values are
//! equal when their numbers are.
//!
//! Checksums of TCP, UDP and ICMP are verified and filled by functions of their own, because
//! offload moves that work to the link ([`checksum`]). The checksum of an IPv4 header is part of
//! `parse` and `emit`.
//!
//! | module | format | source |
//! |---|---|---|
//! | [`ethernet`] | Ethernet II | IEEE 802.3, RFC 894 |
//! | [`arp`] | ARP for IPv4 over Ethernet | RFC 826 |
//! | [`ip`] | what both IP versions share | RFC 791, 8200 |
//! | [`ipv4`] | IPv4 and its options | RFC 791, 2474, 3168 |
//! | [`ipv6`] | IPv6 and its extension headers | RFC 8200, 7112 |
//! | [`icmpv4`] | ICMP and the packets it quotes | RFC 792, 1191 |
//! | [`icmpv6`] | ICMPv6 and the packets it quotes | RFC 4443 |
//! | [`ndp`] | neighbour discovery and its options | RFC 4861, 8106 |
//! | [`mld`] | multicast listener discovery | RFC 9777, 2710 |
//! | [`igmp`] | group management for IPv4 | RFC 9776, 2236 |
//! | [`udp`] | UDP | RFC 768 |
//! | [`dhcpv4`] | DHCP for IPv4 | RFC 2131, 2132 |
//! | [`dhcpv6`] | DHCP for IPv6, stateless | RFC 8415, 3646 |
//! | [`tcp`] | TCP and its options | RFC 9293, 7323, 2018 |
//! | [`checksum`] | the Internet checksum | RFC 1071, 1624 |
//! | [`vnet`] | the header that TUN puts before a packet for offload | linux/virtio_net.h |
//! | [`annotate`] | any packet as a table of its fields | |
//!
//! [`domain`] reads the domain names in options, [`membership`] is what IGMP and MLD share; [`frame`] and [`time`] hold the words that links and the protocol core share.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod annotate;
pub mod arp;
pub mod checksum;
pub mod dhcpv4;
pub mod dhcpv6;
pub mod domain;
pub mod ethernet;
pub mod frame;
pub mod icmpv4;
pub mod icmpv6;
pub mod igmp;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod membership;
pub mod mld;
pub mod ndp;
pub mod tcp;
pub mod time;
pub mod udp;
pub mod vnet;
mod walk;
