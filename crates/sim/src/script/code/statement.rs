//! Code to statements.

use super::expression::{Expression, Operator, Parser, Word, words};
use super::{Problem, not_supported};

/// One statement.
#[derive(Clone, Debug)]
pub(super) enum Statement {
    /// `assert claim, message`.
    Assert { text: String, claim: Expression, message: Option<Expression> },
    /// `name = value`, or `name += value`.
    Assign { name: String, operator: Option<Operator>, value: Expression },
    /// `print(a, b)`.
    Print(Vec<Expression>),
    /// `pass`, or an expression without an effect.
    Pass,
}

/// Splits `code` into statements and reads each.
pub(super) fn statements(code: &str) -> Result<Vec<Statement>, Problem> {
    let mut found = Vec::new();
    for line in logical_lines(code) {
        let line = line.trim();
        if !line.is_empty() {
            found.push(statement(line)?);
        }
    }
    Ok(found)
}

fn statement(text: &str) -> Result<Statement, Problem> {
    let words = words(text)?;
    match &words[..] {
        [] => return Ok(Statement::Pass),
        [Word::Name(name), rest @ ..] => {
            if let Some(assignment) = assignment(name, rest)? {
                return Ok(assignment);
            }
            match name.as_str() {
                "assert" => return assertion(text, rest),
                "print" => {
                    let mut parser = Parser::new(rest);
                    let values = parser.arguments()?;
                    parser.end()?;
                    return Ok(Statement::Print(values));
                }
                "pass" if rest.is_empty() => return Ok(Statement::Pass),
                "import" | "from" | "def" | "class" | "for" | "while" | "if" | "elif" | "else"
                | "try" | "except" | "with" | "del" | "raise" | "global" | "return" => {
                    return Err(not_supported(format!("`{name}` in %{{ }}%")));
                }
                _ => {}
            }
        }
        _ => {}
    }
    let mut parser = Parser::new(&words);
    parser.expression()?;
    parser.end()?;
    Ok(Statement::Pass)
}

fn assertion(text: &str, words: &[Word]) -> Result<Statement, Problem> {
    let mut parser = Parser::new(words);
    let claim = parser.expression()?;
    let message = if parser.accept(",") { Some(parser.expression()?) } else { None };
    parser.end()?;
    // What stands before the comma of the message, as it was written.
    let text = text.strip_prefix("assert").unwrap_or(text).trim();
    let text = match &message {
        Some(_) => outer_comma(text).map_or(text, |at| &text[..at]),
        None => text,
    };
    Ok(Statement::Assert { text: text.trim().to_string(), claim, message })
}

fn assignment(name: &str, rest: &[Word]) -> Result<Option<Statement>, Problem> {
    let Some((Word::Sign(sign), value)) = rest.split_first() else { return Ok(None) };
    let operator = match *sign {
        "=" => None,
        "+=" => Some(Operator::Add),
        "-=" => Some(Operator::Subtract),
        "*=" => Some(Operator::Multiply),
        "//=" => Some(Operator::FloorDivide),
        "/=" => Some(Operator::Divide),
        _ => return Ok(None),
    };
    let mut parser = Parser::new(value);
    let value = parser.expression()?;
    parser.end()?;
    Ok(Some(Statement::Assign { name: name.to_string(), operator, value }))
}

/// Lines as Python counts them: a backslash or an open bracket goes on, `;` ends, `#` is a comment.
fn logical_lines(code: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut scan = Scan::default();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        let inside = scan.quote.is_some();
        if !inside && c == '\\' && chars.peek() == Some(&'\n') {
            chars.next();
            continue;
        }
        if !inside && c == '#' {
            while chars.peek().is_some_and(|c| *c != '\n') {
                chars.next();
            }
            continue;
        }
        scan.step(c);
        let ends = !inside && scan.depth == 0 && matches!(c, '\n' | ';');
        match lines.last_mut() {
            Some(line) if !ends => line.push(c),
            _ => lines.push(String::new()),
        }
    }
    lines
}

/// The first comma that is in no bracket and no string.
fn outer_comma(text: &str) -> Option<usize> {
    let mut scan = Scan::default();
    text.char_indices().find_map(|(at, c)| {
        scan.step(c);
        (c == ',' && scan.depth == 0 && scan.quote.is_none()).then_some(at)
    })
}

/// Whether a place is in a string or in brackets.
#[derive(Default)]
struct Scan {
    quote: Option<char>,
    escaped: bool,
    depth: usize,
}

impl Scan {
    fn step(&mut self, c: char) {
        match (self.quote, c) {
            (Some(_), '\\') if !self.escaped => {
                self.escaped = true;
                return;
            }
            (Some(quote), c) if c == quote && !self.escaped => self.quote = None,
            (None, '\'' | '"') => self.quote = Some(c),
            (None, '(' | '[' | '{') => self.depth += 1,
            (None, ')' | ']' | '}') => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.escaped = false;
    }
}
