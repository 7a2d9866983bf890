//! Completions and manual pages, generated from the command line's definition.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use crate::Output;
use crate::arguments::Arguments;

/// Prints a completion script.
pub(crate) fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    // Into memory first: the generator panics when its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "estab", &mut script);
    std::io::stdout().write_all(&script).map_err(Output::from)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the program and one for each of its commands.
pub(crate) fn pages(directory: &Path) -> anyhow::Result<ExitCode> {
    fs::create_dir_all(directory)
        .with_context(|| format!("{}: cannot make the directory", directory.display()))?;
    let mut command = Arguments::command();
    command.build();
    write_page(directory, command.clone(), "estab")?;
    for sub in
        command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
    {
        let name = format!("estab-{}", sub.get_name());
        write_page(directory, sub.clone().display_name(name.clone()), &name)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_page(directory: &Path, command: clap::Command, name: &str) -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    let path = directory.join(format!("{name}.1"));
    fs::write(&path, page).with_context(|| format!("{}: cannot write", path.display()))
}
