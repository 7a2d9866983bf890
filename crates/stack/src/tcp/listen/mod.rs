//! Passive opens: listeners, their SYN queues and accept queues, and SYN cookies.

pub(crate) mod half_open;
pub(crate) mod listener;
pub(crate) mod pending;
pub(crate) mod places;
pub(crate) mod syn_cookie;
