//! The compiled kernel half, which this program carries with it.

use std::path::Path;

use aya::{Ebpf, EbpfLoader};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use ntpguard_common::{
    packet::Link,
    tables::{DEFAULT_TABLE_SIZE, names},
};
use serde::{Deserialize, Serialize};

use super::Error;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ntpguard-bpf"));

/// The maps whose size is the administrator's choice.
const SIZED: [&str; 4] = [
    names::ALLOW_V4,
    names::ALLOW_V6,
    names::ALLOW_NET_V4,
    names::ALLOW_NET_V6,
];

/// Whether packets without a grant are dropped, or only counted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum,
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

/// What is fixed in a program when it is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What becomes of packets without a grant.
    pub mode: Mode,
    /// What stands at the start of each frame.
    pub link: Link,
    /// Whether the return value carries the reason: for trials only, never to be attached.
    pub explain: bool,
    /// Most entries of each `ALLOW_*` map.
    pub table_size: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            link: Link::Ethernet,
            explain: false,
            table_size: DEFAULT_TABLE_SIZE,
        }
    }
}

/// Reads the object into the kernel with maps of its own, which end with the value returned. Its
/// programs are not loaded yet.
pub fn load_private(settings: Settings) -> Result<Ebpf, Error> {
    Loader::new().load(settings)
}

/// Reads the object into the kernel. Making a loader parses the kernel's own BTF, which takes
/// longer than everything else together, so one serves a whole start.
pub(super) struct Loader(EbpfLoader<'static>);

impl Loader {
    pub(super) fn new() -> Self {
        lift_memory_limit();
        Self(EbpfLoader::new())
    }

    /// Reads the object in over the maps pinned in `maps`, making and pinning those that are not
    /// there. Those that are must be of this object's layout: aya does not check.
    pub(super) fn load_over(&mut self, settings: Settings, maps: &Path) -> Result<Ebpf, Error> {
        for name in names::ALL {
            self.0.map_pin_path(name, maps.join(name));
        }
        self.load(settings)
    }

    fn load(&mut self, settings: Settings) -> Result<Ebpf, Error> {
        self.0
            .override_global("LINK", byte(settings.link == Link::RawIp), true)
            .override_global("MODE", byte(settings.mode == Mode::Monitor), true)
            .override_global("EXPLAIN", byte(settings.explain), true);
        for name in SIZED {
            self.0.map_max_entries(name, settings.table_size);
        }
        self.0.load(OBJECT).map_err(Error::object)
    }
}

const fn byte(set: bool) -> &'static u8 {
    if set { &1 } else { &0 }
}

/// Before 5.11 (kernel commit 3ac1f01b43b6) the memory of maps counted against this limit, which
/// is too low everywhere. Where it cannot be lifted, making the maps fails and says why.
fn lift_memory_limit() {
    if let Err(error) = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY) {
        tracing::debug!("the limit on locked memory stays: {error}");
    }
}
