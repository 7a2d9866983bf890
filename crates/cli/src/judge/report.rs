//! Results of scripts, for a reader and as JSON.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use sim::script::{Failure, Family, Kind, Run};

/// A script that was judged, over one family or over both.
pub(super) struct Judged {
    pub(super) path: PathBuf,
    pub(super) runs: Vec<(Family, Run)>,
}

impl Judged {
    /// The first failure, and the family where there are two.
    fn failure(&self) -> Option<(&Failure, Option<Family>)> {
        let named = self.runs.len() > 1;
        self.runs.iter().find_map(|(family, run)| {
            let failure = run.verdict.as_ref().err()?;
            Some((failure, named.then_some(*family)))
        })
    }

    /// What kind of no it is; `None` when it passed over every family.
    pub(super) fn no(&self) -> Option<Kind> {
        self.failure().map(|(failure, _)| failure.kind)
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
            for (family, run) in &self.runs {
                let _ = writeln!(text, "{} over {}", self.path.display(), name(*family));
                for line in &run.log {
                    let _ = writeln!(text, "{line}");
                }
                if run.verdict.is_ok() {
                    text.push_str("passed\n");
                }
            }
        }
        if let Some((failure, family)) = self.failure() {
            let _ = writeln!(text, "{failure}");
            // What is wrong over IPv4 is mostly wrong over both.
            if family == Some(Family::V6) {
                text.push_str("  this is over IPv6, with an MTU of 20 bytes more\n");
            }
        }
        text
    }
}

fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
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
    /// The family over which it failed, where it ran over both.
    #[serde(skip_serializing_if = "Option::is_none")]
    over: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    virtual_seconds: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log: Vec<&'a String>,
}

/// Everything as one JSON object.
pub(super) fn json(all: &[Judged]) -> serde_json::Result<String> {
    let scripts = all.iter().map(|judged| {
        let (failure, family) = judged.failure().unzip();
        let position = failure.and_then(|failure| failure.position);
        Entry {
            file: judged.path.display().to_string(),
            verdict: judged.word(),
            over: family.flatten().map(|family| name(family)),
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            message: failure.map(|failure| failure.message.as_str()),
            virtual_seconds: judged.runs.iter().map(|(_, run)| run.elapsed.as_secs_f64()).sum(),
            log: judged.runs.iter().flat_map(|(_, run)| &run.log).collect(),
        }
    });
    serde_json::to_string_pretty(&Results { scripts: scripts.collect(), counts: Counts::of(all) })
}
