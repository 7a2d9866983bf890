//! The kernel's edge: the only place of this crate with `unsafe`.
//!
//! Each function is one request to the kernel with typed arguments. Nothing here decides.
#![allow(
    unsafe_code,
    reason = "seccomp, other processes' memory and interfaces, which no safe crate wraps"
)]

pub(crate) mod interface;
pub(crate) mod memory;
pub(crate) mod seccomp;
