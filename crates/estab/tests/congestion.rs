//! Congestion control as a program sees it: controllers by name and of its own, and the numbers
//! that bound them.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, World, assert_same, at, join, pattern};
use estab::blocking::{TcpListener, TcpStream};
use estab::congestion::{AckSample, CongestionCause, Controller, NAMES, NO_THRESHOLD};
use estab::{Config, EcnMode, RtoLimits, Stack, TcpOptions};

/// A controller that this program brings: so many segments fly, whatever happens.
#[derive(Clone, Debug)]
struct Fixed {
    mss: u32,
}

impl Fixed {
    const SEGMENTS: u64 = 3;

    fn boxed(mss: u32) -> Box<dyn Controller> {
        Box::new(Self { mss })
    }
}

impl Controller for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn on_ack(&mut self, _sample: &AckSample) {}

    fn on_congestion(&mut self, _: estab::wire::time::Instant, _: CongestionCause, _: u64) {}

    fn window(&self) -> u64 {
        Self::SEGMENTS * u64::from(self.mss)
    }

    fn slow_start_threshold(&self) -> u64 {
        NO_THRESHOLD
    }

    fn set_mss(&mut self, mss: u32) {
        self.mss = mss;
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

/// A connection, both ends of it; the client's with `options`.
fn connected(world: &World, port: u16, options: &TcpOptions) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(&world.server, at(port)).unwrap();
    let client = TcpStream::connect_with(&world.client, None, at(port), options).unwrap();
    let (server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (client, server)
}

/// Sends so many bytes to the other end, which closes; asks `look` all the time.
fn send(
    client: &TcpStream,
    mut server: TcpStream,
    length: usize,
    mut look: impl FnMut(&TcpStream),
) {
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        server.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut writer = client;
    for piece in pattern(length, 1).chunks(1000) {
        writer.write_all(piece).unwrap();
        look(client);
    }
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_same(&join(reader), &pattern(length, 1));
}

#[test]
fn a_program_brings_a_controller_of_its_own() {
    let world = World::on(estab::link::PairConfig::ip(1500).without_offload());
    let options = TcpOptions { congestion: Fixed::boxed, ..TcpOptions::default() };
    let (client, server) = connected(&world, 7, &options);
    assert_eq!(client.congestion().unwrap(), "fixed");
    assert_eq!(server.congestion().unwrap(), "cubic");
    let mut most = 0;
    send(&client, server, 500_000, |client| {
        let info = client.info().unwrap();
        assert_eq!(info.snd_cwnd, Fixed::SEGMENTS * u64::from(info.snd_mss));
        // On a busy machine an ACK may be so late that a tail loss probe leaves beside the window.
        let allowed = info.snd_cwnd + u64::from(info.snd_mss);
        assert!(u64::from(info.unacked) <= allowed, "{} in flight", info.unacked);
        most = most.max(info.unacked);
    });
    assert!(most > 0);
}

#[test]
fn each_connection_has_the_controller_that_it_asks_for() {
    let world = World::new();
    let (client, server) = connected(&world, 7, &TcpOptions::default());
    assert_eq!(client.congestion().unwrap(), "cubic");
    for name in NAMES {
        client.set_congestion(name).unwrap();
        assert_eq!(client.congestion().unwrap(), *name);
        assert_eq!(client.info().unwrap().congestion, *name);
        assert_eq!(server.congestion().unwrap(), "cubic");
    }
    let error = client.set_congestion("vegas").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("cubic, reno, bbr"), "{error}");
    assert_eq!(client.congestion().unwrap(), "bbr");
    send(&client, server, 2_000_000, |_| ());
}

#[test]
fn accepted_connections_inherit_the_listeners_controller() {
    let world = World::new();
    let reno = estab::congestion::by_name("reno").unwrap();
    let options = TcpOptions { congestion: reno, ..TcpOptions::default() };
    let listener = TcpListener::bind_with(&world.server, at(7), 8, &options).unwrap();
    let _client = TcpStream::connect(&world.client, at(7)).unwrap();
    let (server, _) = listener.accept().unwrap();
    assert_eq!(server.congestion().unwrap(), "reno");
}

#[test]
fn a_stack_has_a_default_of_its_own() {
    let (here, there) = estab::link::pair(estab::link::PairConfig::ip(1500)).unwrap();
    let mut config = Config::default();
    config.tcp.congestion = estab::congestion::by_name("bbr").unwrap();
    let client = Stack::builder().config(config).address([10, 0, 0, 1], 24).start(here).unwrap();
    let world = World { client, server: common::host(there, 2) };
    let _listener = TcpListener::bind(&world.server, at(7)).unwrap();
    let stream = TcpStream::connect(&world.client, at(7)).unwrap();
    assert_eq!(stream.congestion().unwrap(), "bbr");
}

#[test]
fn ecn_is_agreed_on_when_one_side_asks() {
    let world = World::new();
    let asks = TcpOptions { ecn: EcnMode::Request, ..TcpOptions::default() };
    let (client, server) = connected(&world, 7, &asks);
    assert!(client.info().unwrap().ecn && server.info().unwrap().ecn);
    let (client, server) = connected(&world, 8, &TcpOptions::default());
    assert!(!client.info().unwrap().ecn && !server.info().unwrap().ecn);
}

#[test]
fn the_minimum_timeout_can_be_set() {
    let world = World::new();
    let patient = RtoLimits { min: Duration::from_secs(3), ..RtoLimits::default() };
    let options = TcpOptions { rto: patient, ..TcpOptions::default() };
    let (client, _server) = connected(&world, 7, &options);
    assert!(client.info().unwrap().rto >= Duration::from_secs(3));
    let mut options = client.options().unwrap();
    options.rto.min = Duration::from_millis(10);
    client.set_options(options).unwrap();
    assert!(client.info().unwrap().rto < Duration::from_secs(3));
}

#[test]
fn a_bounded_rate_is_not_exceeded() {
    let world = World::new();
    let options = TcpOptions { max_pacing_rate: Some(1_000_000), ..TcpOptions::default() };
    let (client, server) = connected(&world, 7, &options);
    assert_eq!(client.info().unwrap().pacing_rate, Some(1_000_000));
    let began = Instant::now();
    send(&client, server, 300_000, |_| ());
    // All but what leaves in one piece at the beginning, and a timer that made up for lost time.
    assert!(began.elapsed() > Duration::from_millis(200), "{:?}", began.elapsed());
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let world = World::new();
    let (client, _server) = connected(&world, 7, &TcpOptions::default());
    let wrong: [fn(&mut TcpOptions); 5] = [
        |options| options.ttl = Some(0),
        |options| options.max_segment = Some(0),
        |options| options.max_pacing_rate = Some(0),
        |options| options.rto.min = Duration::from_secs(1000),
        |options| {
            options.keepalive =
                Some(estab::KeepAlive { interval: Duration::ZERO, ..Default::default() });
        },
    ];
    for change in wrong {
        let mut options = client.options().unwrap();
        change(&mut options);
        let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
        let remote = at(7);
        let again = TcpStream::connect_with(&world.client, None, remote, &options).map(drop);
        assert_eq!(kind(again), ErrorKind::InvalidInput);
        let listens = TcpListener::bind_with(&world.server, at(8), 1, &options).map(drop);
        assert_eq!(kind(listens), ErrorKind::InvalidInput);
        assert_eq!(kind(client.set_options(options)), ErrorKind::InvalidInput);
    }
    assert_eq!(client.ttl().unwrap(), 64);
}
