//! `struct msghdr` and what hangs on it, in a program's memory.

use rustix::io::Errno;

use super::control::Control;
use crate::process;

/// Its length on 64-bit architectures.
const LENGTH: usize = 56;
/// That of `struct mmsghdr`, and where it has the length of a message.
pub(super) const MANY_LENGTH: u64 = 64;
pub(crate) const MANY_COUNT: u64 = 56;

/// The most pieces that a message may have (`UIO_MAXIOV`).
const MAX_PIECES: u64 = 1024;

/// The most control data of a message (`net.core.optmem_max`).
const MAX_CONTROL: usize = 128 << 10;

const MSG_CTRUNC: i32 = 0x8;

const NAME_LENGTH: u64 = 8;
const CONTROL_LENGTH: u64 = 40;
const FLAGS: u64 = 48;

/// A message's header as it stands at `address`.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    thread: u32,
    address: u64,
    pub(super) name: u64,
    pub(super) name_length: u32,
    pieces: Vec<(u64, u64)>,
    control: u64,
    control_length: u64,
}

impl Message {
    pub(crate) fn read(thread: u32, address: u64) -> Result<Self, Errno> {
        let bytes = process::read(thread, address, LENGTH)?;
        let name_length = u32::from_ne_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let (name, list, count) = (word(&bytes, 0), word(&bytes, 16), word(&bytes, 24));
        if count > MAX_PIECES {
            return Err(Errno::MSGSIZE);
        }
        let list = process::read(thread, list, usize::try_from(count * 16).unwrap_or(0))?;
        let pieces = list.chunks_exact(16).map(|piece| (word(piece, 0), word(piece, 8))).collect();
        let (control, control_length) = (word(&bytes, 32), word(&bytes, 40));
        Ok(Self { thread, address, name, name_length, pieces, control, control_length })
    }

    /// What a call without a header sends: `length` bytes from one place.
    pub(crate) fn of_one(thread: u32, bytes: u64, length: u64) -> Self {
        let pieces = vec![(bytes, length)];
        let (address, name, name_length, control, control_length) = (0, 0, 0, 0, 0);
        Self { thread, address, name, name_length, pieces, control, control_length }
    }

    /// Whether it has no name.
    pub(crate) fn names_nobody(&self) -> bool {
        self.name == 0 || self.name_length == 0
    }

    /// What the program says beside the message that it sends.
    pub(super) fn control(&self) -> Result<Vec<u8>, Errno> {
        match usize::try_from(self.control_length) {
            Ok(length @ 0..=MAX_CONTROL) => process::read(self.thread, self.control, length),
            _ => Err(Errno::NOBUFS),
        }
    }

    /// What the program wants to send, if it is no more than `most` bytes.
    pub(super) fn gather(&self, most: usize) -> Result<Vec<u8>, Errno> {
        let mut payload = Vec::new();
        for (address, length) in &self.pieces {
            let length = usize::try_from(*length).unwrap_or(usize::MAX);
            if length > most.saturating_sub(payload.len()) {
                return Err(Errno::MSGSIZE);
            }
            payload.extend(process::read(self.thread, *address, length)?);
        }
        Ok(payload)
    }

    /// At most `most` bytes of what the program wants to send, behind the first `done`.
    pub(crate) fn gather_from(&self, done: usize, most: usize) -> Result<Vec<u8>, Errno> {
        let (mut skip, mut payload) = (done as u64, Vec::new());
        for (address, length) in &self.pieces {
            let skipped = skip.min(*length);
            skip -= skipped;
            let room = most - payload.len();
            let length = usize::try_from(length - skipped).unwrap_or(usize::MAX).min(room);
            let address = address.wrapping_add(skipped);
            match process::read(self.thread, address, length) {
                Ok(bytes) => payload.extend(bytes),
                // What lies before is sent.
                Err(_) if !payload.is_empty() => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(payload)
    }

    /// How much it has room for.
    pub(crate) fn room(&self) -> usize {
        let sum = self.pieces.iter().fold(0_u64, |sum, (_, length)| sum.saturating_add(*length));
        usize::try_from(sum).unwrap_or(usize::MAX)
    }

    /// Writes what came into the pieces, as far as they go.
    pub(super) fn scatter(&self, mut payload: &[u8]) -> Result<(), Errno> {
        for (address, length) in &self.pieces {
            let length = usize::try_from(*length).unwrap_or(usize::MAX).min(payload.len());
            let (piece, rest) = payload.split_at(length);
            process::write(self.thread, *address, piece)?;
            payload = rest;
        }
        Ok(())
    }

    /// Tells who sent it, what is known beside it, and what is to be said of it.
    pub(super) fn finish(
        &self,
        name: &[u8],
        control: &Control,
        mut flags: i32,
    ) -> Result<(), Errno> {
        if self.name != 0 {
            let room = usize::try_from(self.name_length).unwrap_or(0).min(name.len());
            process::write(self.thread, self.name, &name[..room])?;
            let length = u32::try_from(name.len()).unwrap_or(0);
            process::write(self.thread, self.address + NAME_LENGTH, &length.to_ne_bytes())?;
        }
        let room = if self.control == 0 { 0 } else { self.control_length };
        let (control, cut) = control.encode(usize::try_from(room).unwrap_or(usize::MAX));
        process::write(self.thread, self.control, &control)?;
        flags |= if cut { MSG_CTRUNC } else { 0 };
        let length = (control.len() as u64).to_ne_bytes();
        process::write(self.thread, self.address + CONTROL_LENGTH, &length)?;
        process::write(self.thread, self.address + FLAGS, &flags.to_ne_bytes())
    }
}

fn word(bytes: &[u8], place: usize) -> u64 {
    let bytes = bytes.get(place..place + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_ne_bytes)
}
