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

    /// The second of a moment as the kernel tables have it: nanoseconds since boot.
    pub fn from_nanoseconds(moment: u64) -> Self {
        Self(u32::try_from(moment / 1_000_000_000).unwrap_or(u32::MAX))
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

/// Nanoseconds since boot, suspended time included, as the kernel tables have them.
pub fn boot_nanoseconds() -> u64 {
    // Every kernel with BPF links has this clock.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec())
    });
    u64::try_from(now).unwrap_or(0)
}
