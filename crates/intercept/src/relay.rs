//! The bytes of a connection, from the program to the stack and back.
//!
//! What the program writes is read at our end only while the stack takes it, and what arrives stays on
//! the stack, where it holds the peer's window, until the program's buffer takes it. So both directions
//! push back as they should, and no more than one read's bytes wait here for each connection.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};

use crate::errno;
use crate::network::{Edges, Moved};
use crate::supervisor::Supervisor;
use crate::table::{Connected, Key, Kind, Tcp};

/// How much one read takes from a program: what a pair holds at most comes in four of them.
const READ_SIZE: usize = 64 << 10;

/// How many reads or writes one socket has in a turn before others have theirs.
const ROUNDS: usize = 16;

/// How much of a read is given to the stack with its buffer. Less is copied: the buffer is kept until all
/// of it is acknowledged, and would be kept for less than half of its size.
const WORTH_GIVING: usize = READ_SIZE / 2;

/// How many buffers that the stack has given back are kept.
const MOST_SPARE: usize = 64;

/// What reads go into.
#[derive(Debug)]
pub(crate) struct Buffers {
    pub(crate) read: Box<[u8]>,
    spare: Arc<Spare>,
}

/// Buffers that nobody has any more.
#[derive(Debug, Default)]
struct Spare(Mutex<Vec<Box<[u8]>>>);

/// The first bytes of a buffer, which comes back when it is dropped.
struct Given {
    buffer: Box<[u8]>,
    length: usize,
    spare: Arc<Spare>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { read: fresh(), spare: Arc::default() }
    }
}

fn fresh() -> Box<[u8]> {
    vec![0; READ_SIZE].into_boxed_slice()
}

impl Buffers {
    /// The first `length` bytes of what was read last, with their buffer. Reads go into another one from
    /// now on.
    fn give(&mut self, length: usize) -> Bytes {
        let next = lock(&self.spare.0).pop().unwrap_or_else(fresh);
        let buffer = std::mem::replace(&mut self.read, next);
        Bytes::from_owner(Given { buffer, length, spare: Arc::clone(&self.spare) })
    }
}

impl AsRef<[u8]> for Given {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let mut spare = lock(&self.spare.0);
        if spare.len() < MOST_SPARE {
            spare.push(std::mem::take(&mut self.buffer));
        }
    }
}

/// No panic leaves a list of buffers half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a step from the program to the stack came to.
enum Step {
    /// There may be more.
    More,
    /// The program or the stack has to do something first.
    Wait,
    /// The program writes nothing more.
    End,
    /// The program has closed without reading all that it was given.
    Thrown,
    /// The connection has failed.
    Failed(io::Error),
}

impl Supervisor {
    /// Something happened at our end of a pair.
    pub(crate) fn pair_ready(&mut self, key: Key, edges: Edges) {
        let Some(socket) = self.table.get(key) else { return };
        match &socket.kind {
            Kind::Tcp(Tcp::Connected(_)) => {
                if edges.write {
                    self.move_in(key);
                }
                if edges.read {
                    self.move_out(key);
                    self.retry_held(key);
                }
            }
            Kind::Udp(_) => self.udp_pair_ready(key, edges),
            Kind::Tcp(_) if edges.read => {
                if socket.ours.as_ref().is_some_and(has_hung_up) {
                    self.close(key);
                }
            }
            Kind::Tcp(_) => {}
        }
    }

    /// Something happened to a socket on the stack.
    pub(crate) fn stack_ready(&mut self, key: Key) {
        let Some(socket) = self.table.get(key) else { return };
        match &socket.kind {
            Kind::Tcp(Tcp::Connecting(_)) => self.handshake_over(key),
            Kind::Tcp(Tcp::Listening(_)) => self.connections_wait(key),
            Kind::Tcp(Tcp::Connected(connected)) => {
                if !connected.unsent.is_empty() {
                    self.move_out(key);
                }
                self.move_in(key);
                self.retry_held(key);
            }
            Kind::Udp(_) => self.udp_ready(key),
            Kind::Tcp(Tcp::Fresh | Tcp::Over(_)) => {}
        }
    }

    /// A socket that had more to do goes on.
    pub(crate) fn go_on(&mut self, key: Key) {
        let Some(socket) = self.table.get_mut(key) else { return };
        socket.queued = false;
        if matches!(socket.kind, Kind::Udp(_)) {
            return self.udp_ready(key);
        }
        self.move_out(key);
        self.move_in(key);
        self.retry_held(key);
    }

    pub(crate) fn later(&mut self, key: Key) {
        if let Some(socket) = self.table.get_mut(key).filter(|socket| !socket.queued) {
            socket.queued = true;
            self.again.push(key);
        }
    }

    /// Moves what the program wrote to the stack.
    pub(crate) fn move_out(&mut self, key: Key) {
        for _ in 0..ROUNDS {
            let Some(socket) = self.table.get_mut(key) else { return };
            let (Kind::Tcp(Tcp::Connected(connected)), Some(ours)) =
                (&mut socket.kind, &socket.ours)
            else {
                return;
            };
            match connected.step_out(ours, &mut self.buffers) {
                Step::More => {}
                Step::Wait => return,
                Step::End => return self.written_all(key),
                Step::Thrown => return self.abort(key),
                Step::Failed(error) => return self.failed(key, errno::from_stack(&error)),
            }
        }
        self.later(key);
    }

    /// Moves what arrived to the program.
    pub(crate) fn move_in(&mut self, key: Key) {
        for _ in 0..ROUNDS {
            let Some(socket) = self.table.get_mut(key) else { return };
            let (Kind::Tcp(Tcp::Connected(connected)), Some(ours)) =
                (&mut socket.kind, &socket.ours)
            else {
                return;
            };
            if connected.fin_given {
                return;
            }
            let moved = connected.stream.read_with(|slices| {
                if slices.is_empty() {
                    return Ok(0);
                }
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                Ok(sendmsg(ours, slices, &mut SendAncillaryBuffer::default(), flags)?)
            });
            match moved {
                Moved::Bytes => {}
                Moved::Nothing => return,
                // Its buffer is full, or it is closed, of which we hear at our end.
                Moved::Refused => return self.await_room(key),
                Moved::End => {
                    connected.fin_given = true;
                    // A pair can always be shut down.
                    let _ = rustix::net::shutdown(ours, rustix::net::Shutdown::Write);
                    if connected.written_all {
                        self.written_all(key);
                    }
                    return;
                }
                Moved::Failed(error) => return self.failed(key, errno::from_stack(&error)),
            }
        }
        self.later(key);
    }

    /// The program's end is full. Most programs read what they get before it is, and each time that one
    /// does would wake us: so nobody hears of room before there was none.
    pub(crate) fn await_room(&mut self, key: Key) {
        let Some(socket) = self.table.get_mut(key).filter(|socket| !socket.hears_of_room) else {
            return;
        };
        if let Some(ours) = &socket.ours {
            // Our end is registered as long as there is one.
            socket.hears_of_room = self.network.watch_for_room(key, ours).is_ok();
        }
    }

    /// The program writes nothing more: it has closed, or only said so.
    fn written_all(&mut self, key: Key) {
        let Some(socket) = self.table.get_mut(key) else { return };
        let (Kind::Tcp(Tcp::Connected(connected)), Some(ours)) = (&mut socket.kind, &socket.ours)
        else {
            return;
        };
        // Both halves of a pair are also closed when each side has shut down its own.
        let both_shut = connected.shut_write && (connected.fin_given || connected.shut_read);
        if has_hung_up(ours) && !both_shut {
            return self.close(key);
        }
        if !connected.fin_sent {
            connected.fin_sent = true;
            // On a connection that has failed there is nobody to tell; reading tells the program.
            let _ = connected.stream.shutdown(Shutdown::Write);
        }
        if both_shut {
            self.bury(key);
        }
    }

    pub(crate) fn connected(&mut self, key: Key) -> Option<&mut Connected> {
        match &mut self.table.get_mut(key)?.kind {
            Kind::Tcp(Tcp::Connected(connected)) => Some(connected),
            _ => None,
        }
    }
}

impl Connected {
    /// Moves one read's bytes from the program to the stack.
    fn step_out(&mut self, ours: &OwnedFd, buffers: &mut Buffers) -> Step {
        if !self.unsent.is_empty() {
            return self.send_unsent();
        }
        if self.written_all {
            return Step::End;
        }
        match recv(ours, &mut *buffers.read, RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                self.written_all = true;
                Step::End
            }
            Ok((count, _)) if count >= WORTH_GIVING => {
                self.unsent = buffers.give(count);
                self.send_unsent()
            }
            Ok((count, _)) => match self.stream.write_copied(&buffers.read[..count]) {
                Ok(taken) => {
                    self.unsent = Bytes::copy_from_slice(&buffers.read[taken..count]);
                    Step::More
                }
                Err(error) => Step::Failed(error),
            },
            Err(Errno::AGAIN | Errno::INTR) => Step::Wait,
            Err(_) => Step::Thrown,
        }
    }

    fn send_unsent(&mut self) -> Step {
        match self.stream.write(&mut self.unsent) {
            Ok(()) if self.unsent.is_empty() => Step::More,
            Ok(()) => Step::Wait,
            Err(error) => Step::Failed(error),
        }
    }
}

/// Whether nobody has the program's end, or both directions of the pair are shut down.
pub(crate) fn has_hung_up(ours: &OwnedFd) -> bool {
    let mut entry = [PollFd::new(ours, PollFlags::empty())];
    // Only a lack of memory makes this fail, and then the next look tells.
    let _ = poll(&mut entry, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    entry[0].revents().contains(PollFlags::HUP)
}
