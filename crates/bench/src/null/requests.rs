//! Answers each request with the same bytes.

use std::io;

use super::header::{ACK, FIN, Outgoing, PSH};
use super::{Next, Null};
use crate::application::Exchange;

pub(super) fn serve(stack: &mut Null, exchange: &Exchange) -> io::Result<()> {
    stack.writer.set_payload(exchange.reply);
    stack.device.set_payload(exchange.reply);
    let length = exchange.reply.len();
    let flags = ACK | PSH | if exchange.closes { FIN } else { 0 };
    // A FIN takes a number, too.
    let step = length as u32 + u32::from(exchange.closes);
    loop {
        let Next::Segment(arrived) = stack.wait_and_receive()? else { continue };
        if arrived.payload.is_empty() {
            stack.control(&arrived)?;
            continue;
        }
        let flow = &mut stack.flows[usize::from(arrived.port)];
        if arrived.sequence == flow.next {
            flow.next = flow.next.wrapping_add(arrived.payload_len());
            flow.sent = flow.sent.wrapping_add(step);
        }
        // A request that came before was not answered in time: once more.
        let sequence = flow.sent.wrapping_sub(step);
        let (port, acknowledgment) = (arrived.port, flow.next);
        let outgoing = Outgoing { port, sequence, acknowledgment, flags, length };
        stack.send(&outgoing)?;
    }
}
