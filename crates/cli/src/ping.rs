//! Echo requests from the stack, told as `ping` tells them.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use estab::{Pinger, Stack};

/// What to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    address: IpAddr,
    count: u16,
    interval: Duration,
    wait: Duration,
    size: usize,
}

impl Plan {
    /// From the words of the control socket: address, count, interval and wait in milliseconds,
    /// size in bytes.
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let [address, count, interval, wait, size] = words else { return None };
        Some(Self {
            address: address.parse().ok()?,
            count: count.parse().ok()?,
            interval: Duration::from_millis(interval.parse().ok()?),
            wait: Duration::from_millis(wait.parse().ok()?),
            size: size.parse::<u16>().ok()?.into(),
        })
    }
}

/// Asks, and tells each answer. Whether there was any.
pub(crate) fn run(
    stack: &Stack,
    plan: &Plan,
    say: &mut dyn FnMut(&str) -> io::Result<()>,
) -> io::Result<bool> {
    let pinger = Pinger::open(stack)?;
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(plan.size).collect();
    say(&format!("PING {} from the stack, {} bytes of data\n", plan.address, plan.size))?;
    let mut times: Vec<Duration> = Vec::new();
    for sequence in 1..=plan.count {
        let began = Instant::now();
        match ask(&pinger, plan, sequence, &payload) {
            Ok((ttl, time)) => {
                let length = plan.size + 8;
                say(&format!(
                    "{length} bytes from {}: icmp_seq={sequence} ttl={ttl} time={} ms\n",
                    plan.address,
                    millis(time)
                ))?;
                times.push(time);
            }
            Err(error) => say(&format!("icmp_seq={sequence}: {error}\n"))?,
        }
        if sequence < plan.count {
            std::thread::sleep(plan.interval.saturating_sub(began.elapsed()));
        }
    }
    say(&summary(plan.count, &times))?;
    Ok(!times.is_empty())
}

fn ask(pinger: &Pinger, plan: &Plan, sequence: u16, payload: &[u8]) -> io::Result<(u8, Duration)> {
    pinger.send(plan.address, sequence, payload)?;
    let deadline = Instant::now() + plan.wait;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let pong = pinger.receive(Some(left.max(Duration::from_millis(1))))?;
        // A late answer to an earlier request is not this one's.
        if pong.sequence == sequence {
            return Ok((pong.ttl, pong.round_trip.unwrap_or_default()));
        }
    }
}

fn summary(sent: u16, times: &[Duration]) -> String {
    let mut text = format!("{sent} requests, {} answers", times.len());
    if let (Some(least), Some(most)) = (times.iter().min(), times.iter().max()) {
        let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
        let mean = times.iter().sum::<Duration>() / count;
        text += &format!(
            "; round trip min/avg/max = {}/{}/{} ms",
            millis(*least),
            millis(mean),
            millis(*most)
        );
    }
    text + "\n"
}

fn millis(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}
