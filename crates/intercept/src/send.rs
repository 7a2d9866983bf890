//! What is sent on a TCP connection with a call that names somebody. A connection has one peer, and the name
//! is nothing to it; a Unix socket would refuse it.
//!
//! Such a call is made here in the program's place. Where a pair is full it waits, as the call alone would,
//! until all is written. When a signal interrupts it meanwhile and the thread calls again, it goes on where it
//! was.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::accept::waits;
use crate::process;
use crate::request::{Outcome, Request};
use crate::supervisor::Supervisor;
use crate::syscall::Call;
use crate::table::{Key, Kind, Tcp};
use crate::udp::message::{MANY_COUNT, Message};

/// How much of a program's bytes is copied at a time.
const MOST: usize = 64 << 10;

const MSG_OOB: i32 = 0x1;
const MSG_DONTWAIT: i32 = 0x40;
const MSG_NOSIGNAL: i32 = 0x4000;
const MSG_FASTOPEN: i32 = 0x2000_0000;

/// The flags of a call that sends.
fn flags(request: &Request) -> i32 {
    request.int(if request.call == Call::SendMessage { 2 } else { 3 })
}

/// Whether the answer to a call of a stream comes with SIGPIPE.
pub(crate) fn raises_sigpipe(request: &Request, answer: Result<i64, Errno>) -> bool {
    let sends = matches!(request.call, Call::SendTo | Call::SendMessage | Call::SendMessages);
    sends && answer == Err(Errno::PIPE) && flags(request) & MSG_NOSIGNAL == 0
}

impl Supervisor {
    /// `sendto`, `sendmsg` and `sendmmsg` of TCP
    pub(crate) fn send_stream(
        &mut self,
        key: Key,
        request: &Request,
        descriptor: &OwnedFd,
    ) -> Outcome {
        // Urgent data is not carried: its byte would be lost in the pair. Neither is Fast Open spoken.
        if flags(request) & (MSG_OOB | MSG_FASTOPEN) != 0 {
            return Outcome::fail(Errno::OPNOTSUPP);
        }
        let message = match request.call {
            Call::SendTo => {
                Ok(Message::of_one(request.thread, request.arguments[1], request.arguments[2]))
            }
            _ => Message::read(request.thread, request.arguments[1]),
        };
        match message {
            // The pair does all of it.
            Ok(message) if request.call != Call::SendTo && message.names_nobody() => {
                Outcome::Continue
            }
            Ok(message) => self.send_in_its_place(key, request, descriptor, &message),
            Err(errno) => Outcome::fail(errno),
        }
    }

    fn send_in_its_place(
        &mut self,
        key: Key,
        request: &Request,
        descriptor: &OwnedFd,
        message: &Message,
    ) -> Outcome {
        if let Some(errno) = self.cannot_send(key, descriptor) {
            return Outcome::fail(errno);
        }
        let mut done = request.done;
        while done < message.room() {
            let sent = message.gather_from(done, MOST).and_then(|bytes| {
                send(descriptor, &bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            });
            match sent {
                Ok(count) => done += count,
                Err(Errno::AGAIN) if self.may_wait(key, request, descriptor) => {
                    let until = self.table.get(key).and_then(|it| it.settings.send_until());
                    self.held.hold(key, Request { done, ..request.clone() }, until);
                    return Outcome::Held;
                }
                // What was sent counts.
                Err(_) if done > 0 => break,
                Err(errno) => return Outcome::fail(errno),
            }
        }
        sent(request, done)
    }

    fn may_wait(&self, key: Key, request: &Request, descriptor: &OwnedFd) -> bool {
        let connected = matches!(
            self.table.get(key).map(|socket| &socket.kind),
            Some(Kind::Tcp(Tcp::Connected(_)))
        );
        connected && flags(request) & MSG_DONTWAIT == 0 && waits(descriptor)
    }

    /// Why nothing can be sent, as far as the pair does not say so.
    fn cannot_send(&mut self, key: Key, descriptor: &OwnedFd) -> Option<Errno> {
        let socket = self.table.get_mut(key)?;
        match socket.kind {
            Kind::Tcp(Tcp::Fresh | Tcp::Listening(_)) => Some(Errno::PIPE),
            _ => socket.take_error(descriptor),
        }
    }
}

/// What a call is answered that has sent so much.
pub(crate) fn sent(request: &Request, done: usize) -> Outcome {
    if request.call != Call::SendMessages {
        return Outcome::Answer(Ok(i64::try_from(done).unwrap_or(i64::MAX)));
    }
    // One message of many; the program sends the others.
    let count = u32::try_from(done).unwrap_or(u32::MAX).to_ne_bytes();
    let place = request.arguments[1].wrapping_add(MANY_COUNT);
    Outcome::Answer(process::write(request.thread, place, &count).map(|()| 1))
}
