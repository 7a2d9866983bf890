//! The runner: a network with the kernel on one side and the stack on the other, and the supervisor that
//! serves PROGRAM's sockets with that stack.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitCode};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use intercept::{Options, Summary, Supervisor};
use link::Layer;
use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, kill_process, set_parent_process_death_signal,
    setrlimit,
};

use super::RunProgram;
use super::arguments::Prefixed;
use super::front::OF_PEER;
use super::line::{self, BEGIN, CONTINUED, LISTENER, SETUP};
use super::peer::{Bell, Peer};
use super::publish::{self, Published};
use super::signals::Survived;
use crate::command::{self, OF_INIT, hand_down};
use crate::control::{Place, VARIABLE};
use crate::device::{self, Wanted};
use crate::lab::{Networks, Running, V6, add_ipv6, wanted};
use crate::{BAD_INPUT, namespace};

/// How long what PROGRAM wrote may take to be delivered after its end.
const DRAIN: Duration = Duration::from_secs(10);

/// `estab __runner`.
pub(crate) fn runner(arguments: &RunProgram) -> anyhow::Result<ExitCode> {
    let front = line::of_this_process()?;
    let [stdin, job] = line::receive(&front, SETUP).context("the run has ended")?;
    let _survived = Survived::from_now_on()?;
    let published = publish::listen(&arguments.publish)?;
    namespace::enter()?;
    // A user namespace makes the kernel forget it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let network = Network::make(arguments)?;
    hand_down(OF_INIT).context("cannot keep the namespace's capabilities")?;
    let mut processes = Processes::start(arguments, &network.addresses, &stdin, &job)?;
    drop((stdin, job));
    let Some(listener) = processes.listener()? else {
        // What was to become PROGRAM has said why it did not.
        network.running.finish(&arguments.run)?;
        return Ok(ExitCode::from(BAD_INPUT));
    };
    raise_descriptor_limit();
    serve(arguments, network, processes, listener, published)
}

/// Serves PROGRAM to its end, and what it wrote to the end of that.
fn serve(
    arguments: &RunProgram,
    network: Network,
    mut processes: Processes,
    listener: OwnedFd,
    published: Published,
) -> anyhow::Result<ExitCode> {
    let Network { running, addresses, environment } = network;
    let (bell, peer) = match &arguments.peer {
        Some(command) => {
            let (bell, peer) = Peer::start(command, environment, processes.lifeline.try_clone()?)?;
            (Some(bell), Some(peer))
        }
        None => (None, None),
    };
    let supervisor = Supervisor::new(&running.stack, listener, options(arguments, bell))?;
    let handle = supervisor.handle();
    let (say, served) = channel();
    let run = move || {
        // Nobody waits any more when the run has ended otherwise.
        let _ = say.send(supervisor.run());
    };
    thread::Builder::new().name("supervisor".into()).spawn(run)?;
    if let Some(stack) = addresses.first() {
        published.start(stack.address)?;
    }
    processes.begin()?;
    processes.wait()?;
    let delivered = drain(&served)?;
    handle.stop();
    let of_peer = peer.map(Peer::finish).transpose()?.flatten();
    running.finish(&arguments.run)?;
    if !delivered {
        anstream::eprintln!(
            "estab: not all that {} wrote was acknowledged within {} s of its end",
            arguments.name(),
            DRAIN.as_secs()
        );
    }
    Ok(match of_peer {
        Some(0) => ExitCode::from(OF_PEER),
        Some(status) => ExitCode::from(status),
        None => ExitCode::SUCCESS,
    })
}

fn options(arguments: &RunProgram, _bell: Option<Bell>) -> Options {
    Options {
        maps: arguments.map.iter().map(|map| (map.from, map.to)).collect(),
        drain: DRAIN,
        ..Options::default()
    }
}

/// Whether all was delivered.
fn drain(served: &Receiver<io::Result<Summary>>) -> anyhow::Result<bool> {
    // The supervisor counts the time itself; it gets a little more for looking at its clock.
    match served.recv_timeout(DRAIN + Duration::from_secs(1)) {
        Ok(summary) => Ok(summary.context("the supervisor failed")?.delivered),
        Err(_) => Ok(false),
    }
}

/// The kernel on one side, the stack on the other.
struct Network {
    running: Running,
    /// The stack's.
    addresses: Vec<Prefixed>,
    /// What the peer is told.
    environment: Vec<(&'static str, String)>,
}

impl Network {
    fn make(arguments: &RunProgram) -> anyhow::Result<Self> {
        let layer = if arguments.tap { Layer::Tap } else { Layer::Tun };
        let wanted = Wanted { packet: arguments.packet, ..wanted(layer, &arguments.run) };
        let cidr = arguments.cidr;
        let links = device::open_queues_in_namespace(device::NAME, &wanted, 1, cidr)?;
        let cidr6 = add_ipv6(&links, device::NAME, arguments.cidr6)?;
        let v6 = cidr6.map_or(V6::Nothing, V6::Given);
        let networks = Networks { v4: cidr, v6, any: false, dhcp: false };
        let place = Place::in_lab();
        let mut environment = vec![
            (VARIABLE, place.to_string()),
            ("ESTAB_KERNEL", cidr.address.to_string()),
            ("ESTAB_STACK", cidr.stack_address().to_string()),
            ("PATH", command::path_with_this_program()),
        ];
        let mut addresses =
            vec![Prefixed { address: cidr.stack_address().into(), prefix: cidr.prefix }];
        if let Some(cidr) = cidr6 {
            environment.push(("ESTAB_KERNEL6", cidr.address.to_string()));
            environment.push(("ESTAB_STACK6", cidr.stack_address().to_string()));
            addresses.push(Prefixed { address: cidr.stack_address().into(), prefix: cidr.prefix });
        }
        let running = Running::start(links, networks, &arguments.run, &place)?;
        Ok(Self { running, addresses, environment })
    }
}

/// Keeper, init and PROGRAM. Dropping it ends them.
struct Processes {
    keeper: Child,
    lifeline: UnixStream,
}

impl Processes {
    /// Starts all of them; PROGRAM waits for [`begin`](Self::begin).
    fn start(
        arguments: &RunProgram,
        addresses: &[Prefixed],
        stdin: &OwnedFd,
        job: &OwnedFd,
    ) -> anyhow::Result<Self> {
        let (mut keeper, lifeline) = line::this_program_as("__run-keeper")?;
        let kernel = [IpAddr::V4(arguments.cidr.address)];
        let dns = if arguments.dns.is_empty() { &kernel[..] } else { &arguments.dns };
        for server in dns {
            keeper.arg("--dns").arg(server.to_string());
        }
        for address in addresses {
            keeper.arg("--address").arg(address.to_string());
        }
        if arguments.exact_options {
            keeper.arg("--exact-options");
        }
        if arguments.no_udp {
            keeper.arg("--no-udp");
        }
        let keeper = keeper.arg("--").args(&arguments.command).spawn()?;
        line::send(&lifeline, SETUP, &[stdin.as_fd(), job.as_fd()])?;
        Ok(Self { keeper, lifeline })
    }

    /// The filter's descriptor; `None` when a process that was to give it has said why not.
    fn listener(&mut self) -> anyhow::Result<Option<OwnedFd>> {
        match line::receive(&self.lifeline, LISTENER) {
            Ok([listener]) => Ok(Some(listener)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        self.lifeline.write_all(&[BEGIN])
    }

    /// Waits until PROGRAM and all that it started have ended.
    fn wait(&mut self) -> anyhow::Result<()> {
        let mut news = [0];
        while self.lifeline.read_exact(&mut news).is_ok() {
            if news == [CONTINUED]
                && let Some(front) = getppid()
            {
                // It may be stopped, as PROGRAM was.
                let _ = kill_process(front, Signal::CONT);
            }
        }
        self.keeper.wait()?;
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let _ = self.lifeline.shutdown(Shutdown::Both);
        let _ = self.keeper.wait();
    }
}

/// As many descriptors as this user may have: the supervisor has one for each of PROGRAM's sockets. Every
/// process of PROGRAM has been started with the limit as it was.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
