//! The device's limit: the least that can pass for a TCP.
//!
//! It acknowledges and discards, or sends what the window allows, or answers each request with
//! the same bytes. It has no timers, no checks, no queues and no congestion control, and spends
//! one system call on each frame. What no stack over this device can exceed is measured with it,
//! and what a copy of each byte would cost a stack that is otherwise perfect.

mod device;
mod header;
mod requests;
mod ring;
mod sink;
mod source;
mod touch;

use std::io;

use link::Tun;
use wire::tcp;

use crate::row::{Row, Work};
use device::Device;
use header::{ACK, Arrived, FIN, Outgoing, RST, SYN, Writer};
pub(crate) use touch::Touch;

/// What of the null stack is to be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flavour {
    /// What is done with each byte.
    pub(crate) touch: Touch,
    /// How it gets at its frames.
    pub(crate) access: Access,
}

/// How frames are read and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// With one system call for each.
    Calls,
    /// The same, and asking all the time instead of sleeping.
    Spin,
    /// With one system call for several, by io_uring.
    Ring,
}

/// Serves until the process ends.
pub(crate) fn serve(row: &Row, tun: Tun, flavour: Flavour) -> io::Result<()> {
    let mut stack = Null::new(row, tun, flavour.access)?;
    match row.work.exchange() {
        Some(exchange) => requests::serve(&mut stack, &exchange),
        None if row.work == Work::ToUs => sink::serve(&mut stack, flavour.touch),
        None => source::serve(&mut stack, flavour.touch),
    }
}

/// What is known of a connection. Connections are told apart by the client's port alone.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    /// The next sequence number that we expect (RCV.NXT).
    next: u32,
    /// The next that we send (SND.NXT).
    sent: u32,
    /// The first that is not acknowledged (SND.UNA).
    acknowledged: u32,
    /// How much may be on its way, in bytes.
    window: u32,
    /// How far the client's window field is shifted.
    scale: u8,
}

/// A device and the connections over it.
struct Null {
    device: Device,
    /// By the client's port.
    flows: Vec<Flow>,
    /// The next segment.
    writer: Writer,
}

impl Null {
    fn new(row: &Row, tun: Tun, access: Access) -> io::Result<Self> {
        let device = Device::new(tun, row.medium.family, access)?;
        let layout = device.layout();
        Ok(Self {
            flows: vec![Flow::default(); 1 << 16],
            writer: Writer::new(layout, row.medium.mtu, row.connections),
            device,
        })
    }

    /// The next segment, if a frame is there and holds one.
    fn receive(&mut self) -> io::Result<Option<Next>> {
        if self.device.next()? { self.look().map(Some) } else { Ok(None) }
    }

    /// The next segment, however long it takes.
    fn wait_and_receive(&mut self) -> io::Result<Next> {
        self.device.wait_for_next()?;
        self.look()
    }

    fn look(&mut self) -> io::Result<Next> {
        let frame = self.device.frame();
        if let Some(arrived) = Arrived::parse(self.device.layout(), frame) {
            return Ok(Next::Segment(arrived));
        }
        if let Some(reply) = self.device.answer_arp(frame) {
            self.device.write(&reply)?;
        }
        Ok(Next::Other)
    }

    /// Handles what begins or ends a connection; true when it was that.
    fn control(&mut self, arrived: &Arrived) -> io::Result<bool> {
        let flow = &mut self.flows[usize::from(arrived.port)];
        if arrived.flags & SYN != 0 {
            let sent = Writer::ISN.wrapping_add(1);
            let next = arrived.sequence.wrapping_add(1);
            let options = tcp::Options::parse(&self.device.frame()[arrived.options.clone()]);
            let scale = options.window_scale.unwrap_or(0);
            *flow = Flow { next, sent, acknowledged: sent, window: 0, scale };
            self.device.write(self.writer.syn_ack(arrived.port, next))?;
            return Ok(true);
        }
        if arrived.flags & RST != 0 {
            *flow = Flow::default();
            return Ok(true);
        }
        if arrived.flags & FIN != 0 {
            let end = arrived.sequence.wrapping_add(arrived.payload_len());
            if end == flow.next {
                flow.next = end.wrapping_add(1);
            }
            self.acknowledge(arrived.port)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Says what was received of a connection.
    fn acknowledge(&mut self, port: u16) -> io::Result<()> {
        let flow = self.flows[usize::from(port)];
        let ack = Outgoing {
            port,
            sequence: flow.sent,
            acknowledgment: flow.next,
            flags: ACK,
            length: 0,
        };
        self.send(&ack)
    }

    /// Sends a segment with the payload that all have.
    fn send(&mut self, outgoing: &Outgoing) -> io::Result<()> {
        if self.device.holds_payload() {
            return self.device.write_held(self.writer.head(outgoing), outgoing.length);
        }
        self.device.write(self.writer.segment(outgoing))
    }
}

/// What a frame held.
enum Next {
    Segment(Arrived),
    /// Nothing of TCP.
    Other,
}
