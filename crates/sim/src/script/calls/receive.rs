//! Calls that receive: read, readv, recv, recvfrom, recvmsg.

use stack::{Error, Ready, SocketId};

use super::arguments::{Arguments, buffers, field, integer, is_null};
use super::{Attempt, Outcome, failed, result};
use crate::script::ast::{Call, Expression};
use crate::script::runner::Runner;
use crate::script::sockets::Kind;
use crate::script::{Problem, not_supported};

/// The most that one call reads or writes.
pub(super) const MAX_TRANSFER: i64 = 16 << 20;

impl Runner {
    pub(super) fn receive(&mut self, call: &Call, arguments: Arguments<'_>) -> Attempt {
        let (length, flags) = wanted(call, arguments)?;
        let known =
            |flag: &str| matches!(flag, "MSG_PEEK" | "MSG_DONTWAIT" | "MSG_WAITALL" | "MSG_TRUNC");
        if let Some(other) = flags.iter().find(|flag| !known(flag)) {
            return Err(not_supported(format!("{} with {other}", call.name)));
        }
        let peek = flags.contains(&"MSG_PEEK");
        let socket = self.sockets.get(arguments.integer(0)?)?;
        let nonblocking = socket.nonblocking || flags.contains(&"MSG_DONTWAIT");
        let Kind::Connection(id) = socket.kind else { return failed("ENOTCONN") };
        if is_null(arguments) {
            return failed("EFAULT");
        }
        let peer = socket.peer;
        let length = usize::try_from(length.clamp(0, MAX_TRANSFER)).unwrap_or(0);
        if flags.contains(&"MSG_WAITALL") && !nonblocking {
            let over = self.stack.readiness(SocketId::Connection(id)).contains(Ready::READ_CLOSED);
            if !over && self.stack.readable_bytes(id).is_ok_and(|there| there < length) {
                return Ok(Outcome::Blocks(None));
            }
        }
        let there = self.stack.readable_bytes(id).unwrap_or(0);
        let mut into = vec![0; length.min(there.max(1))];
        let outcome = if peek {
            self.stack.peek(id, &mut into)
        } else {
            self.stack.read(self.now, id, &mut into)
        };
        if outcome == Err(Error::WouldBlock) && !nonblocking {
            return Ok(Outcome::Blocks(None));
        }
        if let (Ok(count), Some(peer)) = (outcome, peer)
            && !self.flow(peer).was_read(&into[..count], peek)
        {
            return Err(format!("read {count} bytes that are not what the peer sent").into());
        }
        result(outcome)
    }
}

/// How many bytes, and with which flags.
fn wanted<'a>(call: &Call, arguments: Arguments<'a>) -> Result<(i64, Vec<&'a str>), Problem> {
    match call.name.as_str() {
        "readv" => Ok((buffers(arguments.get(1)?)?.1, Vec::new())),
        "recvmsg" => {
            let Expression::Record(message) = arguments.get(1)? else {
                return Err("recvmsg needs a message, {msg_iov(1)=[{..., 10}]}".into());
            };
            let flags = field(message, &["msg_flags"]).map_or(Ok(0), integer)?;
            if flags != 0 {
                return Err("TCP sets no msg_flags".into());
            }
            no_control(message)?;
            let vector = field(message, &["msg_iov"]).ok_or("recvmsg needs msg_iov")?;
            Ok((buffers(vector)?.1, arguments.flags(2)?))
        }
        _ => Ok((arguments.integer(2)?, arguments.flags(3)?)),
    }
}

/// Control messages are not there.
pub(super) fn no_control(message: &[(String, Expression)]) -> Result<(), Problem> {
    match field(message, &["msg_control"]) {
        None | Some(Expression::Ellipsis) => Ok(()),
        Some(Expression::List(list)) if list.is_empty() => Ok(()),
        Some(_) => Err(not_supported("control messages")),
    }
}
