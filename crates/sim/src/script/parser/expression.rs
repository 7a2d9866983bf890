//! The arguments of system calls:
//!
//! ```text
//! expression = primary { "|" primary }
//! primary    = "..." | number | string { string } | name [ "(" list ")" ]
//!            | "[" list "]" | "{" list "}" | "{" field { "," field } "}"
//! field      = name [ "(" list ")" ] "=" expression
//! ```

use super::Parser;
use crate::script::Failure;
use crate::script::ast::Expression;
use crate::script::lexer::Token;

/// How deep lists and records of arguments may nest.
const MAX_DEPTH: usize = 12;

impl Parser {
    /// Expressions with commas between, up to `close`.
    pub(super) fn expressions(
        &mut self,
        close: char,
        depth: usize,
    ) -> Result<Vec<Expression>, Failure> {
        let mut found = Vec::new();
        while !self.accept(close) {
            if !found.is_empty() {
                self.expect(',')?;
            }
            found.push(self.expression(depth + 1)?);
        }
        Ok(found)
    }

    pub(super) fn expression(&mut self, depth: usize) -> Result<Expression, Failure> {
        let first = self.primary(depth)?;
        if self.peek() != Some(&Token::Sign('|')) {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.accept('|') {
            all.push(self.primary(depth)?);
        }
        let names = all.iter().map(|value| match value {
            Expression::Names(names) => names.first().cloned(),
            _ => None,
        });
        Ok(names.collect::<Option<_>>().map_or(Expression::Either(all), Expression::Names))
    }

    fn primary(&mut self, depth: usize) -> Result<Expression, Failure> {
        if depth > MAX_DEPTH {
            return Err(self.position().invalid("this is nested too deeply"));
        }
        let Some(token) = self.peek().cloned() else { return Err(self.unexpected("a value")) };
        match token {
            Token::Name(_) => self.named(depth),
            Token::Text(_) => Ok(self.text()),
            Token::Sign('[') => {
                self.next += 1;
                self.expressions(']', depth).map(Expression::List)
            }
            Token::Sign('{') => {
                self.next += 1;
                self.braces(depth)
            }
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Result<Expression, Failure> {
        let negative = self.accept('-');
        let value = match (self.peek(), negative) {
            (Some(Token::Integer(value)), _) => {
                let value = i64::try_from(*value)
                    .map_err(|_| self.position().invalid("this number is too big"))?;
                Expression::Integer(if negative { -value } else { value })
            }
            #[expect(clippy::cast_precision_loss, reason = "a millisecond more or less")]
            (Some(Token::Fraction(nanos)), false) => Expression::Fraction(*nanos as f64 / 1e9),
            (Some(Token::Ellipsis), false) => Expression::Ellipsis,
            _ => return Err(self.unexpected("a value")),
        };
        self.next += 1;
        Ok(value)
    }

    /// Strings one after another are one; `"..."...` is the start of one.
    fn text(&mut self) -> Expression {
        let mut whole = String::new();
        while let Some(Token::Text(text)) = self.peek() {
            whole.push_str(text);
            self.next += 1;
        }
        if self.peek() == Some(&Token::Ellipsis) {
            self.next += 1;
        }
        Expression::Text(whole)
    }

    fn named(&mut self, depth: usize) -> Result<Expression, Failure> {
        let name = self.name()?;
        if self.accept('(') {
            return Ok(Expression::Apply(name, self.expressions(')', depth)?));
        }
        Ok(Expression::Names(vec![name]))
    }

    /// What follows `{`: fields with names, or values without.
    fn braces(&mut self, depth: usize) -> Result<Expression, Failure> {
        let after = self.tokens.get(self.next + 1).map(|(token, _)| token);
        let has_names = matches!(self.peek(), Some(Token::Name(_)))
            && matches!(after, Some(Token::Sign('=' | '(')));
        if !has_names {
            return self.expressions('}', depth).map(Expression::Tuple);
        }
        let mut fields = Vec::new();
        while !self.accept('}') {
            if !fields.is_empty() {
                self.expect(',')?;
            }
            let name = self.name()?;
            // `msg_iov(2)=[..]`: the list tells how many there are.
            if self.accept('(') {
                self.expressions(')', depth)?;
            }
            self.expect('=')?;
            fields.push((name, self.expression(depth + 1)?));
        }
        Ok(Expression::Record(fields))
    }
}
