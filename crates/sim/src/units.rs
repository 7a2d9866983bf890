//! Values as people write them: `2%`, `5ms`, `10mbit`, `10MB`.

use std::str::FromStr;
use std::time::Duration;

/// A probability, from `2%` or `0.02`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Probability(
    /// From 0 to 1.
    pub f64,
);

impl FromStr for Probability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no share: write it like 2% or 0.02, from 0 to 100%");
        let (number, unit) = match text.strip_suffix('%') {
            Some(percent) => (percent, 100.0),
            None => (text, 1.0),
        };
        let share = number.trim().parse::<f64>().map_err(|_| wrong())? / unit;
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err(wrong()) }
    }
}

/// A time, from `5ms`, `0.5s`, `200us` or `1m`. A bare `0` needs no unit.
///
/// # Errors
/// With what is wrong and how to write it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("'{text}' is no time: write a number with us, ms, s or m, like 5ms or 0.5s");
    let (number, unit) = split_unit(text);
    let value = number.parse::<f64>().map_err(|_| wrong())?;
    let seconds = match unit {
        "us" | "µs" => value / 1e6,
        "ms" => value / 1e3,
        "s" => value,
        "m" | "min" => value * 60.0,
        "" if value == 0.0 => 0.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| *time <= Duration::from_secs(86_400))
        .ok_or_else(wrong)
}

/// Bits per second, from `10mbit`, `1.5gbit`, `800kbit` or `9600bit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BitRate(
    /// Bits per second.
    pub u64,
);

impl FromStr for BitRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("'{text}' is no rate: write a number with bit, kbit, mbit or gbit, like 10mbit")
        };
        let (number, unit) = split_unit(text);
        let value = number.parse::<f64>().map_err(|_| wrong())?;
        let factor = match unit.to_ascii_lowercase().as_str() {
            "bit" => 1.0,
            "kbit" => 1e3,
            "mbit" => 1e6,
            "gbit" => 1e9,
            _ => return Err(wrong()),
        };
        let bits = value * factor;
        if (1.0..=1e12).contains(&bits) {
            // In range, so the cast drops only a fraction of a bit.
            Ok(Self(bits as u64))
        } else {
            Err(wrong())
        }
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// Bytes, from `10MB`, `64kB`, `1.5GB` or `1500B`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bytes(
    /// How many.
    pub u64,
);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' is no size: write a number with B, kB, MB or GB, like 10MB");
        let (number, unit) = split_unit(text);
        let value = number.parse::<f64>().map_err(|_| wrong())?;
        let factor = match unit {
            "B" => 1.0,
            "kB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            _ => return Err(wrong()),
        };
        let bytes = value * factor;
        // In range, so the cast drops only a fraction of a byte.
        if (0.0..=1e15).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        assert_eq!("2%".parse(), Ok(Probability(0.02)));
        assert_eq!("0.5".parse(), Ok(Probability(0.5)));
        assert_eq!("100%".parse(), Ok(Probability(1.0)));
        for wrong in ["", "%", "101%", "-1%", "2", "nan", "two", "inf"] {
            assert!(wrong.parse::<Probability>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(duration("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(duration("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("200us"), Ok(Duration::from_micros(200)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "5", "ms", "-5ms", "5 parsecs", "1e99s", "99999999m", "1.2.3s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!("10mbit".parse(), Ok(BitRate(10_000_000)));
        assert_eq!("1.5Gbit".parse(), Ok(BitRate(1_500_000_000)));
        for wrong in ["", "10", "0bit", "10mb", "9999999gbit"] {
            assert!(wrong.parse::<BitRate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!("10MB".parse(), Ok(Bytes(10_000_000)));
        assert_eq!("1.5kB".parse(), Ok(Bytes(1_500)));
        for wrong in ["", "10", "10mb", "-1B", "1e9GB"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }
}
