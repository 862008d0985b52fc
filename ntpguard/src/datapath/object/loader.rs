//! The compiled kernel half, which this program carries with it.

use std::{path::Path, sync::LazyLock};

use aya::{
    Ebpf, EbpfLoader,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use ntpguard_common::maps::{rates::Rates, tables::names};

use super::{
    constants::{Value, constants},
    memory::GiveMemoryBack,
    settings::Settings,
};
use crate::datapath::Error;

pub(in crate::datapath) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ntpguard-bpf"));

/// The maps whose size is the administrator's choice.
const SIZED: [&str; 4] = [
    names::ALLOW_V4,
    names::ALLOW_V6,
    names::ALLOW_NET_V4,
    names::ALLOW_NET_V6,
];

/// Reads the object into the kernel with maps of its own, which end with the value returned. Its
/// programs are not loaded yet.
pub fn load_private(settings: Settings) -> Result<Ebpf, Error> {
    Loader::new(&settings.rates).load(settings)
}

/// Reads the object into the kernel. Making a loader parses the kernel's own BTF, which takes
/// longer than everything else together, so one serves a whole start.
pub(in crate::datapath) struct Loader<'a> {
    inner: EbpfLoader<'a>,
    /// The limits for clients.
    rates: &'a Rates,
    /// Dropped last.
    _after: GiveMemoryBack,
}

impl<'a> Loader<'a> {
    /// A loader of programs with these limits for clients.
    pub(in crate::datapath) fn new(rates: &'a Rates) -> Self {
        lift_memory_limit();
        let mut inner = EbpfLoader::new();
        // Nothing here is relocated by them, and what comes after has their place.
        inner.btf(None);
        Self {
            inner,
            rates,
            _after: GiveMemoryBack,
        }
    }

    /// Reads the object in over the maps pinned in `maps`, making and pinning those that are not
    /// there. Those that are must be of this object's layout: aya does not check.
    pub(in crate::datapath) fn load_over(
        &mut self,
        settings: Settings,
        maps: &Path,
    ) -> Result<Ebpf, Error> {
        for name in names::ALL {
            self.inner.map_pin_path(name, maps.join(name));
        }
        self.load(settings)
    }

    pub(in crate::datapath) fn load(&mut self, settings: Settings) -> Result<Ebpf, Error> {
        for (name, value) in constants(&settings, self.rates, names_process()) {
            match value {
                Value::Byte(value) => self.inner.override_global(name, value, true),
                Value::Word(value) => self.inner.override_global(name, value, true),
                Value::Long(value) => self.inner.override_global(name, value, true),
            };
        }
        for name in SIZED {
            self.inner.map_max_entries(name, settings.table_size);
        }
        self.inner.load(OBJECT).map_err(Error::object)
    }
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
pub(in crate::datapath) fn lift_memory_limit() {
    if let Err(error) = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY) {
        tracing::debug!("cannot raise the limit on locked memory: {error}");
    }
}
