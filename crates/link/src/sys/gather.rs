//! One frame from several slices in one system call, and one frame into a buffer.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;
use rustix::io::Errno;

/// Slices that fit on the stack: a device header, the stack's header, and a send queue's pieces.
const FEW: usize = 16;
/// A frame of up to so many bytes is copied together: the kernel takes one piece faster than several.
const SMALL: usize = 512;
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
    if length <= SMALL {
        let mut whole = ArrayVec::<u8, SMALL>::new();
        let fits = all().all(|slice| whole.try_extend_from_slice(slice).is_ok());
        debug_assert!(fits, "the length is that of all slices");
        return written_whole(retry(|| rustix::io::write(device, &whole))?, length);
    }
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
    written_whole(retry(|| rustix::io::writev(device, slices))?, length)
}

/// A device takes a frame whole or not at all.
fn written_whole(written: usize, length: usize) -> Result<(), Errno> {
    if written == length { Ok(()) } else { Err(Errno::IO) }
}

/// Reads one frame into `buffer`; how many bytes it is, or `None` when nothing is there now.
pub(crate) fn read(device: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
    match retry(|| rustix::io::read(device, &mut *buffer)) {
        Ok(length) => Ok(Some(length)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error),
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
