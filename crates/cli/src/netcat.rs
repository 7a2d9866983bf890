//! `estab nc`: standard input and output as a TCP connection of the running stack.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::arguments::Nc;
use crate::control::client;

/// Runs `estab nc`.
pub(crate) fn run(arguments: &Nc) -> anyhow::Result<ExitCode> {
    let stream = client::request(&request(arguments)?)?;
    let mut towards = stream.try_clone()?;
    // It may wait for input for ever; it ends with this process, when the peer is done.
    std::thread::Builder::new().name("input".into()).spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut towards);
        let _ = towards.shutdown(Shutdown::Write);
    })?;
    client::show(stream)
}

/// The line for the control socket.
fn request(arguments: &Nc) -> anyhow::Result<String> {
    let congestion = arguments.congestion.as_ref().map_or(String::new(), |name| format!(" {name}"));
    match (arguments.listen, arguments.destination.as_slice()) {
        (true, [number]) => Ok(format!("listen {}{congestion}", port(number)?)),
        (false, [address, number]) => {
            let address: IpAddr = address.parse().ok().with_context(|| {
                format!("'{address}' is no IP address; names are not looked up here")
            })?;
            if address.is_multicast() || address.is_unspecified() || is_broadcast(address) {
                bail!("{address} is no host: a connection needs the address of one");
            }
            let peer = SocketAddr::new(address, port(number)?);
            Ok(format!("connect {peer}{congestion}"))
        }
        (true, _) => bail!("with -l give the PORT alone: the stack has one address"),
        (false, _) => bail!("give an ADDRESS and a PORT, or -l and a PORT"),
    }
}

fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_broadcast())
}

fn port(number: &str) -> anyhow::Result<u16> {
    let port = number.parse().ok().filter(|port| *port != 0);
    port.with_context(|| format!("'{number}' is no port: 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_or_an_address_and_a_port() {
        let nc = |listen, words: &[&str]| {
            let destination = words.iter().map(|word| (*word).to_owned()).collect();
            request(&Nc { listen, shutdown: false, congestion: None, destination })
        };
        assert_eq!(nc(true, &["5000"]).unwrap(), "listen 5000");
        assert_eq!(nc(false, &["10.77.0.1", "80"]).unwrap(), "connect 10.77.0.1:80");
        let congestion = Some("bbr".to_owned());
        let destination = vec!["5000".to_owned()];
        let with = Nc { listen: true, shutdown: false, congestion, destination };
        assert_eq!(request(&with).unwrap(), "listen 5000 bbr");
        for wrong in [nc(false, &["80"]), nc(true, &["10.77.0.1", "80"]), nc(true, &["0"])] {
            assert!(wrong.is_err());
        }
        for nobody in ["localhost", "224.0.0.1", "255.255.255.255", "0.0.0.0"] {
            assert!(nc(false, &[nobody, "80"]).is_err());
        }
    }
}
