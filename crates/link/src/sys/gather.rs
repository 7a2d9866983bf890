//! One frame from several slices in one system call, and one frame into several.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

/// Slices that fit on the stack: a device header, the stack's header, and a send queue's pieces.
const FEW: usize = 16;
/// The most slices that one call takes (`UIO_MAXIOV`).
const MOST: usize = 1024;

/// Writes all slices as one frame. They are `length` bytes together.
pub(crate) fn write(
    device: BorrowedFd<'_>,
    prefix: &[u8],
    header: &[u8],
    payload: &[&[u8]],
    length: usize,
) -> Result<(), Errno> {
    let all = || [prefix, header].into_iter().chain(payload.iter().copied());
    let count = all().filter(|slice| !slice.is_empty()).count();
    if count > MOST {
        let whole: Vec<u8> = all().flatten().copied().collect();
        return write_all_of(device, &[IoSlice::new(&whole)], length);
    }
    let mut few = [IoSlice::new(&[]); FEW];
    let mut many = Vec::new();
    let slices = if count <= FEW {
        &mut few[..count]
    } else {
        many.resize(count, IoSlice::new(&[]));
        &mut many[..]
    };
    for (to, from) in slices.iter_mut().zip(all().filter(|slice| !slice.is_empty())) {
        *to = IoSlice::new(from);
    }
    write_all_of(device, slices, length)
}

fn write_all_of(
    device: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    length: usize,
) -> Result<(), Errno> {
    let written = retry(|| rustix::io::writev(device, slices))?;
    // A device takes a frame whole or not at all.
    if written == length { Ok(()) } else { Err(Errno::IO) }
}

/// What a read brought.
pub(crate) enum Read {
    /// Nothing is there now.
    Nothing,
    /// A frame of so many bytes, the prefix not counted.
    Frame(usize),
    /// A frame longer than the buffer; it is lost.
    TooLong,
    /// Less than the prefix; the device does not speak what was negotiated.
    TooShort,
}

/// Reads one frame, its first bytes into `prefix` and the rest into `buffer`.
pub(crate) fn read(
    device: BorrowedFd<'_>,
    prefix: &mut [u8],
    buffer: &mut [u8],
) -> io::Result<Read> {
    let (before, room) = (prefix.len(), buffer.len());
    // A device cuts a frame that is too long without a word: a byte behind the end tells.
    let mut beyond = [0];
    let read = retry(|| {
        let mut slices =
            [IoSliceMut::new(prefix), IoSliceMut::new(buffer), IoSliceMut::new(&mut beyond)];
        let skip = usize::from(before == 0);
        rustix::io::readv(device, &mut slices[skip..])
    });
    match read {
        Ok(length) if length < before => Ok(Read::TooShort),
        Ok(length) if length - before > room => Ok(Read::TooLong),
        Ok(length) => Ok(Read::Frame(length - before)),
        Err(Errno::AGAIN) => Ok(Read::Nothing),
        Err(error) => Err(error.into()),
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
