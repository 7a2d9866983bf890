//! The command line of `estab judge`, with packetdrill's names for what both have.

use std::path::PathBuf;

use clap::Args;
use sim::script::Options;

/// Runs packet scripts (packetdrill's .pkt files) on the stack, in virtual time.
///
/// A script says which segments arrive, what the program calls, and which segments must leave and
/// when. Nothing is sent anywhere, nothing waits, and no command of a script is executed. A script
/// passes, fails, or is not supported when it asks for what the stack does not have. One that names no
/// family or address runs over IPv4, and then over IPv6 with an MTU of 20 bytes more.
#[derive(Args, Debug)]
#[command(after_help = "\
Exit status: 0 no script failed; 1 one did; 2 one cannot be read as a script, or a wrong option.

A failure shows the segment that was expected, the one that was seen and why the stack sent it:
  x.pkt:9:1: another segment left: payload length differ
    expected  0.100000             . 1:1001(1000) ack 1
    seen      0.100000             P. 1:501(500) ack 1 win 65535
    because   new data

Examples:
  estab judge scripts/                          every .pkt file below
  estab judge -v handshake.pkt                  and every packet on the way
  estab judge --relaxed --json gtests/ > results.json
  estab judge -D MSS=1000 --tolerance_usecs=10000 x.pkt")]
pub(crate) struct Judge {
    /// Scripts, and directories to look for them (*.pkt).
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Let pass what careful stacks do differently: the window we offer, PSH, the order of options,
    /// more pure ACKs, and ACKs up to 200 ms late.
    #[arg(long, conflicts_with = "strict")]
    pub(crate) relaxed: bool,
    /// Stricter than packetdrill: every segment that leaves must be expected, one by one, and no
    /// time may be wrong by more than the tolerance.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print the results as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print every script's result, and every packet, call and print of it.
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Only read the scripts.
    #[arg(long = "dry_run", alias = "dry-run")]
    pub(crate) dry_run: bool,
    /// A word that stands for something else in scripts; `#ifdef` asks for it, too.
    #[arg(long = "define", short = 'D', value_name = "NAME=VALUE")]
    pub(crate) definitions: Vec<String>,
    #[command(flatten)]
    flags: Flags,
}

/// Options that a script may have at its top, too; these win.
#[derive(Args, Debug)]
#[command(next_help_heading = "As at the top of a script")]
struct Flags {
    /// How early or late a segment may be, in microseconds. 4000.
    #[arg(long = "tolerance_usecs", value_name = "MICROSECONDS")]
    tolerance_usecs: Option<String>,
    /// The same as a share of the time since the event before; the larger one counts. 12.5.
    #[arg(long = "tolerance_percent", value_name = "PERCENT")]
    tolerance_percent: Option<String>,
    /// The stack's address. 192.168.0.1.
    #[arg(long = "local_ip", value_name = "ADDRESS")]
    local_ip: Option<String>,
    /// The address of the other side. 192.0.2.1.
    #[arg(long = "remote_ip", value_name = "ADDRESS")]
    remote_ip: Option<String>,
    /// The port that the stack listens on. 8080.
    #[arg(long = "bind_port", value_name = "PORT")]
    bind_port: Option<String>,
    /// The port that the stack connects to. 8080.
    #[arg(long = "connect_port", value_name = "PORT")]
    connect_port: Option<String>,
    /// The largest IP packet in bytes. 1500.
    #[arg(long, value_name = "BYTES")]
    mtu: Option<String>,
    /// `ipv4` or `ipv6` alone; `ipv4-mapped-ipv6` is not supported.
    #[arg(long = "ip_version", value_name = "VERSION")]
    ip_version: Option<String>,
    /// 1000 compares the values of timestamps; 0, the default, only what they echo.
    #[arg(long = "tcp_ts_tick_usecs", value_name = "MICROSECONDS")]
    tcp_ts_tick_usecs: Option<String>,
    /// Scripts of settings to begin with; only packetdrill's `defaults.sh` is known, by its name.
    #[arg(long = "init_scripts", value_name = "FILES")]
    init_scripts: Option<String>,
    /// Compare segments one by one, never several as one.
    #[arg(long = "strict_segments")]
    strict_segments: bool,
}

impl Judge {
    /// What these mean for the library.
    pub(crate) fn options(&self) -> Options {
        let definitions = self.definitions.iter().map(|definition| {
            let (name, value) = definition.split_once('=').unwrap_or((definition, ""));
            (name.to_string(), value.to_string())
        });
        Options {
            definitions: definitions.collect(),
            flags: self.flags.given(),
            relaxed: self.relaxed,
            strict: self.strict,
            log: self.verbose,
            ..Options::default()
        }
    }
}

impl Flags {
    fn given(&self) -> Vec<(String, String)> {
        let values = [
            ("tolerance_usecs", &self.tolerance_usecs),
            ("tolerance_percent", &self.tolerance_percent),
            ("local_ip", &self.local_ip),
            ("remote_ip", &self.remote_ip),
            ("bind_port", &self.bind_port),
            ("connect_port", &self.connect_port),
            ("mtu", &self.mtu),
            ("ip_version", &self.ip_version),
            ("tcp_ts_tick_usecs", &self.tcp_ts_tick_usecs),
            ("init_scripts", &self.init_scripts),
        ];
        let named = values.into_iter().filter_map(|(name, value)| {
            value.as_ref().map(|value| (name.to_string(), value.clone()))
        });
        let strict = self.strict_segments.then(|| ("strict_segments".to_string(), String::new()));
        named.chain(strict).collect()
    }
}
