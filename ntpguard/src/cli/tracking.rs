//! Flags about requests and their replies, as `run`, `object` and the configuration file have them.

use clap::{ValueEnum, builder::RangedI64ValueParser};
use ntpguard::datapath::{LONGEST_WINDOW, Tracking};
use ntpguard_common::rule::policy::Learn;
use serde::Deserialize;

/// Whether a reply must answer a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Track {
    /// It must.
    #[default]
    Strict,
    /// Its address is proof enough.
    Off,
}

/// Whose requests admit replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LearnArg {
    /// Nobody's.
    Off,
    /// Those of trusted senders.
    #[default]
    Trusted,
    /// Everybody's.
    Any,
}

/// What becomes of requests without a transmit timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ZeroTransmit {
    /// They may be answered.
    #[default]
    Admit,
    /// They may not.
    Refuse,
}

/// What was chosen, or what holds where nothing was; no uid is trusted.
pub(crate) fn tracked(
    track: Option<Track>,
    learn: Option<LearnArg>,
    zero_transmit: Option<ZeroTransmit>,
) -> Tracking {
    Tracking {
        track: track.unwrap_or_default() == Track::Strict,
        learn: match learn.unwrap_or_default() {
            LearnArg::Off => Learn::Off,
            LearnArg::Trusted => Learn::Trusted,
            LearnArg::Any => Learn::Any,
        },
        zero_transmit: zero_transmit.unwrap_or_default() == ZeroTransmit::Admit,
        ..Tracking::default()
    }
}

/// Seconds for which a request may be answered.
pub(crate) fn window() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(LONGEST_WINDOW))
}
