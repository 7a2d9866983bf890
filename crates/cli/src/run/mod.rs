//! `estab run`: a program that nobody changed, with its sockets on the stack.
//!
//! Six processes, each with one thing that no other can do:
//!
//! ```text
//! estab run      the job that the shell sees: signals, stops and the status pass through it (front)
//!   runner       the stack and the supervisor, in the kernel's network; host of --peer and --publish
//!     keeper     makes the process namespace and waits
//!       init     process 1 of it, in an empty network with its own /proc, resolv.conf and hosts
//!         PROGRAM
//!     keeper, init, --peer COMMAND    in the kernel's network, as in a lab
//! ```
//!
//! The runner never becomes another program after it made its user namespace, so that it keeps the
//! capabilities in it that the supervisor needs. The front may be stopped with PROGRAM (Ctrl-Z) while
//! the stack goes on answering its peers. PROGRAM belongs to the shell's job like all the others, so that
//! the terminal treats it as if it ran alone. When the front, the runner or init ends in whatever
//! way, all of them do: init's end is the end of its process namespace.
//!
//! Inside `estab lab`, or with the `ESTAB_CONTROL` of `estab up`, the runner has no stack and no
//! supervisor of its own: the running stack serves PROGRAM ([`attached`]).

mod arguments;
mod attached;
mod front;
mod init;
mod keeper;
pub(crate) mod line;
mod names;
mod peer;
mod processes;
mod program;
mod publish;
mod runner;
pub(crate) mod serving;
mod signals;

pub(crate) use arguments::{InitArguments, ProgramArguments, RunProgram};
pub(crate) use front::run;
pub(crate) use init::init;
pub(crate) use keeper::keeper;
pub(crate) use program::program;
pub(crate) use runner::runner;
