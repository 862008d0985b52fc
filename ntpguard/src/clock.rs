//! Boot time, the only clock this program trusts: it runs where the wall clock may be wrong.

use nix::time::{ClockId, clock_gettime};

/// Seconds since boot, suspended time included (`CLOCK_BOOTTIME`), as the kernel tables have it.
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
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct BootSeconds(pub u32);

impl BootSeconds {
    /// Reads the clock.
    pub fn now() -> Self {
        // Every kernel with BPF links has this clock.
        let seconds = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec());
        Self(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// The moment `seconds` later.
    #[must_use]
    pub const fn plus(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this moment, 0 if it is not earlier.
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}
