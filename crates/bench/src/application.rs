//! What client and server say to each other, the same over every stack.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::row::{Family, Row, Work};

/// The client's address; it is the kernel's in every variant.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 1);
pub(crate) const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
/// The server's address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 2);
pub(crate) const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
/// The server's port.
pub(crate) const PORT: u16 = 5001;

/// How much is read and written at once in bulk: a quarter of a large second-level cache, so that
/// the buffer stays there.
pub(crate) const CHUNK: usize = 256 * 1024;

const HTTP_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n\r\n";
const HTTP_REPLY: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";
const CLOSING_REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
      Content-Length: 13\r\nConnection: close\r\n\r\nHello, world!";

/// A request and its answer. Both have one length, so that nobody parses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exchange {
    pub(crate) request: &'static [u8],
    pub(crate) reply: &'static [u8],
    /// The server closes the connection behind its answer.
    pub(crate) closes: bool,
}

impl Family {
    /// The client's address.
    pub(crate) fn client(self) -> IpAddr {
        match self {
            Self::V4 => CLIENT.into(),
            Self::V6 => CLIENT_V6.into(),
        }
    }

    /// The server's address.
    pub(crate) fn server(self) -> IpAddr {
        match self {
            Self::V4 => SERVER.into(),
            Self::V6 => SERVER_V6.into(),
        }
    }

    /// The length of the network of both, in bits.
    pub(crate) fn prefix(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }
}

impl Row {
    /// Where the server listens.
    pub(crate) fn server(&self) -> SocketAddr {
        (self.medium.family.server(), PORT).into()
    }
}

impl Work {
    /// What is exchanged; `None` for bulk.
    pub(crate) fn exchange(self) -> Option<Exchange> {
        let (request, reply, closes) = match self {
            Self::ToUs | Self::FromUs => return None,
            Self::Http => (HTTP_REQUEST, HTTP_REPLY, false),
            Self::Connect => (HTTP_REQUEST, CLOSING_REPLY, true),
            Self::Ping => (&b"?"[..], &b"!"[..], false),
        };
        Some(Exchange { request, reply, closes })
    }
}

/// Counts the bytes of requests into whole ones.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Requests {
    /// Bytes of one that is not whole.
    rest: usize,
}

impl Requests {
    /// `count` bytes came; how many requests of `length` bytes they complete.
    pub(crate) fn complete(&mut self, count: usize, length: usize) -> usize {
        let bytes = self.rest + count;
        self.rest = bytes % length;
        bytes / length
    }
}

/// What is sent in bulk: `length` bytes that are no zeros.
pub(crate) fn cargo(length: usize) -> Vec<u8> {
    vec![0x5a; length]
}

/// Serves one connection to its end, blocking.
pub(crate) fn serve(work: Work, stream: &mut (impl Read + Write)) -> io::Result<()> {
    match work.exchange() {
        Some(exchange) => answer(&exchange, stream),
        None if work == Work::ToUs => discard(stream),
        None => supply(stream),
    }
}

fn discard(stream: &mut impl Read) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    while stream.read(&mut chunk)? > 0 {}
    Ok(())
}

fn supply(stream: &mut impl Write) -> io::Result<()> {
    let chunk = cargo(CHUNK);
    loop {
        stream.write_all(&chunk)?;
    }
}

fn answer(exchange: &Exchange, stream: &mut (impl Read + Write)) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut requests = Requests::default();
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        for _ in 0..requests.complete(count, exchange.request.len()) {
            stream.write_all(exchange.reply)?;
            if exchange.closes {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_however_they_are_cut() {
        let mut requests = Requests::default();
        let whole: usize = [3, 0, 7, 25, 5].map(|count| requests.complete(count, 10)).iter().sum();
        assert_eq!((whole, requests.rest), (4, 0));
    }

    #[test]
    fn a_page_says_how_long_it_is() {
        for reply in [HTTP_REPLY, CLOSING_REPLY] {
            let text = std::str::from_utf8(reply).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
        }
        assert!(CLOSING_REPLY.windows(5).any(|word| word == b"close"));
    }

    #[test]
    fn a_connection_is_answered_to_its_end() {
        let mut stream = Script { from: b"???".to_vec(), to: Vec::new() };
        serve(Work::Ping, &mut stream).unwrap();
        assert_eq!(stream.to, b"!!!");
        let mut stream = Script { from: [HTTP_REQUEST; 2].concat(), to: Vec::new() };
        serve(Work::Connect, &mut stream).unwrap();
        assert_eq!(stream.to, CLOSING_REPLY);
    }

    struct Script {
        from: Vec<u8>,
        to: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            (&self.from[..]).read(buffer).inspect(|count| drop(self.from.drain(..*count)))
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.to.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
