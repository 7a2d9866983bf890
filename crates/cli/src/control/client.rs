//! The commands' side of the control socket.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::Context;

use super::{Place, VARIABLE, frame};
use crate::Output;
use crate::arguments::{Ping, Ss, Traceroute};

/// `estab ss`.
pub(crate) fn ss(arguments: &Ss) -> anyhow::Result<ExitCode> {
    let Ss { all, listening, info, processes } = *arguments;
    let words =
        [(all, " all"), (listening, " listening"), (info, " info"), (processes, " processes")];
    let words: String = words.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect();
    show(request(&format!("ss{words}"))?)
}

/// `estab ip`.
pub(crate) fn ip() -> anyhow::Result<ExitCode> {
    show(request("ip")?)
}

/// `estab ping`.
pub(crate) fn ping(arguments: &Ping) -> anyhow::Result<ExitCode> {
    let Ping { address, count, interval, wait, size } = arguments;
    let (interval, wait) = (interval.as_millis(), wait.as_millis());
    show(request(&format!("ping {address} {count} {interval} {wait} {size}"))?)
}

/// `estab traceroute`.
pub(crate) fn traceroute(arguments: &Traceroute) -> anyhow::Result<ExitCode> {
    let Traceroute { address, max_hops, queries, wait, icmp } = arguments;
    let (wait, kind) = (wait.as_millis(), if *icmp { "echo" } else { "udp" });
    show(request(&format!("traceroute {address} {max_hops} {queries} {wait} {kind}"))?)
}

/// Sends a command to the running stack.
pub(crate) fn request(line: &str) -> anyhow::Result<UnixStream> {
    let place = Place::wanted()?;
    let mut stream = place.connect().with_context(|| {
        format!("{VARIABLE}={place}: the stack behind it is gone, or not yours")
    })?;
    writeln!(stream, "{line}")?;
    Ok(stream)
}

/// Prints what the stack answers, to its end, and takes over its status.
pub(crate) fn show(mut stream: UnixStream) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let end = frame::read(&mut stream, |piece| {
        out.write_all(piece).and_then(|()| out.flush()).map_err(Output::from)?;
        Ok(())
    });
    let end = match end {
        Ok(end) => end,
        Err(error) if error.is::<io::Error>() => {
            anyhow::bail!("the stack ended before its answer")
        }
        Err(error) => return Err(error),
    };
    // Whoever still waits to send through it need not.
    let _ = stream.shutdown(Shutdown::Both);
    if !end.message.is_empty() {
        anstream::eprintln!("estab: {}", end.message);
    }
    Ok(ExitCode::from(end.status))
}
