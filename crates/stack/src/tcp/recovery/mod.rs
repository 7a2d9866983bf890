//! What was lost, and when that is known.

pub(crate) mod newreno;
pub(crate) mod rto;
pub(crate) mod rtt;
