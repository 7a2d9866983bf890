//! The options at a script's top and on the command line, and the settings by their sysctl names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use crate::world::host::Family;
use stack::tcp::congestion;
use stack::{BufferRange, Config, EcnMode, MtuProbing};
use wire::time::Duration;

use super::ast::{Action, Script};
use super::commands::{self, Effect};
use super::{DEFAULT_TOLERANCE, Failure, Options, Problem, not_supported};

/// The settings that are one number, and what each means here.
pub const SYSCTLS: &[(&str, Setter)] = &[
    ("net.core.somaxconn", |c, v| c.backlog_limit = size(v)),
    ("net.ipv4.icmp_msgs_per_sec", |c, v| c.icmp_errors_per_second = capped(v)),
    ("net.ipv4.tcp_ecn", |c, v| c.tcp.ecn = ecn_mode(v)),
    ("net.ipv4.tcp_fin_timeout", |c, v| c.fin_wait_2 = Duration::from_secs(v)),
    ("net.ipv4.tcp_max_syn_backlog", |c, v| c.syn_queue_limit = size(v)),
    ("net.ipv4.tcp_max_tw_buckets", |c, v| c.time_wait_limit = size(v)),
    ("net.ipv4.tcp_base_mss", |c, v| c.tcp.mtu_probe_base = capped(v.saturating_add(40))),
    ("net.ipv4.tcp_mtu_probing", |c, v| c.tcp.mtu_probing = mtu_probing(v)),
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

/// The settings that are three numbers: least, default and most. A script's buffers have their most
/// from the start, and use memory only for bytes that are there.
pub const BUFFERS: &[(&str, Setter)] = &[
    ("net.ipv4.tcp_rmem", |c, v| c.receive_buffer = fixed(v)),
    ("net.ipv4.tcp_wmem", |c, v| c.send_buffer = fixed(v)),
];

/// The setting whose value is a controller's name: `cubic`, `reno`.
pub const CONGESTION_CONTROL: &str = "net.ipv4.tcp_congestion_control";

/// The setting whose value is the first and the last ephemeral port: `32768 60999`.
pub const PORT_RANGE: &str = "net.ipv4.ip_local_port_range";

/// Fast Open: what needs it in a script is not supported anyway, save by this flag.
const FAST_OPEN: &str = "net.ipv4.tcp_fastopen";
/// Data in any SYN is given to the program before the handshake is over.
const FAST_OPEN_WITHOUT_COOKIE: u64 = 0x200;

/// Settings that the stack has no switch for: the value that it behaves like, and no other.
pub const FIXED: &[(&str, &[&str])] = &[
    ("net.ipv4.tcp_abort_on_overflow", &["0"]),
    ("net.ipv4.tcp_dsack", &["1"]),
    ("net.ipv4.tcp_early_retrans", &["3", "4"]),
    ("net.ipv4.tcp_frto", &["1", "2"]),
    ("net.ipv4.tcp_invalid_ratelimit", &["500"]),
    ("net.ipv4.tcp_no_metrics_save", &["1"]),
    ("net.ipv4.tcp_recovery", &["1"]),
    ("net.ipv4.tcp_reordering", &["3"]),
    ("net.ipv4.tcp_retries1", &["3"]),
    ("net.ipv4.tcp_rfc1337", &["1"]),
    ("net.ipv4.tcp_thin_linear_timeouts", &["0"]),
];

/// Settings that change nothing here, and why.
pub const WITHOUT_MEANING: &[(&str, &str)] = &[
    ("net.core.default_qdisc", "the link has no queue"),
    ("net.core.netdev_max_backlog", "the link has no queue"),
    ("net.ipv4.tcp_comp_sack_nr", "no ACK is compressed"),
    ("net.ipv4.tcp_comp_sack_delay_ns", "no ACK is compressed"),
    ("net.ipv4.tcp_fack", "Linux took it out"),
    ("net.ipv4.tcp_fastopen_blackhole_timeout_sec", "what needs Fast Open is not supported anyway"),
    ("net.ipv4.tcp_fastopen_key", "what needs Fast Open is not supported anyway"),
    ("net.ipv4.tcp_limit_output_bytes", "the link has no queue"),
    ("net.ipv4.tcp_low_latency", "Linux took it out"),
    ("net.ipv4.tcp_min_tso_segs", "the link has no offload"),
    ("net.ipv4.tcp_moderate_rcvbuf", "a buffer whose range is set has its most from the start"),
    ("net.ipv4.tcp_pacing_ca_ratio", "the link has no queue that paces"),
    ("net.ipv4.tcp_pacing_ss_ratio", "the link has no queue that paces"),
    ("net.ipv4.tcp_slow_start_after_idle", "the restart after idle time is always on"),
    ("net.ipv4.tcp_tso_win_divisor", "the link has no offload"),
];

/// Sets one field to the value of a sysctl.
pub type Setter = fn(&mut Config, u64);

/// Everything that is fixed before a script's first event.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The stack's defaults and limits.
    pub config: Config,
    /// How early or late a segment may be.
    pub(super) tolerance: Duration,
    /// The same, in parts of a thousand of the time since the event before.
    pub(super) tolerance_permille: u32,
    /// `--tcp_ts_tick_usecs=1000`: timestamps' values are compared, not only what they echo.
    pub(super) compares_timestamps: bool,
    /// Segments of the stack are compared one by one, never several as one.
    pub(super) strict_segments: bool,
    pub(super) mtu: u16,
    /// `--mss=`: larger segments arrive as several of this size that a device joined.
    pub(super) segment_size: Option<NonZeroU16>,
    pub(super) local: IpAddr,
    pub(super) remote: IpAddr,
    pub(super) bind_port: u16,
    pub(super) connect_port: u16,
    /// Sockets are of IPv6, packets of IPv4 (`--ip_version=ipv4-mapped-ipv6`).
    pub(super) mapped: bool,
    pub(super) relaxed: bool,
    /// What left and was not expected is a failure.
    pub(super) minds_leftovers: bool,
    pub(super) log: bool,
}

/// How much longer the header of IPv6 is than that of IPv4.
const LONGER_HEADER: u16 = 20;

/// The options that fix a script's family.
const FAMILY_OPTIONS: [&str; 4] = ["ip_version", "local_ip", "remote_ip", "gateway_ip"];

/// The families that a script runs over: the one that it or `options` names, or both.
pub(super) fn families(script: &Script, options: &Options) -> &'static [Family] {
    let at_top = script.options.iter().map(|(name, value, _)| (name, value));
    let given = options.flags.iter().map(|(name, value)| (name, value));
    let mut named = at_top.chain(given).filter(|(name, _)| FAMILY_OPTIONS.contains(&name.as_str()));
    match named.next_back() {
        None => &[Family::V4, Family::V6],
        Some((_, value)) if value == "ipv6" || value.contains(':') => &[Family::V6],
        Some(_) => &[Family::V4],
    }
}

/// Where a script begins: our defaults, but for what Linux has off. What times out in a script goes again as
/// it is unless the script asks for the search.
#[must_use]
pub fn defaults() -> Config {
    let mut config = Config::default();
    config.tcp.mtu_probing = MtuProbing::Off;
    config
}

impl Settings {
    /// What the command line, the options at the top and the leading commands of `script` say.
    ///
    /// # Errors
    /// With the place of what makes no sense, or is not supported.
    pub(super) fn of(script: &Script, options: &Options) -> Result<Settings, Failure> {
        let mut settings = Settings {
            config: defaults(),
            tolerance: DEFAULT_TOLERANCE,
            // packetdrill's 12.5 %.
            tolerance_permille: if options.strict { 0 } else { 125 },
            compares_timestamps: false,
            strict_segments: options.strict,
            mtu: 1500,
            segment_size: None,
            local: Ipv4Addr::new(192, 168, 0, 1).into(),
            remote: Ipv4Addr::new(192, 0, 2, 1).into(),
            bind_port: 8080,
            connect_port: 8080,
            mapped: false,
            relaxed: options.relaxed,
            minds_leftovers: options.strict,
            log: options.log,
        };
        for (name, value, position) in &script.options {
            settings.option(name, value).map_err(|problem| position.failure(problem))?;
        }
        for (name, value) in &options.flags {
            settings.option(name, value).map_err(|problem| Failure {
                position: None,
                ..super::Position { line: 0, column: 0 }.failure(problem)
            })?;
        }
        if options.family == Family::V6 && families(script, options).len() > 1 {
            (settings.local, settings.remote) = (LOCAL_V6, REMOTE_V6);
            settings.mtu = settings.mtu.saturating_add(LONGER_HEADER);
        }
        for event in &script.events {
            let Action::Shell(text) = &event.action else { break };
            settings.commands(text).map_err(|problem| event.position.failure(problem))?;
        }
        Ok(settings)
    }

    /// How a program names an address of this script's hosts.
    pub(super) fn as_named(&self, ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(v4) if self.mapped => v4.to_ipv6_mapped().into(),
            other => other,
        }
    }

    /// `--name=value`.
    fn option(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let wrong = || Problem::from(format!("--{name}={value}: this value makes no sense"));
        let number = || value.parse::<u64>().map_err(|_| wrong());
        let port = || value.parse::<u16>().map_err(|_| wrong());
        match name {
            "tolerance_usecs" => self.tolerance = Duration::from_micros(number()?),
            "tolerance_percent" => {
                let percent: f32 = value.parse().map_err(|_| wrong())?;
                self.tolerance_permille = permille(percent).ok_or_else(wrong)?;
            }
            // The stack's clock ticks once a millisecond; 0 compares nothing.
            "tcp_ts_tick_usecs" if value == "0" => self.compares_timestamps = false,
            "tcp_ts_tick_usecs" if value == "1000" => self.compares_timestamps = true,
            "strict_segments" if value.is_empty() => self.strict_segments = true,
            "mtu" => self.mtu = port()?,
            "mss" => self.segment_size = NonZeroU16::new(port()?),
            "local_ip" => self.local = address(value)?,
            "remote_ip" => self.remote = address(value)?,
            // The script's remote host is the gateway, whatever its address.
            "gateway_ip" | "netmask_ip" => drop(address(value)?),
            "bind_port" => self.bind_port = port()?,
            "connect_port" => self.connect_port = port()?,
            "ip_version" if value == "ipv4" => {}
            "ip_version" if value == "ipv4-mapped-ipv6" => self.mapped = true,
            "ip_version" if value == "ipv6" => (self.local, self.remote) = (LOCAL_V6, REMOTE_V6),
            "ip_version" => return Err(not_supported(format!("--ip_version={value}"))),
            // An echo that no segment had is always computed from the first one.
            "tcp_ts_ecr_scaled" if value.is_empty() => {}
            // Read when the text was split into words.
            "define" => {}
            "init_scripts" => {
                for path in value.split(',') {
                    self.commands(path)?;
                }
            }
            _ => {
                let equals = if value.is_empty() { "" } else { "=" };
                return Err(not_supported(format!("--{name}{equals}{value}")));
            }
        }
        Ok(())
    }

    /// Sets everything that the commands name.
    pub(super) fn commands(&mut self, text: &str) -> Result<(), Problem> {
        for effect in commands::effects(text)? {
            if let Effect::Set(name, value) = effect {
                set(&mut self.config, &name, &value)?;
            }
        }
        Ok(())
    }
}

/// Sets what has the sysctl name `name` to `value`: for other runners of the same scripts.
///
/// # Errors
/// When the name is not known, or the value is none that the stack can have.
pub fn configure(config: &mut Config, name: &str, value: &str) -> Result<(), String> {
    set(config, name, value)
        .map_err(|problem| super::Position { line: 0, column: 0 }.failure(problem).message)
}

fn set(config: &mut Config, name: &str, value: &str) -> Result<(), Problem> {
    let unknown = || not_supported(format!("the setting {name}={value}"));
    let wrong = || Problem::from(format!("{name}={value}: this value makes no sense"));
    if name == CONGESTION_CONTROL {
        config.tcp.congestion = congestion::by_name(value).ok_or_else(unknown)?;
        return Ok(());
    }
    if name == PORT_RANGE {
        let ports: Vec<u16> =
            value.split_whitespace().map_while(|port| port.parse().ok()).collect();
        let [first, last] = ports[..] else { return Err(wrong()) };
        config.ephemeral_ports = if first <= last { first..=last } else { return Err(wrong()) };
        return Ok(());
    }
    if name == FAST_OPEN {
        let flags = number(value).ok_or_else(wrong)?;
        return if flags & FAST_OPEN_WITHOUT_COOKIE == 0 { Ok(()) } else { Err(unknown()) };
    }
    if WITHOUT_MEANING.iter().any(|(known, _)| *known == name) {
        return Ok(());
    }
    if let Some((_, values)) = FIXED.iter().find(|(known, _)| *known == name) {
        return if values.contains(&value) { Ok(()) } else { Err(unknown()) };
    }
    if let Some((_, set)) = BUFFERS.iter().find(|(known, _)| *known == name) {
        let most = value.split_whitespace().nth(2).ok_or_else(wrong)?;
        set(config, most.parse().map_err(|_| wrong())?);
        return Ok(());
    }
    let (_, set) = SYSCTLS.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?;
    set(config, number(value).ok_or_else(wrong)?);
    Ok(())
}

/// Decimal, or hexadecimal after `0x`.
fn number(value: &str) -> Option<u64> {
    match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

/// The hosts of a script over IPv6 that names no addresses.
const LOCAL_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd3d, 0xfa7b, 0xd17d, 0, 0, 0, 0, 1));
const REMOTE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd3d, 0xa0b, 0x17d6, 0, 0, 0, 0, 1));

fn address(value: &str) -> Result<IpAddr, Problem> {
    value.parse().map_err(|_| format!("`{value}` is no address").into())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range")]
fn permille(percent: f32) -> Option<u32> {
    if (0.0..=1000.0).contains(&percent) { Some((percent * 10.0) as u32) } else { None }
}

/// Beyond 2 Linux counts ways of accurate ECN, which all ask.
fn ecn_mode(value: u64) -> EcnMode {
    match value {
        0 => EcnMode::Off,
        2 => EcnMode::Accept,
        _ => EcnMode::Request,
    }
}

fn mtu_probing(value: u64) -> MtuProbing {
    match value {
        0 => MtuProbing::Off,
        1 => MtuProbing::OnBlackHole,
        _ => MtuProbing::Always,
    }
}

fn fixed(most: u64) -> BufferRange {
    BufferRange { initial: size(most), max: size(most) }
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

impl Bounded for u16 {
    const LARGEST: Self = Self::MAX;
}

impl Bounded for u32 {
    const LARGEST: u32 = u32::MAX;
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let options = Options::default();
        Settings::of(&parse(text, &options).unwrap(), &options)
            .map_err(|failure| failure.to_string())
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
    fn the_command_line_wins() {
        let script = parse("--mtu=576\n", &Options::default()).unwrap();
        let flags = vec![("mtu".to_string(), "1400".to_string())];
        let settings = Settings::of(&script, &Options { flags, ..Options::default() }).unwrap();
        assert_eq!(settings.mtu, 1400);
    }

    #[test]
    fn a_script_can_choose_its_controller() {
        let with = |name: &str| settings(&format!("`sysctl -q {CONGESTION_CONTROL}={name}`"));
        for name in congestion::NAMES {
            let factory = with(name).unwrap().config.tcp.congestion;
            assert_eq!(factory(1_000).name(), *name);
        }
        assert!(with("vegas").unwrap_err().contains("not supported"));
    }

    #[test]
    fn what_is_unknown_is_not_supported() {
        assert_eq!(
            settings("`rm -rf /`").unwrap_err(),
            "1:1: not supported: the command `rm -rf /`"
        );
        assert_eq!(
            settings("--wire_client_dev=eth0").unwrap_err(),
            "1:1: not supported: --wire_client_dev=eth0"
        );
        assert_eq!(
            settings("`sysctl -q net.ipv4.tcp_retries1=2`").unwrap_err(),
            "1:1: not supported: the setting net.ipv4.tcp_retries1=2"
        );
    }
}
