//! Sockets for asynchronous code, with the names, signatures and traits of `tokio::net`.
//!
//! They wake tasks by their wakers and need no runtime's reactor or timer: any executor will do.
//! Started [on a runtime](crate::StackBuilder::on_runtime) the stack is carried by a task of it, which is
//! faster. What differs from `tokio::net`: `bind` and `connect` take the [`Stack`](crate::Stack) first.
//! Dropping a future of these sockets loses nothing.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "dns")]
mod dns;
mod flows;
#[cfg(feature = "dns")]
mod happy_eyeballs;
mod packets;
pub mod tcp;
mod tcp_listener;
mod tcp_stream;
mod udp;
mod udp_flows;

#[cfg(feature = "dns")]
#[cfg_attr(docsrs, doc(cfg(feature = "dns")))]
pub use dns::{Resolver, connect};
pub use flows::{PendingTcp, TcpFlows};
pub use packets::Packets;
pub use tcp_listener::TcpListener;
pub use tcp_stream::TcpStream;
pub use udp::UdpSocket;
pub use udp_flows::{UdpFlow, UdpFlows};
