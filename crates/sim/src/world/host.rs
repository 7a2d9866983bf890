//! A host: the real stack, its address, and its one interface.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use stack::{Config, Event, HeaderBuf, InterfaceId, ListenerId, Stack, State};
use wire::frame::{Capabilities, Medium};
use wire::time::Instant;

/// A host of a world.
#[derive(Debug)]
pub struct Host {
    /// Its stack, unchanged.
    pub stack: Stack,
    /// Where its packets come and go.
    pub interface: InterfaceId,
    /// Its address.
    pub address: Ipv4Addr,
    /// The listener of its server program, when it has one.
    pub listener: Option<ListenerId>,
    /// The largest receive buffer that any of its programs asked for, in bytes.
    pub largest_receive_buffer: usize,
    /// The same for send buffers.
    pub largest_send_buffer: usize,
}

/// A packet that leaves a host.
#[derive(Debug)]
pub struct Departure {
    /// The IP packet.
    pub bytes: Vec<u8>,
    /// For a super-segment: the size of its pieces.
    pub segment_size: Option<NonZeroU16>,
    /// Why it was sent.
    pub reason: &'static str,
}

impl Host {
    /// The host number `number`, whose address is 10.0.0.1 and so on.
    ///
    /// # Panics
    /// When the stack does not take its own address.
    #[must_use]
    pub fn new(number: usize, config: Config, seed: [u8; 32], mtu: u16, offload: bool) -> Self {
        let mut stack = Stack::new(config, seed);
        stack.set_trace(true);
        let interface = stack.add_interface(Capabilities {
            medium: Medium::Ip,
            mtu,
            checksum: offload,
            segmentation: offload,
        });
        let address = address(number);
        stack.add_address(interface, address.into(), 24).expect("an address for the interface");
        Self {
            stack,
            interface,
            address,
            listener: None,
            largest_receive_buffer: 0,
            largest_send_buffer: 0,
        }
    }

    /// The next packet that the stack wants to send.
    pub fn next_departure(&mut self, now: Instant) -> Option<Departure> {
        let mut header = HeaderBuf::default();
        let packet = self.stack.poll_transmit(now, &mut header)?;
        Some(Departure {
            bytes: packet.to_frame().to_vec(),
            segment_size: packet.meta.segment_size,
            reason: packet.meta.comment,
        })
    }

    /// Everything that happened to sockets since the last time.
    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.stack.poll_event()).collect()
    }

    /// Whether every connection, half-open entry and TIME-WAIT is gone.
    #[must_use]
    pub fn has_only_listeners(&self) -> bool {
        self.stack.sockets().iter().all(|entry| entry.state == State::Listen)
    }

    /// The sockets besides listeners, one a line.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let entries = self.stack.sockets();
        let left = entries.iter().filter(|entry| entry.state != State::Listen);
        left.map(|e| {
            let (state, local, remote) = (e.state, e.local, e.remote);
            let (recv, send) = (e.receive_queue, e.send_queue);
            format!("{state} {local} {remote} recv-q {recv} send-q {send} timer {:?}", e.timer)
        })
        .collect()
    }

    /// Queues stay below the buffers that the programs asked for.
    ///
    /// # Errors
    /// With the socket that has more.
    pub fn check_limits(&self) -> Result<(), String> {
        for entry in self.stack.sockets() {
            if entry.state == State::Listen {
                continue;
            }
            // What was advertised may arrive, and a segment that straddles the edge; and FIN takes
            // a place in the send queue's numbers.
            let (receive, send) = (self.largest_receive_buffer, self.largest_send_buffer + 1);
            if entry.receive_queue > receive || entry.send_queue > send {
                return Err(format!("more is queued than the buffers allow: {entry:?}"));
            }
        }
        Ok(())
    }
}

/// The address of the host number `number`.
#[must_use]
pub fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(number + 1).unwrap_or(u8::MAX))
}

/// The number of the host that a packet is for.
#[must_use]
pub fn number_of(packet: &[u8]) -> Option<usize> {
    let view = wire::ipv4::View::new(packet)?;
    let [a, b, c, d] = view.destination().octets();
    ([a, b, c] == [10, 0, 0]).then(|| usize::from(d).checked_sub(1)).flatten()
}
