//! Sends as much as the client's window allows.

use std::io;
use std::time::Duration;

use super::header::{ACK, Arrived, Outgoing};
use super::touch::{Buffer, Touch};
use super::{Next, Null};

/// What is on its way at most, whatever the window: more would leave the caches.
const IN_FLIGHT: u32 = 512 << 10;

/// When nothing is acknowledged for so long, everything that is not is sent again.
const LIMIT: Duration = Duration::from_millis(50);

/// The same after so many ACKs that say nothing new (RFC 5681 3.2).
const DUPLICATES: u32 = 3;

/// A connection that is sent to.
struct Receiver {
    port: u16,
    duplicates: u32,
}

pub(super) fn serve(stack: &mut Null, touch: Touch) -> io::Result<()> {
    let mut buffer = Buffer::new(touch);
    let mut receivers: Vec<Receiver> = Vec::new();
    loop {
        let mut idle = true;
        for receiver in &receivers {
            while send(stack, receiver.port, &mut buffer)? {
                idle = false;
            }
        }
        while let Some(next) = stack.receive()? {
            idle = false;
            let Next::Segment(arrived) = next else { continue };
            let known = receivers.iter().position(|receiver| receiver.port == arrived.port);
            if stack.control(&arrived)? {
                receivers.retain(|receiver| receiver.port != arrived.port);
            } else if let Some(index) = known {
                note(stack, &mut receivers[index], &arrived);
            } else {
                let mut receiver = Receiver { port: arrived.port, duplicates: 0 };
                note(stack, &mut receiver, &arrived);
                receivers.push(receiver);
            }
        }
        if idle && !stack.device.wait(LIMIT)? {
            for receiver in &receivers {
                let flow = &mut stack.flows[usize::from(receiver.port)];
                flow.sent = flow.acknowledged;
            }
        }
    }
}

/// Notes what the client acknowledges, and what it takes.
fn note(stack: &mut Null, receiver: &mut Receiver, arrived: &Arrived) {
    let flow = &mut stack.flows[usize::from(arrived.port)];
    let window = u32::from(arrived.window) << flow.scale;
    let news = arrived.acknowledgment.wrapping_sub(flow.acknowledged);
    if news == 0 && window == flow.window {
        receiver.duplicates += 1;
        if receiver.duplicates == DUPLICATES {
            flow.sent = flow.acknowledged;
        }
        return;
    }
    receiver.duplicates = 0;
    flow.window = window;
    if news.cast_signed() > 0 {
        flow.acknowledged = arrived.acknowledgment;
        if flow.sent.wrapping_sub(flow.acknowledged).cast_signed() < 0 {
            // What was sent before it was sent again arrived after all.
            flow.sent = flow.acknowledged;
        }
    }
}

/// Sends one segment; false: the window has no room for it.
fn send(stack: &mut Null, port: u16, buffer: &mut Buffer) -> io::Result<bool> {
    let length = stack.writer.longest();
    let flow = &mut stack.flows[usize::from(port)];
    // At most 64 KiB.
    let size = length as u32;
    let on_its_way = flow.sent.wrapping_sub(flow.acknowledged);
    if on_its_way + size > flow.window.min(IN_FLIGHT) {
        return Ok(false);
    }
    let (sequence, acknowledgment) = (flow.sent, flow.next);
    flow.sent = flow.sent.wrapping_add(size);
    // No PSH, which asks for an ACK whenever the client has read everything.
    let outgoing = Outgoing { port, sequence, acknowledgment, flags: ACK, length };
    match buffer.pass(stack.writer.payload(length)) {
        None => stack.send(&outgoing)?,
        Some(copy) => stack.device.write_with(stack.writer.head(&outgoing), copy)?,
    }
    Ok(true)
}
