//! Names: looked up over the stack's own sockets, and connected to whichever address answers first.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::{
    DnsTcpStream, DnsUdpSocket, RuntimeProvider, TokioHandle, TokioTime,
};
use hickory_resolver::proto::rr::RecordType;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::happy_eyeballs::{self, Attempt, Lookup};
use super::{TcpStream, UdpSocket};
use crate::Stack;

/// How long a connection to a name server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to `address`, a name or a literal address with a port (`"example.org:443"`), asking the name
/// servers that the stack was told of ([`Stack::dns_servers`]) over the stack's own sockets.
///
/// The addresses of both families are tried as Happy Eyeballs does (RFC 8305): the best first
/// ([`Stack::sort_destinations`]), the other family's next, each
/// after a quarter of a second or at once when one fails, and the first that answers wins. Who connects
/// often, or knows its name servers, keeps a [`Resolver`], which remembers answers.
///
/// Needs a tokio runtime with its timer.
///
/// # Errors
/// `InvalidInput` without a port, `NotFound` when the name has no address or no name server is known;
/// else what the last attempt to connect says, as [`TcpStream::connect`].
pub async fn connect(stack: &Stack, address: &str) -> io::Result<TcpStream> {
    if let Ok(literal) = address.parse::<SocketAddr>() {
        return TcpStream::connect(stack, literal).await;
    }
    Resolver::new(stack, &stack.dns_servers())?.connect(address).await
}

/// Looks names up over a stack's own sockets, and remembers the answers for as long as they are good.
#[derive(Clone)]
pub struct Resolver {
    stack: Stack,
    inner: hickory_resolver::Resolver<Provider>,
}

impl Resolver {
    /// Asks `servers`, over UDP, and over TCP where an answer is too long.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn new(stack: &Stack, servers: &[SocketAddr]) -> io::Result<Self> {
        if servers.is_empty() {
            let why = "no name server is known: give one, or use DHCP";
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        let servers = servers.iter().map(|&server| name_server(server)).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let provider = Provider { stack: stack.clone(), handle: TokioHandle::default() };
        let mut builder = hickory_resolver::Resolver::builder_with_config(config, provider);
        // The system's file is about the system's network.
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        let inner = builder.build().map_err(from_resolver)?;
        Ok(Self { stack: stack.clone(), inner })
    }

    /// The addresses of `name`, in the order in which to try them ([`Stack::sort_destinations`]).
    ///
    /// # Errors
    /// `NotFound` when it has none; what the network says where no server answers.
    pub async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let v6 = self.lookup_one(name, RecordType::AAAA).await;
        let v4 = self.lookup_one(name, RecordType::A).await;
        match (v6, v4) {
            (Err(error), Err(_)) => Err(error),
            (v6, v4) => {
                let mut all = [v6.unwrap_or_default(), v4.unwrap_or_default()].concat();
                self.stack.sort_destinations(&mut all);
                Ok(all)
            }
        }
    }

    /// Connects as [`connect`] does.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn connect(&self, address: &str) -> io::Result<TcpStream> {
        if let Ok(literal) = address.parse::<SocketAddr>() {
            return TcpStream::connect(&self.stack, literal).await;
        }
        let (name, port) = split(address)?;
        let connect = |address: IpAddr| -> Attempt<TcpStream> {
            let stack = self.stack.clone();
            let remote = SocketAddr::new(address, port);
            Box::pin(async move { TcpStream::connect(&stack, remote).await })
        };
        let lookups = [self.boxed(name, RecordType::AAAA), self.boxed(name, RecordType::A)];
        let sort = |addresses: &mut [IpAddr]| self.stack.sort_destinations(addresses);
        happy_eyeballs::race(lookups, sort, connect).await
    }

    fn boxed(&self, name: &str, kind: RecordType) -> Lookup {
        let (resolver, name) = (self.clone(), name.to_owned());
        Box::pin(async move { resolver.lookup_one(&name, kind).await })
    }

    async fn lookup_one(&self, name: &str, kind: RecordType) -> io::Result<Vec<IpAddr>> {
        let found = self.inner.lookup(name, kind).await.map_err(from_resolver)?;
        Ok(found.answers().iter().filter_map(|record| record.data.ip_addr()).collect())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("stack", &self.stack).finish_non_exhaustive()
    }
}

/// The name and the port of `name:port`.
fn split(address: &str) -> io::Result<(&str, u16)> {
    let parts = address.rsplit_once(':');
    let parts = parts.and_then(|(name, port)| Some((name, port.parse().ok()?)));
    parts.filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{address}: not NAME:PORT"))
    })
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, connections.to_vec())
}

fn from_resolver(error: NetError) -> io::Error {
    let kind = match &error {
        NetError::Timeout => io::ErrorKind::TimedOut,
        error if error.is_no_records_found() => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// Gives the resolver the stack's sockets.
#[derive(Clone)]
struct Provider {
    stack: Stack,
    handle: TokioHandle,
}

type Boxed<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

impl RuntimeProvider for Provider {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = UdpSocket;
    type Tcp = DnsStream;

    fn create_handle(&self) -> Self::Handle {
        self.handle.clone()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        _local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Boxed<Self::Tcp> {
        let stack = self.stack.clone();
        Box::pin(async move {
            let connecting = TcpStream::connect(&stack, server);
            let limit = timeout.unwrap_or(CONNECT_TIMEOUT);
            Ok(DnsStream(tokio::time::timeout(limit, connecting).await??))
        })
    }

    fn bind_udp(&self, local: SocketAddr, _server: SocketAddr) -> Boxed<Self::Udp> {
        let stack = self.stack.clone();
        Box::pin(async move { UdpSocket::bind(&stack, local).await })
    }
}

impl DnsUdpSocket for UdpSocket {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(buffer);
        let from = ready!(UdpSocket::poll_recv_from(self, cx, &mut buffer))?;
        Poll::Ready(Ok((buffer.filled().len(), from)))
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        payload: &[u8],
        remote: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        UdpSocket::poll_send_to(self, cx, payload, remote)
    }
}

/// A connection with the traits that the resolver asks for.
struct DnsStream(TcpStream);

impl DnsTcpStream for DnsStream {
    type Time = TokioTime;
}

impl futures_io::AsyncRead for DnsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl futures_io::AsyncWrite for DnsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
