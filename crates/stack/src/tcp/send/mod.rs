//! What is sent, and how much of it may be.

pub(crate) mod autotune;
pub(crate) mod control;
pub(crate) mod inflight;
pub(crate) mod nagle;
pub(crate) mod pacing;
pub(crate) mod queue;
pub(crate) mod rate;
pub(crate) mod usage;
pub(crate) mod window;
pub(crate) mod work;
