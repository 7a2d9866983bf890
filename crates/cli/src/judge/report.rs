//! Results of scripts, for a reader and as JSON.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use sim::script::{Kind, Run};

/// A script that was judged.
pub(super) struct Judged {
    pub(super) path: PathBuf,
    pub(super) run: Run,
}

impl Judged {
    /// What kind of no it is; `None` when it passed.
    pub(super) fn no(&self) -> Option<Kind> {
        self.run.verdict.as_ref().err().map(|failure| failure.kind)
    }

    fn word(&self) -> &'static str {
        match self.no() {
            None => "passed",
            Some(Kind::Failed) => "failed",
            Some(Kind::NotSupported) => "not_supported",
            Some(Kind::Invalid) => "invalid",
        }
    }

    /// Lines for a reader; none for a script that passed, unless `verbose`.
    pub(super) fn text(&self, verbose: bool) -> String {
        let mut text = String::new();
        if verbose {
            let _ = writeln!(text, "{}", self.path.display());
            for line in &self.run.log {
                let _ = writeln!(text, "{line}");
            }
        }
        match &self.run.verdict {
            Ok(()) if verbose => text.push_str("passed\n"),
            Ok(()) => {}
            Err(failure) => {
                let _ = writeln!(text, "{failure}");
            }
        }
        text
    }
}

/// How many ended how.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) not_supported: usize,
    pub(super) invalid: usize,
}

impl Counts {
    pub(super) fn of(all: &[Judged]) -> Self {
        let count = |word| all.iter().filter(|judged| judged.word() == word).count();
        Self {
            passed: count("passed"),
            failed: count("failed"),
            not_supported: count("not_supported"),
            invalid: count("invalid"),
        }
    }

    /// One line that says it all.
    pub(super) fn summary(self, took: Duration) -> String {
        let Counts { passed, failed, not_supported, invalid } = self;
        let all = passed + failed + not_supported + invalid;
        let scripts = if all == 1 { "script" } else { "scripts" };
        format!(
            "{all} {scripts}: {passed} passed, {failed} failed, {not_supported} not supported, \
             {invalid} not readable, in {:.2} s",
            took.as_secs_f64()
        )
    }
}

#[derive(Serialize)]
struct Results<'a> {
    scripts: Vec<Entry<'a>>,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
struct Entry<'a> {
    file: String,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    virtual_seconds: f64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    log: &'a [String],
}

/// Everything as one JSON object.
pub(super) fn json(all: &[Judged]) -> serde_json::Result<String> {
    let entry = |judged: &Judged| {
        let failure = judged.run.verdict.as_ref().err();
        let position = failure.and_then(|failure| failure.position);
        (judged.path.display().to_string(), judged.word(), position)
    };
    let scripts = all.iter().map(|judged| {
        let (file, verdict, position) = entry(judged);
        Entry {
            file,
            verdict,
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            message: judged.run.verdict.as_ref().err().map(|failure| failure.message.as_str()),
            virtual_seconds: judged.run.elapsed.as_secs_f64(),
            log: &judged.run.log,
        }
    });
    serde_json::to_string_pretty(&Results { scripts: scripts.collect(), counts: Counts::of(all) })
}
