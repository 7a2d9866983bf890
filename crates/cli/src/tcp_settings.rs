//! What the stack's TCP sockets start with, by the names of `setsockopt` and `sysctl`.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use estab::{EcnMode, MtuProbing, RtoLimits, TcpOptions, congestion};

use crate::values::{BitRate, duration, seconds};

/// The options of `lab` and `up`, as far as they were given.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "The stack's TCP")]
pub(crate) struct TcpSettings {
    /// The congestion controller of its connections.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(congestion::NAMES))]
    congestion: Option<String>,
    /// Explicit congestion notification: off, accepted when the kernel asks, or asked for.
    #[arg(long, value_name = "MODE", value_parser = ecn_mode())]
    ecn: Option<EcnMode>,
    /// The least that the retransmission timeout is above the round trip: 200ms unless told otherwise.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    rto_min: Option<Duration>,
    /// How often an unanswered SYN is sent again: 6 times unless told otherwise, about two minutes.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=127))]
    syn_retries: Option<u8>,
    /// Give a connection up when what it sent stays unacknowledged for so long (RFC 5482); about 15
    /// minutes unless told otherwise. Seconds, or a time like 500ms.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    user_timeout: Option<Duration>,
    /// Never send faster than this on one connection: 10mbit.
    #[arg(long, value_name = "RATE")]
    pacing_rate: Option<BitRate>,
    /// Clamp the MSS to this, in what the stack sends and in what it asks of its peers.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(88..))]
    clamp_mss: Option<u16>,
    /// Find the path MTU by probing where no router tells it (RFC 4821): never, when long segments vanish
    /// again and again, which is the default, or from the start; 0, 1 or 2 as net.ipv4.tcp_mtu_probing
    /// has it.
    #[arg(long, value_name = "MODE", value_parser = mtu_probing())]
    mtu_probing: Option<MtuProbing>,
    /// The packet that this search begins with: 1024 unless told otherwise, and over IPv6 1280 at least.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(68..))]
    mtu_probe_base: Option<u16>,
}

impl TcpSettings {
    /// Says early what no socket would take.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let most = RtoLimits::default().max;
        if let Some(min) = self.rto_min.filter(|min| *min > most) {
            bail!("--rto-min {min:?}: the timeout is never above {most:?}: give less");
        }
        if self.mtu_probing == Some(MtuProbing::Off) && self.mtu_probe_base.is_some() {
            bail!(
                "--mtu-probe-base: nothing is searched for with --mtu-probing off: leave one out"
            );
        }
        Ok(())
    }

    /// What segments on the link are clamped to.
    pub(crate) fn clamp_mss(&self) -> Option<u16> {
        self.clamp_mss
    }

    /// What sockets start with.
    pub(crate) fn options(&self) -> TcpOptions {
        let defaults = TcpOptions::default();
        let named = self.congestion.as_deref().and_then(congestion::by_name);
        TcpOptions {
            congestion: named.unwrap_or(defaults.congestion),
            ecn: self.ecn.unwrap_or(defaults.ecn),
            rto: RtoLimits { min: self.rto_min.unwrap_or(defaults.rto.min), ..defaults.rto },
            syn_retries: self.syn_retries,
            user_timeout: self.user_timeout,
            max_pacing_rate: self.pacing_rate.map(|rate| rate.0.div_ceil(8)),
            mtu_probing: self.mtu_probing.unwrap_or(defaults.mtu_probing),
            mtu_probe_base: self.mtu_probe_base.unwrap_or(defaults.mtu_probe_base),
            // What people know from programs: they hear of it at once.
            soft_errors_end_connect: true,
            ..defaults
        }
    }
}

fn ecn_mode() -> impl TypedValueParser<Value = EcnMode> {
    PossibleValuesParser::new(["off", "accept", "request"]).map(|word| match word.as_str() {
        "off" => EcnMode::Off,
        "request" => EcnMode::Request,
        _ => EcnMode::Accept,
    })
}

fn mtu_probing() -> impl TypedValueParser<Value = MtuProbing> {
    let modes = [("off", "0"), ("black-hole", "1"), ("always", "2")];
    let named = modes.map(|(name, number)| PossibleValue::new(name).alias(number));
    PossibleValuesParser::new(named).map(|word| match word.as_str() {
        "off" | "0" => MtuProbing::Off,
        "always" | "2" => MtuProbing::Always,
        _ => MtuProbing::OnBlackHole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        tcp: TcpSettings,
    }

    fn parse(line: &str) -> Result<TcpSettings, clap::Error> {
        Ok(Line::try_parse_from(format!("x {line}").split_whitespace())?.tcp)
    }

    #[test]
    fn what_is_given_is_what_sockets_start_with() {
        let line = "--congestion bbr --ecn request --rto-min 50ms --pacing-rate 8mbit";
        let options = parse(line).unwrap().options();
        assert_eq!((options.congestion)(1000).name(), "bbr");
        assert_eq!(options.ecn, EcnMode::Request);
        assert_eq!(options.rto.min, Duration::from_millis(50));
        assert_eq!(options.max_pacing_rate, Some(1_000_000));
        let (defaults, none) = (TcpOptions::default(), parse("").unwrap().options());
        assert_eq!((none.ecn, none.rto), (defaults.ecn, defaults.rto));
        assert_eq!(none.max_pacing_rate, None);
        assert_eq!(none.mtu_probing, MtuProbing::OnBlackHole);
    }

    #[test]
    fn the_size_of_segments_can_be_bounded_and_searched_for() {
        let line = "--clamp-mss 1200 --mtu-probing always --mtu-probe-base 576";
        let settings = parse(line).unwrap();
        let options = settings.options();
        assert_eq!(settings.clamp_mss(), Some(1200));
        assert_eq!((options.mtu_probing, options.mtu_probe_base), (MtuProbing::Always, 576));
        for (word, number) in [("off", "0"), ("black-hole", "1"), ("always", "2")] {
            let mode =
                |said: &str| parse(&format!("--mtu-probing {said}")).unwrap().options().mtu_probing;
            assert_eq!(mode(word), mode(number));
        }
    }

    #[test]
    fn what_no_socket_takes_is_refused() {
        for wrong in [
            "--congestion vegas",
            "--ecn yes",
            "--rto-min 5",
            "--pacing-rate 0mbit",
            "--clamp-mss 87",
            "--mtu-probing 3",
            "--mtu-probe-base 67",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let contradiction = parse("--mtu-probing off --mtu-probe-base 576").unwrap();
        assert!(contradiction.check().is_err());
        assert!(parse("--rto-min 120s").unwrap().check().is_ok());
        assert!(parse("--rto-min 121s").unwrap().check().is_err());
    }
}
