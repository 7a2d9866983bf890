//! A sequence diagram in text.

use std::fmt::Write;

use super::{Diagram, Row};
use crate::steps::Direction;

/// The columns between the two life lines.
const SPAN: usize = 52;
/// The columns left of the peer's life line: the time.
const LEFT: usize = 12;

/// Draws the diagram: the peer's life line on the left, ours on the right with its states.
pub(super) fn draw(diagram: &Diagram) -> String {
    let mut out = String::new();
    let gap = (LEFT + SPAN).saturating_sub(diagram.peer.chars().count() + 4).max(2);
    let _ = writeln!(out, "    {}{:gap$}{}", diagram.peer, "", diagram.us);
    let mut last_drawn_state = None;
    for row in &diagram.rows {
        match row {
            Row::Arrow { time, direction, label, why, lost } => {
                let line = match direction {
                    Direction::Out => {
                        let tip = if *lost { 'x' } else { '<' };
                        format!("{tip}{:->width$}", format!("- {label} --"), width = SPAN - 1)
                    }
                    Direction::In => {
                        let tip = if *lost { 'x' } else { '>' };
                        format!("{:-<width$}{tip}", format!("-- {label} -"), width = SPAN - 1)
                    }
                };
                let lost = if *lost { "  lost on the way" } else { "" };
                let why = why.map(|why| format!("  {why}")).unwrap_or_default();
                let time = time.to_string();
                let _ = writeln!(out, "{time:>width$} |{line}|{lost}{why}", width = LEFT - 1);
            }
            Row::State(state) if last_drawn_state == Some(*state) => {}
            Row::State(state) => {
                last_drawn_state = Some(*state);
                let _ = writeln!(out, "{:LEFT$}|{:SPAN$}| {state}", "", "");
            }
            Row::Note(note) => {
                let _ = writeln!(out, "{:LEFT$}|{:SPAN$}|   {note}", "", "");
            }
        }
    }
    if diagram.left_out > 0 {
        let _ = writeln!(out, "{:LEFT$}and {} rows more", "", diagram.left_out);
    }
    out
}
