//! The project's own source text: where it is, and which tests it holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The text of a file, by its path from the root.
pub(crate) fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// What cargo selects for the program that people run, optimised.
pub(crate) const ESTAB: &[&str] = &["--release", "--package", "estab-cli", "--bin", "estab"];
/// What cargo selects for the examples: as the tests have built them already, with every check that
/// they make, for they would need the whole stack optimised once more with other features.
pub(crate) const EXAMPLES: &[&str] = &["--workspace", "--examples"];

/// Builds what cargo's `selection` says, and tells where each program is.
pub(crate) fn build(selection: &[&str]) -> Result<Vec<PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root())
        .arg("build")
        .args(selection)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the programs do not build");
    let mut found = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        found.extend(message["executable"].as_str().map(|path| Path::new(path).to_owned()));
    }
    Ok(found)
}

/// Whether `text` defines a function `name`.
pub(crate) fn defines_function(text: &str, name: &str) -> bool {
    text.lines().any(|line| names_function(line, name))
}

/// Whether `text` defines a test `name`: a function with an attribute like `#[test]` above it, or one
/// that is listed to be tried with both families of addresses.
pub(crate) fn defines_test(text: &str, name: &str) -> bool {
    let listed = text.split_once("for_both_families! {").is_some_and(|(_, list)| {
        list.lines().take_while(|line| *line != "}").any(|line| line.trim() == format!("{name},"))
    });
    if listed {
        return defines_function(text, name);
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(number, line)| {
        names_function(line, name)
            && lines[..number]
                .iter()
                .rev()
                .take_while(|above| above.starts_with("#[") || above.starts_with("//"))
                .any(|above| is_test_attribute(above))
    })
}

/// Every packet script with its first line, by path from the root, in order.
pub(crate) fn scripts() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    collect(&root().join("scripts"), &mut found)?;
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
            Ok((name, text.lines().next().unwrap_or_default().to_owned()))
        })
        .collect()
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "pkt") {
            found.push(path);
        }
    }
    Ok(())
}

fn names_function(line: &str, name: &str) -> bool {
    line.split_once("fn ").is_some_and(|(before, after)| {
        before
            .split_whitespace()
            .all(|word| matches!(word, "const" | "async") || word.starts_with("pub"))
            && after.strip_prefix(name).is_some_and(|rest| rest.starts_with(['(', '<']))
    })
}

fn is_test_attribute(line: &str) -> bool {
    line == "#[test]" || line.starts_with("#[tokio::test")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
        #[test]
        // why
        #[ignore = \"slow\"]
        fn a_test() {}

        fn a_helper() {}

        #[tokio::test]
        async fn another() {}

        pub(super) const fn a_getter<T>() {}
    ";

    #[test]
    fn a_test_is_a_function_with_the_attribute() {
        for name in ["a_test", "another"] {
            assert!(defines_test(TEXT, name) && defines_function(TEXT, name), "{name}");
        }
        for name in ["a_helper", "a_getter"] {
            assert!(!defines_test(TEXT, name) && defines_function(TEXT, name), "{name}");
        }
        for name in ["a_tes", "test", "nothing"] {
            assert!(!defines_test(TEXT, name) && !defines_function(TEXT, name), "{name}");
        }
    }
}
