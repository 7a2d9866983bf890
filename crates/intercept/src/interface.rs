//! `ioctl` about interfaces and routes (netdevice(7)), which an `AF_UNIX` socket would answer for the
//! network of the supervisor.
//!
//! The kernel answers on a socket in the network of the programs, which has the stack's addresses; so what
//! a program learns here is what it learns through netlink. Nothing can be changed.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::address::Domain;
use crate::errno;
use crate::process;
use crate::request::{Outcome, Request};
use crate::supervisor::Supervisor;
use crate::sys::interface::{Question, RECORD, ask, list};
use crate::table::Key;

const SIOCADDRT: u32 = 0x890b;
const SIOCDELRT: u32 = 0x890c;
const SIOCGIFCONF: u32 = 0x8912;
const SIOCETHTOOL: u32 = 0x8946;
const SIOCGMIIPHY: u32 = 0x8947;
const SIOCGMIIREG: u32 = 0x8948;

/// What changes something: `SIOCSIFLINK`, `SIOCSIFFLAGS`, the addresses, `SIOCSIFMTU`, `SIOCSIFNAME`,
/// `SIOCSIFHWADDR`, the multicast filter, `SIOCSIFTXQLEN`, neighbours.
const CHANGES: [u32; 19] = [
    SIOCADDRT, SIOCDELRT, 0x8911, 0x8914, 0x8916, 0x8918, 0x891a, 0x891c, 0x891e, 0x8922, 0x8923,
    0x8924, 0x8931, 0x8932, 0x8934, 0x8936, 0x8943, 0x8953, 0x8955,
];

/// The questions that are answered, with their names.
const QUESTIONS: [(Question, &str); 12] = [
    (Question::NAME, "SIOCGIFNAME"),
    (Question::FLAGS, "SIOCGIFFLAGS"),
    (Question::ADDRESS, "SIOCGIFADDR"),
    (Question::DESTINATION, "SIOCGIFDSTADDR"),
    (Question::BROADCAST, "SIOCGIFBRDADDR"),
    (Question::NETMASK, "SIOCGIFNETMASK"),
    (Question::METRIC, "SIOCGIFMETRIC"),
    (Question::MTU, "SIOCGIFMTU"),
    (Question::HARDWARE, "SIOCGIFHWADDR"),
    (Question::INDEX, "SIOCGIFINDEX"),
    (Question::QUEUE, "SIOCGIFTXQLEN"),
    (Question::MAP, "SIOCGIFMAP"),
];

/// Those that are about addresses of IPv4, which a socket of IPv6 does not know.
const OF_IPV4: [Question; 4] =
    [Question::ADDRESS, Question::DESTINATION, Question::BROADCAST, Question::NETMASK];

/// The longest list that is given: of more than 1600 addresses.
const LONGEST: usize = 64 << 10;

/// The name of a request, if it is one that is answered.
pub(crate) fn name(request: u32) -> Option<&'static str> {
    if request == SIOCGIFCONF {
        return Some("SIOCGIFCONF");
    }
    QUESTIONS.iter().find(|(known, _)| known.number() == request).map(|(_, name)| *name)
}

impl Supervisor {
    /// `ioctl(fd, request, record)`
    pub(crate) fn ask_of_interfaces(&mut self, key: Key, request: &Request) -> Outcome {
        let Some(socket) = self.table.get(key) else { return Outcome::Continue };
        let number = request.int(1).cast_unsigned();
        let question = QUESTIONS.iter().find(|(known, _)| known.number() == number);
        let errno = match (&self.options.interfaces, question) {
            (Some(interfaces), _) if number == SIOCGIFCONF => {
                return list_for(interfaces, request).into();
            }
            (Some(_), Some((question, _)))
                if socket.domain == Domain::V6 && OF_IPV4.contains(question) =>
            {
                Errno::NOTTY
            }
            (Some(interfaces), Some((question, _))) => {
                return ask_for(interfaces, *question, request).into();
            }
            _ if CHANGES.contains(&number) => Errno::PERM,
            // As of a loopback, which has no such hardware.
            _ if [SIOCETHTOOL, SIOCGMIIPHY, SIOCGMIIREG].contains(&number) => Errno::OPNOTSUPP,
            _ => Errno::NOTTY,
        };
        Outcome::fail(errno)
    }
}

/// Carries out a question whose answer stands in the `struct ifreq` that it came in.
fn ask_for(interfaces: &OwnedFd, question: Question, request: &Request) -> Result<(), Errno> {
    let (thread, place) = (request.thread, request.arguments[2]);
    let mut record = [0; RECORD];
    record.copy_from_slice(&process::read(thread, place, RECORD)?);
    ask(interfaces, question, &mut record).map_err(|error| of_kernel(&error))?;
    process::write(thread, place, &record)
}

/// Carries out `SIOCGIFCONF`: a `struct ifconf` has a length and, where pointers lie, a pointer.
fn list_for(interfaces: &OwnedFd, request: &Request) -> Result<(), Errno> {
    let (thread, place) = (request.thread, request.arguments[2]);
    let header = process::read(thread, place, 16)?;
    let (length, into) = header.split_at(8);
    let length = i32::from_ne_bytes([length[0], length[1], length[2], length[3]]);
    let into = into.try_into().map_or(0, u64::from_ne_bytes);
    let length = if into == 0 {
        list(interfaces, None).map_err(|error| of_kernel(&error))?
    } else {
        let mut all = vec![0; usize::try_from(length).unwrap_or(0).min(LONGEST)];
        let length =
            list(interfaces, Some(&mut all)).map_err(|error| of_kernel(&error))?.min(all.len());
        process::write(thread, into, &all[..length])?;
        length
    };
    let length = i32::try_from(length).map_err(|_| Errno::INVAL)?;
    process::write(thread, place, &length.to_ne_bytes())
}

fn of_kernel(error: &io::Error) -> Errno {
    errno::from_stack(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_is_a_question_and_a_change() {
        for (question, name_) in QUESTIONS {
            assert!(!CHANGES.contains(&question.number()), "{name_}");
            assert_eq!(name(question.number()), Some(name_));
        }
        assert_eq!(name(SIOCGIFCONF), Some("SIOCGIFCONF"));
        assert_eq!(name(SIOCADDRT), None);
    }
}
