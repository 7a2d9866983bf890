//! `%{ assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd }%`: what a program can ask with `TCP_INFO`.
//!
//! packetdrill gives such blocks to Python. Here they are the part of Python that scripts use:
//! `assert`, `print`, assignments (`cwnd += 10`; they last to the end of the script), comparisons
//! that may be chained, `and`, `or`, `not`, arithmetic on numbers, `'%d' % value`, `min`, `max`,
//! `abs`, `int`, `float`, `round`, `len` and `str`. No loops, no functions, no imports.
//!
//! Names beginning with `tcpi_` are the fields in [`FIELDS`], in Linux's units: windows in segments,
//! times in microseconds.

mod evaluate;
mod expression;
mod fields;
mod statement;
mod value;

use std::collections::BTreeMap;

use stack::TcpInfo;
use wire::time::Instant;

use super::{Problem, not_supported};
pub use fields::{FIELDS, Getter};
use statement::Statement;
use value::Value;

/// The variables of a script's code, and what it prints.
#[derive(Debug, Default)]
pub(super) struct Scope {
    variables: BTreeMap<String, Value>,
    /// What `print` printed, not yet taken.
    pub(super) printed: Vec<String>,
}

/// What a block can ask about: the connection, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) info: Option<&'a TcpInfo>,
    pub(super) now: Instant,
}

impl Scope {
    /// Runs every statement of `code`.
    pub(super) fn run(&mut self, code: &str, subject: Subject<'_>) -> Result<(), Problem> {
        for statement in statement::statements(code)? {
            self.statement(&statement, subject)?;
        }
        Ok(())
    }

    fn statement(&mut self, statement: &Statement, subject: Subject<'_>) -> Result<(), Problem> {
        match statement {
            Statement::Assert { text, claim, message } => {
                if self.evaluate(claim, subject)?.is_true() {
                    return Ok(());
                }
                let mut problem = format!("`{text}` does not hold");
                for name in claim.names() {
                    if let Ok(value) = self.name(name, subject) {
                        problem.push_str(&format!("\n  {name} is {value}"));
                    }
                }
                if let Some(Ok(message)) = message.as_ref().map(|m| self.evaluate(m, subject)) {
                    problem.push_str(&format!("\n  {message}"));
                }
                Err(problem.into())
            }
            Statement::Assign { name, operator, value } => {
                let mut result = self.evaluate(value, subject)?;
                if let Some(operator) = operator {
                    result = evaluate::binary(*operator, &self.name(name, subject)?, &result)?;
                }
                if self.variables.len() >= 256 && !self.variables.contains_key(name) {
                    return Err(not_supported("more than 256 variables"));
                }
                self.variables.insert(name.clone(), result);
                Ok(())
            }
            Statement::Print(values) => {
                let words: Result<Vec<String>, Problem> = values
                    .iter()
                    .map(|value| self.evaluate(value, subject).map(|value| value.to_string()))
                    .collect();
                self.printed.push(words?.join(" "));
                Ok(())
            }
            Statement::Pass => Ok(()),
        }
    }

    /// What a name stands for.
    fn name(&self, name: &str, subject: Subject<'_>) -> Result<Value, Problem> {
        if let Some(value) = self.variables.get(name) {
            return Ok(value.clone());
        }
        if let Some(value) = fields::constant(name) {
            return Ok(Value::Integer(value));
        }
        if !name.starts_with("tcpi_") {
            return Err(format!("the name `{name}` stands for nothing").into());
        }
        let Some((_, get)) = FIELDS.iter().find(|(known, _)| *known == name) else {
            return Err(not_supported(format!("the field {name}")));
        };
        match subject.info {
            Some(info) => Ok(Value::Integer(get(info, subject.now))),
            // Linux's answer for a socket that is closed: its state, and zeros.
            None if name == "tcpi_state" => Ok(Value::Integer(fields::CLOSED)),
            None => Ok(Value::Integer(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(code: &str) -> Result<Vec<String>, String> {
        let mut scope = Scope::default();
        let subject = Subject { info: None, now: Instant::ZERO };
        let outcome = scope.run(code, subject);
        outcome.map(|()| scope.printed).map_err(|problem| format!("{problem:?}"))
    }

    fn printed(code: &str) -> String {
        run(code).unwrap().join("\n")
    }

    #[test]
    fn arithmetic_is_pythons() {
        assert_eq!(printed("print(1 + 2 * 3, (1 + 2) * 3, 7 // 2, -7 // 2, -7 % 3)"), "7 9 3 -4 2");
        assert_eq!(
            printed("print(7 / 2, 1 << 4 | 3, 6 & 3, 6 ^ 3, ~1, -2 ** 2)"),
            "3.5 19 2 5 -2 -4"
        );
        assert_eq!(
            printed("print(0x10, 1.5 * 2, min(3, 1), max(2, 5.5), abs(-3))"),
            "16 3.0 1 5.5 3"
        );
        assert_eq!(printed("print('rtt=%d us, %s' % (3, 'x'), str(4) + 'a')"), "rtt=3 us, x 4a");
    }

    #[test]
    fn comparisons_chain_and_conditions_stop_early() {
        assert_eq!(printed("print(1 < 2 < 3, 1 < 2 > 2, not 1 == 1 or True)"), "True False True");
        assert_eq!(printed("print(0 and nothing, 1 or nothing)"), "0 1");
    }

    #[test]
    fn statements_and_lines() {
        let code = "cwnd = 10; cwnd += 2\nassert cwnd == 12, cwnd # so it is\n\
            assert (1 ==\n  1)\nassert cwnd == \\\n 12; print(cwnd)";
        assert_eq!(printed(code), "12");
    }

    #[test]
    fn a_failed_assertion_shows_what_it_saw() {
        let failure = run("cwnd = 9; assert cwnd * 2 == 20, 'cwnd=%d' % cwnd").unwrap_err();
        assert!(
            failure.contains("`cwnd * 2 == 20` does not hold\\n  cwnd is 9\\n  cwnd=9"),
            "{failure}"
        );
    }

    #[test]
    fn what_is_unknown_is_named() {
        for (code, name) in [
            ("assert tcpi_moon == 1", "the field tcpi_moon"),
            ("import os", "`import`"),
            ("if x: pass", "`if`"),
            ("assert f(1)", "the function `f`"),
            ("assert a.b", "`.`"),
            ("assert nothing", "`nothing` stands for nothing"),
        ] {
            let failure = run(code).unwrap_err();
            assert!(failure.contains(name), "{code}: {failure}");
        }
    }

    #[test]
    fn nothing_overflows_or_divides_by_zero_unseen() {
        for code in
            ["print(1 // 0)", "print(2 ** 70)", "print(9223372036854775807 + 1)", "print(1 << 64)"]
        {
            assert!(run(code).is_err(), "{code}");
        }
        assert!(run(&"(".repeat(100_000)).is_err());
        assert!(run(&format!("print({}1)", "-".repeat(100_000))).is_err());
    }

    proptest! {
        #[test]
        fn no_words_make_it_panic(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "assert", "print", "(", ")", "1", "0", "9223372036854775807", "x", "=", "+=",
                    "==", "<", "-", "+", "*", "**", "/", "//", "%", "<<", ">>", "not", "and", "or",
                    "'%d'", ",", "\n", ";", "\\\n", "tcpi_rtt", "1.5", "~", "min", "#", "\"",
                ]),
                0..30,
            )
        ) {
            let _ = run(&words.join(" "));
        }
    }
}
