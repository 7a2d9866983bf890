//! A call of a program, and what becomes of it.

use rustix::io::Errno;

use crate::address::{Domain, Name};
use crate::notify::Notifier;
use crate::process::{self, Place};
use crate::syscall::Call;

/// A call that waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Names it until it is answered.
    pub(crate) id: u64,
    pub(crate) thread: u32,
    pub(crate) call: Call,
    /// Where the program made it.
    pub(crate) instruction: u64,
    pub(crate) arguments: [u64; 6],
    /// How much of what it sends was sent before it had to wait.
    pub(crate) done: usize,
    /// What is known of it, when somebody traces.
    pub(crate) traced: Option<Box<Traced>>,
}

/// A call as a trace shows it.
#[derive(Clone, Debug)]
pub(crate) struct Traced {
    /// Its name with arguments.
    pub(crate) text: String,
    /// The state that it found.
    pub(crate) before: Option<estab::State>,
    /// How many connections waited.
    pub(crate) waiting: Option<usize>,
}

/// What became of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// To be answered.
    Answer(Result<i64, Errno>),
    /// The kernel is to carry it out.
    Continue,
    /// It waits.
    Held,
    /// It was answered with a descriptor, or its caller is gone.
    Given(Option<i32>),
}

impl Outcome {
    pub(crate) const DONE: Self = Outcome::Answer(Ok(0));

    pub(crate) fn fail(errno: Errno) -> Self {
        Outcome::Answer(Err(errno))
    }
}

impl From<Result<(), Errno>> for Outcome {
    fn from(result: Result<(), Errno>) -> Self {
        Outcome::Answer(result.map(|()| 0))
    }
}

impl Request {
    /// Whether it is the same call of the same thread at the same place.
    pub(crate) fn is_again(&self, other: &Self) -> bool {
        (self.call, self.thread, self.instruction, self.arguments)
            == (other.call, other.thread, other.instruction, other.arguments)
    }

    /// The descriptor that it is about.
    pub(crate) fn place(&self) -> Place {
        Place { thread: self.thread, descriptor: self.int(0).cast_unsigned() }
    }

    /// An argument that is an `int`.
    pub(crate) fn int(&self, index: usize) -> i32 {
        // The kernel looks at the lower half, too.
        (self.arguments[index] as u32).cast_signed()
    }

    /// Reads an address that the program wrote at one argument, with its length in another.
    ///
    /// # Errors
    /// `EFAULT`, `EINVAL`, `EAFNOSUPPORT`; `ESRCH` when the caller is gone, which nobody will see.
    pub(crate) fn name(
        &self,
        notifier: &Notifier,
        address: usize,
        length: usize,
        domain: Domain,
    ) -> Result<Name, Errno> {
        let length = usize::try_from(self.int(length)).map_err(|_| Errno::INVAL)?;
        if length > 128 {
            return Err(Errno::INVAL); // sizeof(struct sockaddr_storage)
        }
        let bytes = process::read(self.thread, self.arguments[address], length)?;
        // What was read may be another process's, if this one is gone.
        if !notifier.is_valid(self.id) {
            return Err(Errno::SRCH);
        }
        domain.parse(&bytes)
    }

    /// Writes `bytes` where the program wants them, as many as it has room for, and how many there are:
    /// `address` points to them, and `length` to their length. A null address is for nothing.
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` for a negative length.
    pub(crate) fn write_sized(
        &self,
        address: usize,
        length: usize,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        let (address, length) = (self.arguments[address], self.arguments[length]);
        let room = process::read(self.thread, length, 4)?;
        let room = i32::from_ne_bytes([room[0], room[1], room[2], room[3]]);
        let room = usize::try_from(room).map_err(|_| Errno::INVAL)?;
        let count = u32::try_from(bytes.len()).map_err(|_| Errno::INVAL)?.to_ne_bytes();
        let bytes = &bytes[..bytes.len().min(room)];
        process::write_both(self.thread, [(address, bytes), (length, &count)])
    }
}
