//! Boot time, the only clock this program trusts: it runs where the wall clock may be wrong.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_getres, clock_gettime};

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

    /// The second of a moment of boot time, in nanoseconds.
    pub fn from_nanoseconds(moment: u64) -> Self {
        Self(u32::try_from(moment / 1_000_000_000).unwrap_or(u32::MAX))
    }

    /// The second of a moment of monotonic time, in nanoseconds, if the machine has not slept
    /// since: later by that time where it has.
    pub fn from_monotonic(moment: u64) -> Self {
        let slept = boot_nanoseconds().saturating_sub(monotonic_nanoseconds());
        Self::from_nanoseconds(moment.saturating_add(slept))
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

/// Nanoseconds since boot, suspended time included.
pub fn boot_nanoseconds() -> u64 {
    nanoseconds(ClockId::CLOCK_BOOTTIME)
}

/// Nanoseconds since boot without suspended time, by which requests live.
pub fn monotonic_nanoseconds() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// The wall clock's time of a moment of monotonic time, in nanoseconds: for display, as the wall clock
/// is now.
pub fn wall_time(monotonic: u64) -> SystemTime {
    let ago = monotonic_nanoseconds().saturating_sub(monotonic);
    let now = SystemTime::now();
    now.checked_sub(Duration::from_nanos(ago)).unwrap_or(now)
}

fn nanoseconds(clock: ClockId) -> u64 {
    // Every kernel with BPF links has these clocks.
    let now = clock_gettime(clock).map_or(0, |time| {
        i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec())
    });
    u64::try_from(now).unwrap_or(0)
}

/// Nanoseconds from one tick of the kernel to the next: the resolution of its coarse clocks.
pub fn tick_nanoseconds() -> u32 {
    /// Of a kernel that ticks 250 times a second, as most do.
    const USUAL: u32 = 4_000_000;
    let resolution = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).ok();
    resolution
        .and_then(|tick| u32::try_from(tick.tv_nsec()).ok())
        .filter(|tick| *tick > 0)
        .unwrap_or(USUAL)
}
