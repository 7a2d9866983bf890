//! A study as a TOML file.
//!
//! ```toml
//! title = "CUBIC on a long path"
//! duration = "30s"
//!
//! [link]                  # the bottleneck that all flows share
//! rate = "20mbit"
//! delay = "25ms"          # in each direction
//! queue = 85              # packets
//! loss = "0.1%"
//!
//! [[link.change]]
//! at = "10s"
//! until = "12s"
//! rate = "5mbit"
//!
//! [[flow]]
//! controller = "cubic"
//! ```

use std::num::NonZeroU64;
use std::ops::Range;

use link::{Impairment, Loss, QueueManagement};
use serde::{Deserialize, Deserializer};
use stack::tcp::congestion;
use wire::time::{Duration, Instant};

use super::{MOST_FLOWS, Sender, Study, at_once};
use crate::units::{BitRate, Bytes, Probability, duration};
use crate::world::scenario::LinePlan;

/// What is wrong with a file, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub what: String,
}

/// Reads a study.
///
/// # Errors
/// With the first thing in it that makes no sense.
pub fn parse(text: &str) -> Result<Study, FileError> {
    let file: File = toml::from_str(text).map_err(|error| {
        let message = error.message().replace('\n', " ");
        at(text, error.span(), message)
    })?;
    file.study().map_err(|(span, what)| at(text, span, what))
}

fn at(text: &str, span: Option<Range<usize>>, what: String) -> FileError {
    let start = span.map_or(0, |span| span.start).min(text.len());
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    FileError { line, column, what }
}

/// Where in the file, if that is known, and what is wrong.
type Wrong = (Option<Range<usize>>, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    title: String,
    #[serde(default = "one")]
    seed: u64,
    #[serde(deserialize_with = "time")]
    duration: Duration,
    #[serde(default = "ethernet")]
    mtu: toml::Spanned<u16>,
    link: toml::Spanned<LineTable>,
    #[serde(default)]
    flow: Vec<FlowTable>,
}

/// What a direction does; as far as it is said. The link as a whole, what differs on the way back,
/// and what changes at a time all say it with the same words.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
struct LineTable {
    /// What differs in the other direction; of the link as a whole only.
    back: Option<toml::Spanned<Box<LineTable>>>,
    /// What changes later; of the link as a whole only.
    #[serde(default)]
    change: Vec<toml::Spanned<LineTable>>,
    /// When it changes, and until when.
    #[serde(default, deserialize_with = "some_time")]
    at: Option<Duration>,
    #[serde(default, deserialize_with = "some_time")]
    until: Option<Duration>,
    #[serde(default, deserialize_with = "rate")]
    rate: Option<BitRate>,
    #[serde(default, deserialize_with = "some_time")]
    delay: Option<Duration>,
    #[serde(default, deserialize_with = "some_time")]
    jitter: Option<Duration>,
    queue: Option<usize>,
    #[serde(default, deserialize_with = "share")]
    loss: Option<Probability>,
    /// The mean length of a burst of losses, in packets; `loss` stays the share of all packets.
    burst: Option<f64>,
    #[serde(default, deserialize_with = "share")]
    reorder: Option<Probability>,
    #[serde(default, deserialize_with = "share")]
    duplicate: Option<Probability>,
    #[serde(default, deserialize_with = "share")]
    corrupt: Option<Probability>,
    codel: Option<bool>,
    ecn: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowTable {
    name: Option<String>,
    controller: Option<toml::Spanned<String>>,
    #[serde(default, deserialize_with = "some_time")]
    start: Option<Duration>,
    #[serde(default, deserialize_with = "bytes")]
    bytes: Option<Bytes>,
    #[serde(default, deserialize_with = "some_time")]
    delay: Option<Duration>,
    #[serde(default)]
    pacing: bool,
    /// Whether the window falls in step with the ACKs after a loss (RFC 9937), or at once.
    prr: Option<toml::Spanned<bool>>,
    count: Option<toml::Spanned<usize>>,
}

impl File {
    fn study(mut self) -> Result<Study, Wrong> {
        if self.duration.is_zero() {
            return Err((None, "a duration of 0 shows nothing: write one like \"30s\"".into()));
        }
        let mtu = *self.mtu.get_ref();
        if mtu < 128 {
            let what = format!("an MTU of {mtu} leaves no room for data: use 128 to 65535");
            return Err((Some(self.mtu.span()), what));
        }
        let bottleneck = bottleneck(&self.link)?;
        let ecn = self.link.get_ref().ecn.unwrap_or(false);
        let mut flows = Vec::new();
        for table in std::mem::take(&mut self.flow) {
            table.add_to(&mut flows)?;
        }
        if flows.is_empty() {
            return Err((None, "nobody sends: add a [[flow]] with controller = \"cubic\"".into()));
        }
        let Self { title, seed, duration, .. } = self;
        Ok(Study { title, seed, duration, mtu, ecn, bottleneck, flows })
    }
}

/// Both directions of the link.
fn bottleneck(link: &toml::Spanned<LineTable>) -> Result<[LinePlan; 2], Wrong> {
    let (table, span) = (link.get_ref(), link.span());
    if table.at.is_some() || table.until.is_some() {
        let what = "'at' and 'until' are of a [[link.change]]: write them there".to_string();
        return Err((Some(span), what));
    }
    for change in &table.change {
        let inner = change.get_ref();
        if inner.at.is_none() || inner.back.is_some() || !inner.change.is_empty() {
            let what =
                "a [[link.change]] has an 'at', like \"10s\", and what is other from then on";
            return Err((Some(change.span()), what.into()));
        }
    }
    let there = table.plan(&table.change);
    let Some(back) = &table.back else { return Ok([there.clone(), there]) };
    let inner = back.get_ref();
    if inner.at.is_some() || inner.back.is_some() || !inner.change.is_empty() {
        let what = "[link.back] only says what differs from [link] on the way back";
        return Err((Some(back.span()), what.into()));
    }
    let back = LineTable::clone(inner).over(table);
    Ok([there, back.plan(&table.change)])
}

impl LineTable {
    /// What is said here, and where nothing is, what `other` says.
    fn over(self, other: &LineTable) -> LineTable {
        LineTable {
            back: None,
            change: Vec::new(),
            at: self.at,
            until: self.until,
            rate: self.rate.or(other.rate),
            delay: self.delay.or(other.delay),
            jitter: self.jitter.or(other.jitter),
            queue: self.queue.or(other.queue),
            loss: self.loss.or(other.loss),
            burst: self.burst.or(other.burst),
            reorder: self.reorder.or(other.reorder),
            duplicate: self.duplicate.or(other.duplicate),
            corrupt: self.corrupt.or(other.corrupt),
            codel: self.codel.or(other.codel),
            ecn: self.ecn.or(other.ecn),
        }
    }

    fn impairment(&self) -> Impairment {
        let of = |share: Option<Probability>| share.map_or(0.0, |share| share.0);
        let defaults = Impairment::default();
        let ecn = self.ecn.unwrap_or(false);
        Impairment {
            loss: loss(of(self.loss), self.burst),
            delay: self.delay.unwrap_or_default(),
            jitter: self.jitter.unwrap_or_default(),
            reorder: of(self.reorder),
            duplicate: of(self.duplicate),
            corrupt: of(self.corrupt),
            rate: self.rate.and_then(|rate| NonZeroU64::new(rate.0)),
            queue_packets: self.queue.unwrap_or(defaults.queue_packets),
            // ECN without CoDel marks what leaves more than a quarter of the queue behind.
            management: match (self.codel.unwrap_or(false), ecn) {
                (true, ecn) => QueueManagement::codel(ecn),
                (false, true) => QueueManagement::MarkAbove(self.queue.unwrap_or(100) / 4),
                (false, false) => QueueManagement::DropTail,
            },
            ..defaults
        }
    }

    fn plan(&self, changes: &[toml::Spanned<LineTable>]) -> LinePlan {
        let impairment = self.impairment();
        let mut all = Vec::new();
        for change in changes.iter().map(toml::Spanned::get_ref) {
            let changed = change.clone().over(self).impairment();
            all.extend(change.at.map(|at| (Instant::ZERO.after(at), changed)));
            all.extend(change.until.map(|until| (Instant::ZERO.after(until), impairment)));
        }
        all.sort_by_key(|(at, _)| *at);
        LinePlan { impairment, changes: all, narrow: Vec::new() }
    }
}

/// A share of all packets, lost one by one or in bursts.
fn loss(share: f64, burst: Option<f64>) -> Loss {
    match burst {
        // In the long run `enter / (enter + leave)` of all packets are lost.
        Some(length) if length > 1.0 && share > 0.0 && share < 1.0 => {
            let leave = 1.0 / length;
            let enter = (leave * share / (1.0 - share)).min(1.0);
            Loss::Burst { enter, leave, good: 0.0, bad: 1.0 }
        }
        _ if share > 0.0 => Loss::Random(share),
        _ => Loss::None,
    }
}

impl FlowTable {
    fn add_to(self, flows: &mut Vec<Sender>) -> Result<(), Wrong> {
        let (name, span) = match &self.controller {
            Some(name) => (name.get_ref().as_str(), Some(name.span())),
            None => (congestion::NAMES[0], None),
        };
        let Some(controller) = congestion::by_name(name) else {
            let known = congestion::NAMES.join(", ");
            return Err((span, format!("no congestion controller '{name}': use one of {known}")));
        };
        let controller = match &self.prr {
            Some(prr) if !prr.get_ref() => at_once::by_name(name).ok_or_else(|| {
                let what = format!("'{name}' goes its own way through losses, without PRR");
                (Some(prr.span()), what)
            })?,
            _ => controller,
        };
        let count = self.count.as_ref().map_or(1, |count| *count.get_ref());
        if count == 0 || flows.len() + count > MOST_FLOWS {
            let what = format!("{count} flows: a study has 1 to {MOST_FLOWS} in all");
            return Err((self.count.map(|count| count.span()), what));
        }
        for number in 1..=count {
            let own = self.name.clone().unwrap_or_else(|| name.to_string());
            flows.push(Sender {
                name: if count > 1 { format!("{own} {number}") } else { own },
                controller,
                start: Instant::ZERO.after(self.start.unwrap_or_default()),
                bytes: self.bytes.map(|bytes| bytes.0),
                delay: self.delay.unwrap_or_default(),
                pacing: self.pacing,
            });
        }
        Ok(())
    }
}

fn one() -> u64 {
    1
}

fn ethernet() -> toml::Spanned<u16> {
    toml::Spanned::new(0..0, 1500)
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    duration(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn some_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    time(from).map(Some)
}

fn parsed<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: std::str::FromStr<Err = String>,
    D: Deserializer<'de>,
{
    String::deserialize(from)?.parse().map(Some).map_err(serde::de::Error::custom)
}

fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<Option<BitRate>, D::Error> {
    parsed(from)
}

fn share<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Probability>, D::Error> {
    parsed(from)
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bytes>, D::Error> {
    parsed(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "duration = \"2s\"\n[link]\nrate = \"10mbit\"\ndelay = \"5ms\"\n\
                        loss = \"1%\"\nburst = 4\n[[link.change]]\nat = \"1s\"\nloss = \"100%\"\n\
                        until = \"1.5s\"\n[[flow]]\ncount = 2\n";

    #[test]
    fn a_file_is_a_study() {
        let study = parse(GOOD).unwrap();
        assert_eq!(study.flows.len(), 2);
        assert_eq!(study.flows[1].name, "cubic 2");
        assert_eq!(study.bottleneck[0].changes.len(), 2);
        assert_eq!(study.bottleneck[1].impairment.delay, Duration::from_millis(5));
        let Loss::Burst { enter, leave, .. } = study.bottleneck[0].impairment.loss else {
            panic!()
        };
        assert!((enter / (enter + leave) - 0.01).abs() < 1e-9 && leave == 0.25);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let error = |from: &str, to: &str| {
            let FileError { line, column, what } = parse(&GOOD.replace(from, to)).unwrap_err();
            format!("{line}:{column}: {what}")
        };
        insta::assert_snapshot!(
            [
                error("\"5ms\"", "\"5\""),
                error("10mbit", "fast"),
                error("count = 2", "controller = \"vegas\""),
                error("count = 2", "count = 0"),
                error("count = 2", "controller = \"bbr\"\nprr = false"),
                error("[[flow]]", "[[flows]]"),
                error("[[flow]]\ncount = 2", ""),
                error("[link]", "[link"),
                error("\"2s\"", "\"0s\""),
            ]
            .join("\n")
        );
    }
}
