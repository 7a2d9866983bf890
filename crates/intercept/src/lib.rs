//! Unmodified Linux programs on estab's TCP/IP stack.
//!
//! A program that runs under the [filter](filter::install) has its IPv4 and IPv6 sockets from a
//! [`Supervisor`] instead of the kernel. The supervisor answers the calls that make sockets and name
//! addresses, and moves the bytes; what the program reads and writes goes through a pair of connected
//! Unix sockets, one of whose ends is the program's descriptor. So `read`, `write`, `poll`, `dup`,
//! `fork`, `sendfile` and the passing of descriptors are the kernel's own, and cost what they always cost.

mod accept;
mod address;
mod bind;
mod bound;
mod close;
mod connect;
mod create;
mod errno;
pub mod filter;
mod first_use;
mod handle;
mod held;
mod interface;
mod list;
mod names;
mod network;
mod notify;
mod options;
mod process;
mod relay;
mod replay;
mod report;
mod request;
mod send;
mod serve;
mod shutdown;
mod sockopt;
mod supervisor;
mod sys;
mod syscall;
mod table;
mod tcp_info;
mod trace;
mod udp;

pub use bound::Bound;
pub use filter::FilterOptions;
pub use handle::Handle;
pub use options::{FirstUse, Observer, Options};
pub use report::{CallEvent, Effect, Errno, SocketUser, SocketUsers};
pub use supervisor::{Summary, Supervisor};
