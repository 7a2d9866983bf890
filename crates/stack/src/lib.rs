//! A complete TCP/IP stack that does no I/O.
//!
//! Packets, commands and the time go in; packets, events and the next deadline come out. There is
//! no clock, no thread, no lock and no system randomness inside: with the same seed and the same
//! inputs, the same bytes come out, every time.
//!
//! # The whole grammar
//!
//! A [`Stack`] has four kinds of methods and no fifth:
//!
//! | kind | who calls | examples |
//! |---|---|---|
//! | getters | anybody | [`Stack::info`], [`Stack::readiness`], [`Stack::sockets`] |
//! | `handle_*` | the world | [`Stack::handle_frame`], [`Stack::handle_timeout`] |
//! | commands | the program | [`Stack::listen`], [`Stack::connect`], [`Stack::write`], [`Stack::close`] |
//! | `poll_*` | who carries things to the world | [`Stack::poll_transmit`], [`Stack::poll_timeout`], [`Stack::poll_event`], [`Stack::poll_trace`] |
//!
//! Any order of calls is legal. Input never emits: `handle_*` and commands only change state and
//! leave marks; `poll_transmit` is where packets are built, one at a time, into the caller's
//! buffer, with the payload borrowed from the send queue.
//!
//! # One turn of a driver
//!
//! ```
//! use estab_stack::{Config, HeaderBuf, Stack};
//! # use wire::frame::{Capabilities, Medium};
//! # use wire::time::Instant;
//! # let mut stack = Stack::new(Config::default(), [7; 32]);
//! # let interface = stack.add_interface(Capabilities { medium: Medium::Ip, mtu: 1500, checksum: false, segmentation: false });
//! # let now = Instant::from_millis(1);
//! let mut header = HeaderBuf::default();
//! // For each frame of the device: stack.handle_frame(now, interface, frame, meta);
//! stack.handle_timeout(now);
//! while let Some(packet) = stack.poll_transmit(now, &mut header) {
//!     // One gathered write: packet.header, then packet.payload.
//! }
//! while let Some(event) = stack.poll_event() {
//!     // Wake whoever waits for event.socket.
//! }
//! let sleep_until = stack.poll_timeout();
//! # let _ = sleep_until;
//! ```
//!
//! # Where an RFC is
//!
//! A file is named after a mechanism, and an RFC has one visible place: [`tcp`] lists them.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod binding;
pub mod config;
mod counters;
mod demux;
mod dhcp;
mod error;
pub mod event;
mod flow;
mod icmp;
pub mod info;
pub mod ip;
mod memory;
mod packets;
mod ping;
mod pool;
pub mod reason;
mod shard;
mod shared;
mod short_queue;
mod sources;
mod stack;
pub mod tcp;
mod timers;
pub mod trace;
mod transmit;
mod udp;
mod while_busy;

pub use config::{
    BufferRange, Config, DEFAULT_TTL, KeepAlive, MtuDiscovery, RtoLimits, TcpOptions, UdpOptions,
};
pub use counters::Counters;
pub use dhcp::{DhcpChange, DhcpLease};
pub use error::Error;
pub use event::{AddressChange, AddressFate, Event, Ready, SocketId};
pub use flow::{Family, FourTuple};
pub use icmp::{IcmpReport, Refusal, Unreachable};
pub use info::{Repair, SocketEntry, TcpInfo};
pub use ip::{InterfaceId, PolicyRow, PolicyTable, SourceChange, options_to_send};
pub use packets::{Echo, OtherProtocols};
pub use ping::PingReply;
pub use shard::{Handover, Shard};
pub use stack::Stack;
pub use tcp::MtuProbing;
pub use tcp::ecn::EcnMode;
pub use tcp::state::State;
pub use tcp::{PendingId, PendingSyn};
pub use trace::TraceEvent;
pub use transmit::{HeaderBuf, MAX_SLICES, Transmit};
pub use udp::{NewFlow, UdpReceived, UdpTransmit};

slotmap::new_key_type! {
    /// A TCP listener of one stack. Never used again for another after it was closed.
    pub struct ListenerId;
    /// A TCP connection of one stack. Never used again for another after it was closed.
    pub struct ConnectionId;
    /// A UDP socket of one stack. Never used again for another after it was closed.
    pub struct UdpId;
    /// An ICMP echo socket of one stack. Never used again for another after it was closed.
    pub struct PingId;
}

/// Which half of a connection `shutdown` ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// Nothing more will be read: what arrives is acknowledged and thrown away.
    Read,
    /// Nothing more will be written: FIN follows what is queued.
    Write,
    /// Both.
    Both,
}
