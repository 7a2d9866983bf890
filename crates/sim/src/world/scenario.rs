//! What a seed decides: who is there, what the paths are like, and what the programs do.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use stack::{Config, TcpOptions};
use wire::time::{Duration, Instant};

use super::dice::Dice;
use super::host::{self, Host};
use super::path::{Impairment, Path};
use super::program::{self, Ending, Pair, Plan};

/// The port of the server.
const PORT: u16 = 80;

/// A world before its first packet.
#[derive(Debug)]
pub struct Scenario {
    /// The hosts; number 0 is the server.
    pub hosts: Vec<Host>,
    /// The connections that will be made.
    pub pairs: Vec<Pair>,
    /// The paths between the hosts.
    pub paths: BTreeMap<(usize, usize), Path>,
    /// When the paths become perfect.
    pub heals: Instant,
    /// The links take super-segments and vouch for checksums.
    pub offload: bool,
}

impl Scenario {
    /// Draws a world.
    ///
    /// # Panics
    /// When the server cannot listen in its own stack.
    #[must_use]
    pub fn draw(dice: &mut Dice) -> Scenario {
        let count = dice.size(2..=3);
        let offload = dice.chance(200);
        let mtu = dice.one_of(&[1500, 1500, 576, 1280, 9000]);
        let mut hosts: Vec<Host> = (0..count)
            .map(|number| Host::new(number, config(dice), dice.seed(), mtu, offload))
            .collect();
        let mut paths = BTreeMap::new();
        for from in 0..count {
            for to in (0..count).filter(|to| *to != from) {
                paths.insert((from, to), Path::new(impairment(dice, offload)));
            }
        }
        let cookies = hosts[0].stack.config().syn_queue_limit == 1;
        let pairs: Vec<Pair> = (0..dice.pick(1..=4))
            .map(|number| pair(dice, number, count))
            .map(|pair| if cookies { pair.with_cookies() } else { pair })
            .collect();
        // Window scale is agreed on before accept, so the listener has the buffers of all.
        let options = TcpOptions { receive_buffer: Some(65_536), ..TcpOptions::default() };
        let server = &mut hosts[0];
        let address = SocketAddrV4::new(server.address, PORT).into();
        let listener = server.stack.listen(Instant::ZERO, address, 16, options);
        server.listener = Some(listener.expect("a server can listen"));
        for host in &mut hosts {
            host.largest_receive_buffer = 65_536;
            host.largest_send_buffer = 65_536;
        }
        Scenario { hosts, pairs, paths, heals: Instant::from_millis(20_000), offload }
    }
}

fn config(dice: &mut Dice) -> Config {
    Config {
        timestamps: dice.chance(800),
        window_scaling: dice.chance(800),
        syn_queue_limit: dice.one_of(&[4096, 4096, 1]),
        ..Config::default()
    }
}

fn impairment(dice: &mut Dice, offload: bool) -> Impairment {
    let level = dice.one_of(&[0, 10, 50, 150]);
    Impairment {
        latency: Duration::from_micros(dice.one_of(&[50, 1_000, 10_000, 80_000])),
        jitter: Duration::from_micros(dice.one_of(&[0, 0, 1_000, 20_000])),
        loss: dice.pick(0..=level),
        duplicate: dice.pick(0..=level),
        reorder: dice.pick(0..=level * 2),
        corrupt: if offload { 0 } else { dice.pick(0..=level / 2) },
        rate: dice.one_of(&[None, None, Some(1_000_000), Some(100_000)]),
        queue: dice.one_of(&[4_500, 20_000, 200_000]),
    }
}

fn pair(dice: &mut Dice, number: u64, hosts: usize) -> Pair {
    let client_host = dice.size(1..=hosts - 1);
    let rough = dice.chance(250);
    let simultaneous = dice.chance(100);
    let mut client = plan(dice, rough);
    let mut server = plan(dice, rough);
    // If both waited for the other's end, they would wait forever.
    client.ending = dice.one_of(&[Ending::ShutsDown, Ending::ShutsDown, Ending::WaitsForPeer]);
    server.ending = if client.ending == Ending::WaitsForPeer {
        Ending::ShutsDown
    } else {
        dice.one_of(&[Ending::ShutsDown, Ending::WaitsForPeer, Ending::AnswersAfterEnd])
    };
    if rough {
        let after = Duration::from_millis(dice.pick(0..=3_000));
        let ending = dice.one_of(&[Ending::ClosesAtOnce, Ending::Aborts(after)]);
        let (rough, other) =
            if dice.chance(500) { (&mut client, &mut server) } else { (&mut server, &mut client) };
        rough.ending = ending;
        other.ending = Ending::ShutsDown;
        if dice.chance(500) {
            other.send = 0;
        }
    }
    let start = Instant::from_millis(dice.pick(1..=500));
    let base = 40_000 + u16::try_from(number).unwrap_or(0) * 2;
    let from = SocketAddrV4::new(host::address(client_host), base);
    let port = if simultaneous { base + 1 } else { PORT };
    let to = SocketAddrV4::new(host::address(0), port);
    Pair::new(number, (client_host, client), (0, server), to, from, simultaneous, start)
}

fn plan(dice: &mut Dice, rough: bool) -> Plan {
    let largest = dice.one_of(&[0, 1, 100, 5_000, 60_000]);
    let chunk = dice.one_of(&[1_usize, 100, 1_460, 20_000]);
    let send = dice.pick(0..=largest).min(u64::try_from(chunk).unwrap_or(0) * 500);
    let buffer = dice.one_of(&[2_048, 8_192, 65_536]);
    let mut options = TcpOptions {
        nodelay: dice.chance(300),
        receive_buffer: Some(buffer),
        send_buffer: Some(dice.one_of(&[1_000, 16_384, 65_536])),
        max_segment: dice.one_of(&[None, None, Some(400)]),
        ..TcpOptions::default()
    };
    if rough {
        options.keepalive = Some(program::impatient());
    }
    Plan {
        send,
        write: 1..=chunk,
        read: 1..=dice.one_of(&[10_usize, 1_000, 65_536]),
        pause: Duration::from_millis(dice.one_of(&[0, 0, 20, 300])),
        ending: Ending::ShutsDown,
        options,
    }
}
