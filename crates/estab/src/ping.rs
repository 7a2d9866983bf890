//! Echo requests: is somebody there, and how far away?

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::time::Duration;

use stack::{PingId, SocketId};
use wire::icmpv4::Timestamps;
use wire::ipv4::Options;
use wire::time::Instant;

use crate::Stack;
use crate::error::from_stack;
use crate::shared::lock;
use crate::socket::Socket;
use crate::wait::Side;

/// How many requests are remembered to tell the time of their answers.
const REMEMBERED: usize = 64;

/// Sends echo requests and receives the answers (RFC 792), as the `ping` program does.
///
/// [`Stack::ping`] is the short form for one request.
#[derive(Debug)]
pub struct Pinger {
    socket: Socket,
    id: PingId,
    /// When the latest requests were sent, by sequence number; oldest first.
    sent: Mutex<Vec<(u16, Instant)>>,
}

/// The answer to an echo request.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Pong {
    /// Who answered.
    pub source: IpAddr,
    /// The sequence number of the request.
    pub sequence: u16,
    /// The time to live that the answer arrived with.
    pub ttl: u8,
    /// The options of IPv4 that it arrived with: a recorded route is that of both ways.
    pub options: Options,
    /// What was sent, come back.
    pub payload: Vec<u8>,
    /// From sending the request to receiving the answer; `None` when the request was too long ago.
    pub round_trip: Option<Duration>,
    /// What the answer to [`ask_for_time`](Pinger::ask_for_time) says, in milliseconds of the day.
    pub times: Option<Timestamps>,
}

impl Pinger {
    /// What a poll watches.
    pub(crate) fn to_poll(&self) -> &Socket {
        &self.socket
    }

    /// Opens a socket for echo requests.
    ///
    /// # Errors
    /// `QuotaExceeded` when there are too many, `NetworkDown` when the stack has ended.
    pub fn open(stack: &Stack) -> io::Result<Self> {
        let (socket, id) =
            Socket::open(stack.hold(None), SocketId::Ping, |core, _| core.ping_open(None))?;
        Ok(Self { socket, id, sent: Mutex::new(Vec::new()) })
    }

    /// Sends one request to `address`.
    ///
    /// # Errors
    /// `NetworkUnreachable`; `InvalidInput` when the payload is too long for one packet;
    /// `NetworkDown` when the stack has ended.
    pub fn send(&self, address: IpAddr, sequence: u16, payload: &[u8]) -> io::Result<()> {
        self.ask(sequence, |core, now| core.ping_send(now, self.id, address, sequence, payload))
    }

    /// Sends one request for the time to `address` (RFC 792, timestamp), which few hosts answer. The answer has
    /// [`Pong::times`].
    ///
    /// # Errors
    /// `NetworkUnreachable`; `NetworkDown` when the stack has ended.
    pub fn ask_for_time(&self, address: Ipv4Addr, sequence: u16) -> io::Result<()> {
        self.ask(sequence, |core, now| core.ping_send_timestamp(now, self.id, address, sequence))
    }

    /// The options of IPv4 that requests carry from now on, at most 40 bytes; none is none. With a record route
    /// the answer says which way both went.
    ///
    /// # Errors
    /// `InvalidInput` for what no receiver could read, `PermissionDenied` for a source route, which is dropped
    /// nearly everywhere (RFC 7126 4.3), `NetworkDown` when the stack has ended.
    pub fn set_options_v4(&self, options: &[u8]) -> io::Result<()> {
        self.socket.call(|core, _| core.ping_set_options(self.id, options))
    }

    fn ask(
        &self,
        sequence: u16,
        send: impl FnOnce(&mut stack::Stack, Instant) -> Result<(), stack::Error>,
    ) -> io::Result<()> {
        self.socket.call(|core, now| {
            send(core, now)?;
            let mut sent = lock(&self.sent);
            if sent.len() >= REMEMBERED {
                sent.remove(0);
            }
            sent.push((sequence, now));
            Ok(())
        })
    }

    /// Waits for the next answer, at most for `timeout`; `None` means for ever, zero not at all.
    ///
    /// # Errors
    /// `TimedOut` when nothing comes; `HostUnreachable` and its like when the network said so
    /// about a request; `NetworkDown` when the stack has ended.
    pub fn receive(&self, timeout: Option<Duration>) -> io::Result<Pong> {
        let id = self.id;
        let receive = |core: &mut stack::Stack, _| core.ping_receive(id);
        let reply = self
            .socket
            .block_for(Side::Read, timeout, receive)
            .unwrap_or_else(|| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))?;
        if let Some(error) = reply.error {
            return Err(from_stack(error));
        }
        let mut sent = lock(&self.sent);
        let request = sent.iter().position(|(sequence, _)| *sequence == reply.sequence);
        let round_trip = request.map(|index| reply.received.since(sent.remove(index).1));
        Ok(Pong {
            source: reply.source,
            sequence: reply.sequence,
            ttl: reply.ttl,
            options: reply.options,
            times: reply.times,
            payload: reply.payload.to_vec(),
            round_trip,
        })
    }
}
