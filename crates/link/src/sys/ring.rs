//! Several reads and writes of frames with one system call (io_uring(7)).
//!
//! Nothing is in flight between calls of [`Ring::exchange`]: the device does not block and `RWF_NOWAIT`
//! forbids to wait, so each read and write is over when its turn has come, in the order in which they
//! were given. So the buffers are ours whenever our code runs, whatever becomes of the ring.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::{fmt, io};

use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, opcode, types};
use rustix::io::Errno;
use wire::frame::FrameBuf;

/// The most frames that are read with one call.
pub(crate) const READS: usize = 32;
/// The most frames that are written with one call.
const WRITES: usize = 32;
/// Room for both.
const ENTRIES: u32 = 64;
/// Room for the frames to write, in bytes. Most of the time less of it is used, and so stays in the cache.
const ROOM: usize = 32 * 1024;
/// The numbers of writes begin here; reads have that of their buffer.
const WRITE: u64 = 1 << 32;
/// The only file that the kernel keeps for the ring: looking it up by its descriptor costs each frame.
const DEVICE: types::Fixed = types::Fixed(0);

/// A ring for one device, with its buffers.
pub(crate) struct Ring {
    uring: IoUring,
    /// To read into.
    frames: Vec<FrameBuf>,
    /// What came and was not taken: in which buffer, and how long it is.
    arrived: VecDeque<(usize, Result<usize, Errno>)>,
    /// What is to be written, frame after frame.
    bytes: Box<[u8]>,
    /// Where in it the frames are that wait, in their order.
    waiting: Vec<Range<usize>>,
}

impl Ring {
    /// A ring for `device`.
    ///
    /// # Errors
    /// What the kernel says: `ENOSYS` when it has no io_uring, `EPERM` when it is not for us.
    pub(crate) fn new(device: BorrowedFd<'_>) -> io::Result<Self> {
        let uring = IoUring::new(ENTRIES)?;
        uring.submitter().register_files(&[device.as_raw_fd()])?;
        Ok(Self {
            uring,
            frames: Vec::new(),
            arrived: VecDeque::with_capacity(READS),
            bytes: vec![0; ROOM].into(),
            waiting: Vec::with_capacity(WRITES),
        })
    }

    /// Takes a frame to write: the slices one after the other, `length` bytes together. False: there
    /// is no room for it now.
    pub(crate) fn push<'a>(
        &mut self,
        slices: impl Iterator<Item = &'a [u8]>,
        length: usize,
    ) -> bool {
        let start = self.waiting.last().map_or(0, |last| last.end);
        let Some(mut room) = self.bytes.get_mut(start..start + length) else { return false };
        if self.waiting.len() == WRITES {
            return false;
        }
        for slice in slices {
            let (to, rest) = room.split_at_mut(slice.len());
            to.copy_from_slice(slice);
            room = rest;
        }
        self.waiting.push(start..start + length);
        true
    }

    /// The frames that wait to be written, the oldest first.
    pub(crate) fn waiting(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.waiting.iter().map(|range| &self.bytes[range.clone()])
    }

    /// The `count` oldest of them wait no more.
    pub(crate) fn forget(&mut self, count: usize) {
        self.waiting.drain(..count);
    }

    /// How many frames came and were not taken.
    pub(crate) fn arrived(&self) -> usize {
        self.arrived.len()
    }

    /// The next of them, in exchange for `frame`, and its length; or what the device said instead.
    pub(crate) fn take(&mut self, frame: &mut FrameBuf) -> Option<Result<usize, Errno>> {
        let (number, result) = self.arrived.pop_front()?;
        if result.is_ok() {
            std::mem::swap(frame, &mut self.frames[number]);
        }
        Some(result)
    }

    /// Writes what waits, and then reads up to `reads` frames into buffers of `room` bytes. Reads
    /// nothing while there are frames to take.
    ///
    /// # Errors
    /// The ring is of no use. `EAGAIN`: the device pushed a frame back, and took perhaps a later one.
    /// What was not written waits still. A frame that the device will never take is no error: it is lost.
    pub(crate) fn exchange(&mut self, reads: usize, room: usize) -> Result<(), Errno> {
        let reads = if self.arrived.is_empty() { reads.min(READS) } else { 0 };
        for (range, number) in self.waiting.iter().zip(WRITE..) {
            let frame = &self.bytes[range.clone()];
            let write = opcode::Write::new(DEVICE, frame.as_ptr(), length_of(frame));
            submit(&mut self.uring, write.rw_flags(libc::RWF_NOWAIT).build(), number)?;
        }
        self.frames.resize_with(self.frames.len().max(reads), FrameBuf::default);
        for (frame, number) in self.frames[..reads].iter_mut().zip(0..) {
            if frame.capacity() < room {
                *frame = FrameBuf::with_capacity(room);
            }
            let buffer = frame.whole_buffer();
            let read = opcode::Read::new(DEVICE, buffer.as_mut_ptr(), length_of(buffer));
            submit(&mut self.uring, read.rw_flags(libc::RWF_NOWAIT).build(), number)?;
        }
        let mut written = 0;
        let outcome = self.complete(self.waiting.len() + reads, &mut written);
        let mut number = 0..;
        self.waiting.retain(|_| number.next().is_some_and(|number| written & 1 << number == 0));
        outcome
    }

    /// Has the kernel carry out `left` entries, and sees to what became of each. Sets in `written` the
    /// bits of frames that need not be written any more.
    fn complete(&mut self, mut left: usize, written: &mut u32) -> Result<(), Errno> {
        let mut outcome = Ok(());
        while left > 0 {
            let submitted = self.uring.submit_and_wait(left);
            for done in self.uring.completion() {
                left -= 1;
                let result = usize::try_from(done.result())
                    .map_err(|_| Errno::from_raw_os_error(-done.result()));
                match (done.user_data(), result) {
                    // OPNOTSUPP: an old kernel's TUN cannot be asked not to wait.
                    (WRITE.., Err(error @ (Errno::AGAIN | Errno::OPNOTSUPP))) => {
                        outcome = Err(error);
                    }
                    (number @ WRITE.., _) => *written |= 1 << (number - WRITE),
                    (_, Err(Errno::AGAIN)) => {}
                    (_, Err(Errno::OPNOTSUPP)) => outcome = Err(Errno::OPNOTSUPP),
                    (_, Err(_)) if self.arrived.back().is_some_and(|(_, last)| last.is_err()) => {}
                    (number, result) => self.arrived.push_back((number as usize, result)),
                }
            }
            match submitted {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // None of those that are left was begun, and none will be.
                Err(error) if left == self.uring.submission().len() => {
                    return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
                }
                Err(_) => std::thread::yield_now(),
            }
        }
        outcome
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // At once: the kernel takes rings apart later, and the device would be held until then.
        let _ = self.uring.submitter().unregister_files();
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("arrived", &self.arrived.len())
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

/// Gives the kernel an entry to carry out with the next call.
fn submit(uring: &mut IoUring, entry: Entry, number: u64) -> Result<(), Errno> {
    let entry = entry.flags(Flags::FIXED_FILE).user_data(number);
    // SAFETY: the entry points into buffers of the `Ring`, which stay where they are and which nobody
    // touches until `complete` has seen that it was carried out, or that it never will be.
    unsafe { uring.submission().push(&entry) }.map_err(|_| Errno::NOBUFS)
}

fn length_of(buffer: &[u8]) -> u32 {
    u32::try_from(buffer.len()).unwrap_or(u32::MAX)
}
