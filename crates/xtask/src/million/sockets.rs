//! Connections between the blocking sockets of two running stacks, over a wire in memory.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use estab::blocking::{TcpListener, TcpStream};
use estab::{Stack, TcpOptions};
use link::{PairConfig, pair};

use super::measure::{compare, each, resident};

/// Connections from each of the client's addresses, and the first one's port.
const PER_ADDRESS: usize = 60_000;
const FIRST_PORT: usize = 2_000;
/// How many threads connect.
const THREADS: usize = 8;
/// The world to compare with.
const FEW: usize = 10;
/// Pieces of work in each round of a comparison.
const WORK: usize = 200;
/// How many connections have a request under way at a time.
const WAVE: usize = 64;
/// What a request and its answer carry.
const REQUEST: [u8; 100] = [7; 100];

/// `__million-sockets COUNT`: both ends in one process.
pub(super) fn run(count: usize) -> Result<()> {
    println!("sockets: {count} connections between two running stacks in one process");
    let (mut few, mut many) = (World::new(1, FEW)?, World::new(2, count)?);
    let before = resident()?;
    many.open(count)?;
    let virgin = resident()? - before;
    println!("  {:.0} bytes an end, open and never used", each(virgin, 2 * count));
    many.use_all()?;
    // The last delayed ACKs leave.
    thread::sleep(std::time::Duration::from_millis(300));
    let used = resident()? - before;
    println!("  {:.0} bytes an end, after a request and an answer", each(used, 2 * count));

    few.open(FEW)?;
    for (how, few_step, many_step) in [("the same", 0, 0), ("another", 1, 7919)] {
        let seen = compare(
            WORK,
            |n| few.exchange_with(n, few_step),
            |n| many.exchange_with(n, many_step),
        )?;
        seen.print(&format!("request, answer: always {how}"), FEW, count);
    }
    Ok(())
}

/// Two running stacks, and both ends of each connection.
struct World {
    client: Stack,
    server: Stack,
    at: SocketAddr,
    /// The client's and the server's end of each, in the same order.
    ours: Vec<TcpStream>,
    theirs: Vec<TcpStream>,
    last: usize,
}

impl World {
    /// Without a connection, in a network of its own.
    fn new(network: u8, count: usize) -> Result<Self> {
        let (here, there) = pair(PairConfig { capacity: 4096, ..PairConfig::ip(1500) })?;
        let mut client = Stack::builder();
        for number in 0..count.div_ceil(PER_ADDRESS) {
            client = client.address(client_address(network, number), 16);
        }
        let server = IpAddr::V4(Ipv4Addr::new(10, network, 0, 1));
        Ok(Self {
            client: client.start(here)?,
            server: Stack::builder().address(server, 16).start(there)?,
            at: SocketAddr::new(server, 80),
            ours: Vec::with_capacity(count),
            theirs: Vec::with_capacity(count),
            last: 0,
        })
    }

    fn open(&mut self, count: usize) -> Result<()> {
        let IpAddr::V4(server) = self.at.ip() else { return Err(anyhow!("not ours")) };
        let network = server.octets()[1];
        let listener = TcpListener::bind(&self.server, self.at)?;
        let accepting = thread::spawn(move || -> Result<Vec<(usize, TcpStream)>> {
            let mut streams = Vec::with_capacity(count);
            for _ in 0..count {
                let (stream, peer) = listener.accept()?;
                streams.push((index_of(peer)?, stream));
            }
            Ok(streams)
        });
        let share = count.div_ceil(THREADS);
        let connect = |part: usize| -> Result<Vec<TcpStream>> {
            let mine = part * share..((part + 1) * share).min(count);
            mine.map(|index| self.connect(network, index)).collect()
        };
        let connected = thread::scope(|scope| -> Result<Vec<TcpStream>> {
            let connect = &connect;
            let threads: Vec<_> =
                (0..THREADS).map(|part| scope.spawn(move || connect(part))).collect();
            let mut all = Vec::with_capacity(count);
            for thread in threads {
                all.extend(thread.join().map_err(|_| anyhow!("a thread panicked"))??);
            }
            Ok(all)
        })?;
        self.ours = connected;
        let mut accepted = accepting.join().map_err(|_| anyhow!("a thread panicked"))??;
        accepted.sort_by_key(|(index, _)| *index);
        self.theirs.extend(accepted.into_iter().map(|(_, stream)| stream));
        ensure!(self.ours.len() == count && self.theirs.len() == count, "some are missing");
        Ok(())
    }

    fn connect(&self, network: u8, index: usize) -> Result<TcpStream> {
        let port = u16::try_from(FIRST_PORT + index % PER_ADDRESS)?;
        let local = SocketAddr::new(client_address(network, index / PER_ADDRESS), port);
        let options = TcpOptions::default();
        let stream = TcpStream::connect_with(&self.client, Some(local), self.at, &options);
        stream.with_context(|| format!("connection {index}"))
    }

    /// A request and an answer over each connection.
    fn use_all(&mut self) -> Result<()> {
        let mut buffer = [0; REQUEST.len()];
        for (ours, theirs) in self.ours.chunks(WAVE).zip(self.theirs.chunks(WAVE)) {
            for mut stream in ours {
                stream.write_all(&REQUEST)?;
            }
            for mut stream in theirs {
                stream.read_exact(&mut buffer)?;
                stream.write_all(&buffer)?;
            }
            for mut stream in ours {
                stream.read_exact(&mut buffer)?;
            }
        }
        Ok(())
    }

    /// So many exchanges, each so many connections further.
    fn exchange_with(&mut self, count: usize, step: usize) -> Result<()> {
        let mut buffer = [0; REQUEST.len()];
        for _ in 0..count {
            self.last = (self.last + step) % self.ours.len();
            let (mut ours, mut theirs) = (&self.ours[self.last], &self.theirs[self.last]);
            ours.write_all(&REQUEST)?;
            theirs.read_exact(&mut buffer)?;
            theirs.write_all(&buffer)?;
            ours.read_exact(&mut buffer)?;
        }
        Ok(())
    }
}

impl Drop for World {
    /// Not a million times FIN.
    fn drop(&mut self) {
        self.client.stop();
        self.server.stop();
    }
}

fn client_address(network: u8, number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, network, 1, u8::try_from(number).unwrap_or(u8::MAX)))
}

/// Which connection a client's address belongs to.
fn index_of(peer: SocketAddr) -> Result<usize> {
    let IpAddr::V4(address) = peer.ip() else { return Err(anyhow!("{peer} is not ours")) };
    let number = usize::from(address.octets()[3]);
    Ok(number * PER_ADDRESS + usize::from(peer.port()) - FIRST_PORT)
}
