//! What is measured: the rows of the table.

use link::Layer;

use Work::{Connect, FromUs, Http, Ping, ToUs};

/// What the client asks of the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// The client sends as much as it can.
    ToUs,
    /// The client receives as much as it can.
    FromUs,
    /// A small page again and again on connections that stay open.
    Http,
    /// A connection for each small page; the server closes first, as in HTTP/1.0.
    Connect,
    /// One byte there and back.
    Ping,
}

/// Which version of IP the two sides speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

/// What the two sides talk over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Medium {
    pub(crate) layer: Layer,
    pub(crate) family: Family,
    /// Bytes of an IP packet.
    pub(crate) mtu: u16,
    /// Checksums and segmentation are left to the device.
    pub(crate) offload: bool,
}

/// One row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    /// For the command line and the JSON.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    pub(crate) work: Work,
    /// How many connections there are at a time.
    pub(crate) connections: usize,
    pub(crate) medium: Medium,
    /// Client and server share a core.
    pub(crate) one_core: bool,
}

/// One number of a row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Measure {
    /// Gbit/s of payload, or requests per second.
    Rate,
    /// The median of the round trips, in microseconds.
    Median,
    /// What one of a hundred round trips exceeds, in microseconds.
    Tail,
}

/// TUN as it comes.
pub(crate) const PLAIN: Medium =
    Medium { layer: Layer::Tun, family: Family::V4, mtu: 1500, offload: true };
const JUMBO: Medium = Medium { mtu: 9000, ..PLAIN };
const TAP: Medium = Medium { layer: Layer::Tap, ..PLAIN };
const NO_OFFLOAD: Medium = Medium { offload: false, ..PLAIN };
const V6: Medium = Medium { family: Family::V6, ..PLAIN };

/// Every row, in the order of the table.
pub(crate) const ROWS: [Row; 18] = [
    row("in", "bulk to us, 1 stream", ToUs, 1, PLAIN),
    row("out", "bulk from us, 1 stream", FromUs, 1, PLAIN),
    row("in-8", "bulk to us, 8 streams", ToUs, 8, PLAIN),
    row("out-8", "bulk from us, 8 streams", FromUs, 8, PLAIN),
    row("http", "HTTP keep-alive, 32 connections", Http, 32, PLAIN),
    row("connect", "connect, request, close, 16 at a time", Connect, 16, PLAIN),
    row("ping-32", "1-byte ping-pong, 32 connections", Ping, 32, PLAIN),
    row("ping", "1-byte ping-pong, 1 connection", Ping, 1, PLAIN),
    Row { one_core: true, ..row("ping-core", "the same, both sides on one core", Ping, 1, PLAIN) },
    row("in-9000", "bulk to us, MTU 9000", ToUs, 1, JUMBO),
    row("out-9000", "bulk from us, MTU 9000", FromUs, 1, JUMBO),
    row("in-tap", "bulk to us, TAP", ToUs, 1, TAP),
    row("out-tap", "bulk from us, TAP", FromUs, 1, TAP),
    row("in-plain", "bulk to us, no offload", ToUs, 1, NO_OFFLOAD),
    row("out-plain", "bulk from us, no offload", FromUs, 1, NO_OFFLOAD),
    row("in-v6", "bulk to us, IPv6", ToUs, 1, V6),
    row("out-v6", "bulk from us, IPv6", FromUs, 1, V6),
    row("http-v6", "HTTP keep-alive, 32 connections, IPv6", Http, 32, V6),
];

/// The rows of `--quick`.
pub(crate) const QUICK: [&str; 6] = ["in", "out", "http", "connect", "ping-32", "ping"];

const fn row(
    name: &'static str,
    title: &'static str,
    work: Work,
    connections: usize,
    medium: Medium,
) -> Row {
    Row { name, title, work, connections, medium, one_core: false }
}

impl Row {
    /// The row with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.name == name)
    }

    /// Whether it is about bytes, not about requests.
    pub(crate) fn is_bulk(&self) -> bool {
        matches!(self.work, ToUs | FromUs)
    }

    /// Whether it is about how long one exchange takes.
    pub(crate) fn is_latency(&self) -> bool {
        self.work == Ping && self.connections == 1
    }

    /// The numbers that the table shows.
    pub(crate) fn measures(&self) -> &'static [Measure] {
        if self.is_latency() { &[Measure::Median, Measure::Tail] } else { &[Measure::Rate] }
    }

    /// The unit of a measure in this row.
    pub(crate) fn unit(&self, measure: Measure) -> &'static str {
        match measure {
            Measure::Rate if self.is_bulk() => "Gbit/s",
            Measure::Rate => "per s",
            Measure::Median => "us, p50",
            Measure::Tail => "us, p99",
        }
    }
}

impl Measure {
    /// Whether more is better.
    pub(crate) fn is_rate(self) -> bool {
        self == Self::Rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_and_titles_of_their_own() {
        let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        let mut titles: Vec<_> = ROWS.iter().map(|row| row.title).collect();
        for list in [&mut names, &mut titles] {
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), ROWS.len());
        }
        assert!(ROWS.iter().all(|row| Row::named(row.name) == Some(row)));
    }

    #[test]
    fn a_quick_run_takes_rows_that_exist() {
        assert!(QUICK.iter().all(|name| Row::named(name).is_some()));
    }
}
