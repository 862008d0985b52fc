//! How packets are judged: the options that `run` and `object` have in common.

use clap::{Args, builder::RangedI64ValueParser};
use ntpguard::{
    datapath::{LONGEST_WINDOW, Mode},
    flags::{LearnFrom, Track, ZeroTransmit, parse_rate},
};

/// The heading of what replies have to prove.
pub(super) const REPLIES: &str = "Trust and replies";

/// The heading of what clients get.
pub(super) const SERVING: &str = "Serving clients";

#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct PolicyArgs {
    /// Drop rejected packets, or only count them [default: enforce].
    #[arg(long, value_enum)]
    pub(crate) mode: Option<Mode>,
    /// Require replies to answer a tracked request [default: strict].
    ///
    /// Use `off` where requests leave by an interface that is not guarded.
    #[arg(long, value_enum, value_name = "MODE", help_heading = REPLIES)]
    pub(crate) track: Option<Track>,
    /// Requests whose replies are admitted without a grant [default: trusted].
    #[arg(long, value_enum, value_name = "SENDERS", help_heading = REPLIES)]
    pub(crate) learn: Option<LearnFrom>,
    /// Admit a reply up to SECONDS after its request [default: 16].
    ///
    /// A longer window suits daemons that wait longer; it gives a forger as much longer to guess the
    /// timestamp of an open request.
    #[arg(long, value_name = "SECONDS", value_parser = window(), help_heading = REPLIES)]
    pub(crate) reply_window: Option<u32>,
    /// Admit or refuse replies to requests without a transmit timestamp [default: admit].
    #[arg(long, value_enum, value_name = "ACTION", help_heading = REPLIES)]
    pub(crate) zero_transmit: Option<ZeroTransmit>,
    /// Limit requests per second from each client address [default: 64].
    ///
    /// An IPv6 client is its /64. A burst may be 16 seconds' worth. One in four requests beyond the
    /// limit is still admitted, up to 16 times the rate.
    #[arg(long, value_name = "N|off", value_parser = parse_rate, help_heading = SERVING)]
    pub(crate) client_rate: Option<u32>,
    /// Limit requests per second from all clients together [default: 250000].
    ///
    /// A burst may be one second's worth; requests beyond the limit are dropped.
    #[arg(long, value_name = "N|off", value_parser = parse_rate, help_heading = SERVING)]
    pub(crate) total_rate: Option<u32>,
}

/// Seconds for which a request may be answered.
fn window() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(LONGEST_WINDOW))
}
