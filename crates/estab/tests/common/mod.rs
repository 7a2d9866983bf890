//! Two stacks on a wire, and patience.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use estab::Stack;
use estab::link::{PairConfig, PairEnd, pair};

/// Nothing that works takes this long; a test that waits longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A client at 10.0.0.1 and a server at 10.0.0.2.
pub(crate) struct World {
    pub(crate) client: Stack,
    pub(crate) server: Stack,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::on(PairConfig::ip(1500))
    }

    pub(crate) fn on(config: PairConfig) -> Self {
        let (here, there) = pair(config).expect("a pair");
        Self { client: host(here, 1), server: host(there, 2) }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.client.stop();
        self.server.stop();
    }
}

/// A stack at 10.0.0.`number`.
pub(crate) fn host(end: PairEnd, number: u8) -> Stack {
    Stack::builder().address([10, 0, 0, number], 24).start(end).expect("a stack")
}

/// The server's address with `port`.
pub(crate) fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], port))
}

/// Bytes whose order is checked, not only their number.
pub(crate) fn pattern(length: usize, salt: u32) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32 ^ salt;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Compares without printing megabytes.
pub(crate) fn assert_same(got: &[u8], wanted: &[u8]) {
    assert_eq!(got.len(), wanted.len(), "the length differs");
    let differs = got.iter().zip(wanted).position(|(a, b)| a != b);
    assert_eq!(differs, None, "the first byte that differs");
}

/// Joins a thread of a test, and fails instead of waiting for ever.
pub(crate) fn join<T>(thread: JoinHandle<T>) -> T {
    eventually("the thread ends", || thread.is_finished());
    thread.join().expect("the thread does not panic")
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
