//! Takes as much as comes.

use std::io;
use std::time::Duration;

use super::touch::{Buffer, Touch};
use super::{Next, Null};

/// So many bytes are read before one ACK; sooner when there is nothing to read.
const ACK_EVERY: u32 = 256 << 10;

/// Nothing is due, whatever the time.
const LIMIT: Duration = Duration::from_secs(1);

pub(super) fn serve(stack: &mut Null, touch: Touch) -> io::Result<()> {
    let mut buffer = Buffer::new(touch);
    let mut owed: Vec<u16> = Vec::new();
    let mut unacknowledged = 0;
    loop {
        let arrived = match stack.receive()? {
            Some(Next::Segment(arrived)) => arrived,
            Some(Next::Other) => continue,
            None if owed.is_empty() => {
                stack.device.wait(LIMIT)?;
                continue;
            }
            None => {
                acknowledge(stack, &mut owed)?;
                unacknowledged = 0;
                continue;
            }
        };
        let length = arrived.payload_len();
        if length > 0 {
            let flow = &mut stack.flows[usize::from(arrived.port)];
            if arrived.sequence == flow.next {
                flow.next = flow.next.wrapping_add(length);
                buffer.pass(&stack.device.frame()[arrived.payload.clone()]);
            }
            if !owed.contains(&arrived.port) {
                owed.push(arrived.port);
            }
            unacknowledged += length;
        }
        stack.control(&arrived)?;
        if unacknowledged >= ACK_EVERY {
            acknowledge(stack, &mut owed)?;
            unacknowledged = 0;
        }
    }
}

fn acknowledge(stack: &mut Null, owed: &mut Vec<u16>) -> io::Result<()> {
    owed.drain(..).try_for_each(|port| stack.acknowledge(port))
}
