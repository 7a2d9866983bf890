//! Who serves: the kernel, estab, and what they are measured against.

use crate::row::{Family, PLAIN, Row};

/// A server. The client is always the same program on the kernel's sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Variant {
    /// Kernel sockets over a veth pair: blocking for bulk, one thread with epoll for requests.
    Kernel,
    /// Kernel sockets over a veth pair with a thread for each connection: the very application
    /// of [`Variant::Sockets`].
    KernelThreads,
    /// The device's limit: answers, acknowledges and discards.
    Null,
    /// The null stack that copies each byte once, through a buffer that stays in the cache.
    NullCopy,
    /// The null stack that copies each byte once, through a buffer larger than the caches.
    NullRing,
    /// The same, and checksums each byte.
    NullSum,
    /// The null stack that never sleeps.
    NullSpin,
    /// The null stack that reads and writes several frames with one system call, by io_uring.
    NullUring,
    /// estab with its shared driver and blocking sockets, a thread for each connection.
    Sockets,
    /// The same, polling the device for a while before it sleeps.
    SocketsSpin,
    /// The same sockets, all in one thread that polls them.
    SocketsPoll,
    /// estab on a tokio runtime with one thread, with tokio's sockets, a task for each connection.
    Tasks,
    /// estab in the thread of the application, with borrowed reads and owned writes.
    Inline,
    /// The same, polling the device for a while before it sleeps.
    InlineSpin,
    /// smoltcp, over the same device.
    Smoltcp,
}

/// Every variant, in the order of a round.
pub(crate) const VARIANTS: [Variant; 15] = [
    Variant::Kernel,
    Variant::KernelThreads,
    Variant::Null,
    Variant::NullCopy,
    Variant::NullRing,
    Variant::NullSum,
    Variant::NullSpin,
    Variant::NullUring,
    Variant::Sockets,
    Variant::SocketsSpin,
    Variant::SocketsPoll,
    Variant::Tasks,
    Variant::Inline,
    Variant::InlineSpin,
    Variant::Smoltcp,
];

impl Variant {
    /// The variant with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        VARIANTS.into_iter().find(|variant| variant.name() == name)
    }

    /// For the command line, the JSON and the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::KernelThreads => "kernel-threads",
            Self::Null => "null",
            Self::NullCopy => "null-copy",
            Self::NullRing => "null-ring",
            Self::NullSum => "null-sum",
            Self::NullSpin => "null-spin",
            Self::NullUring => "null-uring",
            Self::Sockets => "sockets",
            Self::SocketsSpin => "sockets-spin",
            Self::SocketsPoll => "sockets-poll",
            Self::Tasks => "tasks",
            Self::Inline => "inline",
            Self::InlineSpin => "inline-spin",
            Self::Smoltcp => "smoltcp",
        }
    }

    /// Whether it is estab.
    pub(crate) fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Sockets
                | Self::SocketsSpin
                | Self::SocketsPoll
                | Self::Tasks
                | Self::Inline
                | Self::InlineSpin
        )
    }

    /// Whether it serves over veth, with the kernel's TCP on both sides.
    pub(crate) fn is_kernel(self) -> bool {
        matches!(self, Self::Kernel | Self::KernelThreads)
    }

    /// Whether a row means something for it.
    pub(crate) fn serves(self, row: &Row) -> bool {
        match self {
            Self::Kernel | Self::Null | Self::Sockets | Self::Inline | Self::Smoltcp => true,
            Self::NullUring | Self::SocketsPoll | Self::Tasks => row.medium == PLAIN,
            // For bulk the kernel has a thread for each connection anyway.
            Self::KernelThreads => !row.is_bulk() && row.medium == PLAIN,
            // A copy of a request is nothing, and one of a byte costs the same over either IP.
            Self::NullCopy => row.is_bulk() && row.medium.family == Family::V4,
            Self::NullRing | Self::NullSum => {
                row.is_bulk() && row.connections == 1 && row.medium == PLAIN
            }
            // On one core the client would wait for the time slice of who spins.
            Self::NullSpin | Self::SocketsSpin | Self::InlineSpin if row.is_latency() => {
                !row.one_core
            }
            Self::NullSpin => row.name == "out",
            Self::SocketsSpin | Self::InlineSpin => false,
        }
    }

    /// Whether `--quick` takes it.
    pub(crate) fn is_quick(self) -> bool {
        let others = [Self::KernelThreads, Self::NullRing, Self::NullSum, Self::NullUring];
        !others.contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::ROWS;

    #[test]
    fn variants_are_found_by_their_names() {
        assert!(VARIANTS.iter().all(|variant| Variant::named(variant.name()) == Some(*variant)));
        assert_eq!(Variant::named("windows"), None);
    }

    #[test]
    fn every_row_has_a_kernel_a_limit_and_a_baseline() {
        for row in &ROWS {
            use Variant::{Inline, Kernel, Null, Smoltcp, Sockets};
            for variant in [Kernel, Null, Sockets, Inline, Smoltcp] {
                assert!(variant.serves(row), "{} in {}", variant.name(), row.name);
            }
        }
    }
}
