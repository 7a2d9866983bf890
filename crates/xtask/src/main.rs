//! The project's own chores: `cargo xtask COMMAND`.

#![forbid(unsafe_code)]

mod bench;
mod cost;
mod counts;
mod differential;
mod documents;
mod figure;
mod interop;
mod limits;
mod million;
mod packet_life;
mod probe;
mod programs;
mod reasons;
mod requirements;
mod simulate;
mod source;
mod versus;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  figures         draw the figures of the book anew, from the code
  requirements    write the tables of the RFCs anew, from docs/requirements/ and the scripts
  generate        both, and every other generated document
  check           say which generated document is stale, and which named test does not exist
  sim [SEEDS]     worlds in virtual time, 200 unless told otherwise
  sim-fleet --minutes N   the same for so long, or `--seeds N`, on all cores; `--first SEED`
                  begins elsewhere
  sim-book        the tables and curves of the book, from the simulator; `--check` compares them
  counts          the instructions of the hot paths against docs/counts.toml; `--write` writes it
  interop [...]   curl, nginx, redis ... against our sockets; `interop --help` says more
  programs [...]  unmodified programs on the stack; `programs --help` says more
  probe [...]     what the calls of sockets say, on the kernel and on our stack; `--help` says more
  run-cost [...]  what it costs to run a program on our stack; `--help` says more
  differential [...]
                  the same packets to the kernel and to us; `--help` says more
  million [...]   what a million idle connections cost; `--help` says more
  versus-linux [...]
                  estab beside the kernel under the same impairment; `--help` says more
  bench [...]     how fast, beside the kernel, the device's limit and smoltcp; `--help` says more
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    let outcome = match arguments.first().map(String::as_str) {
        Some("figures") => documents::write(|path| path.contains("/figures/")),
        Some("requirements") => documents::write(|path| path.contains("requirements")),
        Some("generate") => documents::write(|_| true),
        Some("check") => documents::check(),
        Some("counts") => counts::run(rest),
        Some("sim") => simulate::smoke(rest),
        Some("sim-book") => simulate::book(rest),
        Some("sim-fleet") => simulate::fleet(rest),
        Some("differential") => differential::run(rest),
        Some("million") => million::run(rest),
        Some("run-cost") => cost::run(rest),
        Some("probe") => probe::run(rest),
        Some("programs") => programs::run(rest),
        Some("interop") => interop::run(rest),
        Some("versus-linux") => versus::run(rest),
        Some("bench") => bench::run(rest),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(())
        }
        other => match other.and_then(|command| run_part(command, rest)) {
            Some(outcome) => outcome,
            None => {
                eprint!("{USAGE}");
                return ExitCode::from(2);
            }
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A part of a command that it runs in a process of its own.
fn run_part(command: &str, rest: &[String]) -> Option<anyhow::Result<()>> {
    versus::run_part(command, rest).or_else(|| million::run_part(command, rest))
}
