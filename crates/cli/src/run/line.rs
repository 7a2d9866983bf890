//! Lines between the processes of a run: pairs of Unix sockets, which end with who holds them.
//!
//! A process gets its line as standard input, because that is the one descriptor that a new process has for
//! sure; what PROGRAM is to read from comes over the line and is handed on.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitStatus, Stdio};

use std::os::unix::process::ExitStatusExt;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The most descriptors in one message.
const MOST: usize = 2;

/// The line that this process was started with.
pub(super) fn of_this_process() -> io::Result<UnixStream> {
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// This program again in the role `role`, with the far end of a line as its standard input; and the
/// near end.
pub(super) fn this_program_as(role: &str) -> io::Result<(Command, UnixStream)> {
    let (near, far) = UnixStream::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(role).stdin(Stdio::from(OwnedFd::from(far)));
    Ok((command, near))
}

/// Sends one byte with descriptors.
pub(super) fn send(line: &UnixStream, byte: u8, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(line, &[IoSlice::new(&[byte])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one byte with so many descriptors.
///
/// # Errors
/// `UnexpectedEof` when the other end is gone, or sent something else.
pub(crate) fn receive<const COUNT: usize>(
    line: &UnixStream,
    expected: u8,
) -> io::Result<[OwnedFd; COUNT]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut into = [IoSliceMut::new(&mut byte)];
    let received = recvmsg(line, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors: Vec<OwnedFd> = rights.flatten().collect();
    if received.bytes != 1 || byte != [expected] {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    descriptors.try_into().map_err(|_| io::ErrorKind::UnexpectedEof.into())
}

/// What comes first on every line: the descriptors that a process needs.
pub(super) const SETUP: u8 = b's';

/// From the program that is to be to init: the filter is installed. From init to the runner: with
/// the listener, and a socket of PROGRAM's network. Back: begin.
pub(crate) const LISTENER: u8 = b'l';

/// PROGRAM may begin.
pub(super) const BEGIN: u8 = b'b';

/// From the runner to init: ask PROGRAM to end.
pub(super) const END: u8 = b'e';

/// From init to the runner: PROGRAM was stopped, and goes on.
pub(super) const CONTINUED: u8 = b'c';

/// What becomes of PROGRAM, as init tells it to the front.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// It is stopped.
    Stopped,
    /// It has ended; what it started may go on.
    Ended(ExitStatus),
}

impl News {
    /// Tells it.
    pub(super) fn write(self, mut line: &UnixStream) -> io::Result<()> {
        let (kind, status) = match self {
            Self::Stopped => (b's', 0),
            Self::Ended(status) => (b'e', status.into_raw()),
        };
        let [a, b, c, d] = status.to_le_bytes();
        line.write_all(&[kind, a, b, c, d])
    }

    /// Waits for it.
    pub(super) fn read(mut line: &UnixStream) -> io::Result<Self> {
        let mut bytes = [0; 5];
        line.read_exact(&mut bytes)?;
        let [kind, status @ ..] = bytes;
        match kind {
            b's' => Ok(Self::Stopped),
            b'e' => Ok(Self::Ended(ExitStatus::from_raw(i32::from_le_bytes(status)))),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_and_descriptors_arrive() {
        let (here, there) = UnixStream::pair().unwrap();
        let ended = News::Ended(ExitStatus::from_raw(7 << 8));
        News::Stopped.write(&here).unwrap();
        ended.write(&here).unwrap();
        assert_eq!(News::read(&there).unwrap(), News::Stopped);
        assert_eq!(News::read(&there).unwrap(), ended);
        let (mut near, far) = UnixStream::pair().unwrap();
        send(&here, SETUP, &[far.as_fd()]).unwrap();
        drop(far);
        let [far] = receive(&there, SETUP).unwrap();
        near.write_all(b"x").unwrap();
        let mut byte = [0];
        UnixStream::from(far).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn what_was_not_expected_is_an_error() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(&[BEGIN]).unwrap();
        assert!(receive::<1>(&there, BEGIN).is_err());
        send(&here, LISTENER, &[here.as_fd()]).unwrap();
        assert!(receive::<1>(&there, BEGIN).is_err());
        drop(here);
        assert!(receive::<1>(&there, BEGIN).is_err());
        assert!(News::read(&there).is_err());
    }
}
