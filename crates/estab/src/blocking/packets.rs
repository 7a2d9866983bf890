//! Whole packets, for threads.

use std::io;

use crate::Stack;
use crate::packets::PacketQueue;
use crate::socket::Socket;
use crate::wait::Side;

/// The packets that a stack hands over: echo requests where [`Config::echo`](crate::Config) says so,
/// and packets of protocols that the stack does not speak where `Config::other_protocols` does.
///
/// ```no_run
/// # fn example(link: estab::link::PairEnd) -> std::io::Result<()> {
/// use estab::{Config, Echo, Stack};
///
/// let config = Config { echo: Echo::HandOver, ..Config::default() };
/// let stack = Stack::builder().config(config).any_address().start(link)?;
/// let packets = estab::blocking::Packets::open(&stack)?;
/// let mut packet = [0; 1500];
/// let length = packets.recv(&mut packet)?; // from its IP header on
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Packets {
    queue: PacketQueue,
}

impl Packets {
    /// Takes the packets that `stack` hands over from now on.
    ///
    /// # Errors
    /// `AddrInUse` when somebody takes them already, `NetworkDown` when the stack has ended.
    pub fn open(stack: &Stack) -> io::Result<Self> {
        Ok(Self { queue: PacketQueue::open(stack)? })
    }

    /// Waits for a packet, from its IP header on; what does not fit is lost.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.queue.receive(buffer)
    }

    /// Sends a whole IP packet, from any address. The checksum of an IPv4 header is filled in.
    ///
    /// # Errors
    /// `InvalidInput` when it is no packet, or too long for the link; `NetworkUnreachable` without a
    /// route; `NetworkDown` when the stack has ended.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        let (socket, send) = self.queue.send(packet);
        socket.block(Side::Write, send)
    }

    /// Whether calls fail with `WouldBlock` instead of waiting.
    pub fn set_nonblocking(&self, nonblocking: bool) {
        self.queue.set_nonblocking(nonblocking);
    }

    /// What a poll watches.
    pub(super) fn to_poll(&self) -> Vec<&Socket> {
        self.queue.sockets().collect()
    }
}
