//! Packet formats: bytes to meaning and back.
//!
//! Placeholder for the crate's manual.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod ethernet;
pub mod frame;
pub mod time;
