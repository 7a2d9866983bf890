//! A TCP/IP stack in user space, with sockets shaped like `std::net` and `tokio::net`.
//!
//! A [`Stack`] is a host of its own inside your program: it has addresses, ports, a routing table
//! and connections that the kernel knows nothing of. It speaks through a [link](link::Link): a TUN
//! or TAP device, or one end of a wire in memory. Any number of stacks live in one process.
//!
//! # Two stacks in one process
//!
//! ```
//! use std::io::{Read, Write};
//! use estab::blocking::{TcpListener, TcpStream};
//! use estab::link::{PairConfig, pair};
//!
//! let (here, there) = pair(PairConfig::ip(1500))?;
//! let client = estab::Stack::builder().address([10, 0, 0, 1], 24).start(here)?;
//! let server = estab::Stack::builder().address([10, 0, 0, 2], 24).start(there)?;
//!
//! let listener = TcpListener::bind(&server, "10.0.0.2:7")?;
//! let echo = std::thread::spawn(move || -> std::io::Result<()> {
//!     let (mut stream, _peer) = listener.accept()?;
//!     let mut bytes = Vec::new();
//!     stream.read_to_end(&mut bytes)?;
//!     stream.write_all(&bytes)
//! });
//!
//! let mut stream = TcpStream::connect(&client, "10.0.0.2:7")?;
//! stream.write_all(b"who is there?")?;
//! stream.shutdown(std::net::Shutdown::Write)?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer)?;
//! assert_eq!(answer, "who is there?");
//!
//! echo.join().unwrap()?;
//! client.stop();
//! server.stop();
//! # std::io::Result::Ok(())
//! ```
//!
//! On a device of the kernel the first lines are
//! `link::TunBuilder::new().name("tun0").open()?` instead of the pair.
//!
//! # Which sockets
//!
//! | module | for | like |
//! |---|---|---|
//! | [`blocking`] | threads | `std::net` |
//! | [`blocking::poll`] | one thread with many sockets | mio |
//! | [`net`] (feature `tokio`, on by default) | tasks of any executor | `tokio::net` |
//! | [`inline`] | a program that is one loop, and runs the stack itself: the fastest | `epoll` |
//!
//! [`blocking`] and [`net`] have the names, the signatures and the [error kinds](std::io::ErrorKind) of their models;
//! `bind` and `connect` take the stack first. hyper runs on [`net`] unchanged, and with the
//! feature `axum` so does `axum::serve`. Who lives in a tokio runtime starts the stack
//! [on it](StackBuilder::on_runtime). [`Stack::ping`] and [`Pinger`] send echo requests.
//!
//! # Without a copy
//!
//! `read` and `write` copy each byte once. Who has more to do with bytes than to look at them can
//! take the [frames](Frame) that arrived, and hand over buffers to send:
//! [`read_frames`](blocking::TcpStream::read_frames) and
//! [`write_bytes`](blocking::TcpStream::write_bytes), in both families. A frame can be sent on:
//!
//! ```
//! # use std::io::{Read, Write};
//! # use estab::blocking::{TcpListener, TcpStream};
//! # use estab::link::{PairConfig, pair};
//! # let (here, there) = pair(PairConfig::ip(1500))?;
//! # let stack = estab::Stack::builder().address([10, 0, 0, 1], 24).start(here)?;
//! # let server = estab::Stack::builder().address([10, 0, 0, 2], 24).start(there)?;
//! # let listener = TcpListener::bind(&server, "10.0.0.2:7")?;
//! # let mut client = TcpStream::connect(&stack, "10.0.0.2:7")?;
//! # client.write_all(b"who is there?")?;
//! # let (stream, _) = listener.accept()?;
//! let mut frames = Vec::new();
//! stream.read_frames(&mut frames)?;
//! for frame in frames.drain(..) {
//!     stream.write_all_bytes(&mut frame.into())?;
//! }
//! # let mut answer = [0; 13];
//! # client.read_exact(&mut answer)?;
//! # assert_eq!(&answer, b"who is there?");
//! # stack.stop();
//! # server.stop();
//! # std::io::Result::Ok(())
//! ```
//!
//! # Flows to any address
//!
//! With [`StackBuilder::any_address`] a stack takes what is for others, too. [`net::TcpFlows`] and
//! [`net::UdpFlows`] (and those of [`blocking`]) give every flow to any address and port to the program,
//! which decides about a connection [before it is answered](net::PendingTcp). [`net::Packets`] has what
//! else comes. [`link::Lab`] makes a network whose packets come to a program that stays outside of it;
//! the examples `transparent_proxy` and `any_port` show all of it.
//!
//! # How fast it sends
//!
//! Each socket has a [congestion controller](congestion), by the names of `TCP_CONGESTION`, and its
//! own limits. [`Config::tcp`] holds what sockets start with, and a listener's options are those of
//! the connections that it accepts.
//!
//! ```
//! # use estab::blocking::{TcpListener, TcpStream};
//! # use estab::link::{PairConfig, pair};
//! use std::time::Duration;
//! use estab::{EcnMode, RtoLimits, TcpOptions};
//!
//! # let (here, there) = pair(PairConfig::ip(1500))?;
//! # let stack = estab::Stack::builder().address([10, 0, 0, 1], 24).start(here)?;
//! # let server = estab::Stack::builder().address([10, 0, 0, 2], 24).start(there)?;
//! # let listener = TcpListener::bind(&server, "10.0.0.2:7")?;
//! let options = TcpOptions {
//!     ecn: EcnMode::Request,
//!     rto: RtoLimits { min: Duration::from_millis(50), ..RtoLimits::default() },
//!     max_pacing_rate: Some(1_000_000), // bytes a second
//!     ..TcpOptions::default()
//! };
//! let stream = TcpStream::connect_with(&stack, None, "10.0.0.2:7".parse().unwrap(), &options)?;
//! stream.set_congestion("bbr")?;
//! assert_eq!(stream.info()?.congestion, "bbr");
//! # stack.stop();
//! # server.stop();
//! # std::io::Result::Ok(())
//! ```
//!
//! # What goes wrong, and what you see
//!
//! | event | [`ErrorKind`](std::io::ErrorKind) |
//! |---|---|
//! | the peer answered SYN with RST | `ConnectionRefused` |
//! | the peer reset the connection | `ConnectionReset` |
//! | the peer did not answer (SYN, data, keep-alive, user timeout) | `TimedOut` |
//! | ICMP host unreachable, or no answer to ARP | `HostUnreachable` |
//! | no route, or ICMP network unreachable | `NetworkUnreachable` |
//! | a broadcast without `set_broadcast` | `PermissionDenied` |
//! | ICMP protocol unreachable | `Unsupported` |
//! | writing after `shutdown`, or to a connection that is over | `BrokenPipe` |
//! | the port is taken; the address is not the stack's | `AddrInUse`; `AddrNotAvailable` |
//! | a limit of [`Config`] is reached | `QuotaExceeded` |
//! | no congestion controller has this name | `NotFound` |
//! | a read or write timeout passed, or non-blocking | `WouldBlock` |
//! | the stack was stopped, or lost its link | `NetworkDown` |
//!
//! The stack's own [`stack::Error`] is inside (`io::Error::get_ref`).
//!
//! # What you can rely on
//!
//! - **Closing never lies.** Dropping a stream sends what was written and then FIN, in the
//!   background, and repeats both until they are acknowledged. When something was received and not
//!   read, the peer gets RST. [`blocking::TcpStream::set_linger`] makes dropping wait.
//! - **Stopping is an end.** After [`Stack::stop`] there is no thread, no descriptor and no call
//!   that still waits. [`Stack::stop_graceful`] delivers first. Dropping the last handle and the
//!   last socket ends the stack too, in the background, once everything is delivered.
//! - **Memory is bounded** by [`Config`]: buffers, queues and half-open connections. Buffers hold
//!   what is really there.
//! - **A call is a call.** Writing sends in the caller's own turn when window and link allow (or with
//!   those that follow at once, [while one thread polls](blocking::poll#when-it-is-sent)), with no other
//!   thread involved; one thread per stack receives, keeps time and sends the rest, where no
//!   thread does that waits for a socket anyway. What a full link refuses is kept and goes first when
//!   there is room.
//! - **Names are looked up where you say so.** The feature `dns` has `net::connect` and `net::Resolver`,
//!   which ask over the stack's own sockets. Everywhere else give literal addresses; a host name would
//!   go to the system's resolver, over the system's network.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod activity;
mod addressing;
mod block;
pub mod blocking;
mod builder;
mod busy;
mod connection;
mod datagram;
mod driver;
mod engine;
mod error;
mod handle;
mod here;
#[cfg(feature = "tokio")]
mod host;
pub mod inline;
mod lead;
mod listener;
#[cfg(feature = "tokio")]
pub mod net;
mod owned;
mod packets;
mod parts;
mod pending;
mod ping;
mod poller;
mod port;
mod ports;
mod ready;
mod recording;
mod seats;
mod shards;
mod shared;
mod socket;
mod traceroute;
mod udp_flows;
mod wait;

pub use activity::Activity;
pub use builder::{Interface, StackBuilder};
pub use handle::Stack;
pub use owned::Frame;
pub use ping::{Pinger, Pong};
pub use recording::Recording;
pub use stack::tcp::congestion;
pub use stack::{
    AddressChange, AddressFate, BufferRange, Config, Counters, DEFAULT_TTL, DhcpLease, Echo,
    EcnMode, KeepAlive, MtuDiscovery, MtuProbing, NewFlow, OtherProtocols, PendingSyn, PolicyRow,
    PolicyTable, Refusal, RtoLimits, SocketEntry, State, TcpInfo, TcpOptions, TraceEvent,
    UdpOptions, UdpReceived, UdpTransmit, Unreachable,
};
pub use traceroute::{Hop, HopAnswer, ProbeKind, TraceEnd, TraceOptions};

/// The protocols without I/O, by the name that they have for who runs them [`inline`].
pub use stack as core;

/// Buffers that are shared instead of copied: what is written without a copy comes in them.
pub use bytes;

/// The rooms below: links to speak through, the protocols without I/O, the formats.
pub use {link, stack, wire};
