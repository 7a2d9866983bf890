//! Text to tokens, each with its place.

use std::collections::BTreeMap;

use super::{Failure, Position};

/// One word of the packet-script language.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    /// A name: `S`, `mss`, `SO_ERROR`, `socket`.
    Name(String),
    /// A number without a fraction, decimal or hexadecimal.
    Integer(u64),
    /// A number of seconds with a fraction, in nanoseconds.
    Fraction(u64),
    /// `"..."`.
    Text(String),
    /// `` `...` ``: for a shell in packetdrill, a list of settings here.
    Shell(String),
    /// `%{ ... }%`: assertions about `TCP_INFO`.
    Code(String),
    /// `...`.
    Ellipsis,
    /// `--name=value`; the value is empty without `=`.
    Flag(String, String),
    /// Any other single character.
    Sign(char),
}

/// Splits `text` into its tokens. A name that is defined stands for the tokens of its value.
pub(super) fn tokens(
    text: &str,
    mut definitions: BTreeMap<String, String>,
) -> Result<Vec<(Token, Position)>, Failure> {
    let mut lexer = Lexer::new(text);
    let mut found = Vec::new();
    loop {
        lexer.skip_space_and_comments()?;
        let position = lexer.position;
        let Some(token) = lexer.next_token()? else { return Ok(found) };
        match &token {
            Token::Name(name) if definitions.contains_key(name) => {
                // The tokens of a definition have the place where it is used, and are final.
                let value = definitions.get(name).map(String::as_str).unwrap_or_default();
                found.extend(plain_tokens(value, position)?);
                continue;
            }
            Token::Flag(name, value) if name == "define" => {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                definitions.entry(name.to_string()).or_insert_with(|| value.to_string());
            }
            _ => {}
        }
        found.push((token, position));
    }
}

/// The tokens of a definition, all at `position`.
fn plain_tokens(text: &str, position: Position) -> Result<Vec<(Token, Position)>, Failure> {
    let mut lexer = Lexer::new(text);
    let mut found = Vec::new();
    loop {
        let there = |failure: Failure| Failure { position: Some(position), ..failure };
        lexer.skip_space_and_comments().map_err(there)?;
        match lexer.next_token().map_err(there)? {
            Some(token) => found.push((token, position)),
            None => return Ok(found),
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    position: Position,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str) -> Self {
        Lexer { rest: text, position: Position { line: 1, column: 1 } }
    }

    fn next_token(&mut self) -> Result<Option<Token>, Failure> {
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let second = self.rest[first.len_utf8()..].chars().next();
        let token = match first {
            '.' if self.rest.starts_with("...") => {
                self.take(3);
                Token::Ellipsis
            }
            '"' => Token::Text(unescaped(self.quoted('"')?)),
            '`' => Token::Shell(self.quoted('`')?.to_string()),
            '%' if second == Some('{') => Token::Code(self.delimited("%{", "}%")?.to_string()),
            '-' if self.rest.starts_with("--") => self.flag()?,
            '0'..='9' => self.number()?,
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => self.number()?,
            c if is_name_start(c) => Token::Name(self.take_while(is_name).to_string()),
            c => {
                self.take(c.len_utf8());
                Token::Sign(c)
            }
        };
        Ok(Some(token))
    }

    fn skip_space_and_comments(&mut self) -> Result<(), Failure> {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest.starts_with("//") || self.rest.starts_with('#') {
                self.take_while(|c| c != '\n');
            } else if self.rest.starts_with("/*") {
                self.delimited("/*", "*/")?;
            } else {
                return Ok(());
            }
        }
    }

    /// What stands between `open`, which is next, and `close`.
    fn delimited(&mut self, open: &str, close: &str) -> Result<&'a str, Failure> {
        let inside = &self.rest[open.len()..];
        let Some(length) = inside.find(close) else {
            return Err(self.position.invalid(format!("{open} without {close}")));
        };
        self.take(open.len() + length + close.len());
        Ok(&inside[..length])
    }

    /// What stands between `quote`, which is next, and the next one without a backslash before it.
    fn quoted(&mut self, quote: char) -> Result<&'a str, Failure> {
        let position = self.position;
        self.take(quote.len_utf8());
        let mut escaped = false;
        let end = self.rest.find(|c| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(length) = end else {
            return Err(position.invalid(format!("{quote} without {quote}")));
        };
        let inside = self.take(length);
        self.take(quote.len_utf8());
        Ok(inside)
    }

    /// `--name=value`; a value may be quoted, in whole or in part.
    fn flag(&mut self) -> Result<Token, Failure> {
        self.take(2);
        let name = self.take_while(is_name).to_string();
        let mut value = String::new();
        if self.rest.starts_with('=') {
            self.take(1);
            loop {
                match self.rest.chars().next() {
                    Some('"') => value.push_str(&unescaped(self.quoted('"')?)),
                    Some('`') => value.push_str(&format!("`{}`", self.quoted('`')?)),
                    Some(c) if !c.is_whitespace() => value.push_str(self.take(c.len_utf8())),
                    _ => break,
                }
            }
        }
        Ok(Token::Flag(name, value))
    }

    fn number(&mut self) -> Result<Token, Failure> {
        let position = self.position;
        let too_big = || position.invalid("this number is too big");
        if self.rest.starts_with("0x") || self.rest.starts_with("0X") {
            self.take(2);
            let digits = self.take_while(|c| c.is_ascii_hexdigit());
            return u64::from_str_radix(digits, 16).map(Token::Integer).map_err(|_| too_big());
        }
        // `3021b9d889017eeb` and `00000000` are words: Fast Open cookies.
        let length = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let word = &self.rest[..length];
        if word.contains(|c: char| !c.is_ascii_digit()) || length > 3 && word.starts_with('0') {
            return Ok(Token::Name(self.take(length).to_string()));
        }
        let whole = self.take_while(|c| c.is_ascii_digit());
        let integer = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_big())? };
        let mut after = self.rest.chars();
        let fraction_follows =
            after.next() == Some('.') && after.next().is_some_and(|c| c.is_ascii_digit());
        if !fraction_follows {
            return Ok(Token::Integer(integer));
        }
        self.take(1);
        let digits = self.take_while(|c| c.is_ascii_digit());
        let nanos: String = digits.chars().chain("000000000".chars()).take(9).collect();
        let nanos: u64 = nanos.parse().map_err(|_| too_big())?;
        let whole = integer.checked_mul(1_000_000_000).ok_or_else(too_big)?;
        whole.checked_add(nanos).map(Token::Fraction).ok_or_else(too_big)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let length = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        self.take(length)
    }

    /// Takes `length` bytes, which end between two characters.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        for c in taken.chars() {
            if c == '\n' {
                self.position.line += 1;
                self.position.column = 1;
            } else {
                self.position.column += 1;
            }
        }
        taken
    }
}

/// The text that a quoted one stands for, with `\n`, `\xHH` and their like.
fn unescaped(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('0') => text.push('\0'),
            Some('x') => {
                let digits: String = chars.clone().take(2).collect();
                if let Ok(value) = u8::from_str_radix(&digits, 16) {
                    text.push(char::from(value));
                    chars.nth(1);
                }
            }
            Some(other) => text.push(other),
            None => {}
        }
    }
    text
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Token> {
        tokens(text, BTreeMap::new()).unwrap().into_iter().map(|(token, _)| token).collect()
    }

    #[test]
    fn dots_are_told_apart() {
        use Token::*;
        assert_eq!(words("0...0.2"), [Integer(0), Ellipsis, Fraction(200_000_000)]);
        assert_eq!(words("+.1"), [Sign('+'), Fraction(100_000_000)]);
        assert_eq!(
            words("P. 1:2(1)"),
            [
                Name("P".into()),
                Sign('.'),
                Integer(1),
                Sign(':'),
                Integer(2),
                Sign('('),
                Integer(1),
                Sign(')')
            ]
        );
    }

    #[test]
    fn comments_vanish_and_places_are_kept() {
        let found = tokens("// a\n/* b\n */ # c\n  x", BTreeMap::new()).unwrap();
        assert_eq!(found, [(Token::Name("x".into()), Position { line: 4, column: 3 })]);
        let failure = tokens("\n `abc", BTreeMap::new()).unwrap_err();
        assert_eq!(failure.position, Some(Position { line: 2, column: 2 }));
    }
}
