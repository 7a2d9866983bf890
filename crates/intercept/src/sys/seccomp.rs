//! Filters and their notifications (seccomp_unotify(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::ioctl::{IoctlOutput, Opcode, opcode};

/// An instruction of classic BPF: `struct sock_filter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) taken: u8,
    pub(crate) not_taken: u8,
    pub(crate) value: u32,
}

const _: () = assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>());

/// A call that waits for an answer: `struct seccomp_notif`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct Notification {
    /// Names the call until it is answered or interrupted.
    pub(crate) id: u64,
    /// The thread that calls.
    pub(crate) thread: u32,
    flags: u32,
    /// The call's number on its architecture.
    pub(crate) number: i32,
    architecture: u32,
    /// Where it was made.
    pub(crate) instruction: u64,
    pub(crate) arguments: [u64; 6],
}

const _: () = assert!(size_of::<Notification>() == size_of::<libc::seccomp_notif>());

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// `struct seccomp_notif_addfd`.
#[repr(C)]
struct AddFd {
    id: u64,
    flags: u32,
    source: u32,
    target: u32,
    target_flags: u32,
}

const CONTINUE: u32 = 1; // SECCOMP_USER_NOTIF_FLAG_CONTINUE
const SYNC_WAKE_UP: u64 = 1; // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
const SET_FD: u32 = 1; // SECCOMP_ADDFD_FLAG_SETFD
const SEND: u32 = 2; // SECCOMP_ADDFD_FLAG_SEND

const RECEIVE: Opcode = opcode::read_write::<Notification>(b'!', 0);
const RESPOND: Opcode = opcode::read_write::<Response>(b'!', 1);
const ID_VALID: Opcode = opcode::write::<u64>(b'!', 2);
const ADD_FD: Opcode = opcode::write::<AddFd>(b'!', 3);
const SET_FLAGS: Opcode = opcode::write::<u64>(b'!', 4);

/// Installs a filter for this thread, and gives the descriptor of its notifications.
pub(crate) fn install(program: &[Instruction]) -> io::Result<OwnedFd> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the kernel reads `len` instructions, which have the layout of `sock_filter`, and copies
    // them.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const filter,
        )
    };
    let descriptor = i32::try_from(descriptor).unwrap_or(-1);
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Waits for a call.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    let mut notification = Notification::default();
    request(listener, RECEIVE, &mut notification)?;
    Ok(notification)
}

/// Answers a call with a value, or with an error (a positive number of errno.h).
pub(crate) fn respond(listener: BorrowedFd<'_>, id: u64, value: i64, error: i32) -> io::Result<()> {
    let mut response = Response { id, value, error: -error, flags: 0 };
    request(listener, RESPOND, &mut response).map(drop)
}

/// Lets the kernel carry the call out.
pub(crate) fn let_continue(listener: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    let mut response = Response { id, value: 0, error: 0, flags: CONTINUE };
    request(listener, RESPOND, &mut response).map(drop)
}

/// Whether the call still waits.
pub(crate) fn is_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    request(listener, ID_VALID, &mut { id }).is_ok()
}

/// Gives the caller `descriptor` under a free number, and answers its call with the number, in one step.
pub(crate) fn add_and_respond(
    listener: BorrowedFd<'_>,
    id: u64,
    descriptor: BorrowedFd<'_>,
    close_on_exec: bool,
) -> io::Result<i32> {
    add(listener, id, descriptor, SEND, 0, close_on_exec)
}

/// Gives the caller `descriptor` in place of its own with the number `target`.
pub(crate) fn replace(
    listener: BorrowedFd<'_>,
    id: u64,
    descriptor: BorrowedFd<'_>,
    target: u32,
    close_on_exec: bool,
) -> io::Result<i32> {
    add(listener, id, descriptor, SET_FD, target, close_on_exec)
}

fn add(
    listener: BorrowedFd<'_>,
    id: u64,
    descriptor: BorrowedFd<'_>,
    flags: u32,
    target: u32,
    close_on_exec: bool,
) -> io::Result<i32> {
    let source = u32::try_from(descriptor.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let target_flags = if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 };
    let mut message = AddFd { id, flags, source, target, target_flags };
    request(listener, ADD_FD, &mut message)
}

/// Asks the kernel to change to the supervisor at once when a call comes, and back with the answer, on
/// the same CPU. From Linux 6.6 on.
pub(crate) fn set_sync_wake_up(listener: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: SECCOMP_IOCTL_NOTIF_SET_FLAGS takes the flags themselves as its argument.
    unsafe { rustix::ioctl::ioctl(listener.as_fd(), Flags(SYNC_WAKE_UP)) }?;
    Ok(())
}

/// An ioctl whose argument is a number.
struct Flags(u64);

// SAFETY: the opcode is the kernel's, and the argument is no pointer.
unsafe impl rustix::ioctl::Ioctl for Flags {
    type Output = ();
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        SET_FLAGS
    }

    fn as_ptr(&mut self) -> *mut libc::c_void {
        std::ptr::without_provenance_mut(usize::try_from(self.0).unwrap_or_default())
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut libc::c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// An ioctl on a message that the kernel reads and may change, and what it returns.
fn request<T>(listener: BorrowedFd<'_>, opcode: Opcode, message: &mut T) -> io::Result<i32> {
    // SAFETY: every opcode of this file goes with the type whose size is a part of it, which is plain
    // data of C; the kernel reads and writes as many bytes.
    let value = unsafe { rustix::ioctl::ioctl(listener, Message { opcode, message }) }?;
    Ok(value)
}

struct Message<'a, T> {
    opcode: Opcode,
    message: &'a mut T,
}

// SAFETY: the pointer is to a `T` that lives as long as the request.
unsafe impl<T> rustix::ioctl::Ioctl for Message<'_, T> {
    type Output = i32;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut libc::c_void {
        std::ptr::from_mut(self.message).cast()
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _: *mut libc::c_void,
    ) -> rustix::io::Result<i32> {
        Ok(output)
    }
}
