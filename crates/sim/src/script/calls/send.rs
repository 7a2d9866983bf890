//! Calls that send: write, writev, send, sendto, sendmsg.

use stack::{ConnectionId, Error};

use super::arguments::{Arguments, buffers, field, is_null};
use super::receive::{MAX_TRANSFER, no_control};
use super::{Attempt, Outcome, failed, result};
use crate::script::ast::{Call, Expression};
use crate::script::runner::Runner;
use crate::script::sockets::Kind;
use crate::script::{Problem, errno, not_supported};

impl Runner {
    pub(super) fn send(&mut self, call: &Call, arguments: Arguments<'_>) -> Attempt {
        let fd = arguments.integer(0)?;
        let (length, text, flags) = wanted(call, arguments)?;
        let known = |flag: &str| matches!(flag, "MSG_DONTWAIT" | "MSG_NOSIGNAL" | "MSG_MORE");
        if let Some(other) = flags.iter().find(|flag| !known(flag)) {
            return Err(not_supported(format!("{} with {other}", call.name)));
        }
        let socket = self.sockets.get(fd)?;
        let nonblocking = socket.nonblocking || flags.contains(&"MSG_DONTWAIT");
        let Kind::Connection(id) = socket.kind else { return failed("EPIPE") };
        if is_null(arguments) {
            return failed("EFAULT");
        }
        let (peer, progress) = (socket.peer.unwrap_or(0), socket.progress);
        self.more(fd, id, flags.contains(&"MSG_MORE"))?;
        let length = usize::try_from(length.clamp(0, MAX_TRANSFER)).unwrap_or(0);
        let bytes = match text {
            Some(text) => text.as_bytes().get(progress..).unwrap_or_default().to_vec(),
            None => self.flow(peer).generate(length.saturating_sub(progress)),
        };
        match self.stack.write(self.now, id, &bytes) {
            Err(Error::WouldBlock) if !nonblocking => Ok(Outcome::Blocks(None)),
            Ok(count) => {
                self.flow(peer).wrote(&bytes[..count]);
                let socket = self.sockets.get(fd)?;
                let total = progress + count;
                if count < bytes.len() && !nonblocking {
                    socket.progress = total;
                    return Ok(Outcome::Blocks(None));
                }
                socket.progress = 0;
                result(Ok(total))
            }
            Err(error) => failed(errno::name(error)),
        }
    }

    /// `MSG_MORE` is a cork for one call.
    fn more(&mut self, fd: i64, id: ConnectionId, more: bool) -> Result<(), Problem> {
        let socket = self.sockets.get(fd)?;
        if std::mem::replace(&mut socket.more, more) == more {
            return Ok(());
        }
        let Ok(options) = self.stack.tcp_options(id) else { return Ok(()) };
        let mut options = options.clone();
        if more {
            socket.corked = options.cork;
        }
        options.cork = more || socket.corked;
        self.stack.set_tcp_options(self.now, id, options).map_err(|error| error.to_string().into())
    }
}

/// How many bytes, which ones if the script says so, and with which flags.
fn wanted<'a>(
    call: &Call,
    arguments: Arguments<'a>,
) -> Result<(i64, Option<&'a str>, Vec<&'a str>), Problem> {
    let (contents, length, flags) = match call.name.as_str() {
        "writev" => {
            let (contents, length) = buffers(arguments.get(1)?)?;
            (contents, length, Vec::new())
        }
        "sendmsg" => {
            let Expression::Record(message) = arguments.get(1)? else {
                return Err("sendmsg needs a message, {msg_iov(1)=[{..., 10}]}".into());
            };
            no_control(message)?;
            let vector = field(message, &["msg_iov"]).ok_or("sendmsg needs msg_iov")?;
            let (contents, length) = buffers(vector)?;
            (contents, length, arguments.flags(2)?)
        }
        _ => (vec![arguments.get(1)?], arguments.integer(2)?, arguments.flags(3)?),
    };
    match contents[..] {
        [Expression::Text(text)] => Ok((length, Some(text), flags)),
        _ if contents.iter().any(|content| matches!(content, Expression::Text(_))) => {
            Err(not_supported("several buffers, one with a string"))
        }
        _ => Ok((length, None, flags)),
    }
}
