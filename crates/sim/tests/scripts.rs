//! Runs every packet script of the repository, and lists them.

use std::path::{Path, PathBuf};

use sim::script::{Options, families, run_file};

/// A table of scripts: `scripts/expected-failures.toml`, `scripts/one-family.toml`.
#[derive(serde::Deserialize)]
struct Table {
    script: Vec<Entry>,
}

#[derive(serde::Deserialize)]
struct Entry {
    file: PathBuf,
    reason: String,
}

impl Table {
    /// Reads a table, whose files must exist and whose reasons must say something.
    fn read(root: &Path, name: &str) -> Self {
        let text = std::fs::read_to_string(root.join(name)).unwrap();
        let table: Self = toml::from_str(&text).unwrap();
        for Entry { file, reason } in &table.script {
            let is_script = root.join(file).is_file();
            assert!(is_script && !reason.is_empty(), "{name}: {}", file.display());
        }
        table
    }

    fn reason(&self, name: &Path) -> Option<&String> {
        self.script.iter().find(|entry| entry.file == name).map(|entry| &entry.reason)
    }
}

#[test]
fn every_script_passes_but_those_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    let mut scripts = Vec::new();
    collect(&root, &mut scripts);
    scripts.sort();
    assert!(scripts.len() > 50, "only {} scripts in {}", scripts.len(), root.display());
    let expected = Table::read(&root, "expected-failures.toml");
    let only = std::env::var("SCRIPT").unwrap_or_default();
    let mut wrong = Vec::new();
    for path in scripts.iter().filter(|path| path.to_string_lossy().contains(&only)) {
        let name = path.strip_prefix(&root).unwrap_or(path);
        let shown = name.display();
        for &family in families(path, &Options::strict()) {
            let options = Options { family, ..Options::strict() };
            match (run_file(path, &options), expected.reason(name)) {
                (Ok(()), None) => println!("ok      {shown} {family:?}"),
                (Err(_), Some(reason)) => println!("fails   {shown} {family:?}: {reason}"),
                (Ok(()), Some(_)) => {
                    wrong.push(format!("{shown} passes now: take it out of the table"));
                }
                (Err(failure), None) => {
                    println!("FAILED  {shown} {family:?}");
                    wrong.push(format!("over {family:?}: {failure}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} scripts:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_says_which_scripts_are_of_one_family_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    let table = Table::read(&root, "one-family.toml");
    let mut scripts = Vec::new();
    collect(&root, &mut scripts);
    for path in scripts {
        let name = path.strip_prefix(&root).unwrap();
        let is_alone = families(&path, &Options::strict()).len() == 1;
        assert_eq!(table.reason(name).is_some(), is_alone, "{}", name.display());
    }
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
