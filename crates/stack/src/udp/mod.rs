//! UDP: datagrams between ports (RFC 768, RFC 1122 4.1, RFC 8085).
//!
//! | place | holds |
//! |---|---|
//! | `ports` | which socket has which address and port |
//! | `casting` | groups and broadcasts: who hears them, and how they are sent |
//! | `membership` | joining groups, for all sources or for some |
//! | `flows` | who takes datagrams to any address, and the flows that come of it |
//! | `socket` | one socket: what it received, what it will send |
//! | `user`, `message` | the calls of the program; those that carry several datagrams |
//! | `arrives` | datagrams and errors that come |
//! | `output` | datagrams that go |

mod arrives;
mod casting;
mod flows;
mod membership;
mod message;
mod output;
mod ports;
mod socket;
mod user;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use rand_core::Rng;
use slotmap::SlotMap;
use wire::frame::FrameBuf;

use crate::UdpId;
use crate::config::Config;
use crate::event::{Ready, SocketId};
use crate::info::SocketEntry;
use crate::ip::InterfaceId;
use crate::tcp::state::State;
use crate::trace::Timer;

pub use flows::NewFlow;
pub use message::{UdpReceived, UdpTransmit};
pub(crate) use output::Parked;

use flows::Flows;
use ports::Ports;
use socket::Socket;

/// All of a stack's UDP.
#[derive(Debug)]
pub(crate) struct Udp {
    sockets: SlotMap<UdpId, Socket>,
    ports: Ports,
    /// Flows to any address, once somebody takes them.
    flows: Option<Box<Flows>>,
    /// One entry for each datagram in a socket's queue, in the order of the programs' calls.
    ready: VecDeque<UdpId>,
    /// Datagrams whose next hop became known: they go first.
    returned: VecDeque<Parked>,
    /// What we sent to groups and to everybody, for our own sockets.
    echoes: VecDeque<(InterfaceId, FrameBuf)>,
}

impl Udp {
    pub(crate) fn new(config: &Config, rng: &mut impl Rng) -> Self {
        Self {
            sockets: SlotMap::with_key(),
            ports: Ports::new(config.ephemeral_ports.clone(), rng),
            flows: None,
            ready: VecDeque::new(),
            returned: VecDeque::new(),
            echoes: VecDeque::new(),
        }
    }

    /// What a socket is ready for; nothing when it is gone.
    pub(crate) fn readiness(&self, id: UdpId) -> Ready {
        let Some(socket) = self.sockets.get(id) else { return Ready::empty() };
        if socket.takes_flows() {
            return if self.waiting_flows() > 0 { Ready::READ } else { Ready::empty() };
        }
        socket.readiness()
    }

    /// What was announced for a socket and not fetched yet.
    pub(crate) fn take_pending(&mut self, id: UdpId) -> Ready {
        self.sockets.get_mut(id).map_or_else(Ready::empty, |socket| socket.pending.take())
    }

    /// Adds a line for each socket.
    pub(crate) fn list(&self, entries: &mut Vec<SocketEntry>) {
        entries.extend(self.sockets.iter().map(|(id, socket)| SocketEntry {
            id: Some(SocketId::Udp(id)),
            protocol: "udp",
            state: if socket.remote.is_some() { State::Established } else { State::Closed },
            receive_queue: match socket.takes_flows() {
                true => self.waiting_flows(),
                false => socket.received_bytes(),
            },
            send_queue: socket.outgoing_bytes(),
            local: socket.show(socket.local),
            remote: socket.show(socket.remote.unwrap_or(UNSPECIFIED)),
            timer: socket.flow().and_then(|flow| Some((Timer::FlowIdle, flow.ends_at()?))),
            retries: 0,
            info: None,
        }));
    }
}

const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
