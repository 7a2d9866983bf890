//! The stack behind packetdrill's `--so_filename` interface: a second judge of our scripts.
//!
//! `packetdrill --so_filename=libwitness.so script.pkt` loads this library, finds the one symbol
//! [`packetdrill_interface_init`] and from then on makes its system calls, sends and receives its
//! packets and reads its clock here. The stack is the same as anywhere; the matching and the
//! verdict are packetdrill's own, not a line of `sim`'s.
//!
//! Time is virtual. It passes when packetdrill sleeps, when it waits for a packet, and by a
//! microsecond whenever it looks at the clock (it waits for the last microseconds by looking).
//! A call that blocks does so in packetdrill's second thread; whoever lets time pass waits until
//! that thread saw what happened, so that no call returns late (`world.rs`).
//!
//! `--so_flags` takes settings by their sysctl names, and `mtu` and `local`:
//! `--so_flags=net.ipv4.tcp_timestamps=0,mtu=1400`. packetdrill would give the commands of a
//! script to a real shell: run it where that does no harm.
//!
//! The interface needs no `unsafe` but at its edge, in `interface.rs`.

mod epoll;
mod errno;
mod interface;
mod options;
mod sockets;
mod world;

pub use interface::{Interface, packetdrill_interface_init};
