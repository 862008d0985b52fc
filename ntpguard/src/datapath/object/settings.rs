//! What is fixed in a program when it is loaded.

use ntpguard_common::{
    clock::Clock,
    maps::{rates::Rates, requests::REPLY_WINDOW, tables::DEFAULT_TABLE_SIZE},
    rule::policy::Learn,
    wire::packet::Link,
};
use serde::{Deserialize, Serialize};

use crate::datapath::Error;

/// Whether packets without a grant are dropped, or only counted.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Drop rejected packets.
    #[default]
    Enforce,
    /// Pass all packets, and count those that would be dropped.
    Monitor,
}

impl Mode {
    /// The mode's number in `INFO`, and its place in `COUNTERS`.
    pub const fn number(self) -> u32 {
        match self {
            Self::Enforce => 0,
            Self::Monitor => 1,
        }
    }

    /// The mode of a number in `INFO`.
    pub const fn from_number(number: u32) -> Self {
        if number == 0 {
            Self::Enforce
        } else {
            Self::Monitor
        }
    }

    /// The mode's name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// What replies have to prove, and whose requests they may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracking {
    /// Whether a reply must answer a request.
    pub track: bool,
    /// How many seconds after its request a reply is admitted, [`LONGEST_WINDOW`] at most.
    pub window: u32,
    /// Whose requests admit replies whatever is granted.
    pub learn: Learn,
    /// Whether a request without a transmit timestamp may be answered.
    pub zero_transmit: bool,
    /// Whether the uid of a sender can make it trusted.
    pub trust_uids: bool,
}

impl Tracking {
    /// No proof but the address.
    pub const OFF: Self = Self {
        track: false,
        window: REPLY_WINDOW,
        learn: Learn::Off,
        zero_transmit: true,
        trust_uids: false,
    };
}

impl Default for Tracking {
    fn default() -> Self {
        Self {
            track: true,
            window: REPLY_WINDOW,
            learn: Learn::Trusted,
            zero_transmit: true,
            trust_uids: false,
        }
    }
}

/// What is fixed in a program when it is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What becomes of packets without a grant.
    pub mode: Mode,
    /// What stands at the start of each frame.
    pub link: Link,
    /// Whether the return value carries the reason: for trials only, never to be attached.
    pub explain: bool,
    /// What replies have to prove.
    pub tracking: Tracking,
    /// Whether servers may be asked at other ports than 123.
    pub other_ports: bool,
    /// How often clients may ask.
    pub rates: Rates,
    /// The clock to judge by; another than the kernel's is for trials only.
    pub clock: Clock,
    /// Most entries of each `ALLOW_*` map.
    pub table_size: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            link: Link::Ethernet,
            explain: false,
            tracking: Tracking::default(),
            other_ports: false,
            rates: Rates::default(),
            clock: Clock::Kernel,
            table_size: DEFAULT_TABLE_SIZE,
        }
    }
}

/// The longest time for which requests may be answered, seconds.
pub const LONGEST_WINDOW: u32 = 300;

/// A key that nobody can guess, new for each start.
pub(in crate::datapath) fn random_key() -> Result<[u64; 2], Error> {
    let random =
        || getrandom::u64().map_err(|source| Error::system("draw a random key", source.into()));
    Ok([random()?, random()?])
}
