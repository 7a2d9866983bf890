//! Generated documents: what each one holds is made from the code, and a test says when it is stale.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::source::root;
use crate::{differential, figure, limits, packet_life, probe, programs, reasons, requirements};

/// A file that is generated whole.
struct Document {
    /// Its path from the root of the workspace.
    path: String,
    /// Makes its text, or says what is wrong with what it is made from.
    make: Box<dyn Fn() -> Result<String>>,
}

impl Document {
    fn new(path: &str, make: impl Fn() -> Result<String> + 'static) -> Self {
        Self { path: path.to_owned(), make: Box::new(make) }
    }
}

fn all() -> Vec<Document> {
    let mut documents = vec![
        Document::new("docs/src/figures/state-machine.svg", figure::draw),
        Document::new("docs/src/figures/packet-life.svg", packet_life::draw),
        Document::new("docs/src/packet-life-table.md", packet_life::table),
        Document::new("docs/src/reasons.md", reasons::table),
        Document::new("docs/src/limits.md", limits::table),
        Document::new("docs/src/differential.md", differential::table),
        Document::new("docs/src/probe.md", probe::table),
        Document::new("docs/src/programs.md", programs::table),
        Document::new("docs/src/requirements.md", requirements::overview),
    ];
    documents.extend(
        requirements::RFCS.map(|rfc| {
            Document::new(&requirements::page_path(rfc), move || requirements::page(rfc))
        }),
    );
    documents
}

/// Writes the documents whose path is `wanted`.
pub(crate) fn write(wanted: impl Fn(&str) -> bool) -> Result<()> {
    for document in all().into_iter().filter(|document| wanted(&document.path)) {
        let text = (document.make)()?;
        let path = root().join(&document.path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            fs::write(&path, text).with_context(|| format!("cannot write {}", document.path))?;
            println!("wrote {}", document.path);
        }
    }
    Ok(())
}

/// Says which document is not what the code makes of it now.
pub(crate) fn check() -> Result<()> {
    let mut complaints = Vec::new();
    let documents = all();
    for document in &documents {
        match (document.make)() {
            Err(error) => complaints.push(format!("{}: {error:#}", document.path)),
            Ok(text) => {
                let written = fs::read_to_string(root().join(&document.path)).unwrap_or_default();
                if written != text {
                    complaints
                        .push(format!("{} is stale: run `cargo xtask generate`", document.path));
                }
            }
        }
    }
    if complaints.is_empty() {
        println!("{} generated documents are fresh", documents.len());
        return Ok(());
    }
    bail!("{}", complaints.join("\n"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_generated_document_is_fresh() {
        super::check().unwrap();
    }
}
