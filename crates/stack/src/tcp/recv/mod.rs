//! What arrives, what waits for the program, and what the peer is told about it.

pub(crate) mod ack;
pub(crate) mod assembler;
pub(crate) mod autotune;
pub(crate) mod queue;
pub(crate) mod sack;
pub(crate) mod text;
pub(crate) mod window;
pub(crate) mod work;
