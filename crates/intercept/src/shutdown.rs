//! `shutdown`, and the one read of a connection that comes here.

use std::net::Shutdown;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::accept::waits;
use crate::request::{Outcome, Request};
use crate::supervisor::Supervisor;
use crate::table::{Key, Kind, Tcp};

const MSG_DONTWAIT: i32 = 0x40;

const SHUT_RD: i32 = 0;
const SHUT_WR: i32 = 1;
const SHUT_RDWR: i32 = 2;

impl Supervisor {
    /// `shutdown(fd, how)` of TCP. The program's end is shut down, so that its own reads and writes know;
    /// the end of what it wrote is what comes behind the last byte at ours.
    pub(crate) fn shutdown(
        &mut self,
        key: Key,
        request: &Request,
        descriptor: &OwnedFd,
    ) -> Outcome {
        let how = match request.int(1) {
            SHUT_RD => rustix::net::Shutdown::Read,
            SHUT_WR => rustix::net::Shutdown::Write,
            SHUT_RDWR => rustix::net::Shutdown::Both,
            _ => return Outcome::fail(Errno::INVAL),
        };
        let (read, write) = (request.int(1) != SHUT_WR, request.int(1) != SHUT_RD);
        let Some(socket) = self.table.get_mut(key) else { return Outcome::Continue };
        match &mut socket.kind {
            Kind::Tcp(Tcp::Connected(connected)) => {
                connected.shut_read |= read;
                connected.shut_write |= write;
                if read {
                    // What came goes nowhere; that it is over already does not matter then.
                    let _ = connected.stream.shutdown(Shutdown::Read);
                }
                // A pair can always be shut down.
                let _ = rustix::net::shutdown(descriptor, how);
                self.move_out(key);
                Outcome::DONE
            }
            Kind::Tcp(Tcp::Listening(_)) if read => {
                self.stop_listening(key, descriptor.try_clone().ok());
                while let Some(call) = self.held.take_first(key) {
                    self.answer_held(&call.request, key, Err(Errno::INVAL));
                }
                Outcome::DONE
            }
            Kind::Tcp(Tcp::Listening(_)) => Outcome::DONE,
            // In both directions it was before, and may be again.
            Kind::Tcp(Tcp::Over(over)) if !over.attempt_failed && socket.error.is_none() => {
                Outcome::DONE
            }
            Kind::Tcp(Tcp::Connecting(_)) => {
                self.stop_connecting(key);
                Outcome::DONE
            }
            // A socket that is over answers as one that never was.
            _ => Outcome::fail(Errno::NOTCONN),
        }
    }

    /// `recv(fd, NULL, length, MSG_TRUNC)` of TCP: what is read is thrown away (tcp(7)). A Unix socket has
    /// nowhere to copy it to.
    pub(crate) fn throw_away(
        &mut self,
        key: Key,
        request: &Request,
        descriptor: &OwnedFd,
    ) -> Outcome {
        let room = usize::try_from(request.arguments[2]).unwrap_or(usize::MAX);
        let room = room.min(self.buffers.read.len());
        let read = recv(descriptor, &mut self.buffers.read[..room], RecvFlags::DONTWAIT);
        match read {
            Err(Errno::AGAIN) if request.int(3) & MSG_DONTWAIT == 0 && waits(descriptor) => {
                let until = self.table.get(key).and_then(|socket| socket.settings.receive_until());
                self.held.hold(key, request.clone(), until);
                Outcome::Held
            }
            read => Outcome::Answer(read.map(|(count, _)| i64::try_from(count).unwrap_or(0))),
        }
    }
}
