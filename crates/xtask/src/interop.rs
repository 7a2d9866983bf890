//! Other people's programs against our sockets: `cargo xtask interop`.
//!
//! A case is a shell script in a lab of its own, so nothing here touches the machine's network, and
//! it has a time limit. A case passes or fails; what cannot be tried fails.

mod bench;
mod fetch;
mod flows;
mod half_close;
mod load;
mod needs;
mod program;
mod redis;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use bench::Bench;

const USAGE: &str = "\
cargo xtask interop [--list] [NAME...]

  --list   print the names of the cases and stop
  NAME     run only the cases whose name begins with one of these

What is missing is installed from Debian when we are root; else the error says what to install.
";

/// What a case does; an error says why it fails.
type Attempt = Box<dyn Fn(&Bench) -> Result<()>>;

/// Something to try, and how long it may take.
struct Case {
    name: String,
    limit: Duration,
    try_it: Attempt,
}

impl Case {
    fn new(
        name: impl Into<String>,
        seconds: u64,
        try_it: impl Fn(&Bench) -> Result<()> + 'static,
    ) -> Self {
        let limit = Duration::from_secs(seconds);
        Self { name: name.into(), limit, try_it: Box::new(try_it) }
    }
}

/// Runs the cases that `arguments` ask for, all without any.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut names = Vec::new();
    let mut list = false;
    for argument in arguments {
        match argument.as_str() {
            "--list" => list = true,
            "--help" | "-h" => {
                print!("{USAGE}");
                return Ok(());
            }
            option if option.starts_with('-') => bail!("{option}: no such option\n{USAGE}"),
            name => names.push(name),
        }
    }
    let cases = selected(&names)?;
    if list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return Ok(());
    }
    needs::install()?;
    let mut bench = Bench::build()?;
    let failed = cases.iter().filter(|case| !passes(case, &mut bench)).count();
    println!("{} passed, {failed} failed", cases.len() - failed);
    if failed > 0 {
        bail!("interoperation is broken");
    }
    Ok(())
}

/// Every case, from the quickest to the longest.
fn all() -> Vec<Case> {
    [
        program::cases(),
        fetch::pages(),
        fetch::files(),
        fetch::from_servers(),
        half_close::cases(),
        flows::cases(),
        redis::cases(),
        load::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn selected(names: &[&str]) -> Result<Vec<Case>> {
    let cases = all();
    for name in names {
        let known = cases.iter().any(|case| case.name.starts_with(name));
        known.then_some(()).with_context(|| format!("{name}: no case begins so; see --list"))?;
    }
    let wanted = |case: &Case| names.is_empty() || names.iter().any(|n| case.name.starts_with(n));
    Ok(cases.into_iter().filter(wanted).collect())
}

/// Runs one case and prints its line.
fn passes(case: &Case, bench: &mut Bench) -> bool {
    let start = Instant::now();
    let outcome = bench.prepare(&case.name, case.limit).and_then(|()| (case.try_it)(bench));
    let seconds = start.elapsed().as_secs_f32();
    match &outcome {
        Ok(()) => println!("ok {} {seconds:.1}s", case.name),
        Err(error) => {
            let why = format!("{error:#}");
            println!("FAIL {} {}", case.name, why.trim().replace('\n', " | "));
        }
    }
    outcome.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let mut names: Vec<String> = all().into_iter().map(|case| case.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_name_selects_every_case_that_begins_with_it() {
        let cases = selected(&["page"]).unwrap();
        assert!(cases.len() > 1 && cases.iter().all(|case| case.name.starts_with("page")));
        assert!(selected(&["no-such-case"]).is_err());
    }
}
