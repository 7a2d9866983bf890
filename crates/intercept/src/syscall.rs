//! The calls that are served, with their numbers on each architecture.

/// A system call that the supervisor may hear of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Call {
    Socket,
    Bind,
    Listen,
    Accept,
    Accept4,
    Connect,
    Shutdown,
    GetSockName,
    GetPeerName,
    GetOption,
    SetOption,
    SendTo,
    ReceiveFrom,
    SendMessage,
    ReceiveMessage,
    SendMessages,
    ReceiveMessages,
    Ioctl,
}

/// An architecture whose programs are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Architecture {
    X86_64,
    Aarch64,
}

/// Another kind of program that the same kernel runs, and is not served.
#[derive(Debug)]
pub(crate) struct Abi {
    /// `AUDIT_ARCH_*` (linux/audit.h).
    pub(crate) audit: u32,
    /// The calls that make sockets or use them.
    pub(crate) refused: &'static [u32],
}

/// `AUDIT_ARCH_I386`. 102 is `socketcall`, 359 to 373 are `socket` to `shutdown`; those from 337 are
/// `recvmmsg` and `sendmmsg`. Not `socketpair`, 360.
const I386: Abi = Abi {
    audit: 0x4000_0003,
    refused: &[102, 337, 345, 359, 361, 362, 363, 364, 365, 366, 367, 368, 369, 370, 371, 372, 373],
};

/// `AUDIT_ARCH_ARM`. 281 to 297 are `socket` to `recvmsg` without `socketpair`, 288.
const ARM: Abi = Abi {
    audit: 0x4000_0028,
    refused: &[
        102, 281, 282, 283, 284, 285, 286, 287, 289, 290, 291, 292, 293, 294, 295, 296, 297, 365,
        366, 374,
    ],
};

impl Call {
    /// All of them, the most frequent first, which is the order in which the filter compares.
    pub(crate) const ALL: [Call; 18] = [
        Call::SendTo,
        Call::ReceiveFrom,
        Call::Accept4,
        Call::SetOption,
        Call::GetOption,
        Call::SendMessage,
        Call::ReceiveMessage,
        Call::Socket,
        Call::Connect,
        Call::Accept,
        Call::Shutdown,
        Call::GetSockName,
        Call::GetPeerName,
        Call::Bind,
        Call::Listen,
        Call::SendMessages,
        Call::ReceiveMessages,
        Call::Ioctl,
    ];

    /// The name that manuals have for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Call::Socket => "socket",
            Call::Bind => "bind",
            Call::Listen => "listen",
            Call::Accept => "accept",
            Call::Accept4 => "accept4",
            Call::Connect => "connect",
            Call::Shutdown => "shutdown",
            Call::GetSockName => "getsockname",
            Call::GetPeerName => "getpeername",
            Call::GetOption => "getsockopt",
            Call::SetOption => "setsockopt",
            Call::SendTo => "sendto",
            Call::ReceiveFrom => "recvfrom",
            Call::SendMessage => "sendmsg",
            Call::ReceiveMessage => "recvmsg",
            Call::SendMessages => "sendmmsg",
            Call::ReceiveMessages => "recvmmsg",
            Call::Ioctl => "ioctl",
        }
    }
}

impl Architecture {
    #[cfg(test)]
    pub(crate) const ALL: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];

    /// The one that this program runs on, if programs are served there.
    pub(crate) const NATIVE: Option<Architecture> = if cfg!(target_arch = "x86_64") {
        Some(Architecture::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Architecture::Aarch64)
    } else {
        None
    };

    /// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_AARCH64` (linux/audit.h).
    pub(crate) const fn audit(self) -> u32 {
        match self {
            Architecture::X86_64 => 0xc000_003e,
            Architecture::Aarch64 => 0xc000_00b7,
        }
    }

    /// The programs that a kernel of this architecture also runs.
    pub(crate) const fn foreign(self) -> &'static [Abi] {
        match self {
            Architecture::X86_64 => &[I386],
            Architecture::Aarch64 => &[ARM],
        }
    }

    /// The number of `call`.
    #[expect(clippy::unnecessary_wraps, reason = "an architecture need not have every call")]
    pub(crate) const fn number(self, call: Call) -> Option<u32> {
        Some(match self {
            Architecture::X86_64 => number_x86_64(call),
            Architecture::Aarch64 => number_generic(call),
        })
    }

    /// The call with this number.
    pub(crate) fn call(self, number: i32) -> Option<Call> {
        let number = u32::try_from(number).ok()?;
        Call::ALL.into_iter().find(|call| self.number(*call) == Some(number))
    }
}

/// arch/x86/entry/syscalls/syscall_64.tbl
const fn number_x86_64(call: Call) -> u32 {
    match call {
        Call::Ioctl => 16,
        Call::Socket => 41,
        Call::Connect => 42,
        Call::Accept => 43,
        Call::SendTo => 44,
        Call::ReceiveFrom => 45,
        Call::SendMessage => 46,
        Call::ReceiveMessage => 47,
        Call::Shutdown => 48,
        Call::Bind => 49,
        Call::Listen => 50,
        Call::GetSockName => 51,
        Call::GetPeerName => 52,
        Call::SetOption => 54,
        Call::GetOption => 55,
        Call::Accept4 => 288,
        Call::ReceiveMessages => 299,
        Call::SendMessages => 307,
    }
}

/// include/uapi/asm-generic/unistd.h, which aarch64 has.
const fn number_generic(call: Call) -> u32 {
    match call {
        Call::Ioctl => 29,
        Call::Socket => 198,
        Call::Bind => 200,
        Call::Listen => 201,
        Call::Accept => 202,
        Call::Connect => 203,
        Call::GetSockName => 204,
        Call::GetPeerName => 205,
        Call::SendTo => 206,
        Call::ReceiveFrom => 207,
        Call::SetOption => 208,
        Call::GetOption => 209,
        Call::Shutdown => 210,
        Call::SendMessage => 211,
        Call::ReceiveMessage => 212,
        Call::Accept4 => 242,
        Call::ReceiveMessages => 243,
        Call::SendMessages => 269,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_a_number_of_its_own() {
        for architecture in Architecture::ALL {
            for call in Call::ALL {
                let number = architecture.number(call).unwrap();
                assert_eq!(architecture.call(number.cast_signed()), Some(call));
            }
        }
    }

    #[test]
    fn the_native_numbers_are_the_c_librarys() {
        let Some(native) = Architecture::NATIVE else { return };
        let expected = [
            (Call::Socket, libc::SYS_socket),
            (Call::Bind, libc::SYS_bind),
            (Call::Listen, libc::SYS_listen),
            (Call::Accept, libc::SYS_accept),
            (Call::Accept4, libc::SYS_accept4),
            (Call::Connect, libc::SYS_connect),
            (Call::Shutdown, libc::SYS_shutdown),
            (Call::GetSockName, libc::SYS_getsockname),
            (Call::GetPeerName, libc::SYS_getpeername),
            (Call::GetOption, libc::SYS_getsockopt),
            (Call::SetOption, libc::SYS_setsockopt),
            (Call::SendTo, libc::SYS_sendto),
            (Call::ReceiveFrom, libc::SYS_recvfrom),
            (Call::SendMessage, libc::SYS_sendmsg),
            (Call::ReceiveMessage, libc::SYS_recvmsg),
            (Call::SendMessages, libc::SYS_sendmmsg),
            (Call::Ioctl, libc::SYS_ioctl),
            (Call::ReceiveMessages, libc::SYS_recvmmsg),
        ];
        for (call, number) in expected {
            assert_eq!(native.number(call).map(i64::from), Some(number), "{}", call.name());
        }
    }
}
