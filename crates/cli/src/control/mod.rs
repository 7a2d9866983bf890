//! The control socket: how `estab ss`, `ping` and `nc` speak to the stack that runs in a lab.
//!
//! A client connects to a Unix socket and writes one line: a word and its arguments. What the
//! server has to say comes in [frames](frame): output, and at the end a status. After `connect`
//! and `listen` the client's side of the socket carries the bytes for the peer, without frames.

pub(crate) mod client;
pub(crate) mod frame;
pub(crate) mod serve_program;
pub(crate) mod served;
pub(crate) mod server;

use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;

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

    /// The place that the environment names.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let place = std::env::var(VARIABLE).ok().filter(|place| !place.is_empty());
        let Some(place) = place else {
            anyhow::bail!(
                "no stack runs here: this command works inside `estab lab -- COMMAND` (try \
                 `estab lab -- bash`), or with the {VARIABLE} that `estab up` prints"
            );
        };
        Ok(match place.strip_prefix('@') {
            Some(name) => Self::Abstract(name.to_owned()),
            None => Self::File(place.into()),
        })
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
                UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)
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
