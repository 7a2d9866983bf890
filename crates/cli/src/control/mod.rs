//! The control socket: how `estab ss`, `ping` and `nc` speak to a stack that runs.
//!
//! In a lab, and beside a program, it has a name in the network there, and for other terminals
//! [another one](announced) in the machine's network; that of `estab up` is a file.
//!
//! A client connects to a Unix socket and writes one line: a word and its arguments. What the
//! server has to say comes in [frames](frame): output, and at the end a status. After `nc` the
//! client's side of the socket carries the bytes for the peer, without frames.

mod announced;
pub(crate) mod client;
pub(crate) mod frame;
pub(crate) mod relay;
pub(crate) mod serve_program;
pub(crate) mod served;
pub(crate) mod server;

use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;

use announced::Found;
pub(crate) use announced::announce;

/// The environment variable that says where the control socket is.
pub(crate) const VARIABLE: &str = "ESTAB_CONTROL";

/// Where a control socket is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// An abstract name, which belongs to a network namespace and is gone with it: `@name`.
    Abstract(String),
    /// A file.
    File(PathBuf),
}

impl Place {
    /// The place in a lab.
    pub(crate) fn in_lab() -> Self {
        Self::Abstract("estab-control".into())
    }

    /// The place that the environment names; without it the one stack of this user that there is.
    fn wanted() -> anyhow::Result<Self> {
        if let Some(place) = std::env::var(VARIABLE).ok().filter(|place| !place.is_empty()) {
            return Ok(match place.strip_prefix('@') {
                Some(name) => Self::Abstract(name.to_owned()),
                None => Self::File(place.into()),
            });
        }
        let mut found = announced::found();
        match (found.pop(), found.len()) {
            (Some(only), 0) => Ok(only.place),
            (Some(last), others) => {
                found.push(last);
                let each = found
                    .iter()
                    .map(|Found { place, command }| format!("{VARIABLE}={place} for `{command}`"));
                anyhow::bail!(
                    "{} stacks of yours run here: say which, with {}",
                    others + 1,
                    each.collect::<Vec<_>>().join(", or ")
                )
            }
            (None, _) => anyhow::bail!(
                "no stack of yours runs here: this command works beside `estab run`, `estab lab` and \
                 `estab up`, and inside a lab (try `estab lab -- bash`)"
            ),
        }
    }

    pub(crate) fn listen(&self) -> io::Result<UnixListener> {
        match self {
            Self::Abstract(name) => UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?),
            Self::File(path) => UnixListener::bind(path),
        }
    }

    fn connect(&self) -> io::Result<UnixStream> {
        match self {
            Self::Abstract(name) => {
                let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
                // Anybody can take a name in the machine's network.
                if announced::is_announced(name) && !announced::is_ours(&stream) {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not yours"));
                }
                Ok(stream)
            }
            Self::File(path) => UnixStream::connect(path),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abstract(name) => write!(f, "@{name}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}
