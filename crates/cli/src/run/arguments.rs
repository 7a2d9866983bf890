//! What `estab run` can be told.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::bail;
use clap::Args;
use intercept::filter::FilterOptions;

use super::attached;
use crate::arguments::{LabLine, Run};
use crate::diagram;

/// Runs PROGRAM, which nobody changed, with its IPv4 and IPv6 sockets on the stack.
///
/// Any program of this machine: dynamic or static, C, Go, Java, a script and all that it starts. Its calls
/// for sockets are answered by the stack, and the rest by the kernel as always. It runs as the same
/// user, without privileges, and its exit status becomes ours. The stack is 10.77.0.2 and fd77::2; on
/// the other side of its link is this machine's kernel in a network of its own, at 10.77.0.1 and fd77::1,
/// where --peer runs a command. Nothing else can be reached from there.
///
/// Inside `estab lab`, or with the ESTAB_CONTROL of `estab up`, the stack that runs there serves PROGRAM.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  estab run --serve http:80 -- curl -sS http://10.77.0.2/
  estab run --peer 'curl -sS http://10.77.0.2:8000/' -- python3 -m http.server 8000
  estab run --peer 'nginx -g \"daemon off;\"' -- curl -sS http://10.77.0.1/
  estab run --publish 8000:8000 -- python3 -m http.server 8000
  estab run --trace --map 127.0.0.1:8080=10.77.0.1:8080 --peer ./server -- ./client
  estab run --loss 3% --diagram d.svg --peer ./server -- ./client
  estab lab -- sh -c 'estab run -- ./server & sleep 1; ./client; estab ss -p'")]
pub(crate) struct RunProgram {
    #[command(flatten)]
    pub(crate) line: LabLine,
    /// Run COMMAND, for the shell, on the kernel's side. It begins when PROGRAM first listens, or when it
    /// first connects or sends, which then waits until COMMAND listens. When COMMAND came to a server and
    /// ends, PROGRAM is ended, and COMMAND's status counts.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) peer: Option<OsString>,
    /// Lead connections to 127.0.0.1:HOSTPORT of this machine to PROGRAM's PORT; with /udp, datagrams. Any
    /// number.
    #[arg(long, value_name = "HOSTPORT:PORT[/udp]")]
    pub(crate) publish: Vec<Publish>,
    /// Where PROGRAM connects or sends to the first address, it reaches the second. Any number.
    #[arg(long, value_name = "ADDRESS:PORT=ADDRESS:PORT")]
    pub(crate) map: Vec<Map>,
    /// Whom PROGRAM asks for names, instead of the kernel's address. Any number.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<IpAddr>,
    #[command(flatten)]
    pub(crate) filter: FilterSwitches,
    #[command(flatten)]
    pub(crate) run: Run,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "PROGRAM", help_heading = None::<&'static str>)]
    pub(crate) command: Vec<OsString>,
}

/// What init is told.
#[derive(Args, Debug)]
pub(crate) struct InitArguments {
    #[arg(long)]
    pub(crate) dns: Vec<IpAddr>,
    #[arg(long)]
    pub(crate) address: Vec<Prefixed>,
    /// Of the interface that PROGRAM sees.
    #[arg(long)]
    pub(crate) mtu: Option<u16>,
    #[command(flatten)]
    pub(crate) program: ProgramArguments,
}

/// What the process that becomes PROGRAM is told.
#[derive(Args, Debug)]
pub(crate) struct ProgramArguments {
    #[command(flatten)]
    pub(crate) filter: FilterSwitches,
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

/// What the filter answers by itself.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct FilterSwitches {
    /// TCP_CORK and TCP_QUICKACK have their effect, instead of the answer "done" from the filter, which is
    /// faster.
    #[arg(long, help_heading = "The program")]
    exact_options: bool,
    /// No UDP sockets: TCP programs that use sendmsg and recvmsg are then a little faster.
    #[arg(long, help_heading = "The program")]
    no_udp: bool,
}

impl FilterSwitches {
    /// The filter's options.
    pub(crate) fn options(self) -> FilterOptions {
        FilterOptions { exact_options: self.exact_options, no_udp: self.no_udp }
    }

    /// As they are given to another process.
    pub(crate) fn words(self) -> impl Iterator<Item = &'static str> {
        let exact = self.exact_options.then_some("--exact-options");
        exact.into_iter().chain(self.no_udp.then_some("--no-udp"))
    }
}

impl RunProgram {
    /// PROGRAM as messages call it.
    pub(crate) fn name(&self) -> String {
        self.command.first().map(|name| name.display().to_string()).unwrap_or_default()
    }

    /// What is led elsewhere, for the supervisor.
    pub(crate) fn maps(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.map.iter().map(|map| (map.from, map.to)).collect()
    }

    /// What can be wrong is found before anything is made.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if let Some(path) = &self.run.diagram {
            diagram::check(path)?;
        }
        if self.run.queues > 1 {
            bail!("--queues is for `estab lab`: one thread serves the program");
        }
        for (index, publish) in self.publish.iter().enumerate() {
            let port = (publish.host, publish.protocol);
            if self.publish[..index].iter().any(|other| (other.host, other.protocol) == port) {
                bail!("--publish names port {}/{} of this machine twice", port.0, port.1);
            }
        }
        for (index, map) in self.map.iter().enumerate() {
            if self.map[..index].iter().any(|other| other.from == map.from) {
                bail!("--map leads {} to two places", map.from);
            }
        }
        if attached::is_asked_for() {
            attached::check()?;
        }
        crate::lab::check(&self.run)
    }
}

/// A port of this machine's loopback that leads to one of PROGRAM's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Publish {
    /// The port here.
    pub(crate) host: u16,
    /// PROGRAM's.
    pub(crate) program: u16,
    pub(crate) protocol: Protocol,
}

/// What has ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl FromStr for Publish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is no pair of ports: write HOSTPORT:PORT, like 8080:80, or 5300:53/udp"
            )
        };
        let (ports, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some(_) => return Err(wrong()),
        };
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
        ports
            .split_once(':')
            .and_then(|(host, program)| Some((port(host)?, port(program)?)))
            .map(|(host, program)| Self { host, program, protocol })
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A destination that stands for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Map {
    /// What the program says.
    pub(crate) from: SocketAddr,
    /// What it reaches.
    pub(crate) to: SocketAddr,
}

impl FromStr for Map {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("'{text}' is no pair of addresses: write it like 127.0.0.1:8080=10.77.0.1:8080")
        };
        let (from, to) = text.split_once('=').ok_or_else(wrong)?;
        let address = |text: &str| text.parse::<SocketAddr>().map_err(|_| wrong());
        let (from, to) = (address(from)?, address(to)?);
        if from.is_ipv4() != to.is_ipv4() {
            return Err(format!("'{text}': both addresses must be of one family"));
        }
        if to.port() == 0 || from.port() == 0 {
            return Err(format!("'{text}': 0 is no port to connect to"));
        }
        Ok(Self { from, to })
    }
}

/// An address and the length of its network's prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Prefixed {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

impl FromStr for Prefixed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once('/')
            .and_then(|(address, prefix)| {
                Some(Self { address: address.parse().ok()?, prefix: prefix.parse().ok()? })
            })
            .ok_or_else(|| format!("'{text}' is no address with a prefix"))
    }
}

impl fmt::Display for Prefixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_addresses() {
        let published = |protocol| Ok(Publish { host: 8080, program: 80, protocol });
        assert_eq!("8080:80".parse(), published(Protocol::Tcp));
        assert_eq!("8080:80/tcp".parse(), published(Protocol::Tcp));
        assert_eq!("8080:80/udp".parse(), published(Protocol::Udp));
        let wrong =
            ["", "80", "0:80", "80:0", "80:80:80", "a:80", "80:65536", "80:80/", "8:8/sctp"];
        for wrong in wrong {
            assert!(wrong.parse::<Publish>().is_err(), "{wrong}");
        }
        let map: Map = "127.0.0.1:8080=10.77.0.1:80".parse().unwrap();
        assert_eq!(map.from, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(map.to, "10.77.0.1:80".parse().unwrap());
        assert!("[::1]:80=[fd77::1]:80".parse::<Map>().is_ok());
        for wrong in [
            "",
            "127.0.0.1:80",
            "127.0.0.1=10.77.0.1",
            "127.0.0.1:80=[::1]:80",
            "1.2.3.4:0=1.2.3.4:5",
        ] {
            assert!(wrong.parse::<Map>().is_err(), "{wrong}");
        }
    }
}
