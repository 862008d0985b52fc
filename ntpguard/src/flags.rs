//! The values of options that `run`, `object`, the configuration file and JSON have in common.

use clap::ValueEnum;
use ntpguard_common::rule::policy::Learn;
use serde::Deserialize;

use crate::datapath::Tracking;

/// Whether a reply must answer a tracked request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Track {
    /// Admit a reply only if it answers a tracked request.
    #[default]
    Strict,
    /// Admit any reply from a granted server.
    Off,
}

impl Track {
    /// What a number of seconds in `INFO` stands for: 0 turns tracking off.
    pub const fn from_window(seconds: u32) -> Self {
        if seconds == 0 {
            Self::Off
        } else {
            Self::Strict
        }
    }

    /// The name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Off => "off",
        }
    }
}

/// Whose requests admit their replies without a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LearnFrom {
    /// Only granted servers can reply.
    Off,
    /// Requests of trusted senders.
    #[default]
    Trusted,
    /// All requests, forwarded ones included (for gateways).
    Any,
}

impl LearnFrom {
    /// What a number in `INFO` stands for.
    pub const fn from_number(number: u32) -> Self {
        if number == Learn::Off as u32 {
            Self::Off
        } else if number == Learn::Trusted as u32 {
            Self::Trusted
        } else {
            Self::Any
        }
    }

    /// The name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Trusted => "trusted",
            Self::Any => "any",
        }
    }
}

impl From<LearnFrom> for Learn {
    fn from(learn: LearnFrom) -> Self {
        match learn {
            LearnFrom::Off => Self::Off,
            LearnFrom::Trusted => Self::Trusted,
            LearnFrom::Any => Self::Any,
        }
    }
}

/// Whether a request without a transmit timestamp can be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ZeroTransmit {
    /// Admit the reply, which has an origin timestamp of zero (RFC 4330 allows both).
    #[default]
    Admit,
    /// Drop the reply.
    Refuse,
}

/// The tracking that was chosen, with the defaults where nothing was; no uid is trusted.
pub fn tracking(
    track: Option<Track>,
    learn: Option<LearnFrom>,
    zero_transmit: Option<ZeroTransmit>,
) -> Tracking {
    Tracking {
        track: track.unwrap_or_default() == Track::Strict,
        learn: learn.unwrap_or_default().into(),
        zero_transmit: zero_transmit.unwrap_or_default() == ZeroTransmit::Admit,
        ..Tracking::default()
    }
}

/// Reads a rate in packets per second, or `off`, which is 0.
///
/// # Errors
///
/// What was expected, where `text` is neither; 0 itself is refused, as it reads like "none".
pub fn parse_rate(text: &str) -> Result<u32, String> {
    const MOST: u32 = 100_000_000;
    if text == "off" {
        return Ok(0);
    }
    match text.parse() {
        Ok(rate) if (1..=MOST).contains(&rate) => Ok(rate),
        _ => Err(format!(
            "expected requests per second from 1 to {MOST}, or off, not {text:?}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_or_off() {
        assert_eq!(parse_rate("64"), Ok(64));
        assert_eq!(parse_rate("off"), Ok(0));
        for wrong in ["0", "-1", "1.5", "100000001", "Off", ""] {
            assert!(parse_rate(wrong).unwrap_err().contains("off"), "{wrong}");
        }
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        let typed = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned())
        };
        for track in Track::value_variants() {
            assert_eq!(typed(track.to_possible_value()), Some(track.name().into()));
        }
        for learn in LearnFrom::value_variants() {
            assert_eq!(typed(learn.to_possible_value()), Some(learn.name().into()));
            assert_eq!(LearnFrom::from_number(Learn::from(*learn) as u32), *learn);
        }
    }
}
