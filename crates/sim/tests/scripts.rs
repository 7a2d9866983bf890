//! Runs every packet script of the repository, and lists them.

use std::path::{Path, PathBuf};

#[test]
fn every_script_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    let mut scripts = Vec::new();
    collect(&root, &mut scripts);
    scripts.sort();
    assert!(scripts.len() > 50, "only {} scripts in {}", scripts.len(), root.display());
    let only = std::env::var("SCRIPT").unwrap_or_default();
    let mut failures = Vec::new();
    for path in scripts.iter().filter(|path| path.to_string_lossy().contains(&only)) {
        let name = path.strip_prefix(&root).unwrap_or(path).display();
        match sim::script::run_file(path, &sim::script::Options::strict()) {
            Ok(()) => println!("ok      {name}"),
            Err(failure) => {
                println!("FAILED  {name}");
                failures.push(failure.to_string());
            }
        }
    }
    assert!(failures.is_empty(), "{} scripts failed:\n{}", failures.len(), failures.join("\n"));
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
