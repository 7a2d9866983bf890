//! `--peer`: a command of the shell on the kernel's side.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::bail;
use intercept::FirstUse;
use signal_hook::consts::SIGTERM;

use super::line::END;
use crate::command::Background;

/// How long PROGRAM's first connection waits for COMMAND to listen.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked.
const GLANCE: Duration = Duration::from_millis(5);

/// How long COMMAND may take to end by itself when PROGRAM has ended, and then by SIGTERM.
const GRACE: Duration = Duration::from_millis(200);

/// COMMAND, from before its begin to its end.
#[derive(Debug)]
pub(super) struct Peer {
    finish: Sender<()>,
    thread: JoinHandle<anyhow::Result<Option<u8>>>,
}

/// What tells it to begin.
#[derive(Clone, Debug)]
pub(super) struct Bell(SyncSender<(FirstUse, SyncSender<()>)>);

impl Peer {
    /// COMMAND begins when the bell rings. When PROGRAM is a server, COMMAND's end is said on
    /// `lifeline`.
    pub(super) fn start(
        command: &OsStr,
        environment: Vec<(&'static str, String)>,
        lifeline: UnixStream,
    ) -> io::Result<(Bell, Self)> {
        let (ring, begin) = sync_channel::<(FirstUse, SyncSender<()>)>(1);
        let (finish, finished) = channel();
        let command = ["/bin/sh".into(), "-c".into(), command.to_owned()];
        let run = move || match begin.recv() {
            Ok((part, ready)) => {
                let process = start(&command, &environment, part)?;
                // Who rang may be gone.
                let _ = ready.send(());
                accompany(process, part, &finished, lifeline)
            }
            // PROGRAM had no use for it.
            Err(_) => Ok(None),
        };
        let thread = thread::Builder::new().name("peer".into()).spawn(run)?;
        Ok((Bell(ring), Self { finish, thread }))
    }

    /// Ends COMMAND when it has not ended yet; its status when that counts. The bells must be gone.
    pub(super) fn finish(self) -> anyhow::Result<Option<u8>> {
        // It may have ended.
        let _ = self.finish.send(());
        self.thread.join().unwrap_or_else(|_| bail!("a thread panicked"))
    }
}

impl Bell {
    /// Says what PROGRAM does, the first time. A client's call returns when COMMAND is ready.
    pub(super) fn ring(&self, part: FirstUse) {
        let (ready, wait) = sync_channel(1);
        if self.0.try_send((part, ready)).is_ok() && part == FirstUse::Connects {
            let _ = wait.recv_timeout(PATIENCE + GRACE);
        }
    }
}

fn start(
    command: &[OsString],
    environment: &[(&'static str, String)],
    part: FirstUse,
) -> anyhow::Result<Background> {
    let mut process = Background::start(command, environment)?;
    if part == FirstUse::Connects {
        let deadline = Instant::now() + PATIENCE;
        while !somebody_listens() && process.try_wait()?.is_none() && Instant::now() < deadline {
            thread::sleep(GLANCE);
        }
    }
    Ok(process)
}

/// Waits for the end of COMMAND, or that of PROGRAM. COMMAND's status when it ends a server.
fn accompany(
    mut process: Background,
    part: FirstUse,
    finished: &Receiver<()>,
    mut lifeline: UnixStream,
) -> anyhow::Result<Option<u8>> {
    loop {
        if finished.recv_timeout(GLANCE) != Err(RecvTimeoutError::Timeout) {
            end(process)?;
            return Ok(None);
        }
        let Some(status) = process.try_wait()? else { continue };
        if part == FirstUse::Listens {
            // It may have ended just now.
            let _ = lifeline.write_all(&[END]);
            if finished.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = lifeline.shutdown(Shutdown::Both);
            }
            return Ok(Some(status));
        }
        // PROGRAM goes on without it.
        let _ = finished.recv();
        return Ok(None);
    }
}

/// Lets COMMAND end, asks it to, and makes it.
fn end(mut process: Background) -> anyhow::Result<()> {
    for signal in [None, Some(SIGTERM)] {
        if let Some(signal) = signal {
            process.signal(signal);
        }
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if process.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(GLANCE);
        }
    }
    process.end()
}

/// Whether a socket of the kernel's side waits for somebody.
fn somebody_listens() -> bool {
    const LISTEN: &str = "0A";
    const UNCONNECTED: &str = "07";
    let has = |file: &str, state: &str| {
        let text = fs::read_to_string(format!("/proc/self/net/{file}")).unwrap_or_default();
        text.lines().skip(1).any(|line| line.split_whitespace().nth(3) == Some(state))
    };
    has("tcp", LISTEN) || has("tcp6", LISTEN) || has("udp", UNCONNECTED) || has("udp6", UNCONNECTED)
}
