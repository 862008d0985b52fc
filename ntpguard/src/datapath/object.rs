//! The compiled kernel half, which this program carries with it.

use std::{path::Path, sync::LazyLock};

use aya::{
    Ebpf, EbpfLoader,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use ntpguard_common::{
    judge::{Clock, Learn},
    packet::Link,
    rates::Rates,
    requests::REPLY_WINDOW,
    tables::{DEFAULT_TABLE_SIZE, names},
};
use serde::{Deserialize, Serialize};

use super::{Error, memory::GiveMemoryBack};
use crate::clock;

pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ntpguard-bpf"));

/// The maps whose size is the administrator's choice.
const SIZED: [&str; 4] = [
    names::ALLOW_V4,
    names::ALLOW_V6,
    names::ALLOW_NET_V4,
    names::ALLOW_NET_V6,
];

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
    /// Drop packets that are not admitted.
    #[default]
    Enforce,
    /// Pass every packet, and count what would be dropped.
    Monitor,
}

impl Mode {
    /// The mode's number in `INFO`, and its place in `COUNTERS`.
    pub const fn number(self) -> u32 {
        *self.lasting_number()
    }

    /// The same for as long as a loader may want it.
    const fn lasting_number(self) -> &'static u32 {
        match self {
            Self::Enforce => &0,
            Self::Monitor => &1,
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

impl Settings {
    /// The constants of the programs that these settings are, by name.
    pub(super) fn constants(&self) -> [(&'static str, u8); 8] {
        let Tracking {
            track,
            window: _,
            learn,
            zero_transmit,
            trust_uids,
        } = self.tracking;
        [
            ("LINK", self.link as u8),
            ("OUTCOME", self.outcome()),
            ("TRACK", u8::from(track)),
            ("LEARN", learn as u8),
            ("ZERO_TRANSMIT", u8::from(zero_transmit)),
            ("TRUST_UIDS", u8::from(trust_uids)),
            ("OTHER_PORTS", u8::from(self.other_ports)),
            ("CLOCK", self.clock as u8),
        ]
    }

    /// What a program returns of a judged packet: its verdict, that it passes, or the reason.
    const fn outcome(&self) -> u8 {
        match (self.explain, self.mode) {
            (true, _) => 2,
            (false, Mode::Monitor) => 1,
            (false, Mode::Enforce) => 0,
        }
    }
}

/// Reads the object into the kernel with maps of its own, which end with the value returned. Its
/// programs are not loaded yet.
pub fn load_private(settings: Settings) -> Result<Ebpf, Error> {
    Loader::new(&settings.rates).load(settings)
}

/// Reads the object into the kernel. Making a loader parses the kernel's own BTF, which takes
/// longer than everything else together, so one serves a whole start.
pub(super) struct Loader<'a> {
    loader: EbpfLoader<'a>,
    /// Dropped last.
    _after: GiveMemoryBack,
}

impl<'a> Loader<'a> {
    /// A loader of programs with these limits for clients.
    pub(super) fn new(rates: &'a Rates) -> Self {
        lift_memory_limit();
        let mut loader = EbpfLoader::new();
        // Nothing here is relocated by them, and what comes after has their place.
        loader.btf(None);
        for (name, value) in [
            ("CLIENT_INTERVAL", &rates.client.interval),
            ("CLIENT_WINDOW", &rates.client.window),
            ("TOTAL_INTERVAL", &rates.total.interval),
            ("TOTAL_WINDOW", &rates.total.window),
            ("RATE_KEY_1", &rates.key[0]),
            ("RATE_KEY_2", &rates.key[1]),
        ] {
            loader.override_global(name, value, true);
        }
        Self {
            loader,
            _after: GiveMemoryBack,
        }
    }

    /// Reads the object in over the maps pinned in `maps`, making and pinning those that are not
    /// there. Those that are must be of this object's layout: aya does not check.
    pub(super) fn load_over(&mut self, settings: Settings, maps: &Path) -> Result<Ebpf, Error> {
        for name in names::ALL {
            self.loader.map_pin_path(name, maps.join(name));
        }
        self.load(settings)
    }

    pub(super) fn load(&mut self, settings: Settings) -> Result<Ebpf, Error> {
        for (name, value) in settings.constants() {
            self.loader.override_global(name, number(value), true);
        }
        self.loader
            .override_global("MODE", settings.mode.lasting_number(), true);
        let window = settings.tracking.window;
        self.loader
            .override_global("REPLY_WINDOW", nanoseconds(window), true);
        self.loader.override_global("TICK", tick(), true);
        self.loader
            .override_global("FIRST_TICK", first_tick(), true);
        self.loader
            .override_global("NAME_PROCESS", number(names_process().into()), true);
        for name in SIZED {
            self.loader.map_max_entries(name, settings.table_size);
        }
        self.loader.load(OBJECT).map_err(Error::object)
    }
}

/// The longest time for which requests may be answered, seconds.
pub const LONGEST_WINDOW: u32 = 300;

/// So many seconds, [`LONGEST_WINDOW`] at most, in nanoseconds: a number that lives as long as a loader does.
fn nanoseconds(seconds: u32) -> &'static u64 {
    static NANOSECONDS: [u64; LONGEST_WINDOW as usize + 1] = {
        let mut all = [0; LONGEST_WINDOW as usize + 1];
        let mut second = 0;
        while second < all.len() {
            all[second] = second as u64 * 1_000_000_000;
            second += 1;
        }
        all
    };
    let seconds = seconds.min(LONGEST_WINDOW) as usize;
    &NANOSECONDS[seconds]
}

/// A small number that lives as long as a loader does.
fn number(value: u8) -> &'static u8 {
    static NUMBERS: [u8; 3] = [0, 1, 2];
    NUMBERS
        .get(usize::from(value))
        .unwrap_or(&NUMBERS[NUMBERS.len() - 1])
}

/// The constants that are longer than a byte, little-endian, by name.
pub(super) fn long_constants(settings: &Settings, rates: &Rates) -> [(&'static str, Vec<u8>); 10] {
    let long = |value: u64| value.to_le_bytes().to_vec();
    [
        ("CLIENT_INTERVAL", long(rates.client.interval)),
        ("CLIENT_WINDOW", long(rates.client.window)),
        ("TOTAL_INTERVAL", long(rates.total.interval)),
        ("TOTAL_WINDOW", long(rates.total.window)),
        ("RATE_KEY_1", long(rates.key[0])),
        ("RATE_KEY_2", long(rates.key[1])),
        ("REPLY_WINDOW", long(*nanoseconds(settings.tracking.window))),
        ("MODE", settings.mode.number().to_le_bytes().to_vec()),
        ("TICK", tick().to_le_bytes().to_vec()),
        ("FIRST_TICK", long(*first_tick())),
    ]
}

/// The time from one tick of the kernel to the next, nanoseconds.
fn tick() -> &'static u32 {
    static TICK: LazyLock<u32> = LazyLock::new(clock::tick_nanoseconds);
    &TICK
}

/// The kernel's count of ticks at boot: that of five minutes before an overflow of 32 bits
/// (`INITIAL_JIFFIES` in include/linux/jiffies.h).
fn first_tick() -> &'static u64 {
    static FIRST: LazyLock<u64> = LazyLock::new(|| {
        let five_minutes = 300 * 1_000_000_000 / u64::from(*tick());
        (1 << 32) - five_minutes
    });
    &FIRST
}

/// Whether programs on frames that leave may ask for the name of the process at work.
fn names_process() -> bool {
    static ANSWER: LazyLock<bool> = LazyLock::new(|| {
        is_helper_supported(
            ProgramType::SchedClassifier,
            BpfHelper::BPF_FUNC_get_current_comm,
        )
        .unwrap_or(false)
    });
    *ANSWER
}

/// Before 5.11 (kernel commit 3ac1f01b43b6) the memory of maps counted against this limit, which
/// is too low everywhere. Where it cannot be lifted, making the maps fails and says why.
pub(super) fn lift_memory_limit() {
    if let Err(error) = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY) {
        tracing::debug!("the limit on locked memory stays: {error}");
    }
}
