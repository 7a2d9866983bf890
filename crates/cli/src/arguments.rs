//! The command line: what can be asked, and the help that teaches it.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use estab::congestion;
use sim::world::shrink::Address;

use crate::impairment_options::{Both, Inbound, Outbound};
use crate::judge::Judge;
use crate::run::{InitArguments, ProgramArguments, RunProgram};
use crate::tcp_settings::TcpSettings;
use crate::values::{Cidr, Cidr6, Serve, duration, seconds};

/// A TCP/IP stack of its own in user space: watch it, try it, serve with it.
///
/// Nothing here needs privileges: `demo`, `lab` and `dump` work in a network namespace of their
/// own, in which this machine's kernel is one host and the stack is the other.
#[derive(Parser, Debug)]
#[command(
    name = "estab",
    bin_name = "estab",
    version,
    after_help = "\
Start with:
  estab demo                        a connection, packet by packet and state by state
  estab demo --explain              how a handshake, a close and a loss work, live
  estab lab --serve http:80 -- curl http://10.77.0.2/
  estab lab --serve echo:7 -- bash  a shell on the kernel's side
  estab run --peer 'curl -s http://10.77.0.2:8000/' -- python3 -m http.server 8000

Exit status: 0 success; 1 the peer did not answer, refused or reset; 2 the command cannot work as
it was given, with one line that says why; for `lab`, the status of its COMMAND, and for `run`, of its
PROGRAM: 127 when there is none, 126 when it cannot be run."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Demo(Demo),
    Lab(Lab),
    Run(RunProgram),
    Up(Up),
    Dump(Dump),
    Judge(Judge),
    Ss(Ss),
    Ip(Ip),
    Ping(Ping),
    Traceroute(Traceroute),
    Nc(Nc),
    Sim(Sim),
    /// Prints a completion script for a shell.
    #[command(
        after_help = "Example: estab completions bash > ~/.local/share/bash-completion/completions/estab"
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages into a directory.
    #[command(after_help = "Example: estab man /usr/local/share/man/man1")]
    Man {
        /// Where to; it is created when it does not exist.
        directory: PathBuf,
    },
    /// Waits for the lab's init process.
    #[command(name = "__keeper", hide = true)]
    Keeper {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// The init process of a lab.
    #[command(name = "__init", hide = true)]
    Init {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// The stack of a run.
    #[command(name = "__runner", hide = true)]
    Runner(RunProgram),
    /// Waits for the run's init process.
    #[command(name = "__run-keeper", hide = true)]
    RunKeeper(InitArguments),
    /// The init process of a run.
    #[command(name = "__run-init", hide = true)]
    RunInit(InitArguments),
    /// Becomes the program of a run.
    #[command(name = "__program", hide = true)]
    Program(ProgramArguments),
    /// Fetches a page through the kernel's TCP.
    #[command(name = "__fetch", hide = true)]
    Fetch {
        address: SocketAddr,
        path: String,
    },
}

/// Shows a whole connection between this kernel's TCP and ours.
///
/// In a namespace of its own the stack serves a page and the kernel fetches it; then a server
/// behind the kernel's TCP serves one and the stack fetches it. Each packet is a line: time,
/// direction, flags, numbers counted from the connection's start, options and length, with the
/// change of state and the reason for what we send. The sequence diagram of the first connection
/// follows.
#[derive(Args, Debug)]
#[command(after_help = "\
Reading a line:
  <-   the packet came from the kernel         ->   we sent it
  S SYN   . ACK   P PSH   F FIN   R RST, as tcpdump prints them

Examples:
  estab demo
  estab demo --explain
  estab demo --pcap demo.pcapng      the same packets for Wireshark, with the reasons")]
pub(crate) struct Demo {
    /// Tell the story of TCP with live connections: opens, closes, a loss, what each side keeps.
    #[arg(long)]
    pub(crate) explain: bool,
    /// Write every packet to FILE (pcapng).
    #[arg(long, value_name = "FILE", conflicts_with = "explain")]
    pub(crate) pcap: Option<PathBuf>,
    /// Write the sequence diagrams to FILE: .txt, .mmd (mermaid) or .svg.
    #[arg(long, value_name = "FILE", conflicts_with = "explain")]
    pub(crate) diagram: Option<PathBuf>,
}

/// The line between the kernel and the stack, in a network of its own.
#[derive(Args, Debug)]
pub(crate) struct LabLine {
    /// An Ethernet device (TAP) with ARP, instead of one for IP packets (TUN).
    #[arg(long)]
    pub(crate) tap: bool,
    /// A packet socket on a pair of virtual Ethernet interfaces, as where there is no /dev/net/tun.
    #[arg(long, conflicts_with = "tap")]
    pub(crate) packet: bool,
    /// The kernel's address and the length of the network's prefix; the stack has the next address.
    #[arg(long, value_name = "ADDRESS/LENGTH", default_value = "10.77.0.1/24")]
    pub(crate) cidr: Cidr,
    /// The same of IPv6; it is fd77::1/64 where the MTU allows it.
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    pub(crate) cidr6: Option<Cidr6>,
}

/// Runs COMMAND beside the stack, in a network namespace made for it.
///
/// The kernel's side of the network is 10.77.0.1/24 and fd77::1/64 on the interface `estab0`; the
/// stack is 10.77.0.2 and fd77::2. COMMAND runs on the kernel's side as the same user, may use every port and capture
/// packets (CAP_NET_ADMIN and CAP_NET_RAW), and its exit status becomes ours. When it ends, or
/// this program does in whatever way, every process in the lab ends and nothing is left behind.
/// Without COMMAND it is your shell.
#[derive(Args, Debug)]
#[command(after_help = "\
Inside the lab `estab ss`, `estab ip`, `estab ping` and `estab nc` speak through the stack.

Examples:
  estab lab --serve http:80 -- curl -sS http://10.77.0.2/
  estab lab --serve http:80 -- curl -sS 'http://[fd77::2]/'
  estab lab --serve http:80=. --loss 2% --delay 5ms -- curl -o /dev/null http://10.77.0.2/big
  estab lab --serve echo:7 -- bash
  estab lab --any --serve http:80 -- curl -sS http://203.0.113.7/
  estab lab --serve http:80=. --congestion bbr --rate 10mbit --delay 20ms -- bash
  estab lab --serve http:80=. --mtu-probing always --trace -- curl -o /dev/null http://10.77.0.2/big
  estab lab -- sh -c 'nc -l 10.77.0.1 5000 & sleep 1; echo hello | estab nc 10.77.0.1 5000'
  estab lab --serve http:80 --tap --pcap lab.pcapng --trace -- curl http://10.77.0.2/")]
pub(crate) struct Lab {
    #[command(flatten)]
    pub(crate) line: LabLine,
    /// The stack is the whole world: the default route leads to it, it takes packets to any address,
    /// and its servers listen on all of them.
    #[arg(long)]
    pub(crate) any: bool,
    /// The stack makes its IPv6 addresses itself, from what routers on the kernel's side advertise
    /// (SLAAC); `estab ip` lists them. For Ethernet: --tap or --packet.
    #[arg(long, conflicts_with = "any")]
    pub(crate) autoconf: bool,
    /// A DHCP server on the link gives the stack its IPv4 address, and its servers listen on it.
    #[arg(long, requires = "tap", conflicts_with = "any")]
    pub(crate) dhcp: bool,
    #[command(flatten)]
    pub(crate) run: Run,
    /// What to run on the kernel's side.
    #[arg(last = true, value_name = "COMMAND", help_heading = None::<&'static str>)]
    pub(crate) command: Vec<OsString>,
}

/// Runs the stack on a device of this network namespace.
///
/// For who has the rights: root, or the owner of a TUN device (`ip tuntap add dev tun0 mode tun
/// user $USER`), or who was given an open descriptor. Ends with Ctrl-C.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sudo estab up --tun tun0 --serve http:80
  sudo estab up --tap tap0 --cidr 192.168.9.1/24 --serve echo:7
  sudo estab up --tun tun0 --serve http:80 --queues 4      on four cores
  estab up --tun tun0 --keep-address      the device has its address already

Another terminal asks the running stack: it prints the ESTAB_CONTROL to set.")]
pub(crate) struct Up {
    /// The TUN device to use or to create.
    #[arg(long, value_name = "NAME", group = "device", required_unless_present_any = ["tap", "fd"])]
    pub(crate) tun: Option<String>,
    /// The TAP device to use or to create.
    #[arg(long, value_name = "NAME", group = "device")]
    pub(crate) tap: Option<String>,
    /// An open descriptor of a TUN or TAP device, inherited from the caller.
    #[arg(long, value_name = "NUMBER", group = "device", value_parser = clap::value_parser!(i32).range(3..))]
    pub(crate) fd: Option<i32>,
    /// The kernel's address and the length of the network's prefix; the stack has the next address.
    #[arg(long, value_name = "ADDRESS/LENGTH", default_value = "10.77.0.1/24")]
    pub(crate) cidr: Cidr,
    /// The same of IPv6; without it the stack speaks IPv4 alone.
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    pub(crate) cidr6: Option<Cidr6>,
    /// Do not touch the kernel's side: the interface has its address and is up.
    #[arg(long)]
    pub(crate) keep_address: bool,
    /// A DHCP server on the link gives the stack its IPv4 address, and its servers listen on it.
    #[arg(long, requires = "tap")]
    pub(crate) dhcp: bool,
    #[command(flatten)]
    pub(crate) run: Run,
}

/// What `lab` and `up` share: servers, what to watch, and the link.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Run a server on the stack: echo:7, discard:9, chargen:19, http:80 or http:80=DIR. Any number.
    #[arg(long, value_name = "SERVICE:PORT")]
    pub(crate) serve: Vec<Serve>,
    /// Write every packet to FILE (pcapng), with the reason for each that we send.
    #[arg(long, value_name = "FILE", help_heading = "Watching")]
    pub(crate) pcap: Option<PathBuf>,
    /// Print every packet as a line on standard error, with state changes and reasons.
    #[arg(long, help_heading = "Watching")]
    pub(crate) trace: bool,
    /// Write sequence diagrams of the connections to FILE: .txt, .mmd (mermaid) or .svg.
    #[arg(long, value_name = "FILE", help_heading = "Watching")]
    pub(crate) diagram: Option<PathBuf>,
    /// The largest IP packet in bytes.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(68..), help_heading = "The link")]
    pub(crate) mtu: Option<u16>,
    /// Open the device with this many queues and serve each by a thread and a shard of its own: for
    /// several cores. Impairments are those of each queue.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, hide_default_value = true,
        value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "The link")]
    pub(crate) queues: u16,
    /// No checksum and segmentation offload: every packet whole and complete.
    #[arg(long, help_heading = "The link")]
    pub(crate) no_offload: bool,
    /// The stack is in this VLAN of the link (IEEE 802.1Q): its frames have the tag, and others are passed
    /// over. For Ethernet; the kernel's side needs an interface of the VLAN, as `ip link add link estab0 name
    /// estab0.7 type vlan id 7` makes it.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=4094),
        help_heading = "The link")]
    pub(crate) vlan: Option<u16>,
    /// Makes the impairments below repeatable.
    #[arg(long, value_name = "NUMBER", help_heading = "The link")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) tcp: TcpSettings,
    #[command(flatten)]
    pub(crate) both: Both,
    #[command(flatten)]
    pub(crate) inbound: Inbound,
    #[command(flatten)]
    pub(crate) outbound: Outbound,
}

/// Shows packets as bytes and as a table of their fields.
///
/// From FILE: a capture (pcap, pcapng) or a hex dump in text, as `hexdump -C`, `xxd` and
/// `tcpdump -x` print them; `-` is standard input. Or live, from a TUN or TAP device made for
/// it: nobody answers there but for ARP, so what you see is what the kernel tries.
#[derive(Args, Debug)]
#[command(after_help = "\
Offsets count from the first byte of the IP header and of the header above it; `6+3/8` is the
fourth bit of byte 6. Checksums are judged: right, wrong (with the value it should be), or partial
(left to offload).

Examples:
  estab dump syn.txt
  tcpdump -w - -c 3 | estab dump -
  estab dump --tun tun9 --cidr 11.0.0.1/24 -- curl -m 1 http://11.0.0.2/hello
  estab dump --tap tap9 --cidr 11.0.0.1/24 -- ping -c 1 11.0.0.2
  sudo estab dump --tun tun9 --cidr 11.0.0.1/24 --here      then use another terminal")]
pub(crate) struct Dump {
    /// A capture or a hex dump; `-` for standard input.
    #[arg(required_unless_present_any = ["tun", "tap"], conflicts_with_all = ["tun", "tap"])]
    pub(crate) file: Option<PathBuf>,
    /// Make this TUN device and show what the kernel sends into it.
    #[arg(long, value_name = "NAME", conflicts_with = "tap")]
    pub(crate) tun: Option<String>,
    /// The same with a TAP device: Ethernet frames and ARP too.
    #[arg(long, value_name = "NAME")]
    pub(crate) tap: Option<String>,
    /// The kernel's address on the device and the length of the network's prefix.
    #[arg(
        long,
        value_name = "ADDRESS/LENGTH",
        default_value = "10.77.0.1/24",
        conflicts_with = "file"
    )]
    pub(crate) cidr: Cidr,
    /// Make the device in this network namespace (needs CAP_NET_ADMIN), not in one of its own.
    #[arg(long, conflicts_with = "file")]
    pub(crate) here: bool,
    /// Stop after this many packets.
    #[arg(long, short = 'c', value_name = "NUMBER")]
    pub(crate) count: Option<u64>,
    /// The file's packets begin with an Ethernet header, where it does not say so itself.
    #[arg(long, conflicts_with_all = ["tun", "tap"])]
    pub(crate) ethernet: bool,
    /// What to run beside the device; the dump ends with it.
    #[arg(last = true, value_name = "COMMAND", help_heading = None::<&'static str>)]
    pub(crate) command: Vec<OsString>,
}

/// Lists the sockets of the running stack, as `ss -tan` lists the kernel's.
///
/// The stack is that of the lab in which this runs, or the one of this user's `estab run`, `estab lab` or
/// `estab up` in another terminal. When there are several, ESTAB_CONTROL says which.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  estab lab --serve http:80 -- estab ss -a
  estab ss -l -p                     beside an `estab run` in another terminal")]
pub(crate) struct Ss {
    /// Everything, listeners too.
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Only listeners.
    #[arg(long, short)]
    pub(crate) listening: bool,
    /// Timers, round-trip time, windows and counters of each connection.
    #[arg(long, short)]
    pub(crate) info: bool,
    /// Which programs of `estab run` have each socket, and as which descriptor.
    #[arg(long, short)]
    pub(crate) processes: bool,
}

/// Lists the addresses of the running stack, one a line, with the lengths of their prefixes.
#[derive(Args, Debug)]
#[command(after_help = "Example: estab lab --tap --autoconf -- estab ip")]
pub(crate) struct Ip {}

/// Sends echo requests from the running stack.
#[derive(Args, Debug)]
#[command(after_help = "Example: estab lab -- estab ping -c 3 10.77.0.1")]
pub(crate) struct Ping {
    /// Whom to ask.
    pub(crate) address: IpAddr,
    /// How many requests to send.
    #[arg(long, short, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) count: u16,
    /// The time from one request to the next.
    #[arg(long, short, default_value = "1s", value_parser = duration)]
    pub(crate) interval: Duration,
    /// How long to wait for each answer.
    #[arg(long, short = 'W', default_value = "2s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// Bytes of payload; what does not fit the link goes in fragments.
    #[arg(long, short, default_value_t = 56, value_parser = clap::value_parser!(u16).range(0..=65_507))]
    pub(crate) size: u16,
}

/// Tells which routers are on the way from the running stack to a host.
#[derive(Args, Debug)]
#[command(after_help = "Example: estab lab -- estab traceroute 10.77.0.1")]
pub(crate) struct Traceroute {
    /// The host.
    pub(crate) address: IpAddr,
    /// How many steps to explore at most.
    #[arg(long, short, default_value_t = 30, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) max_hops: u8,
    /// How many probes for each step.
    #[arg(long, short, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub(crate) queries: u8,
    /// How long to wait for each answer.
    #[arg(long, short, default_value = "2s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// Probes with echo requests instead of UDP.
    #[arg(long, short = 'I')]
    pub(crate) icmp: bool,
}

/// Connects standard input and output to a TCP connection of the running stack.
///
/// The end of standard input ends our half of the connection (FIN); what the peer still sends is
/// printed until it ends its half too.
#[derive(Args, Debug)]
#[command(
    override_usage = "estab nc [-w TIME] [-s ADDRESS] [--congestion NAME] ADDRESS PORT\n       \
                      estab nc [-w TIME] [--congestion NAME] -l PORT",
    after_help = "\
Examples, inside a lab:
  echo hello | estab nc 10.77.0.1 5000     the stack connects to a server of the kernel
  estab nc -w 2 10.77.0.9 80               nobody is there: it says so within two seconds
  estab nc -l 5000                         the stack waits for one connection of the kernel"
)]
pub(crate) struct Nc {
    /// Wait for one connection on PORT instead of opening one.
    #[arg(long, short)]
    pub(crate) listen: bool,
    /// Shut our half down at the end of standard input. It always happens; as in other versions.
    #[arg(short = 'N', hide = true)]
    pub(crate) shutdown: bool,
    /// Give up when connecting takes longer, and end when neither side has said anything for so long.
    /// Seconds, or a time like 500ms. A listener waits for ever.
    #[arg(short, value_name = "TIME", value_parser = seconds)]
    pub(crate) wait: Option<Duration>,
    /// Connect from this address of the stack.
    #[arg(short, value_name = "ADDRESS", conflicts_with = "listen")]
    pub(crate) source: Option<IpAddr>,
    /// The congestion controller of this connection, where it is not the stack's.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(congestion::NAMES))]
    pub(crate) congestion: Option<String>,
    /// ADDRESS PORT to connect to; PORT alone with `-l`.
    #[arg(value_name = "ADDRESS PORT", num_args = 1..=2, required = true)]
    pub(crate) destination: Vec<String>,
}

/// Runs networks in virtual time: one that you wrote down, or thousands drawn from seeds.
///
/// SCENARIO.toml says what the bottleneck is like and who sends. The real stack runs on every host,
/// and minutes pass in seconds. What comes out: a table here, and beside it the curves of congestion
/// window, round-trip time, flight and throughput, as a picture (SVG) and as numbers (CSV).
///
/// With `--seeds` or `--minutes` it hunts instead: each seed is another world of hosts, bad lines
/// and programs, in which every packet, every state and every byte is checked. A world that fails is
/// made small and printed as one line that replays it.
#[derive(Args, Debug)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["scenario", "seeds", "minutes", "replay", "tables"]),
    after_help = "\
A scenario:
  title = \"CUBIC and a short loss of the path\"
  duration = \"20s\"         # of virtual time
  seed = 1                 # another number, other losses
  mtu = 1500
  [link]                   # the bottleneck that all flows share
  rate = \"20mbit\"
  delay = \"25ms\"           # each way
  queue = 85               # packets; also: jitter, loss, burst (packets in a row), reorder,
  loss = \"0.1%\"            # duplicate, corrupt, codel = true, ecn = true
  [link.back]              # what differs on the way back
  loss = \"0%\"
  [[link.change]]          # what is other for a while
  at = \"10s\"
  until = \"11s\"
  loss = \"100%\"
  [[flow]]                 # who sends; any number, or count = 4
  controller = \"cubic\"    # also: name, start, bytes, delay (a path of its own),
                           # pacing = true, prr = false

Examples:
  estab sim docs/scenarios/cubic-long-path.toml
  estab sim docs/scenarios/bbr-and-cubic.toml --out /tmp
  estab sim --seeds 1000
  estab sim --minutes 10 --first 100000
  estab sim --replay 4718,flow1.gone --trace"
)]
pub(crate) struct Sim {
    /// The scenario to run.
    #[arg(value_name = "SCENARIO.toml")]
    pub(crate) scenario: Option<PathBuf>,
    /// Where to write the curves; beside the scenario unless told otherwise.
    #[arg(long, value_name = "DIRECTORY", requires = "scenario")]
    pub(crate) out: Option<PathBuf>,
    /// Hunt through so many worlds.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: Option<u64>,
    /// Hunt for so long.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) minutes: Option<u64>,
    /// The first seed of a hunt.
    #[arg(long, value_name = "SEED", default_value_t = 1, conflicts_with_all = ["scenario", "replay"])]
    pub(crate) first: u64,
    /// Run one world again, by its seed or its address.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) replay: Option<Address>,
    /// Print the book's tables of what the controllers achieve.
    #[arg(long, hide = true)]
    pub(crate) tables: bool,
    /// Print every packet, loss and drop of the replayed world.
    #[arg(long, requires = "replay", conflicts_with_all = ["scenario", "seeds", "minutes", "tables"])]
    pub(crate) trace: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Probability;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn a_direction_of_its_own_goes_before_both() {
        let Command::Lab(lab) =
            parse("estab lab --loss 2% --in-loss 0 --delay 5ms").unwrap().command
        else {
            panic!()
        };
        let inbound = lab.run.inbound.worse().or(lab.run.both.worse());
        assert_eq!(inbound.loss, Some(Probability(0.0)));
        assert_eq!(inbound.delay, Some(Duration::from_millis(5)));
        let outbound = lab.run.outbound.worse().or(lab.run.both.worse());
        assert_eq!(outbound.loss, Some(Probability(0.02)));
    }

    #[test]
    fn options_that_contradict_are_refused() {
        for wrong in [
            "estab dump",
            "estab dump --tun a --tap b",
            "estab dump x --tun a",
            "estab up",
            "estab up --tun a --fd 3",
            "estab demo --explain --pcap x",
            "estab sim",
            "estab sim a.toml --seeds 5",
            "estab sim --seeds 0",
            "estab sim --replay x",
            "estab sim --seeds 5 --trace",
            "estab nc --congestion vegas 10.77.0.1 80",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
