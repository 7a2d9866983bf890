//! Sockets that block, with the names, signatures and errors of [`std::net`].
//!
//! Each call may be made from any thread. One thread waits for many sockets with a [`poll`]. What differs
//! from `std::net`: `bind` and `connect` take the [`Stack`](crate::Stack) first; a timeout is per socket, not
//! per clone, as on Linux; and there is more to ask ([`TcpStream::info`], [`TcpStream::options`]).
//!
//! A call sends what it has to send before it returns, unless another thread is about to: where turn after
//! turn brings several small frames and the device can [batch](link::Batching), the thread that carries them
//! wakes those that answer, and sends all the answers with one system call, as soon as it runs again.

mod flows;
mod packets;
pub mod poll;
mod tcp;
mod tcp_split;
mod udp;
mod udp_flows;

pub use flows::{PendingTcp, TcpFlows};
pub use packets::Packets;
pub use tcp::{Incoming, TcpListener, TcpStream};
pub use tcp_split::{ReadHalf, ReuniteError, WriteHalf};
pub use udp::UdpSocket;
pub use udp_flows::{UdpFlow, UdpFlows};
