//! Runs every packet script of the repository, and lists them.

use std::path::{Path, PathBuf};

/// `scripts/expected-failures.toml`.
#[derive(serde::Deserialize)]
struct Expected {
    script: Vec<ExpectedFailure>,
}

#[derive(serde::Deserialize)]
struct ExpectedFailure {
    file: PathBuf,
    reason: String,
}

#[test]
fn every_script_passes_but_those_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    let mut scripts = Vec::new();
    collect(&root, &mut scripts);
    scripts.sort();
    assert!(scripts.len() > 50, "only {} scripts in {}", scripts.len(), root.display());
    let table = std::fs::read_to_string(root.join("expected-failures.toml")).unwrap();
    let expected: Expected = toml::from_str(&table).unwrap();
    let reason = |name: &Path| {
        expected.script.iter().find(|entry| entry.file == name).map(|entry| &entry.reason)
    };
    for entry in &expected.script {
        let there = root.join(&entry.file).is_file();
        assert!(
            there && !entry.reason.is_empty(),
            "{}: not a script, or no reason",
            entry.file.display()
        );
    }
    let only = std::env::var("SCRIPT").unwrap_or_default();
    let mut wrong = Vec::new();
    for path in scripts.iter().filter(|path| path.to_string_lossy().contains(&only)) {
        let name = path.strip_prefix(&root).unwrap_or(path);
        let shown = name.display();
        match (sim::script::run_file(path, &sim::script::Options::strict()), reason(name)) {
            (Ok(()), None) => println!("ok      {shown}"),
            (Err(_), Some(reason)) => println!("fails   {shown}: {reason}"),
            (Ok(()), Some(_)) => {
                wrong.push(format!("{shown} passes now: take it out of the table"));
            }
            (Err(failure), None) => {
                println!("FAILED  {shown}");
                wrong.push(failure.to_string());
            }
        }
    }
    assert!(wrong.is_empty(), "{} scripts:\n{}", wrong.len(), wrong.join("\n"));
}

/// The first line says what a script shows, and the table of requirements reads it.
#[test]
fn every_script_names_its_requirement() {
    let mut scripts = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts"), &mut scripts);
    for path in scripts {
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        let named = first.strip_prefix("// ").is_some_and(|rest| {
            rest.contains(": ") && (rest.starts_with("RFC ") || rest.starts_with("Linux "))
        });
        assert!(named, "{}: the first line must be `// RFC 9293 MUST-1 (3.1): …`", path.display());
    }
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "pkt") {
            into.push(path);
        }
    }
}
