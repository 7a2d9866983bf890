//! Tokens to a script: a recursive descent, one function a rule of the grammar.
//!
//! ```text
//! script     = { flag } { event }
//! event      = time ( packet | call | shell | code )
//! time       = "*" | moment [ "~" moment ] | moment "..." seconds
//! moment     = [ "+" ] seconds
//! ```
//! What a packet looks like is in `parser/packet.rs`.

mod packet;

use wire::time::Duration;

use super::ast::{Action, Call, Event, Expression, Moment, Script, When};
use super::lexer::{self, Token};
use super::{Failure, Position};

/// How deep lists and records of arguments may nest.
const MAX_DEPTH: usize = 8;

/// Parses a script.
///
/// # Errors
/// With the place of the first thing that is not of the language, or not supported.
pub fn parse(text: &str) -> Result<Script, Failure> {
    let mut parser = Parser { tokens: lexer::tokens(text)?, next: 0 };
    let mut script = Script::default();
    while let Some(Token::Flag(name, value)) = parser.peek().cloned() {
        let position = parser.position();
        parser.next += 1;
        script.options.push((name, value, position));
    }
    // Settings may stand alone, before the first event.
    while let Some(Token::Shell(text)) = parser.peek().cloned() {
        let position = parser.position();
        parser.next += 1;
        let when = When::At(Moment::Relative(Duration::ZERO));
        script.events.push(Event { when, until: None, action: Action::Shell(text), position });
    }
    while parser.peek().is_some() {
        script.events.push(parser.event()?);
    }
    Ok(script)
}

struct Parser {
    tokens: Vec<(Token, Position)>,
    next: usize,
}

impl Parser {
    fn event(&mut self) -> Result<Event, Failure> {
        let position = self.position();
        let (when, until) = self.time()?;
        let action = match self.peek() {
            Some(Token::Sign('<' | '>')) => self.packet()?,
            Some(Token::Name(_)) => Action::Call(self.call()?),
            Some(Token::Shell(text)) => {
                let text = text.clone();
                self.next += 1;
                Action::Shell(text)
            }
            Some(Token::Code(text)) => {
                let text = text.clone();
                self.next += 1;
                Action::Code(text)
            }
            _ => return Err(self.unexpected("a packet, a system call, `settings` or %{ }%")),
        };
        if until.is_some() && !matches!(action, Action::Call(_)) {
            return Err(position.failure("only a system call has an end time"));
        }
        Ok(Event { when, until, action, position })
    }

    fn time(&mut self) -> Result<(When, Option<Duration>), Failure> {
        if self.accept('*') {
            return Ok((When::Any, None));
        }
        let start = self.moment()?;
        if self.accept('~') {
            return Ok((When::Between(start, self.moment()?), None));
        }
        if self.peek() == Some(&Token::Ellipsis) {
            self.next += 1;
            let (Moment::Absolute(end) | Moment::Relative(end)) = self.moment()?;
            return Ok((When::At(start), Some(end)));
        }
        Ok((When::At(start), None))
    }

    fn moment(&mut self) -> Result<Moment, Failure> {
        let relative = self.accept('+');
        let time = match self.peek() {
            Some(Token::Integer(seconds)) => {
                // A century is long enough for any script, and adds up without overflow.
                Duration::from_secs((*seconds).min(3_153_600_000))
            }
            Some(Token::Fraction(nanos)) => Duration::from_nanos(*nanos),
            _ => return Err(self.unexpected("a time")),
        };
        self.next += 1;
        Ok(if relative { Moment::Relative(time) } else { Moment::Absolute(time) })
    }

    fn call(&mut self) -> Result<Call, Failure> {
        let name = self.name()?;
        self.expect('(')?;
        let arguments = self.expressions(')', 0)?;
        self.expect('=')?;
        let result = self.expression(0)?;
        let errno = match self.peek() {
            Some(Token::Name(_)) => Some(self.name()?),
            _ => None,
        };
        if errno.is_some() && self.accept('(') {
            // What strerror says, for the reader.
            while !self.accept(')') {
                if self.peek().is_none() {
                    return Err(self.unexpected("`)`"));
                }
                self.next += 1;
            }
        }
        Ok(Call { name, arguments, result, errno })
    }

    /// Expressions with commas between, up to `close`.
    fn expressions(&mut self, close: char, depth: usize) -> Result<Vec<Expression>, Failure> {
        let mut found = Vec::new();
        while !self.accept(close) {
            if !found.is_empty() {
                self.expect(',')?;
            }
            found.push(self.expression(depth + 1)?);
        }
        Ok(found)
    }

    fn expression(&mut self, depth: usize) -> Result<Expression, Failure> {
        if depth > MAX_DEPTH {
            return Err(self.position().failure("this is nested too deeply"));
        }
        let Some(token) = self.peek().cloned() else { return Err(self.unexpected("a value")) };
        match token {
            Token::Name(_) => return self.names(depth),
            Token::Sign('[') => {
                self.next += 1;
                return self.expressions(']', depth).map(Expression::List);
            }
            Token::Sign('{') => {
                self.next += 1;
                return self.record(depth);
            }
            _ => {}
        }
        let negative = self.accept('-');
        let value = match (self.peek(), negative) {
            (Some(Token::Integer(value)), _) => {
                let value = i64::try_from(*value)
                    .map_err(|_| self.position().failure("this number is too big"))?;
                Expression::Integer(if negative { -value } else { value })
            }
            #[expect(clippy::cast_precision_loss, reason = "a millisecond more or less")]
            (Some(Token::Fraction(nanos)), false) => Expression::Fraction(*nanos as f64 / 1e9),
            (Some(Token::Text(text)), false) => Expression::Text(text.clone()),
            (Some(Token::Ellipsis), false) => Expression::Ellipsis,
            _ => return Err(self.unexpected("a value")),
        };
        self.next += 1;
        Ok(value)
    }

    fn names(&mut self, depth: usize) -> Result<Expression, Failure> {
        let name = self.name()?;
        if self.accept('(') {
            return Ok(Expression::Apply(name, self.expressions(')', depth)?));
        }
        let mut names = vec![name];
        while self.accept('|') {
            names.push(self.name()?);
        }
        Ok(Expression::Names(names))
    }

    fn record(&mut self, depth: usize) -> Result<Expression, Failure> {
        let mut fields = Vec::new();
        while !self.accept('}') {
            if !fields.is_empty() {
                self.expect(',')?;
            }
            let name = self.name()?;
            self.expect('=')?;
            fields.push((name, self.expression(depth + 1)?));
        }
        Ok(Expression::Record(fields))
    }

    fn name(&mut self) -> Result<String, Failure> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    /// An unsigned number that fits `T`.
    fn integer<T: TryFrom<u64>>(&mut self) -> Result<T, Failure> {
        let Some(&Token::Integer(value)) = self.peek() else {
            return Err(self.unexpected("a number"));
        };
        let fits = T::try_from(value)
            .map_err(|_| self.position().failure(format!("{value} is too big for this field")))?;
        self.next += 1;
        Ok(fits)
    }

    /// Takes the name `word` if it is next.
    fn accept_word(&mut self, word: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Name(name)) if name == word);
        self.next += usize::from(is_next);
        is_next
    }

    /// Takes `sign` if it is next.
    fn accept(&mut self, sign: char) -> bool {
        let is_next = self.peek() == Some(&Token::Sign(sign));
        self.next += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, sign: char) -> Result<(), Failure> {
        if self.accept(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    /// Where the next token is; at the end, where the last one was.
    fn position(&self) -> Position {
        let place = self.tokens.get(self.next).or(self.tokens.last());
        place.map_or(Position { line: 1, column: 1 }, |(_, position)| *position)
    }

    fn unexpected(&self, wanted: &str) -> Failure {
        let found = match self.peek() {
            None => "the script ends".to_string(),
            Some(Token::Name(name)) => format!("found `{name}`"),
            Some(Token::Sign(sign)) => format!("found `{sign}`"),
            Some(Token::Integer(value)) => format!("found {value}"),
            Some(Token::Fraction(_)) => "found a number with a fraction".to_string(),
            Some(Token::Text(_)) => "found a string".to_string(),
            Some(Token::Shell(_)) => "found `...`".to_string(),
            Some(Token::Code(_)) => "found %{ }%".to_string(),
            Some(Token::Ellipsis) => "found ...".to_string(),
            Some(Token::Flag(name, _)) => format!("found --{name}, which belongs at the top"),
        };
        self.position().failure(format!("expected {wanted}, {found}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn calls_and_times() {
        let script = parse(
            "--tolerance_usecs=4000\n\
             0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n\
             +0...0.2 connect(3, ..., ...) = -1 ECONNREFUSED (Connection refused)\n\
             +0.1~+0.3 %{ assert tcpi_unacked == 0 }%\n\
             * setsockopt(3, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}, 8) = 0\n",
        )
        .unwrap();
        insta::assert_debug_snapshot!(script);
    }

    #[test]
    fn an_error_has_its_place() {
        let place = |text: &str| {
            let failure = parse(text).unwrap_err();
            let position = failure.position.unwrap();
            format!("{}:{}: {}", position.line, position.column, failure.message)
        };
        assert_eq!(place("+0 > S 0:0(0)\n+0 < udp (10)"), "2:6: `udp` packets are not supported");
        assert_eq!(place("0 close(3)"), "1:10: expected `=`, the script ends");
        assert_eq!(place("+0 < S 0:1(0)"), "1:8: 0:1(0): the numbers do not fit together");
        assert_eq!(
            place("+0 < . 1:1(0) ack 1 <mptcp>"),
            "1:22: TCP option `mptcp` is not supported"
        );
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(parse(&format!("0 f({}", "[".repeat(100_000))).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn no_words_make_it_panic(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "+", "0", "...", "0.1", "~", "*", "<", ">", "S", ".", "P.", "1:2(1)", "ack",
                    "win", "<mss", "1460", ",", "nop", "sack", "1:2", "TS", "val", "ecr", "icmp",
                    "unreachable", "[", "]", "(", ")", "{", "}", "=", "-1", "close", "EAGAIN",
                    "4294967296", "`", "%{", "}%", "\"", "--x=y", "|", "peer(1)", "raw", "mtu",
                ]),
                0..40,
            )
        ) {
            let _ = parse(&words.join(" "));
        }
    }
}
