//! The runner: a network with the kernel on one side and the stack on the other, and the supervisor that
//! serves PROGRAM's sockets with that stack.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use intercept::{FirstUse, Observer, Options};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::arguments::Prefixed;
use super::front::OF_PEER;
use super::line::{self, SETUP};
use super::peer::{Bell, Peer};
use super::processes::Processes;
use super::publish::{self, Published};
use super::serving::{self, Serving};
use super::signals::Survived;
use super::{RunProgram, attached};
use crate::command::{OF_INIT, hand_down};
use crate::control::{self, Place};
use crate::lab::{Networks, Running, V6, open};
use crate::observe::Watcher;
use crate::{BAD_INPUT, namespace};

/// How long what PROGRAM wrote may take to be delivered after its end.
const DRAIN: Duration = Duration::from_secs(10);

/// `estab __runner`.
pub(crate) fn runner(arguments: &RunProgram) -> anyhow::Result<ExitCode> {
    let front = line::of_this_process()?;
    let [stdin, job] = line::receive(&front, SETUP).context("the run has ended")?;
    let _survived = Survived::from_now_on()?;
    if attached::is_asked_for() {
        return attached::run(arguments, &stdin, &job);
    }
    let published = publish::listen(&arguments.publish)?;
    // By the number of the command that was typed.
    let announced = getppid().and_then(control::announce);
    namespace::enter()?;
    // A user namespace makes the kernel forget it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let network = Network::make(arguments, announced)?;
    hand_down(OF_INIT).context("cannot keep the namespace's capabilities")?;
    let kernel = [IpAddr::V4(arguments.line.cidr.address)];
    let mut processes = Processes::start(arguments, &kernel, &network.addresses, &stdin, &job)?;
    drop((stdin, job));
    let Some([listener, interfaces]) = processes.listener()? else {
        // What was to become PROGRAM has said why it did not.
        network.running.finish(&arguments.run)?;
        return Ok(ExitCode::from(BAD_INPUT));
    };
    serve(arguments, network, processes, [listener, interfaces], published)
}

/// Serves PROGRAM to its end, and what it wrote to the end of that.
fn serve(
    arguments: &RunProgram,
    network: Network,
    mut processes: Processes,
    [listener, interfaces]: [OwnedFd; 2],
    published: Published,
) -> anyhow::Result<ExitCode> {
    let Network { running, addresses, environment } = network;
    let (bell, peer) = match &arguments.peer {
        Some(command) => {
            let (bell, peer) = Peer::start(command, environment, processes.lifeline()?)?;
            (Some(bell), Some(peer))
        }
        None => (None, None),
    };
    let trace = running.watcher.as_ref().filter(|_| arguments.run.trace).map(Watcher::of_calls);
    let options = Options { interfaces: Some(interfaces), ..options(arguments, bell, trace) };
    let serving = serving::serve(&running.stack, listener, options, || ())?;
    let at_work = running.served.add(&serving.handle);
    if let Some(first) = addresses.first() {
        published.start(first.address, &running.stack)?;
    }
    processes.begin()?;
    processes.wait()?;
    let delivered = drain(&serving)?;
    serving.handle.stop();
    drop(at_work);
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

fn options(arguments: &RunProgram, bell: Option<Bell>, trace: Option<Observer>) -> Options {
    let first_use = bell.map(|bell| -> Box<dyn FnOnce(FirstUse) + Send> {
        Box::new(move |first_use| bell.ring(first_use))
    });
    Options { trace, first_use, maps: arguments.maps(), drain: DRAIN, ..Options::default() }
}

/// Whether all was delivered.
fn drain(serving: &Serving) -> anyhow::Result<bool> {
    // The supervisor counts the time itself; it gets a little more for looking at its clock.
    match serving.ended.recv_timeout(DRAIN + Duration::from_secs(1)) {
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
    fn make(arguments: &RunProgram, announced: Option<UnixListener>) -> anyhow::Result<Self> {
        let (links, cidr6) = open(&arguments.line, &arguments.run)?;
        let cidr = arguments.line.cidr;
        let v6 = cidr6.map_or(V6::Nothing, V6::Given);
        let networks = Networks { v4: cidr, v6, any: false, dhcp: false };
        let place = Place::in_lab();
        let environment = networks.environment(&place);
        let mut addresses =
            vec![Prefixed { address: cidr.stack_address().into(), prefix: cidr.prefix }];
        if let Some(cidr) = cidr6 {
            addresses.push(Prefixed { address: cidr.stack_address().into(), prefix: cidr.prefix });
        }
        let running = Running::start(links, networks, &arguments.run, &place, announced)?;
        Ok(Self { running, addresses, environment })
    }
}
