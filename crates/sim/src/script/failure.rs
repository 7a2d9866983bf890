//! Why a script did not pass, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// What kind of no it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The text is not of the language, or the file cannot be read.
    Invalid,
    /// The script asks for what the stack or its runner does not have.
    NotSupported,
    /// The stack did something else than the script says.
    Failed,
}

/// Why a script did not pass, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What kind of no it is.
    pub kind: Kind,
    /// The script's file, when it came from one.
    pub path: Option<PathBuf>,
    /// The line that failed.
    pub position: Option<Position>,
    /// What was expected and what happened; several lines.
    pub message: String,
}

impl Failure {
    pub(super) fn of_file(message: String) -> Failure {
        Failure { kind: Kind::Invalid, path: None, position: None, message }
    }

    /// A failure of which the caller knows where it happened.
    pub(super) fn without_place(message: impl Into<String>) -> Failure {
        Failure { kind: Kind::Failed, path: None, position: None, message: message.into() }
    }

    pub(super) fn at_path(self, path: &Path) -> Failure {
        Failure { path: Some(path.to_path_buf()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}:", path.display())?;
        }
        if let Some(position) = self.position {
            write!(f, "{}:{}: ", position.line, position.column)?;
        } else if self.path.is_some() {
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A failure before its place is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Problem {
    kind: Kind,
    message: String,
}

impl<T: Into<String>> From<T> for Problem {
    fn from(message: T) -> Problem {
        Problem { kind: Kind::Failed, message: message.into() }
    }
}

/// The stack or its runner does not have `what`.
pub(super) fn not_supported(what: impl fmt::Display) -> Problem {
    Problem { kind: Kind::NotSupported, message: format!("not supported: {what}") }
}

impl Position {
    /// The problem, at this place.
    pub(super) fn failure(self, problem: impl Into<Problem>) -> Failure {
        let Problem { kind, message } = problem.into();
        Failure { kind, path: None, position: Some(self), message }
    }

    /// The text at this place is not of the language.
    pub(super) fn invalid(self, message: impl Into<String>) -> Failure {
        Failure { kind: Kind::Invalid, path: None, position: Some(self), message: message.into() }
    }

    /// `what` stands at this place and is not supported.
    pub(super) fn not_supported(self, what: impl fmt::Display) -> Failure {
        self.failure(not_supported(what))
    }
}
