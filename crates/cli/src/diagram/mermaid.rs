//! A sequence diagram in mermaid, which GitHub and many editors draw.

use std::fmt::Write;

use super::{Diagram, Row};
use crate::steps::Direction;

/// Writes the diagram's source.
pub(super) fn draw(diagram: &Diagram) -> String {
    let mut out = String::from("sequenceDiagram\n");
    let _ = writeln!(out, "    participant p as {}", plain(&diagram.peer));
    let _ = writeln!(out, "    participant e as {}", plain(&diagram.us));
    for row in &diagram.rows {
        let _ = match row {
            Row::Arrow { direction, label, lost, .. } => {
                let (from, to) = match direction {
                    Direction::In => ('p', 'e'),
                    Direction::Out => ('e', 'p'),
                };
                let arrow = if *lost { "-x" } else { "->>" };
                writeln!(out, "    {from}{arrow}{to}: {}", plain(label))
            }
            Row::State(state) => writeln!(out, "    Note right of e: {state}"),
            Row::Note(note) => writeln!(out, "    Note over e: {}", plain(note)),
        };
    }
    if diagram.left_out > 0 {
        let _ = writeln!(out, "    Note over p,e: and {} more", diagram.left_out);
    }
    out
}

/// Without the characters that end a statement in mermaid.
fn plain(text: &str) -> String {
    text.replace([';', '#', '\n'], " ")
}
