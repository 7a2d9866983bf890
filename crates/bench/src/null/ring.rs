//! The same device through io_uring: a batch of frames with one system call.
//!
//! What was to be written goes along with the next reads. Nothing waits inside: a read that finds
//! no frame is over at once, so that frames come in order and every buffer is ours again when the
//! call returns. (Reads that wait would all be woken by each frame.)
#![allow(unsafe_code, reason = "the kernel reads and writes our buffers")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};
use link::Tun;
use rustix::io::Errno;

/// The most frames of one call, each way.
const READS: usize = 16;
const WRITES: usize = 32;
/// What the ring has room for: all of them.
const ENTRIES: u32 = 64;
/// Tells writes from reads, which have the number of their buffer.
const WRITE: u64 = u64::MAX;

/// Batches of frames.
pub(super) struct Ring {
    ring: IoUring,
    reads: Vec<Vec<u8>>,
    /// Which buffers hold frames that nobody has seen, and how long they are.
    arrived: VecDeque<(usize, usize)>,
    /// The frame that was looked at last.
    current: (usize, usize),
    writes: Vec<Vec<u8>>,
    /// The lengths of the frames to write, in the first buffers.
    queued: Vec<usize>,
    /// How many frames to ask for: twice what came last.
    ask: usize,
}

impl Ring {
    /// Buffers of `length` bytes, those to write filled with `cargo` behind the headers.
    pub(super) fn new(length: usize, header: usize, cargo: &[u8]) -> io::Result<Self> {
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(ENTRIES)?;
        let mut own = Self {
            ring,
            reads: vec![vec![0; length]; READS],
            arrived: VecDeque::with_capacity(READS),
            current: (0, 0),
            writes: vec![vec![0; length]; WRITES],
            queued: Vec::with_capacity(WRITES),
            ask: 1,
        };
        own.set_payload(header, cargo);
        Ok(own)
    }

    /// Sends these bytes behind a header of `header` bytes from now on.
    pub(super) fn set_payload(&mut self, header: usize, payload: &[u8]) {
        for buffer in &mut self.writes {
            let room = &mut buffer[header..];
            let count = payload.len().min(room.len());
            room[..count].copy_from_slice(&payload[..count]);
        }
    }

    /// The frame that [`Ring::next`] found.
    pub(super) fn frame(&self) -> &[u8] {
        let (buffer, length) = self.current;
        &self.reads[buffer][..length]
    }

    /// Goes on to the next frame, if there is one.
    pub(super) fn next(&mut self, tun: &Tun) -> io::Result<bool> {
        if self.arrived.is_empty() {
            self.exchange(tun, self.ask)?;
            self.ask = (self.arrived.len() * 2).clamp(1, READS);
        }
        let Some(next) = self.arrived.pop_front() else { return Ok(false) };
        self.current = next;
        Ok(true)
    }

    /// Writes a header with `payload` bytes behind it, together with what is read next.
    pub(super) fn write(&mut self, tun: &Tun, header: &[u8], payload: usize) -> io::Result<()> {
        self.writes[self.queued.len()][..header.len()].copy_from_slice(header);
        self.queued.push(header.len() + payload);
        if self.queued.len() == WRITES {
            self.exchange(tun, 0)?;
        }
        Ok(())
    }

    /// Writes what is queued and asks for frames, in one call.
    fn exchange(&mut self, tun: &Tun, reads: usize) -> io::Result<()> {
        let device = types::Fd(tun.as_fd().as_raw_fd());
        let writes = self.queued.iter().zip(&self.writes).map(|(length, buffer)| {
            let entry = opcode::Write::new(device, buffer[..*length].as_ptr(), *length as u32);
            entry.rw_flags(libc::RWF_NOWAIT).build().user_data(WRITE)
        });
        let asked = self.reads[..reads].iter_mut().zip(0..).map(|(buffer, number)| {
            let entry = opcode::Read::new(device, buffer.as_mut_ptr(), buffer.len() as u32);
            entry.rw_flags(libc::RWF_NOWAIT).build().user_data(number)
        });
        let entries: Vec<Entry> = writes.chain(asked).collect();
        // SAFETY: the entries point into buffers of this ring, which are not touched before all are
        // done: none of them waits, and the next call returns when as many are done as were given.
        unsafe { self.ring.submission().push_multiple(&entries).map_err(io::Error::other)? };
        let mut left = entries.len();
        self.queued.clear();
        while left > 0 {
            self.ring.submit_and_wait(left)?;
            for done in self.ring.completion() {
                left -= 1;
                match usize::try_from(done.result()) {
                    Ok(length) if done.user_data() != WRITE => {
                        self.arrived.push_back((done.user_data() as usize, length));
                    }
                    Ok(_) => {}
                    Err(_) if done.result() == -Errno::AGAIN.raw_os_error() => {}
                    Err(_) => return Err(io::Error::from_raw_os_error(-done.result())),
                }
            }
        }
        Ok(())
    }
}
