//! The kernel's clocks, or in trials the one given.

use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, generated::bpf_jiffies64};
use ntpguard_common::clock::Clocks;

use crate::{maps, settings};

/// The kernel's clocks, or in trials the one given.
pub(crate) struct KernelClocks;

impl Clocks for KernelClocks {
    #[inline(always)]
    fn boot(&self) -> u64 {
        if settings::clock_is_given() {
            return maps::given_clock();
        }
        // SAFETY: the helper takes nothing and reads a clock.
        unsafe { bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn tick(&self) -> u64 {
        if settings::clock_is_given() {
            return maps::given_clock();
        }
        ticks().wrapping_sub(settings::first_tick()) * u64::from(settings::tick())
    }
}

/// The kernel's count of ticks.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: the helper takes nothing. The verifier puts a load in the place of its call.
    unsafe { bpf_jiffies64() }
}

/// How many ticks are in so many nanoseconds, rounded down.
#[inline(always)]
pub(crate) fn ticks_in(nanoseconds: u64) -> u64 {
    nanoseconds
        .checked_div(settings::tick().into())
        .unwrap_or(0)
}
