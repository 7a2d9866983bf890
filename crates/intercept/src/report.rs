//! What others are told: which socket is whose, and what each call did.

use std::fmt;
use std::net::SocketAddr;

use estab::{State, TraceEvent};

/// A socket that a program under the supervisor has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketUsers {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's, if there is one.
    pub remote: Option<SocketAddr>,
    /// It listens.
    pub listens: bool,
    /// Who has a descriptor of it. Nobody between two looks at processes that come and go.
    pub users: Vec<SocketUser>,
}

/// A process that has a descriptor of a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketUser {
    /// The process, as the supervisor's `/proc` numbers it.
    pub process: u32,
    /// Its name (`comm`).
    pub command: String,
    /// The descriptor.
    pub descriptor: u32,
}

/// A call that was answered, or an end that was noticed: what `--trace` prints.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallEvent {
    /// The thread that called; 0 where nobody did (a descriptor's end, which is no call for us).
    pub thread: u32,
    /// The call with its arguments, as strace writes them: `connect(3, 10.77.0.1:80)`.
    pub call: String,
    /// What it returned; `None` for what is not answered to anybody.
    pub result: Option<Result<i64, Errno>>,
    /// What it did.
    pub effect: Effect,
}

/// What a call did to its connection.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Effect {
    /// The connection's state before and after, where there is one.
    pub states: Option<(State, State)>,
    /// What the stack did meanwhile for this connection: segments, changes of state. For the end of a
    /// listener, also the resets of connections that nobody had accepted.
    pub events: Vec<TraceEvent>,
    /// For `accept`: how many connections waited before it took one.
    pub accept_queue: Option<usize>,
}

/// An error as the program sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(i32);

impl Errno {
    pub(crate) fn new(errno: rustix::io::Errno) -> Self {
        Self(errno.raw_os_error())
    }

    /// The number, as errno.h has it.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match crate::errno::name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "E{}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
