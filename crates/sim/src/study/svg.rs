//! The curves of a study as one SVG picture: window, round trip, flight and throughput above one
//! axis of time, a colour for each flow, and a mark for each lost packet.

use std::fmt::Write;

use wire::time::Instant;

use super::recorder::{Curve, Measured, Point};

const WIDTH: f64 = 960.0;
/// Where the curves are, from the left.
const LEFT: f64 = 78.0;
const RIGHT: f64 = 944.0;
/// Above the first panel: the title and the legend.
const HEAD: f64 = 64.0;
/// The height of a panel, and from one to the next.
const PANEL: f64 = 132.0;
const PITCH: f64 = 168.0;
/// Below the last panel: the axis of time.
const FOOT: f64 = 44.0;

/// Colours that people with any kind of eyesight can tell apart (Okabe and Ito).
const COLOURS: &[&str] =
    &["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555"];

/// What a panel shows.
struct Panel {
    title: &'static str,
    unit: &'static str,
    value: fn(&Point, f64) -> Option<f64>,
    /// A second, thin line.
    also: Option<Also>,
    losses: bool,
    /// Over how many points its mean is taken: what arrives comes in lumps.
    mean: usize,
}

/// What the legend of a second line says, and its value.
type Also = (&'static str, fn(&Point) -> Option<f64>);

const PANELS: &[Panel] = &[
    Panel {
        title: "congestion window",
        unit: "kB",
        value: |point, _| Some(point.window as f64 / 1e3),
        also: Some(("dashed: slow-start threshold", |point| {
            point.threshold.map(|threshold| threshold as f64 / 1e3)
        })),
        losses: true,
        mean: 1,
    },
    Panel {
        title: "smoothed round-trip time",
        unit: "ms",
        value: |point, _| point.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
        also: None,
        losses: false,
        mean: 1,
    },
    Panel {
        title: "in flight",
        unit: "kB",
        value: |point, _| Some(point.in_flight as f64 / 1e3),
        also: None,
        losses: false,
        mean: 1,
    },
    Panel {
        title: "throughput",
        unit: "Mbit/s",
        value: |point, step| Some(point.read as f64 * 8.0 / step / 1e6),
        also: None,
        losses: false,
        mean: 10,
    },
];

/// Draws what was measured.
#[must_use]
pub fn draw(measured: &Measured) -> String {
    let height = HEAD + PITCH * PANELS.len() as f64 + FOOT;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut out, LEFT, 24.0, "font-size=\"16\" font-weight=\"bold\"", &measured.title);
    legend(&mut out, measured);
    for (number, panel) in PANELS.iter().enumerate() {
        draw_panel(&mut out, measured, panel, HEAD + PITCH * number as f64 + 22.0);
    }
    let seconds = measured.duration.as_secs_f64();
    let bottom = HEAD + PITCH * PANELS.len() as f64 - 14.0;
    for tick in ticks(seconds) {
        let x = LEFT + (RIGHT - LEFT) * tick / seconds;
        text(&mut out, x, bottom + 18.0, "text-anchor=\"middle\" fill=\"#444\"", &label(tick));
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    text(&mut out, middle, bottom + 38.0, "text-anchor=\"middle\"", "time (s)");
    out.push_str("</svg>\n");
    out
}

/// A coloured line and a name for each flow; and what the mark means.
fn legend(out: &mut String, measured: &Measured) {
    const MOST: usize = 6;
    let mut x = LEFT;
    let mut entry = |out: &mut String, colour: &str, name: &str| {
        let end = x + 22.0;
        line(out, (x, 46.0), (end, 46.0), &format!("stroke=\"{colour}\" stroke-width=\"2.5\""));
        text(out, end + 6.0, 50.0, "", name);
        x = end + 26.0 + 6.8 * name.chars().count() as f64;
    };
    for (number, curve) in measured.curves.iter().take(MOST).enumerate() {
        entry(out, colour(number), &curve.name);
    }
    if measured.curves.len() > MOST {
        entry(out, "#999", &format!("and {} flows more", measured.curves.len() - MOST));
    }
    if measured.curves.iter().any(|curve| !curve.losses.is_empty()) {
        cross(out, x + 8.0, 46.0, "#b00020");
        text(out, x + 18.0, 50.0, "", "lost packets");
    }
}

fn draw_panel(out: &mut String, measured: &Measured, panel: &Panel, top: f64) {
    let step = measured.step.as_secs_f64();
    let seconds = measured.duration.as_secs_f64();
    let bottom = top + PANEL;
    let values: Vec<Vec<Option<f64>>> =
        measured.curves.iter().map(|curve| values(curve, panel, step)).collect();
    let largest = values.iter().flatten().flatten().copied().fold(0.0, f64::max);
    let most = if largest > 0.0 { largest * 1.08 } else { 1.0 };
    let x = |time: f64| LEFT + (RIGHT - LEFT) * (time / seconds).min(1.0);
    let y = |value: f64| bottom - PANEL * (value / most).min(1.0);

    let span = label(step * panel.mean as f64);
    let mean = if panel.mean > 1 { format!(", mean of {span} s") } else { String::new() };
    let title = format!("{}{mean} ({})", panel.title, panel.unit);
    text(out, LEFT, top - 7.0, "font-weight=\"bold\" fill=\"#222\"", &title);
    if let Some((note, _)) = panel.also {
        text(out, RIGHT, top - 7.0, "text-anchor=\"end\" fill=\"#666\" font-size=\"11\"", note);
    }
    for tick in ticks(most) {
        line(out, (LEFT, y(tick)), (RIGHT, y(tick)), "stroke=\"#e4e4e4\"");
        let anchor = "text-anchor=\"end\" fill=\"#444\" font-size=\"11\"";
        text(out, LEFT - 6.0, y(tick) + 4.0, anchor, &label(tick));
    }
    for tick in ticks(seconds) {
        line(out, (x(tick), top), (x(tick), bottom), "stroke=\"#f0f0f0\"");
    }
    line(out, (LEFT, bottom), (RIGHT, bottom), "stroke=\"#888\"");
    line(out, (LEFT, top), (LEFT, bottom), "stroke=\"#888\"");
    for (number, (curve, values)) in measured.curves.iter().zip(values).enumerate() {
        let colour = colour(number);
        if let Some((_, also)) = panel.also {
            let points = curve.points.iter().map(also);
            let style = format!("stroke=\"{colour}\" stroke-dasharray=\"3 4\" opacity=\"0.6\"");
            path(out, points, step, (&x, &y), &style);
        }
        let style = format!("stroke=\"{colour}\" stroke-width=\"1.5\"");
        path(out, values.into_iter(), step, (&x, &y), &style);
        if panel.losses {
            draw_losses(out, curve, &x, bottom - 5.0 - 9.0 * (number % 6) as f64, colour);
        }
    }
}

/// What a panel shows of a flow, from its start on.
fn values(curve: &Curve, panel: &Panel, step: f64) -> Vec<Option<f64>> {
    let raw: Vec<_> = curve.points.iter().map(|point| (panel.value)(point, step)).collect();
    let started = curve.start.since(Instant::ZERO).as_secs_f64();
    let mean = |at: usize| {
        let begun = (at + 1) as f64 * step > started;
        let near = &raw[(at + 1).saturating_sub(panel.mean)..=at];
        let sum: f64 = near.iter().flatten().sum();
        raw[at].filter(|_| begun).map(|_| sum / near.len() as f64)
    };
    (0..raw.len()).map(mean).collect()
}

/// A cross for each loss; those that would lie on one another are one.
fn draw_losses(out: &mut String, curve: &Curve, x: &dyn Fn(f64) -> f64, y: f64, colour: &str) {
    let mut last = f64::NEG_INFINITY;
    for at in &curve.losses {
        let at = x(at.since(Instant::ZERO).as_secs_f64());
        if at - last >= 2.5 {
            cross(out, at, y, colour);
            last = at;
        }
    }
}

type Scales<'a> = (&'a dyn Fn(f64) -> f64, &'a dyn Fn(f64) -> f64);

/// A line through the points that are there.
fn path(
    out: &mut String,
    points: impl Iterator<Item = Option<f64>>,
    step: f64,
    (x, y): Scales<'_>,
    style: &str,
) {
    let mut data = String::new();
    let mut pen_down = false;
    for (number, value) in points.enumerate() {
        let Some(value) = value else {
            pen_down = false;
            continue;
        };
        let command = if pen_down { 'L' } else { 'M' };
        // Writing to a string does not fail.
        let _ = write!(data, "{command}{:.1} {:.1}", x((number + 1) as f64 * step), y(value));
        pen_down = true;
    }
    if !data.is_empty() {
        let _ = writeln!(out, "<path d=\"{data}\" fill=\"none\" {style}/>");
    }
}

/// Round numbers from 0 to `most`, a handful of them.
fn ticks(most: f64) -> Vec<f64> {
    let rough = most / 5.0;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
    let step = step.into_iter().find(|step| *step >= rough).unwrap_or(magnitude * 10.0);
    (0..20).map(|number| f64::from(number) * step).take_while(|tick| *tick <= most).collect()
}

fn label(value: f64) -> String {
    // At most three digits after the point, and none that say nothing.
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

fn cross(out: &mut String, x: f64, y: f64, colour: &str) {
    let (a, b, c, d) = (x - 3.0, x + 3.0, y - 3.0, y + 3.0);
    let _ = writeln!(
        out,
        "<path d=\"M{a:.1} {c:.1}L{b:.1} {d:.1}M{a:.1} {d:.1}L{b:.1} {c:.1}\" \
         stroke=\"{colour}\" stroke-width=\"1.4\"/>"
    );
}

fn line(out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), style: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"
    );
}

fn text(out: &mut String, x: f64, y: f64, attributes: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{content}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(30.0), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(ticks(7.0), [0.0, 2.0, 4.0, 6.0]);
        for most in [0.013, 0.9, 1.0, 3.3, 99.0, 12_345.0] {
            let count = ticks(most).len();
            assert!((3..=9).contains(&count), "{count} up to {most}");
        }
        assert_eq!([0.0, 0.5, 20.0].map(label), ["0", "0.5", "20"]);
    }
}
