//! What is sent, and how much of it may be.

pub(crate) mod nagle;
pub(crate) mod queue;
pub(crate) mod window;
