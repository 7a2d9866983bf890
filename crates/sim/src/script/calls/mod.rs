//! System calls as commands of the stack.

mod arguments;
mod epoll;
mod open;
mod options;
mod poll;
mod receive;
mod send;

use stack::Error;
use wire::time::Instant;

use super::ast::{Call, Expression};
use super::runner::Runner;
use super::{Problem, errno, not_supported};
use arguments::Arguments;
pub(super) use epoll::{Activity, Epoll};

/// What a call did.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It returned.
    Returned(Returned),
    /// It waits: for the network, and until this moment if there is one.
    Blocks(Option<Instant>),
}

/// What a call returned.
#[derive(Debug)]
pub(super) struct Returned {
    value: i64,
    errno: Option<&'static str>,
}

type Attempt = Result<Outcome, Problem>;

impl Returned {
    /// Compares with what the script says.
    pub(super) fn check(&self, call: &Call) -> Result<(), Problem> {
        let wanted = match &call.result {
            Expression::Ellipsis => None,
            other => Some(arguments::integer(other).map_err(|_| "a call returns a number")?),
        };
        let right_value = wanted.is_none_or(|wanted| wanted == self.value);
        let right_errno = match (&call.errno, self.errno) {
            (Some(wanted), Some(found)) => same_errno(wanted, found),
            (None, None) => true,
            (None, Some(_)) => wanted.is_none(),
            (Some(_), None) => false,
        };
        if right_value && right_errno {
            return Ok(());
        }
        let wanted = wanted.map_or("...".to_string(), |value| value.to_string());
        let wanted_errno = call.errno.as_deref().unwrap_or_default();
        Err(format!(
            "{} did not return what it should\n  expected  {wanted} {wanted_errno}\n  returned  {} {}",
            call.name,
            self.value,
            self.errno.unwrap_or_default()
        )
        .into())
    }
}

/// Some errors have two names.
fn same_errno(a: &str, b: &str) -> bool {
    a == b || errno::number(a).is_some() && errno::number(a) == errno::number(b)
}

fn returned(value: i64) -> Attempt {
    Ok(Outcome::Returned(Returned { value, errno: None }))
}

fn failed(errno: &'static str) -> Attempt {
    Ok(Outcome::Returned(Returned { value: -1, errno: Some(errno) }))
}

fn result(outcome: Result<usize, Error>) -> Attempt {
    match outcome {
        Ok(count) => returned(i64::try_from(count).unwrap_or(i64::MAX)),
        Err(error) => failed(errno::name(error)),
    }
}

impl Runner {
    /// Makes a call that began at `began`. One that blocks is made again when something happened.
    pub(super) fn attempt(&mut self, call: &Call, began: Instant) -> Attempt {
        let arguments = Arguments(&call.arguments);
        match call.name.as_str() {
            "socket" => self.socket(call, arguments),
            "bind" => self.bind(arguments),
            "listen" => self.listen(arguments),
            "accept" | "accept4" => self.accept(call, arguments),
            "connect" => self.connect(arguments),
            "read" | "recv" | "recvfrom" | "readv" | "recvmsg" => self.receive(call, arguments),
            "write" | "send" | "sendto" | "writev" | "sendmsg" => self.send(call, arguments),
            "shutdown" => self.shutdown(arguments),
            "close" => self.close(arguments),
            "fcntl" => self.fcntl(arguments),
            "setsockopt" => self.setsockopt(arguments),
            "getsockopt" => self.getsockopt(arguments),
            "ioctl" => self.ioctl(arguments),
            "poll" => self.poll(arguments, began),
            "epoll_create" | "epoll_create1" => self.epoll_create(call),
            "epoll_ctl" => self.epoll_ctl(arguments),
            "epoll_wait" => self.epoll_wait(arguments, began),
            other => Err(not_supported(format!("the system call `{other}`"))),
        }
    }
}

/// The file descriptor that the script says a call returns.
fn returned_fd(call: &Call) -> Result<i64, Problem> {
    match call.result {
        Expression::Integer(fd) if fd >= 0 => Ok(fd),
        _ => Err(format!("{} returned a descriptor, which needs a number", call.name).into()),
    }
}
