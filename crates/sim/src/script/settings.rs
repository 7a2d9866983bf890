//! What stands between backticks, and the options at a script's top.
//!
//! Nothing is given to a shell. `sysctl [-q] [-w] name=value` sets the field of [`stack::Config`]
//! that the name has in [`SYSCTLS`], and [`CONGESTION_CONTROL`] the controller; several stand on lines of their own or behind `;`.

use std::net::Ipv4Addr;

use stack::tcp::congestion;
use stack::{Config, EcnMode};
use wire::time::Duration;

use super::ast::{Action, Script};
use super::{DEFAULT_TOLERANCE, Failure, Position};

/// The settings that are known, and what each means here.
pub const SYSCTLS: &[(&str, Setter)] = &[
    ("net.core.somaxconn", |c, v| c.backlog_limit = size(v)),
    ("net.ipv4.icmp_msgs_per_sec", |c, v| c.icmp_errors_per_second = capped(v)),
    ("net.ipv4.tcp_ecn", |c, v| c.tcp.ecn = ecn_mode(v)),
    ("net.ipv4.tcp_fin_timeout", |c, v| c.fin_wait_2 = Duration::from_secs(v)),
    ("net.ipv4.tcp_max_syn_backlog", |c, v| c.syn_queue_limit = size(v)),
    ("net.ipv4.tcp_max_tw_buckets", |c, v| c.time_wait_limit = size(v)),
    ("net.ipv4.tcp_orphan_retries", |c, v| c.orphan_retries = capped(v)),
    ("net.ipv4.tcp_retries2", |c, v| c.data_retries = capped(v)),
    ("net.ipv4.tcp_rto_max_ms", |c, v| c.tcp.rto.max = Duration::from_millis(v)),
    ("net.ipv4.tcp_rto_min_us", |c, v| c.tcp.rto.min = Duration::from_micros(v)),
    ("net.ipv4.tcp_sack", |c, v| c.sack = v != 0),
    ("net.ipv4.tcp_syn_retries", |c, v| c.syn_retries = capped(v)),
    ("net.ipv4.tcp_synack_retries", |c, v| c.syn_ack_retries = capped(v)),
    ("net.ipv4.tcp_syncookies", |c, v| c.syn_cookies = v != 0),
    ("net.ipv4.tcp_timestamps", |c, v| c.timestamps = v != 0),
    ("net.ipv4.tcp_window_scaling", |c, v| c.window_scaling = v != 0),
];

/// The sysctl whose value is not a number but the name of a controller: `cubic`, `reno`.
pub const CONGESTION_CONTROL: &str = "net.ipv4.tcp_congestion_control";

/// Sets one field to the value of a sysctl.
pub type Setter = fn(&mut Config, u64);

/// Everything that is fixed before a script's first event.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) tolerance: Duration,
    /// `--tcp_ts_tick_usecs=1000`: timestamps' values are compared, not only what they echo.
    pub(super) compares_timestamps: bool,
    pub(super) mtu: u16,
    pub(super) local: Ipv4Addr,
    pub(super) remote: Ipv4Addr,
    pub(super) bind_port: u16,
    pub(super) connect_port: u16,
}

impl Settings {
    /// What the options and the leading settings of `script` say.
    pub(super) fn of(script: &Script) -> Result<Settings, Failure> {
        let mut settings = Settings {
            config: Config::default(),
            tolerance: DEFAULT_TOLERANCE,
            compares_timestamps: false,
            mtu: 1500,
            local: Ipv4Addr::new(192, 168, 0, 1),
            remote: Ipv4Addr::new(192, 0, 2, 1),
            bind_port: 8080,
            connect_port: 8080,
        };
        for (name, value, position) in &script.options {
            settings.option(name, value).map_err(|error| position.failure(error))?;
        }
        for event in &script.events {
            let Action::Shell(text) = &event.action else { break };
            settings.shell(text, event.position)?;
        }
        Ok(settings)
    }

    fn option(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("--{name}={value}: this value makes no sense");
        let number = || value.parse::<u64>().map_err(|_| wrong());
        let port = || value.parse::<u16>().map_err(|_| wrong());
        match name {
            "tolerance_usecs" => self.tolerance = Duration::from_micros(number()?),
            // The stack's clock ticks once a millisecond; 0 compares nothing.
            "tcp_ts_tick_usecs" if value == "0" => self.compares_timestamps = false,
            "tcp_ts_tick_usecs" if value == "1000" => self.compares_timestamps = true,
            "mtu" => self.mtu = port()?,
            "local_ip" => self.local = value.parse().map_err(|_| wrong())?,
            "remote_ip" => self.remote = value.parse().map_err(|_| wrong())?,
            "bind_port" => self.bind_port = port()?,
            "connect_port" => self.connect_port = port()?,
            "ip_version" if value == "ipv4" => {}
            _ => return Err(format!("--{name}={value} is not supported")),
        }
        Ok(())
    }

    fn shell(&mut self, text: &str, position: Position) -> Result<(), Failure> {
        for command in text.split(['\n', ';']).map(str::trim).filter(|c| !c.is_empty()) {
            let unknown = || position.failure(format!("`{command}` is not supported"));
            let mut words = command.split_whitespace();
            if words.next() != Some("sysctl") {
                return Err(unknown());
            }
            for word in words.filter(|word| !matches!(*word, "-q" | "-w")) {
                let (name, value) = word.split_once('=').ok_or_else(unknown)?;
                if name == CONGESTION_CONTROL {
                    self.config.tcp.congestion = congestion::by_name(value).ok_or_else(unknown)?;
                    continue;
                }
                let (_, set) = SYSCTLS.iter().find(|(n, _)| *n == name).ok_or_else(unknown)?;
                set(&mut self.config, value.parse().map_err(|_| unknown())?);
            }
        }
        Ok(())
    }
}

/// Beyond 2 Linux counts ways of accurate ECN, which all ask.
fn ecn_mode(value: u64) -> EcnMode {
    match value {
        0 => EcnMode::Off,
        2 => EcnMode::Accept,
        _ => EcnMode::Request,
    }
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn capped<T: TryFrom<u64> + Bounded>(value: u64) -> T {
    T::try_from(value).unwrap_or(T::LARGEST)
}

trait Bounded {
    const LARGEST: Self;
}

impl Bounded for u8 {
    const LARGEST: u8 = u8::MAX;
}

impl Bounded for u32 {
    const LARGEST: u32 = u32::MAX;
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        Settings::of(&parse(text).unwrap()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_is_named_is_set() {
        let text =
            "--mtu=576\n`sysctl -q net.ipv4.tcp_timestamps=0\nsysctl -w net.core.somaxconn=2`";
        let settings = settings(text).unwrap();
        assert_eq!((settings.mtu, settings.config.timestamps), (576, false));
        assert_eq!(settings.config.backlog_limit, 2);
    }

    #[test]
    fn a_script_can_choose_its_controller() {
        let with = |name: &str| settings(&format!("`sysctl -q {CONGESTION_CONTROL}={name}`"));
        for name in congestion::NAMES {
            let factory = with(name).unwrap().config.tcp.congestion;
            assert_eq!(factory(1_000).name(), *name);
        }
        assert!(with("vegas").unwrap_err().contains("is not supported"));
    }

    #[test]
    fn what_is_unknown_is_an_error() {
        assert_eq!(settings("`rm -rf /`").unwrap_err(), "1:1: `rm -rf /` is not supported");
        assert_eq!(
            settings("--wire_client_dev=eth0").unwrap_err(),
            "1:1: --wire_client_dev=eth0 is not supported"
        );
    }
}
