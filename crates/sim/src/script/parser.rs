//! Tokens to a script: a recursive descent, one function a rule of the grammar.
//!
//! ```text
//! script     = { flag } { event }
//! event      = time ( packet | call | shell | code )
//! time       = "*" | moment [ "~" moment ] | moment "..." seconds
//! moment     = [ "+" ] seconds
//! ```
//! What a packet looks like is in `parser/packet.rs`.

mod expression;
pub(super) mod options;
mod packet;

use wire::time::Duration;

use super::ast::{Action, Call, Event, Moment, Script, When};
use super::lexer::Token;
use super::{Failure, Position};

/// Makes a script of its words.
///
/// # Errors
/// With the place of the first thing that is not of the language, or not supported.
pub(super) fn parse(tokens: Vec<(Token, Position)>) -> Result<Script, Failure> {
    let mut parser = Parser { tokens, next: 0 };
    let mut script = Script::default();
    while let Some(Token::Flag(name, value)) = parser.peek().cloned() {
        let position = parser.position();
        parser.next += 1;
        script.options.push((name, value, position));
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
        // Settings may stand alone, before the first event and after the last one.
        let alone = matches!(self.peek(), Some(Token::Shell(_)));
        let (when, until) =
            if alone { (When::At(Moment::Relative(Duration::ZERO)), None) } else { self.time()? };
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
            return Err(position.invalid("only a system call has an end time"));
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
        // What strerror says, or what the number means, for the reader.
        if self.accept('(') {
            while !self.accept(')') {
                if self.peek().is_none() {
                    return Err(self.unexpected("`)`"));
                }
                self.next += 1;
            }
        }
        Ok(Call { name, arguments, result, errno })
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
            .map_err(|_| self.position().invalid(format!("{value} is too big for this field")))?;
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

    /// What is next is not `wanted`.
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
        self.position().invalid(format!("expected {wanted}, {found}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Options, parse};
    use proptest::prelude::*;

    fn script(text: &str) -> Result<super::Script, super::Failure> {
        parse(text, &Options::default())
    }

    #[test]
    fn calls_and_times() {
        let script = script(
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
            let failure = script(text).unwrap_err();
            let position = failure.position.unwrap();
            format!("{}:{}: {}", position.line, position.column, failure.message)
        };
        assert_eq!(place("+0 > S 0:0(0)\n+0 < udp (10)"), "2:6: not supported: udp packets");
        assert_eq!(place("0 close(3)"), "1:10: expected `=`, the script ends");
        assert_eq!(place("+0 < S 0:1(0)"), "1:8: 0:1(0): the numbers do not fit together");
        assert_eq!(place("+0 < . 1:1(0) ack 1 <mptcp>"), "1:22: `mptcp` is no TCP option");
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(script(&format!("0 f({}", "[".repeat(100_000))).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = script(&text);
        }

        #[test]
        fn no_words_make_it_panic(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "+", "0", "...", "0.1", "~", "*", "<", ">", "S", ".", "P.", "1:2(1)", "ack",
                    "win", "<mss", "1460", ",", "nop", "sack", "1:2", "TS", "val", "ecr", "icmp",
                    "unreachable", "[", "]", "(", ")", "{", "}", "=", "-1", "close", "EAGAIN",
                    "4294967296", "`", "%{", "}%", "\"", "--x=y", "FO", "md5", "[ttl", "]", "id", "|", "peer(1)", "raw", "mtu",
                ]),
                0..40,
            )
        ) {
            let _ = script(&words.join(" "));
        }
    }
}
