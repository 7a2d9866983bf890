//! The runs of a measurement, kept in a file so that it can be continued.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::cell::Pair;
use super::world::Outcome;

/// One run, and which it was.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// The cell's name.
    pub(super) cell: String,
    pub(super) pair: Pair,
    pub(super) round: u32,
    pub(super) milliseconds: u64,
    pub(super) outcome: Outcome,
    /// The forwarder was late in it, and in those that were tried before.
    pub(super) disturbed: bool,
}

impl Record {
    /// Bits per second that reached the receiving program.
    pub(super) fn goodput(&self) -> f64 {
        self.outcome.bytes as f64 * 8000.0 / self.milliseconds as f64
    }
}

/// The runs so far, one a line.
pub(super) struct Log {
    path: PathBuf,
    pub(super) records: Vec<Record>,
}

impl Log {
    /// Opens the file; what is in it is forgotten unless it is to be continued.
    pub(super) fn open(path: &Path, resume: bool) -> Result<Self> {
        let name = || path.display().to_string();
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_context(name)?;
        }
        if !resume {
            File::create(path).with_context(name)?;
        }
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            other => other.with_context(name)?,
        };
        // A line that was cut off is a run to do again.
        let records = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Self { path: path.to_owned(), records })
    }

    /// Whether this round was done in this cell.
    pub(super) fn holds(&self, cell: &str, round: u32) -> bool {
        self.records.iter().any(|record| record.cell == cell && record.round == round)
    }

    /// Adds the runs of one round in one cell, all or none.
    pub(super) fn add(&mut self, records: Vec<Record>) -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let mut lines = String::new();
        for record in &records {
            lines += &serde_json::to_string(record)?;
            lines.push('\n');
        }
        file.write_all(lines.as_bytes())?;
        self.records.extend(records);
        Ok(())
    }
}
