//! Sequence diagrams as one SVG picture.

use std::fmt::Write;

use super::{Diagram, Row};
use crate::steps::Direction;

/// Where the peer's life line is, in pixels from the left.
const PEER: u32 = 150;
/// Where ours is.
const US: u32 = 590;
/// The picture's width.
const WIDTH: u32 = 1120;
/// From one row to the next.
const ROW: u32 = 34;
/// Above the first row: the names.
const HEAD: u32 = 56;

/// Draws the diagrams one below the other.
pub(super) fn stack(diagrams: &[Diagram]) -> String {
    let height: u32 = diagrams.iter().map(height_of).sum();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 10 10\" refX=\"10\" refY=\"5\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 L10 5 L0 10 z\"/></marker></defs>\n"
    );
    let mut top = 0;
    for diagram in diagrams {
        draw(&mut out, diagram, top);
        top += height_of(diagram);
    }
    out.push_str("</svg>\n");
    out
}

fn height_of(diagram: &Diagram) -> u32 {
    HEAD + ROW * (u32::try_from(diagram.rows.len()).unwrap_or(u32::MAX / 64) + 1)
}

fn draw(out: &mut String, diagram: &Diagram, top: u32) {
    let bottom = top + height_of(diagram) - ROW / 2;
    for (x, name) in [(PEER, &diagram.peer), (US, &diagram.us)] {
        let y = top + 24;
        text(out, x, y, "text-anchor=\"middle\" font-weight=\"bold\"", name);
        let from = top + 34;
        let _ = writeln!(
            out,
            "<line x1=\"{x}\" y1=\"{from}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#888\"/>"
        );
    }
    let mut y = top + HEAD;
    for row in &diagram.rows {
        match row {
            Row::Arrow { time, direction, label, why, lost } => {
                let (from, to) = match direction {
                    Direction::In => (PEER, US),
                    Direction::Out => (US, PEER),
                };
                let end =
                    if *lost { "stroke-dasharray=\"4 4\"" } else { "marker-end=\"url(#tip)\"" };
                let _ = writeln!(
                    out,
                    "<line x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\" stroke=\"black\" {end}/>"
                );
                text(out, PEER.midpoint(US), y - 5, "text-anchor=\"middle\"", label);
                text(out, 8, y + 4, "fill=\"#888\"", &time.to_string());
                if let Some(why) = why {
                    text(out, US + 12, y + 4, "fill=\"#555\" font-size=\"11\"", why);
                }
            }
            Row::State(state) => {
                text(out, US + 12, y + 4, "fill=\"#06c\" font-weight=\"bold\"", state.name());
            }
            Row::Note(note) => text(out, US + 12, y + 4, "font-style=\"italic\"", note),
        }
        y += ROW;
    }
    if diagram.left_out > 0 {
        text(out, PEER, y, "", &format!("and {} rows more", diagram.left_out));
    }
}

fn text(out: &mut String, x: u32, y: u32, attributes: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" {attributes}>{content}</text>");
}
