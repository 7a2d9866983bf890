//! What the stack's TCP sockets start with, by the names of `setsockopt` and `sysctl`.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use estab::{EcnMode, RtoLimits, TcpOptions, congestion};

use crate::values::{BitRate, duration};

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
    /// Never send faster than this on one connection: 10mbit.
    #[arg(long, value_name = "RATE")]
    pacing_rate: Option<BitRate>,
}

impl TcpSettings {
    /// Says early what no socket would take.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let most = RtoLimits::default().max;
        if let Some(min) = self.rto_min.filter(|min| *min > most) {
            bail!("--rto-min {min:?}: the timeout is never above {most:?}: give less");
        }
        Ok(())
    }

    /// What sockets start with.
    pub(crate) fn options(&self) -> TcpOptions {
        let defaults = TcpOptions::default();
        let named = self.congestion.as_deref().and_then(congestion::by_name);
        TcpOptions {
            congestion: named.unwrap_or(defaults.congestion),
            ecn: self.ecn.unwrap_or(defaults.ecn),
            rto: RtoLimits { min: self.rto_min.unwrap_or(defaults.rto.min), ..defaults.rto },
            max_pacing_rate: self.pacing_rate.map(|rate| rate.0.div_ceil(8)),
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
    }

    #[test]
    fn what_no_socket_takes_is_refused() {
        for wrong in ["--congestion vegas", "--ecn yes", "--rto-min 5", "--pacing-rate 0mbit"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("--rto-min 120s").unwrap().check().is_ok());
        assert!(parse("--rto-min 121s").unwrap().check().is_err());
    }
}
