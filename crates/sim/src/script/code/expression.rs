//! Words to expressions, in Python's order of precedence.

use super::{Problem, not_supported};

/// How deep an expression may nest.
const MAX_DEPTH: usize = 64;

/// A word of the code.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Word {
    Name(String),
    Integer(i64),
    Float(f64),
    Text(String),
    Sign(&'static str),
}

/// Longer signs first.
const SIGNS: [&str; 32] = [
    "//=", "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "+=", "-=", "*=", "/=", "+", "-", "*",
    "/", "%", "&", "|", "^", "~", "<", ">", "=", "(", ")", "[", "]", ",", ".", ":",
];

/// What stands between two values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

/// How two values are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// An expression.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    Integer(i64),
    Float(f64),
    Text(String),
    Name(String),
    Tuple(Vec<Expression>),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Invert(Box<Expression>),
    Both(Box<Expression>, Box<Expression>),
    Either(Box<Expression>, Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    /// `a < b <= c`.
    Compare(Box<Expression>, Vec<(Comparison, Expression)>),
    Call(String, Vec<Expression>),
}

impl Expression {
    /// Every name in it, each once.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.collect(&mut found);
        found
    }

    fn collect<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Name(name) if !found.contains(&name.as_str()) => found.push(name),
            Self::Integer(_) | Self::Float(_) | Self::Text(_) | Self::Name(_) => {}
            Self::Not(a) | Self::Negative(a) | Self::Invert(a) => a.collect(found),
            Self::Both(a, b) | Self::Either(a, b) | Self::Binary(_, a, b) => {
                a.collect(found);
                b.collect(found);
            }
            Self::Compare(a, rest) => {
                a.collect(found);
                rest.iter().for_each(|(_, b)| b.collect(found));
            }
            Self::Tuple(all) | Self::Call(_, all) => all.iter().for_each(|a| a.collect(found)),
        }
    }
}

/// Splits one statement into its words.
pub(super) fn words(text: &str) -> Result<Vec<Word>, Problem> {
    let mut rest = text.trim_start();
    let mut found = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (word, length) = if first.is_ascii_digit() {
            number(rest)?
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Word::Name(rest[..end].to_string()), end)
        } else if matches!(first, '\'' | '"') {
            string(rest, first)?
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            (Word::Sign(sign), sign.len())
        } else {
            return Err(not_supported(format!("`{first}` in %{{ }}%")));
        };
        found.push(word);
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

fn number(text: &str) -> Result<(Word, usize), Problem> {
    let wrong = |word: &str| Problem::from(format!("`{word}` is no number"));
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(text.len());
    let word = &text[..end];
    if let Some(digits) = word.strip_prefix("0x").or(word.strip_prefix("0X")) {
        let value = i64::from_str_radix(digits, 16).map_err(|_| wrong(word))?;
        return Ok((Word::Integer(value), end));
    }
    if word.contains(['.', 'e', 'E']) {
        return word.parse().map(|value| (Word::Float(value), end)).map_err(|_| wrong(word));
    }
    word.parse().map(|value| (Word::Integer(value), end)).map_err(|_| wrong(word))
}

fn string(text: &str, quote: char) -> Result<(Word, usize), Problem> {
    let inside = &text[1..];
    let length = inside.find(quote).ok_or("a string without its end")?;
    if inside[..length].contains('\\') {
        return Err(not_supported("a backslash in a string of %{ }%"));
    }
    Ok((Word::Text(inside[..length].to_string()), length + 2))
}

/// Operators that bind left to right, loosest first.
const LEVELS: [&[(&str, Operator)]; 6] = [
    &[("|", Operator::Or)],
    &[("^", Operator::Xor)],
    &[("&", Operator::And)],
    &[("<<", Operator::ShiftLeft), (">>", Operator::ShiftRight)],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[
        ("*", Operator::Multiply),
        ("//", Operator::FloorDivide),
        ("/", Operator::Divide),
        ("%", Operator::Remainder),
    ],
];

const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// Reads expressions from words.
pub(super) struct Parser<'a> {
    words: &'a [Word],
    depth: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(words: &'a [Word]) -> Self {
        Self { words, depth: 0 }
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), Problem> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(not_supported(format!("{} here in %{{ }}%", shown(word)))),
        }
    }

    /// `or`, the loosest.
    pub(super) fn expression(&mut self) -> Result<Expression, Problem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("this is nested too deeply".into());
        }
        let mut left = self.conjunction()?;
        while self.accept_name("or") {
            left = Expression::Either(Box::new(left), Box::new(self.conjunction()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expression, Problem> {
        let mut left = self.negation()?;
        while self.accept_name("and") {
            left = Expression::Both(Box::new(left), Box::new(self.negation()?));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expression, Problem> {
        let mut times = 0;
        while self.accept_name("not") {
            times += 1;
        }
        let mut value = self.comparison()?;
        // Twice is once more than needed to make a truth value of anything.
        for _ in 0..if times > 1 { 2 - times % 2 } else { times } {
            value = Expression::Not(Box::new(value));
        }
        Ok(value)
    }

    fn comparison(&mut self) -> Result<Expression, Problem> {
        let first = self.binary(0)?;
        let mut rest = Vec::new();
        while let Some((_, how)) = COMPARISONS.iter().find(|(sign, _)| self.is_next(sign)) {
            self.words = &self.words[1..];
            rest.push((*how, self.binary(0)?));
        }
        if rest.is_empty() { Ok(first) } else { Ok(Expression::Compare(Box::new(first), rest)) }
    }

    fn binary(&mut self, level: usize) -> Result<Expression, Problem> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(sign, _)| self.is_next(sign)) {
            self.words = &self.words[1..];
            let right = self.binary(level + 1)?;
            left = Expression::Binary(*operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, Problem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("this is nested too deeply".into());
        }
        let value = if self.accept("-") {
            Expression::Negative(Box::new(self.unary()?))
        } else if self.accept("~") {
            Expression::Invert(Box::new(self.unary()?))
        } else if self.accept("+") {
            self.unary()?
        } else {
            self.power()?
        };
        self.depth -= 1;
        Ok(value)
    }

    fn power(&mut self) -> Result<Expression, Problem> {
        let base = self.atom()?;
        if !self.accept("**") {
            return Ok(base);
        }
        Ok(Expression::Binary(Operator::Power, Box::new(base), Box::new(self.unary()?)))
    }

    fn atom(&mut self) -> Result<Expression, Problem> {
        let Some((word, rest)) = self.words.split_first() else {
            return Err("a value is missing at the end".into());
        };
        match word {
            Word::Sign("(") => {
                let mut values = self.arguments()?;
                return Ok(if values.len() == 1 {
                    values.remove(0)
                } else {
                    Expression::Tuple(values)
                });
            }
            Word::Sign(_) => return Err(not_supported(format!("{} in %{{ }}%", shown(word)))),
            _ => self.words = rest,
        }
        Ok(match word {
            Word::Integer(value) => Expression::Integer(*value),
            Word::Float(value) => Expression::Float(*value),
            Word::Text(text) => Expression::Text(text.clone()),
            Word::Name(name) if self.is_next("(") => {
                Expression::Call(name.clone(), self.arguments()?)
            }
            Word::Name(name) => Expression::Name(name.clone()),
            Word::Sign(_) => Expression::Tuple(Vec::new()),
        })
    }

    /// `(a, b)`.
    pub(super) fn arguments(&mut self) -> Result<Vec<Expression>, Problem> {
        if !self.accept("(") {
            return Err("`(` is missing".into());
        }
        let mut values = Vec::new();
        while !self.accept(")") {
            if !values.is_empty() && !self.accept(",") {
                return Err("`,` or `)` is missing".into());
            }
            if !self.is_next(")") {
                values.push(self.expression()?);
            }
        }
        Ok(values)
    }

    pub(super) fn accept(&mut self, sign: &str) -> bool {
        let is_next = self.is_next(sign);
        if is_next {
            self.words = &self.words[1..];
        }
        is_next
    }

    fn accept_name(&mut self, wanted: &str) -> bool {
        match self.words.split_first() {
            Some((Word::Name(name), rest)) if name == wanted => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    fn is_next(&self, sign: &str) -> bool {
        matches!(self.words.first(), Some(Word::Sign(next)) if *next == sign)
    }
}

fn shown(word: &Word) -> String {
    match word {
        Word::Name(name) => format!("`{name}`"),
        Word::Sign(sign) => format!("`{sign}`"),
        Word::Integer(value) => value.to_string(),
        Word::Float(value) => value.to_string(),
        Word::Text(_) => "a string".to_string(),
    }
}
