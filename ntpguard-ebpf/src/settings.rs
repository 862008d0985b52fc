//! What is fixed when a program is loaded: constants that the verifier folds away.

use aya_ebpf::{Global, helpers::bpf_ktime_get_boot_ns};
use ntpguard_common::{
    judge::{Clock, Learn, Limits},
    packet::Link,
};

use crate::maps::INFO;

/// A number of [`Link`].
#[unsafe(no_mangle)]
static LINK: Global<u8> = Global::new(0);

/// 0 enforce, 1 monitor.
#[unsafe(no_mangle)]
static MODE: Global<u8> = Global::new(0);

/// 1 makes the return value carry the reason; for test runs only, never to be attached.
#[unsafe(no_mangle)]
static EXPLAIN: Global<u8> = Global::new(0);

/// 0 where requests are not tracked.
#[unsafe(no_mangle)]
static TRACK: Global<u8> = Global::new(1);

/// A number of [`Learn`].
#[unsafe(no_mangle)]
static LEARN: Global<u8> = Global::new(1);

/// 0 where requests without a transmit timestamp are not to be answered.
#[unsafe(no_mangle)]
static ZERO_TRANSMIT: Global<u8> = Global::new(1);

/// A number of [`Clock`].
#[unsafe(no_mangle)]
static CLOCK: Global<u8> = Global::new(0);

/// 1 where the uid of a sender can make it trusted.
#[unsafe(no_mangle)]
static TRUST_UIDS: Global<u8> = Global::new(0);

/// 1 where the kernel tells the name of the process that sends.
#[unsafe(no_mangle)]
static NAME_PROCESS: Global<u8> = Global::new(0);

#[inline(always)]
pub(crate) fn limits() -> Limits {
    Limits {
        link: if LINK.load() == Link::Ethernet as u8 {
            Link::Ethernet
        } else {
            Link::RawIp
        },
        track: TRACK.load() != 0,
        learn: match LEARN.load() {
            0 => Learn::Off,
            1 => Learn::Trusted,
            _ => Learn::Any,
        },
        zero_transmit: ZERO_TRANSMIT.load() != 0,
    }
}

#[inline(always)]
pub(crate) fn monitors() -> bool {
    MODE.load() != 0
}

#[inline(always)]
pub(crate) fn explains() -> bool {
    EXPLAIN.load() != 0
}

#[inline(always)]
pub(crate) fn trusts_uids() -> bool {
    TRUST_UIDS.load() != 0
}

#[inline(always)]
pub(crate) fn names_process() -> bool {
    NAME_PROCESS.load() != 0
}

/// Nanoseconds of boot time.
#[inline(always)]
pub(crate) fn now() -> u64 {
    if CLOCK.load() == Clock::Given as u8 {
        return INFO.get(0).map_or(0, |info| info.clock);
    }
    // SAFETY: the helper takes nothing and reads a clock.
    unsafe { bpf_ktime_get_boot_ns() }
}
