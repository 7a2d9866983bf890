//! `estab nc`: standard input and output as a TCP connection of the running stack.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::arguments::Nc;
use crate::control::client;
use crate::control::relay::{Destination, Wish};

/// Runs `estab nc`.
pub(crate) fn run(arguments: &Nc) -> anyhow::Result<ExitCode> {
    let stream = client::request(&wish(arguments)?.to_string())?;
    let mut towards = stream.try_clone()?;
    // It may wait for input for ever; it ends with this process, when the peer is done.
    std::thread::Builder::new().name("input".into()).spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut towards);
        let _ = towards.shutdown(Shutdown::Write);
    })?;
    client::show(stream)
}

/// What to ask of the stack.
fn wish(arguments: &Nc) -> anyhow::Result<Wish> {
    let to = match (arguments.listen, arguments.destination.as_slice()) {
        (true, [number]) => Destination::Port(port(number)?),
        (false, [address, number]) => {
            let address: IpAddr = address.parse().ok().with_context(|| {
                format!("'{address}' is no IP address; names are not looked up here")
            })?;
            if is_no_host(address) {
                bail!("{address} is no host: a connection needs the address of one");
            }
            Destination::Peer(SocketAddr::new(address, port(number)?))
        }
        (true, _) => bail!("with -l give the PORT alone: the stack listens at all its addresses"),
        (false, _) => bail!("give an ADDRESS and a PORT, or -l and a PORT"),
    };
    if let (Some(source), Destination::Peer(peer)) = (arguments.source, to) {
        if is_no_host(source) {
            bail!("-s {source}: it is no host, and nothing can come from it");
        }
        if source.is_ipv4() != peer.is_ipv4() {
            bail!("-s {source}: {} is an address of the other family", peer.ip());
        }
    }
    Ok(Wish {
        to,
        source: arguments.source,
        wait: arguments.wait,
        congestion: arguments.congestion.clone(),
    })
}

fn is_no_host(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    address.is_multicast() || address.is_unspecified() || is_broadcast
}

fn port(number: &str) -> anyhow::Result<u16> {
    let port = number.parse().ok().filter(|port| *port != 0);
    port.with_context(|| format!("'{number}' is no port: 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    /// What `estab nc LINE` asks of the stack.
    fn nc(line: &str) -> anyhow::Result<String> {
        match Arguments::try_parse_from(format!("estab nc {line}").split(' '))?.command {
            Command::Nc(arguments) => Ok(wish(&arguments)?.to_string()),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn a_port_alone_or_an_address_and_a_port() {
        assert_eq!(nc("-l 5000").unwrap(), "nc listen 5000");
        assert_eq!(nc("10.77.0.1 80").unwrap(), "nc connect 10.77.0.1:80");
        assert_eq!(nc("-l --congestion bbr 5000").unwrap(), "nc listen 5000 congestion=bbr");
        for wrong in ["80", "-l 10.77.0.1 80", "-l 0"] {
            assert!(nc(wrong).is_err(), "{wrong}");
        }
        for nobody in ["localhost", "224.0.0.1", "255.255.255.255", "0.0.0.0"] {
            assert!(nc(&format!("{nobody} 80")).is_err(), "{nobody}");
        }
    }

    #[test]
    fn seconds_to_wait() {
        assert_eq!(nc("-w 3 10.77.0.1 80").unwrap(), "nc connect 10.77.0.1:80 wait=3000");
        assert_eq!(nc("-w 250ms fd77::1 80").unwrap(), "nc connect [fd77::1]:80 wait=250");
        assert_eq!(nc("-l -w 1m 80").unwrap(), "nc listen 80 wait=60000");
        for wrong in ["0", "0s", "0.1ms", "-1", "x"] {
            assert!(nc(&format!("-w {wrong} 10.77.0.1 80")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_to_come_from() {
        let line = nc("-s 10.77.0.2 10.77.0.1 80").unwrap();
        assert_eq!(line, "nc connect 10.77.0.1:80 source=10.77.0.2");
        for wrong in ["-s fd77::2 10.77.0.1 80", "-s 0.0.0.0 10.77.0.1 80", "-l -s 10.77.0.2 80"] {
            assert!(nc(wrong).is_err(), "{wrong}");
        }
    }
}
