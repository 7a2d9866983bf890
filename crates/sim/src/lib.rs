//! Worlds of hosts and links in virtual time, and a runner for packet scripts.
//!
//! The stack does no I/O, so a test can be its network, its clock and its programs. Three ways:
//!
//! * [`script`]: one stack, and a script that says which segments arrive and which must leave, in
//!   the language of packetdrill. For requirements that can be written down packet by packet.
//! * [`world`]: several hosts with the real stack, links that lose, delay, repeat, reorder and
//!   damage packets, and programs that open, use and close connections, all drawn from one seed.
//!   For everything that nobody thought of writing down.
//!
//! * [`study`]: a world that a person wrote down, measured: curves, tables.
//!
//! All run the same [`stack::Stack`] that programs use, in virtual time and without randomness of
//! their own: what failed once fails again.

#![forbid(unsafe_code)]

pub mod script;
pub mod segment;
pub mod study;
pub mod units;
pub mod world;
