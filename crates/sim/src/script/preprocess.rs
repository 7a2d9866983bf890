//! `#ifdef NAME`, `#ifndef NAME`, `#else`, `#endif` and `#define NAME VALUE`, each on a line.

use std::collections::BTreeMap;

use super::{Failure, Position};

/// How deep `#ifdef` may nest.
const MAX_DEPTH: usize = 32;

/// The text without the lines that are not chosen; the others keep their numbers. Definitions in
/// the text are added to `definitions`, where those of the command line stay.
pub(super) fn choose_lines(
    text: &str,
    definitions: &mut BTreeMap<String, String>,
) -> Result<String, Failure> {
    let mut chosen = String::with_capacity(text.len());
    // For each `#ifdef` that is open: its place, and whether its lines are chosen.
    let mut open: Vec<(Position, bool)> = Vec::new();
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        let position = Position { line: number, column: 1 };
        let active = open.iter().all(|(_, chosen)| *chosen);
        let mut words = line.split_whitespace();
        let directive = words.next().unwrap_or_default();
        let name = words.next();
        let wanted = || name.ok_or_else(|| position.invalid(format!("{directive} needs a name")));
        match directive {
            "#ifdef" => open.push((position, definitions.contains_key(wanted()?))),
            "#ifndef" => open.push((position, !definitions.contains_key(wanted()?))),
            "#else" => match open.last_mut() {
                Some((_, chosen)) => *chosen = !*chosen,
                None => return Err(position.invalid("#else without #ifdef")),
            },
            "#endif" if open.pop().is_none() => {
                return Err(position.invalid("#endif without #ifdef"));
            }
            "#endif" => {}
            "#define" if active => {
                let value = words.collect::<Vec<_>>().join(" ");
                definitions.entry(wanted()?.to_string()).or_insert(value);
            }
            _ if active && directive != "#define" => chosen.push_str(line.trim_end_matches('\n')),
            _ => {}
        }
        if open.len() > MAX_DEPTH {
            return Err(position.invalid("#ifdef is nested too deeply"));
        }
        chosen.push('\n');
    }
    match open.pop() {
        Some((position, _)) => Err(position.invalid("#ifdef without #endif")),
        None => Ok(chosen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str, defined: &[&str]) -> Result<String, String> {
        let mut definitions =
            defined.iter().map(|name| ((*name).to_string(), String::new())).collect();
        choose_lines(text, &mut definitions).map_err(|failure| failure.to_string())
    }

    #[test]
    fn lines_are_chosen_and_keep_their_numbers() {
        let text = "a\n#ifdef X\nb\n#else\nc\n#endif\nd\n";
        assert_eq!(chosen(text, &["X"]).unwrap(), "a\n\nb\n\n\n\nd\n");
        assert_eq!(chosen(text, &[]).unwrap(), "a\n\n\n\nc\n\nd\n");
    }

    #[test]
    fn an_inner_choice_needs_the_outer_one() {
        let text = "#ifdef X\n#ifndef Y\na\n#endif\n#endif";
        assert_eq!(chosen(text, &[]).unwrap().trim(), "");
        assert_eq!(chosen(text, &["X"]).unwrap().trim(), "a");
    }

    #[test]
    fn what_is_defined_on_the_way_counts_from_there() {
        let text = "#ifdef X\na\n#endif\n#define X 3\n#ifdef X\nb\n#endif";
        assert_eq!(chosen(text, &[]).unwrap().trim(), "b");
    }

    #[test]
    fn what_is_not_closed_is_named() {
        assert_eq!(chosen("\n#ifdef X\n", &[]).unwrap_err(), "2:1: #ifdef without #endif");
        assert_eq!(chosen("#endif", &[]).unwrap_err(), "1:1: #endif without #ifdef");
        assert_eq!(chosen("#ifdef", &[]).unwrap_err(), "1:1: #ifdef needs a name");
    }
}
