//! `estab`: watch, try and serve TCP connections on a stack of our own.
#![forbid(unsafe_code)]

mod arguments;
mod calls;
mod command;
mod control;
mod demo;
mod device;
mod diagram;
mod dump;
mod explain;
mod http;
mod impairment_options;
mod judge;
mod lab;
mod lose_one;
mod manual;
mod namespace;
mod netcat;
mod observe;
mod ping;
mod run;
mod segment_line;
mod serve;
mod simulate;
mod ss;
mod steps;
mod tcp_settings;
mod traceroute;
mod values;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use arguments::{Arguments, Command};
use command::CannotRun;

/// The exit status when the command line, a file or the machine does not let us do what was asked.
const BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match carry_out(arguments.command) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("estab: {error:#}");
            let status = error.downcast_ref::<CannotRun>().map(|error| error.status);
            ExitCode::from(status.unwrap_or(BAD_INPUT))
        }
    }
}

fn carry_out(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Lab(arguments) => lab::run_lab(&arguments),
        Command::Up(arguments) => lab::run_up(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Runner(arguments) => run::runner(&arguments),
        Command::RunKeeper(_) => run::keeper(),
        Command::RunInit(arguments) => run::init(&arguments),
        Command::Program(arguments) => run::program(&arguments),
        Command::Dump(arguments) => dump::run(&arguments),
        Command::Judge(arguments) => judge::run(&arguments),
        Command::Ss(arguments) => control::client::ss(&arguments),
        Command::Ip(_) => control::client::ip(),
        Command::Ping(arguments) => control::client::ping(&arguments),
        Command::Traceroute(arguments) => control::client::traceroute(&arguments),
        Command::Nc(arguments) => netcat::run(&arguments),
        Command::Sim(arguments) => simulate::run(&arguments),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { directory } => manual::pages(&directory),
        Command::Keeper { command } => command::keeper(&command),
        Command::Init { command } => command::init(&command),
        Command::Fetch { address, path } => http::fetch_and_print(address, &path),
    }
}

/// Help and version as clap prints them; an error in one line.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        // A closed pipe is no error; nothing else can go wrong here.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(BAD_INPUT));
    }
    let text = error.to_string();
    let what = text.split("\n\nUsage").next().unwrap_or_default();
    let what = what.split("\n\nFor more").next().unwrap_or_default();
    let words: Vec<&str> = what.split_whitespace().collect();
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line).replace(" tip: ", "; ");
    let hint = if is_a_word(error) { "; a program to run stands behind `--`" } else { "" };
    anstream::eprintln!("estab: {line}{hint}; `estab help` and `estab COMMAND --help` explain");
    ExitCode::from(BAD_INPUT)
}

/// Whether what nobody expected is a word and no option, as a program's name is.
fn is_a_word(error: &clap::Error) -> bool {
    error.kind() == ErrorKind::UnknownArgument
        && matches!(
            error.get(ContextKind::InvalidArg),
            Some(ContextValue::String(word)) if !word.starts_with('-')
        )
}

/// Whoever read our output has seen enough: that is success.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<Output>())
        .any(|output| output.0.kind() == io::ErrorKind::BrokenPipe)
}

/// An error in writing to standard output, told from those of sockets and devices.
#[derive(Debug)]
pub(crate) struct Output(io::Error);

impl From<io::Error> for Output {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "standard output: {}", self.0)
    }
}

impl std::error::Error for Output {}
