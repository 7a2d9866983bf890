//! What a study measured: curves at fixed times, losses, and their sums.

use std::fmt::Write;

use stack::TcpInfo;
use wire::time::{Duration, Instant};

use super::Study;
use crate::world::line::Tag;
use crate::world::{Observer, Report};

/// How many points a curve has: as many as a wide screen shows.
const POINTS: u64 = 600;

/// One flow at one time.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Point {
    /// Congestion window, in bytes.
    pub window: u64,
    /// Slow-start threshold, in bytes; `None` before the first congestion.
    pub threshold: Option<u64>,
    /// The last smoothed round-trip time.
    pub rtt: Option<Duration>,
    /// Sent and not known to have arrived or to be lost, in bytes.
    pub in_flight: u64,
    /// Bytes that the receiver read since the point before.
    pub read: u64,
}

/// What one flow did.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Curve {
    /// How the legend calls it.
    pub name: String,
    /// Its controller's name.
    pub controller: &'static str,
    /// Its points, one for each [`Measured::step`].
    pub points: Vec<Point>,
    /// When its packets were lost.
    pub losses: Vec<Instant>,
    /// Segments that it sent again.
    pub resent: u64,
    /// Bytes that its receiver read.
    pub read: u64,
    /// When it connected.
    pub start: Instant,
    /// When its receiver read the last byte.
    pub last: Instant,
}

/// What a study measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// What the study is called.
    pub title: String,
    /// How long it ran.
    pub duration: Duration,
    /// The time from one point to the next.
    pub step: Duration,
    /// A curve for each flow.
    pub curves: Vec<Curve>,
    /// Bits per second of the bottleneck at first, where it has a rate.
    pub rate: Option<u64>,
    /// The world's own account.
    pub report: Report,
}

/// Writes down what a world shows.
pub(super) struct Recorder<'a> {
    measured: Measured,
    /// The last that is known of each flow.
    now: Vec<Point>,
    /// The point that comes next.
    next: Instant,
    passes: &'a mut dyn FnMut(Instant),
}

impl<'a> Recorder<'a> {
    pub(super) fn new(study: &Study, passes: &'a mut dyn FnMut(Instant)) -> Self {
        let nanos = u64::try_from(study.duration.as_nanos()).unwrap_or(u64::MAX);
        let step = Duration::from_nanos((nanos / POINTS).max(1));
        let curve = |sender: &super::Sender| Curve {
            name: sender.name.clone(),
            start: sender.start,
            ..Curve::default()
        };
        let measured = Measured {
            title: study.title.clone(),
            duration: study.duration,
            step,
            curves: study.flows.iter().map(curve).collect(),
            rate: study.bottleneck[0].impairment.rate.map(std::num::NonZeroU64::get),
            report: Report::default(),
        };
        let now = vec![Point::default(); study.flows.len()];
        Self { measured, now, next: Instant::ZERO.after(step), passes }
    }

    pub(super) fn finish(mut self, report: Report) -> Measured {
        self.write_down(Instant::ZERO.after(self.measured.duration));
        self.measured.report = report;
        self.measured
    }

    /// Writes the points down whose time has come.
    fn write_down(&mut self, now: Instant) {
        while self.next <= now {
            for (point, curve) in self.now.iter_mut().zip(&mut self.measured.curves) {
                curve.points.push(*point);
                point.read = 0;
            }
            self.next = self.next.after(self.measured.step);
        }
    }
}

impl Observer for Recorder<'_> {
    fn lost(&mut self, at: Instant, _line: usize, tag: Tag) {
        let Some(end) = tag.end.map(usize::from).filter(|end| end % 2 == 0) else { return };
        if let Some(curve) = self.measured.curves.get_mut(end / 2) {
            curve.losses.push(at);
        }
    }

    fn turned(&mut self, now: Instant, end: usize, info: &TcpInfo, received: u64) {
        let (Some(point), Some(curve)) =
            (self.now.get_mut(end / 2), self.measured.curves.get_mut(end / 2))
        else {
            return;
        };
        if end % 2 == 1 {
            point.read += received - curve.read;
            if received > curve.read {
                curve.last = now;
            }
            curve.read = received;
            return;
        }
        curve.controller = info.congestion;
        curve.resent = info.total_retrans;
        point.window = info.snd_cwnd;
        point.threshold = (info.snd_ssthresh != u64::MAX).then_some(info.snd_ssthresh);
        point.rtt = info.rtt;
        point.in_flight =
            u64::from(info.unacked.saturating_sub(info.sacked.saturating_add(info.lost)));
    }

    fn passes(&mut self, now: Instant) {
        if self.next <= now {
            self.write_down(now);
            (self.passes)(now);
        }
    }
}

impl Curve {
    /// Bits per second from its start to its last byte.
    #[must_use]
    pub fn goodput(&self) -> f64 {
        let seconds = self.last.since(self.start).as_secs_f64();
        if seconds > 0.0 { self.read as f64 * 8.0 / seconds } else { 0.0 }
    }

    /// The mean of its smoothed round-trip times.
    #[must_use]
    pub fn mean_rtt(&self) -> Option<Duration> {
        let times: Vec<Duration> = self.points.iter().filter_map(|point| point.rtt).collect();
        let count = u32::try_from(times.len()).ok().filter(|count| *count > 0)?;
        Some(times.iter().sum::<Duration>() / count)
    }

    fn largest_window(&self) -> u64 {
        self.points.iter().map(|point| point.window).max().unwrap_or(0)
    }
}

impl Measured {
    /// Jain's index of the flows' goodputs: 1 when all are equal, 1/n when one has everything.
    #[must_use]
    pub fn fairness(&self) -> f64 {
        let rates: Vec<f64> = self.curves.iter().map(Curve::goodput).collect();
        let (sum, squares) = (rates.iter().sum::<f64>(), rates.iter().map(|r| r * r).sum::<f64>());
        if squares > 0.0 { sum * sum / (rates.len() as f64 * squares) } else { 1.0 }
    }

    /// Bits per second of all flows together, over the whole time.
    #[must_use]
    pub fn goodput(&self) -> f64 {
        let read: u64 = self.curves.iter().map(|curve| curve.read).sum();
        read as f64 * 8.0 / self.duration.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The curves as comma-separated values, with a line of names.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::from(
            "time_s,flow,cwnd_bytes,ssthresh_bytes,srtt_ms,in_flight_bytes,throughput_bit_s,lost\n",
        );
        let step = self.step.as_secs_f64();
        for curve in &self.curves {
            let mut losses = curve.losses.iter().peekable();
            for (number, point) in curve.points.iter().enumerate() {
                let time = step * (number + 1) as f64;
                let mut lost = 0;
                while losses.next_if(|at| at.since(Instant::ZERO).as_secs_f64() <= time).is_some() {
                    lost += 1;
                }
                let threshold = point.threshold.map_or(String::new(), |value| value.to_string());
                let rtt = point.rtt.map_or(String::new(), |rtt| milliseconds(rtt).to_string());
                let rate = (point.read * 8) as f64 / step;
                let Point { window, in_flight, .. } = point;
                let name = quoted(&curve.name);
                // Writing to a string does not fail.
                let _ = writeln!(
                    text,
                    "{time:.4},{name},{window},{threshold},{rtt},{in_flight},{rate:.0},{lost}"
                );
            }
        }
        text
    }

    /// A table for people: a line for each flow, and what they shared.
    #[must_use]
    pub fn summary(&self) -> String {
        let names = self.curves.iter().map(|curve| curve.name.chars().count());
        let width = names.max().unwrap_or(0).max(4);
        let mut text = format!(
            "{:width$}  {:10}  {:>14}  {:>8}  {:>6}  {:>9}  {:>12}\n",
            "flow", "controller", "goodput", "resent", "lost", "mean RTT", "largest cwnd",
        );
        for curve in &self.curves {
            let rtt =
                curve.mean_rtt().map_or("-".to_string(), |r| format!("{:.1} ms", milliseconds(r)));
            let _ = writeln!(
                text,
                "{:width$}  {:10}  {:>7.3} Mbit/s  {:>8}  {:>6}  {:>9}  {:>9.1} kB",
                curve.name,
                curve.controller,
                curve.goodput() / 1e6,
                curve.resent,
                curve.losses.len(),
                rtt,
                curve.largest_window() as f64 / 1e3,
            );
        }
        let used = self.rate.map_or(String::new(), |rate| {
            format!(", {:.1} % of the bottleneck", self.goodput() * 100.0 / rate as f64)
        });
        let _ = write!(text, "together {:.3} Mbit/s{used}", self.goodput() / 1e6);
        if self.curves.len() > 1 {
            let _ = write!(text, "; fairness (Jain's index) {:.3}", self.fairness());
        }
        text.push('\n');
        text
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A field of CSV: quoted where it must be (RFC 4180 2).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}
