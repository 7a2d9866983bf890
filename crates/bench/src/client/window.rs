//! The measured window: it opens when the warm-up is over, counts, and closes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cpu;
use crate::outcome::Outcome;
use crate::statistics::percentile;

/// How many round trips are remembered at most.
const ROUND_TRIPS: usize = 4 << 20;

/// Counts units between two points in time, and what the two processes use between them.
pub(super) struct Window {
    length: Duration,
    /// The process that serves.
    server: u32,
    /// When it opens; since it is open, when it closes.
    next: Instant,
    open: Option<Opened>,
    units: u64,
    /// In nanoseconds, if anybody notes them.
    round_trips: Vec<u32>,
}

struct Opened {
    at: Instant,
    client: Duration,
    server: Duration,
}

impl Window {
    /// A window of `length` that opens after `warm_up`.
    pub(super) fn new(warm_up: Duration, length: Duration, server: u32) -> Self {
        let next = Instant::now() + warm_up;
        Self { length, server, next, open: None, units: 0, round_trips: Vec::new() }
    }

    /// Counts `units` that are done now. False: the window has closed.
    pub(super) fn count(&mut self, units: u64) -> Result<bool> {
        self.count_at(Instant::now(), units)
    }

    /// Notes an exchange that began at `since` and is done at `now`. False: the window has closed.
    pub(super) fn round_trip(&mut self, since: Instant, now: Instant) -> Result<bool> {
        if self.open.is_some() && self.round_trips.len() < ROUND_TRIPS {
            let nanoseconds = now.duration_since(since).as_nanos();
            self.round_trips.push(u32::try_from(nanoseconds).unwrap_or(u32::MAX));
        }
        self.count_at(now, 1)
    }

    fn count_at(&mut self, now: Instant, units: u64) -> Result<bool> {
        if now < self.next {
            self.units += units;
            return Ok(true);
        }
        if self.open.is_some() {
            // On a busy machine a short window can pass before anybody has had a turn.
            let empty = self.units == 0;
            self.units += units;
            return Ok(empty);
        }
        let (client, server) = (cpu::used_here(), cpu::used_by(self.server)?);
        let at = Instant::now();
        self.open = Some(Opened { at, client, server });
        (self.units, self.next) = (0, at + self.length);
        Ok(true)
    }

    /// What came of it.
    pub(super) fn finish(mut self) -> Result<Outcome> {
        let open = self.open.context("the window did not open")?;
        let seconds = open.at.elapsed().as_secs_f64();
        let server = cpu::used_by(self.server)?.saturating_sub(open.server);
        let client = cpu::used_here().saturating_sub(open.client);
        let mut microseconds =
            |share| percentile(&mut self.round_trips, share).map(|time| f64::from(time) / 1e3);
        Ok(Outcome {
            units: self.units,
            seconds,
            median_us: microseconds(0.5),
            tail_us: microseconds(0.99),
            client_cpu: client.as_secs_f64(),
            server_cpu: server.as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_does_not_count() {
        let length = Duration::from_millis(5);
        let mut window = Window::new(Duration::from_millis(1), length, std::process::id());
        let (mut counted, begin) = (0, Instant::now());
        while window.count(1).unwrap() {
            counted += 1;
            assert!(begin.elapsed() < Duration::from_secs(10));
        }
        let outcome = window.finish().unwrap();
        assert!(outcome.units < counted && outcome.seconds >= length.as_secs_f64());
        assert_eq!(outcome.median_us, None);
    }

    #[test]
    fn round_trips_are_noted_while_it_is_open() {
        let (warm_up, length) = (Duration::ZERO, Duration::from_secs(3600));
        let mut window = Window::new(warm_up, length, std::process::id());
        let now = Instant::now();
        for microseconds in 0..=100 {
            let since = now - Duration::from_micros(microseconds);
            assert!(window.round_trip(since, now).unwrap());
        }
        let outcome = window.finish().unwrap();
        // The first opened it.
        assert_eq!(outcome.units, 100);
        assert_eq!((outcome.median_us, outcome.tail_us), (Some(50.0), Some(99.0)));
    }
}
