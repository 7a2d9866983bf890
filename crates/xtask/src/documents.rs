//! Generated documents: what each one holds is made from the code, and a test says when it is stale.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::source::root;
use crate::{figure, limits, packet_life, reasons, requirements};

/// A file that is generated whole.
struct Document {
    /// Its path from the root of the workspace.
    path: &'static str,
    /// Makes its text, or says what is wrong with what it is made from.
    make: fn() -> Result<String>,
}

const ALL: &[Document] = &[
    Document { path: "docs/src/figures/state-machine.svg", make: figure::draw },
    Document { path: "docs/src/figures/packet-life.svg", make: packet_life::draw },
    Document { path: "docs/src/packet-life-table.md", make: packet_life::table },
    Document { path: "docs/src/reasons.md", make: reasons::table },
    Document { path: "docs/src/limits.md", make: limits::table },
    Document { path: "docs/src/rfc9293.md", make: requirements::table },
];

/// Writes the documents whose path is `wanted`.
pub(crate) fn write(wanted: impl Fn(&str) -> bool) -> Result<()> {
    for document in ALL.iter().filter(|document| wanted(document.path)) {
        let text = (document.make)()?;
        let path = root().join(document.path);
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
    for document in ALL {
        match (document.make)() {
            Err(error) => complaints.push(format!("{}: {error:#}", document.path)),
            Ok(text) => {
                let written = fs::read_to_string(root().join(document.path)).unwrap_or_default();
                if written != text {
                    complaints
                        .push(format!("{} is stale: run `cargo xtask generate`", document.path));
                }
            }
        }
    }
    if complaints.is_empty() {
        println!("{} generated documents are fresh", ALL.len());
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
