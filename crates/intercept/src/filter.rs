//! The filter: which system calls come to the supervisor, and which are answered in the kernel.
//!
//! | call | what becomes of it |
//! |---|---|
//! | `socket` of IPv4 and IPv6 | notified |
//! | `bind` `listen` `accept` `accept4` `connect` `shutdown` `getsockname` `getpeername` `getsockopt` `setsockopt` | notified |
//! | `sendto`, `recvfrom` | notified when they name an address, or have a flag that a pair of Unix sockets takes otherwise: `MSG_OOB`, `MSG_ERRQUEUE`, and `MSG_TRUNC` without a buffer |
//! | `sendmsg` `recvmsg` `sendmmsg` `recvmmsg` | notified, unless there is [no UDP](FilterOptions::no_udp): the names are behind pointers |
//! | `ioctl` | notified when it asks about interfaces or routes (`SIOCGIFCONF` and its like) |
//! | `setsockopt` of `TCP_CORK` and `TCP_QUICKACK` | answered with success, unless options are [exact](FilterOptions::exact_options) |
//! | `io_uring_setup` | `ENOSYS`: a ring would make sockets past every filter |
//! | all of x32, and what makes sockets on other architectures | `ENOSYS` |
//! | everything else | goes on |
//!
//! The kernel sees what a filter allows whatever its arguments are, and asks it no more; so `read` and
//! `write` cost nothing, and `send` and `recv` a tenth of a microsecond.

use std::io;
use std::os::fd::OwnedFd;

use crate::sys::seccomp::{self, Instruction};
use crate::syscall::{Abi, Architecture, Call};

/// What a filter does differently from its defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FilterOptions {
    /// `TCP_CORK` and `TCP_QUICKACK` come to the supervisor, too, and have the effect that the stack
    /// gives them. They do not by themselves, because servers set them around each answer: the filter
    /// says that it is done, and segments leave as Nagle's algorithm and delayed ACKs have it.
    pub exact_options: bool,
    /// There are no UDP sockets (`EPROTONOSUPPORT`). Then no message has a name that the supervisor
    /// must see, and `sendmsg` and its kind go on without it.
    pub no_udp: bool,
}

/// Installs the filter for the calling thread and all that it starts from now on, and gives back the
/// descriptor on which the supervisor hears of calls. Sets `NO_NEW_PRIVS`.
///
/// To be called between `fork` and `exec`. From then on the notified calls wait until somebody answers
/// them, so hand the descriptor over without a socket: the parent takes it with `pidfd_getfd`.
///
/// # Errors
/// `Unsupported` on an architecture without a table, and what seccomp(2) says: `ResourceBusy` when a
/// filter with a listener is there already.
pub fn install(options: &FilterOptions) -> io::Result<OwnedFd> {
    let native = Architecture::NATIVE.ok_or_else(|| {
        io::Error::new(io::ErrorKind::Unsupported, "no system call table for this architecture")
    })?;
    rustix::thread::set_no_new_privs(true)?;
    seccomp::install(&program(native, options))
}

// What the program gives back (linux/seccomp.h).
const ALLOW: u32 = 0x7fff_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ERRNO: u32 = 0x0005_0000;

// The instructions of classic BPF that are used (linux/bpf_common.h).
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// Where `struct seccomp_data` has what is looked at. Both architectures are little-endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// The lower half of an argument.
const fn low(argument: u32) -> u32 {
    16 + 8 * argument
}

/// The upper half of an argument.
const fn high(argument: u32) -> u32 {
    low(argument) + 4
}

/// Set in the numbers of x32, the ABI of x86_64 with short pointers.
const X32_BIT: u32 = 0x4000_0000;

/// `io_uring_setup`, the same on every architecture.
const IO_URING_SETUP: u32 = 425;

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const SOCK_DGRAM: u32 = 2;
const SOCK_NONBLOCK: u32 = 0x800;
const SOCK_CLOEXEC: u32 = 0x8_0000;
const IPPROTO_TCP: u32 = 6;
const TCP_CORK: u32 = 3;
const TCP_QUICKACK: u32 = 12;
/// The requests about routes, interfaces and neighbours (linux/sockios.h): from `SIOCADDRT` to the last before
/// those that a device or a protocol has for itself.
const SIOC_FIRST: u32 = 0x890b;
const SIOC_BEYOND: u32 = 0x89a4;
const MSG_OOB: u32 = 0x1;
const MSG_TRUNC: u32 = 0x20;
const MSG_ERRQUEUE: u32 = 0x2000;

/// The whole filter.
pub(crate) fn program(native: Architecture, options: &FilterOptions) -> Vec<Instruction> {
    let mut program = Program::default();
    program.load(ARCHITECTURE);
    for foreign in native.foreign() {
        program.when_equal(foreign.audit, |program| refuse_sockets_of(program, foreign));
    }
    program.unless_equal(native.audit(), |program| program.give(ERRNO | enosys()));
    program.load(NUMBER);
    if native == Architecture::X86_64 {
        program.when_at_least(X32_BIT, |program| program.give(ERRNO | enosys()));
    }
    for call in Call::ALL {
        if let Some(number) = native.number(call) {
            program.when_equal(number, |program| decide(program, call, options));
        }
    }
    program.when_equal(IO_URING_SETUP, |program| program.give(ERRNO | enosys()));
    program.give(ALLOW);
    program.instructions
}

/// What becomes of one call.
fn decide(program: &mut Program, call: Call, options: &FilterOptions) {
    match call {
        Call::Socket => {
            program.load(low(0));
            for family in [AF_INET, AF_INET6] {
                program.when_equal(family, |program| make_socket(program, options));
            }
            program.give(ALLOW);
        }
        Call::SendMessage | Call::ReceiveMessage | Call::SendMessages | Call::ReceiveMessages
            if options.no_udp =>
        {
            program.give(ALLOW);
        }
        // The fifth argument is the address, or null.
        Call::SendTo | Call::ReceiveFrom => {
            program.load(low(4));
            program.unless_equal(0, |program| program.give(NOTIFY));
            program.load(high(4));
            program.unless_equal(0, |program| program.give(NOTIFY));
            program.load(low(3));
            if call == Call::SendTo {
                program.when_any(MSG_OOB, |program| program.give(NOTIFY));
            } else {
                program.when_any(MSG_ERRQUEUE, |program| program.give(NOTIFY));
                program.when_any(MSG_TRUNC, |program| {
                    program.load(low(1));
                    program.unless_equal(0, |program| program.give(ALLOW));
                    program.load(high(1));
                    program.unless_equal(0, |program| program.give(ALLOW));
                    program.give(NOTIFY);
                });
            }
            program.give(ALLOW);
        }
        Call::Ioctl => {
            program.load(low(1));
            program.when_at_least(SIOC_BEYOND, |program| program.give(ALLOW));
            program.when_at_least(SIOC_FIRST, |program| program.give(NOTIFY));
            program.give(ALLOW);
        }
        Call::SetOption if !options.exact_options => {
            program.load(low(1));
            program.when_equal(IPPROTO_TCP, |program| {
                program.load(low(2));
                program.when_equal(TCP_CORK, |program| program.give(ERRNO));
                program.when_equal(TCP_QUICKACK, |program| program.give(ERRNO));
                program.give(NOTIFY);
            });
            program.give(NOTIFY);
        }
        _ => program.give(NOTIFY),
    }
}

/// A socket of one of our families.
fn make_socket(program: &mut Program, options: &FilterOptions) {
    if options.no_udp {
        program.load(low(1));
        for flags in [0, SOCK_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK | SOCK_CLOEXEC] {
            let refused = ERRNO | libc::EPROTONOSUPPORT.unsigned_abs();
            program.when_equal(SOCK_DGRAM | flags, |program| program.give(refused));
        }
    }
    program.give(NOTIFY);
}

/// A program of an architecture whose calls are not served gets no socket, and runs on.
fn refuse_sockets_of(program: &mut Program, abi: &Abi) {
    program.load(NUMBER);
    for refused in abi.refused {
        program.when_equal(*refused, |program| program.give(ERRNO | enosys()));
    }
    program.when_equal(IO_URING_SETUP, |program| program.give(ERRNO | enosys()));
    program.give(ALLOW);
}

const fn enosys() -> u32 {
    libc::ENOSYS.unsigned_abs()
}

/// Instructions in the making. Every branch ends with a return, so all jumps go over a branch.
#[derive(Default)]
struct Program {
    instructions: Vec<Instruction>,
}

impl Program {
    fn load(&mut self, offset: u32) {
        self.push(LOAD, offset);
    }

    fn give(&mut self, value: u32) {
        self.push(RETURN, value);
    }

    fn when_equal(&mut self, value: u32, branch: impl FnOnce(&mut Self)) {
        let length = self.branch(EQUAL, value, branch);
        length.1.not_taken = length.0;
    }

    fn unless_equal(&mut self, value: u32, branch: impl FnOnce(&mut Self)) {
        let length = self.branch(EQUAL, value, branch);
        length.1.taken = length.0;
    }

    fn when_any(&mut self, bits: u32, branch: impl FnOnce(&mut Self)) {
        let length = self.branch(ANY_BIT, bits, branch);
        length.1.not_taken = length.0;
    }

    fn when_at_least(&mut self, value: u32, branch: impl FnOnce(&mut Self)) {
        let length = self.branch(AT_LEAST, value, branch);
        length.1.not_taken = length.0;
    }

    /// A comparison and what follows it; how long that is, and the comparison, which skips it.
    fn branch(
        &mut self,
        code: u16,
        value: u32,
        branch: impl FnOnce(&mut Self),
    ) -> (u8, &mut Instruction) {
        let place = self.instructions.len();
        self.push(code, value);
        branch(self);
        let length = self.instructions.len() - place - 1;
        let length = u8::try_from(length).expect("a branch of the filter is short");
        (length, &mut self.instructions[place])
    }

    fn push(&mut self, code: u16, value: u32) {
        self.instructions.push(Instruction { code, taken: 0, not_taken: 0, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call as the kernel shows it to a filter.
    struct Data {
        number: u32,
        architecture: u32,
        arguments: [u64; 6],
    }

    impl Data {
        fn word(&self, offset: u32) -> u32 {
            let argument = |index: u32| self.arguments[index as usize];
            match offset {
                NUMBER => self.number,
                ARCHITECTURE => self.architecture,
                offset if offset % 8 == 0 => argument((offset - 16) / 8) as u32,
                offset => (argument((offset - 20) / 8) >> 32) as u32,
            }
        }
    }

    /// The kernel's machine, as far as filters use it.
    fn run(program: &[Instruction], data: &Data) -> u32 {
        let (mut place, mut accumulator) = (0, 0);
        for _ in 0..program.len() {
            let Instruction { code, taken, not_taken, value } = program[place];
            place += 1;
            match code {
                LOAD => accumulator = data.word(value),
                EQUAL => place += usize::from(if accumulator == value { taken } else { not_taken }),
                ANY_BIT => {
                    place += usize::from(if accumulator & value == 0 { not_taken } else { taken });
                }
                AT_LEAST => {
                    place += usize::from(if accumulator >= value { taken } else { not_taken });
                }
                RETURN => return value,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
        panic!("the program does not end");
    }

    fn call(architecture: Architecture, call: Call, arguments: [u64; 6]) -> Data {
        let number = architecture.number(call).unwrap();
        Data { number, architecture: architecture.audit(), arguments }
    }

    fn answer(architecture: Architecture, call_: Call, arguments: [u64; 6]) -> u32 {
        let program = program(architecture, &FilterOptions::default());
        run(&program, &call(architecture, call_, arguments))
    }

    const REFUSED: u32 = ERRNO | libc::ENOSYS as u32;

    #[test]
    fn only_calls_of_sockets_are_notified() {
        for architecture in Architecture::ALL {
            let program = program(architecture, &FilterOptions::default());
            for number in 0..1000 {
                let arguments = [2, 2, 2, 2, 2, 2];
                let data = Data { number, architecture: architecture.audit(), arguments };
                let known = Call::ALL.iter().any(|call| architecture.number(*call) == Some(number));
                let expected = match number {
                    IO_URING_SETUP => REFUSED,
                    // Of a request that is none.
                    _ if architecture.number(Call::Ioctl) == Some(number) => ALLOW,
                    _ if known => NOTIFY,
                    _ => ALLOW,
                };
                assert_eq!(run(&program, &data), expected, "{architecture:?} call {number}");
            }
        }
    }

    #[test]
    fn sockets_of_other_families_are_the_kernels() {
        for architecture in Architecture::ALL {
            for family in 0..50_u64 {
                let expected = if family == 2 || family == 10 { NOTIFY } else { ALLOW };
                assert_eq!(answer(architecture, Call::Socket, [family, 1, 0, 0, 0, 0]), expected);
            }
        }
    }

    #[test]
    fn send_and_receive_are_notified_with_an_address_only() {
        for architecture in Architecture::ALL {
            for call in [Call::SendTo, Call::ReceiveFrom] {
                let with = |address| answer(architecture, call, [3, 4, 5, 6, address, 16]);
                assert_eq!(with(0), ALLOW);
                assert_eq!(with(0x1000), NOTIFY);
                assert_eq!(with(0x7fff_0000_0000), NOTIFY, "the upper half alone");
            }
        }
    }

    #[test]
    fn flags_that_a_pair_does_not_know_are_notified() {
        for architecture in Architecture::ALL {
            let with =
                |call, buffer, flags| answer(architecture, call, [3, buffer, 5, flags, 0, 0]);
            let high_alone = 0x7fff_0000_0000;
            for (call, buffer, flags, expected) in [
                (Call::SendTo, 4, 0x4000, ALLOW),
                (Call::SendTo, 4, 0x4001, NOTIFY),
                (Call::ReceiveFrom, 4, 0x42, ALLOW),
                (Call::ReceiveFrom, 4, 0x2040, NOTIFY),
                (Call::ReceiveFrom, 4, 0x20, ALLOW),
                (Call::ReceiveFrom, high_alone, 0x20, ALLOW),
                (Call::ReceiveFrom, 0, 0x20, NOTIFY),
                (Call::ReceiveFrom, 0, 0, ALLOW),
            ] {
                assert_eq!(with(call, buffer, flags), expected, "{call:?} {buffer:#x} {flags:#x}");
            }
        }
    }

    #[test]
    fn two_options_are_answered_at_once_unless_they_are_exact() {
        let exact = FilterOptions { exact_options: true, ..FilterOptions::default() };
        for architecture in Architecture::ALL {
            for level in [0, 1, 6, 17, 41] {
                for option in 0..70 {
                    let data =
                        call(architecture, Call::SetOption, [3, level, option, 0x1000, 4, 0]);
                    let fast = level == 6 && (option == 3 || option == 12);
                    let default = program(architecture, &FilterOptions::default());
                    assert_eq!(run(&default, &data), if fast { ERRNO } else { NOTIFY });
                    assert_eq!(run(&program(architecture, &exact), &data), NOTIFY);
                    let get = call(architecture, Call::GetOption, [3, level, option, 1, 4, 0]);
                    assert_eq!(run(&default, &get), NOTIFY);
                }
            }
        }
    }

    #[test]
    fn without_udp_messages_go_on_and_datagram_sockets_are_refused() {
        let options = FilterOptions { no_udp: true, ..FilterOptions::default() };
        for architecture in Architecture::ALL {
            let program = program(architecture, &options);
            for flags in [0, 0x800, 0x8_0000, 0x8_0800_u64] {
                let socket = |family: u64, kind: u64| {
                    let arguments = [family, kind | flags, 0, 0, 0, 0];
                    run(&program, &call(architecture, Call::Socket, arguments))
                };
                for family in [2, 10] {
                    assert_eq!(socket(family, 1), NOTIFY);
                    assert_eq!(socket(family, 2), ERRNO | libc::EPROTONOSUPPORT as u32);
                }
                assert_eq!(socket(1, 2), ALLOW, "Unix");
            }
            for message in [Call::SendMessage, Call::ReceiveMessages] {
                assert_eq!(run(&program, &call(architecture, message, [3; 6])), ALLOW);
            }
        }
    }

    #[test]
    fn only_questions_about_the_network_are_notified_of_ioctl() {
        for architecture in Architecture::ALL {
            let of = |request| answer(architecture, Call::Ioctl, [3, request, 0x1000, 0, 0, 0]);
            // SIOCADDRT, SIOCGIFCONF, SIOCGIFADDR, SIOCETHTOOL
            for request in [0x890b, 0x8912, 0x8915, 0x8946] {
                assert_eq!(of(request), NOTIFY, "{request:#x}");
                assert_eq!(of(request | 1 << 32), NOTIFY, "the kernel looks at the lower half");
            }
            // FIONBIO, FIONREAD, SIOCOUTQ, FIOASYNC, TCGETS, SIOCATMARK
            for request in [0x5421, 0x541b, 0x5411, 0x5452, 0x5401, 0x8905, 0xc020_6921] {
                assert_eq!(of(request), ALLOW, "{request:#x}");
            }
        }
    }

    #[test]
    fn x32_and_unknown_architectures_are_refused() {
        let program = program(Architecture::X86_64, &FilterOptions::default());
        for number in [0, 41, 425] {
            let audit = Architecture::X86_64.audit();
            let data = Data { number: number | X32_BIT, architecture: audit, arguments: [2; 6] };
            assert_eq!(run(&program, &data), REFUSED, "x32 call {number}");
            let data = Data { number, architecture: 0x1234, arguments: [2; 6] };
            assert_eq!(run(&program, &data), REFUSED, "unknown architecture, call {number}");
        }
    }

    #[test]
    fn programs_of_32_bits_run_without_sockets() {
        for native in Architecture::ALL {
            let program = program(native, &FilterOptions::default());
            for foreign in native.foreign() {
                for number in 0..500 {
                    let data = Data { number, architecture: foreign.audit, arguments: [2; 6] };
                    let refused = foreign.refused.contains(&number) || number == IO_URING_SETUP;
                    assert_eq!(run(&program, &data), if refused { REFUSED } else { ALLOW });
                }
            }
        }
    }

    #[test]
    fn the_filter_is_short() {
        for architecture in Architecture::ALL {
            let length = program(architecture, &FilterOptions::default()).len();
            assert!(length < 144, "{length} instructions");
        }
    }
}
