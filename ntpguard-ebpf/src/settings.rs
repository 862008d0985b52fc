//! What is fixed when a program is loaded: constants that the verifier folds away.

use core::ptr;

use aya_ebpf::Global;
use ntpguard_common::{
    clock::Clock,
    maps::rates::{Rate, Rates},
    rule::policy::{Learn, Policy},
    wire::packet::Link,
};

/// A number of [`Link`].
#[unsafe(no_mangle)]
static LINK: Global<u8> = Global::new(0);

/// The mode's place in `COUNTERS`: 0 enforce, 1 monitor.
#[unsafe(no_mangle)]
static MODE: Global<u32> = Global::new(0);

/// What a program returns of a judged packet: 0 its verdict; 1 that it passes, whatever the verdict; 2
/// the reason, for trials only, never to be attached.
#[unsafe(no_mangle)]
static OUTCOME: Global<u8> = Global::new(0);

/// 0 where requests are not tracked.
#[unsafe(no_mangle)]
static TRACK: Global<u8> = Global::new(1);

/// How long requests may be answered, nanoseconds.
#[unsafe(no_mangle)]
static REPLY_WINDOW: Global<u64> = Global::new(0);

/// A number of [`Learn`].
#[unsafe(no_mangle)]
static LEARN: Global<u8> = Global::new(1);

/// 0 where requests without a transmit timestamp are not to be answered.
#[unsafe(no_mangle)]
static ZERO_TRANSMIT: Global<u8> = Global::new(1);

/// 1 where servers may be asked at other ports than 123; others do not pay for it.
#[unsafe(no_mangle)]
static OTHER_PORTS: Global<u8> = Global::new(0);

/// A number of [`Clock`].
#[unsafe(no_mangle)]
static CLOCK: Global<u8> = Global::new(0);

/// Nanoseconds from one tick to the next.
#[unsafe(no_mangle)]
static TICK: Global<u32> = Global::new(0);

/// What the kernel's count of ticks was at boot.
#[unsafe(no_mangle)]
static FIRST_TICK: Global<u64> = Global::new(0);

/// 1 where the uid of a sender can make it trusted.
#[unsafe(no_mangle)]
static TRUST_UIDS: Global<u8> = Global::new(0);

/// 1 where the kernel tells the name of the process that sends.
#[unsafe(no_mangle)]
static NAME_PROCESS: Global<u8> = Global::new(0);

/// The fields of [`Rates`].
#[unsafe(no_mangle)]
static CLIENT_INTERVAL: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static CLIENT_WINDOW: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static TOTAL_INTERVAL: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static TOTAL_WINDOW: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static RATE_KEY_1: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static RATE_KEY_2: Global<u64> = Global::new(0);

/// What [`policy`] says too: every packet needs this one, and few the others.
#[inline(always)]
pub(crate) fn link() -> Link {
    if LINK.load() == Link::Ethernet as u8 {
        Link::Ethernet
    } else {
        Link::RawIp
    }
}

#[inline(always)]
pub(crate) fn policy() -> Policy {
    Policy {
        link: link(),
        track: TRACK.load() != 0,
        window: REPLY_WINDOW.load(),
        learn: match LEARN.load() {
            0 => Learn::Off,
            1 => Learn::Trusted,
            _ => Learn::Any,
        },
        zero_transmit: ZERO_TRANSMIT.load() != 0,
        rates: rates(),
    }
}

#[inline(always)]
fn rates() -> Rates {
    Rates {
        client: Rate {
            interval: CLIENT_INTERVAL.load(),
            window: CLIENT_WINDOW.load(),
        },
        total: Rate {
            interval: TOTAL_INTERVAL.load(),
            window: TOTAL_WINDOW.load(),
        },
        key: [RATE_KEY_1.load(), RATE_KEY_2.load()],
    }
}

/// The mode's place in `COUNTERS`.
#[inline(always)]
pub(crate) fn mode() -> u32 {
    MODE.load()
}

/// The same as a key for that map.
#[inline(always)]
pub(crate) const fn mode_key() -> &'static u32 {
    // SAFETY: Global is transparent, and nothing writes it once the program is loaded.
    unsafe { &*ptr::from_ref(&MODE).cast() }
}

/// Whether a program returns its verdict.
#[inline(always)]
pub(crate) fn returns_verdict() -> bool {
    OUTCOME.load() == 0
}

/// Whether it returns the reason instead, and not that every packet passes. A load of its own, so that
/// the compiler prepares nothing of this for packets that get a verdict.
#[inline(always)]
pub(crate) fn returns_reason() -> bool {
    OUTCOME.load() == 2
}

#[inline(always)]
pub(crate) fn looks_at_other_ports() -> bool {
    OTHER_PORTS.load() != 0
}

#[inline(always)]
pub(crate) fn trusts_uids() -> bool {
    TRUST_UIDS.load() != 0
}

#[inline(always)]
pub(crate) fn names_process() -> bool {
    NAME_PROCESS.load() != 0
}

/// Whether trials say what time it is.
#[inline(always)]
pub(crate) fn clock_is_given() -> bool {
    CLOCK.load() == Clock::Given as u8
}

/// Nanoseconds from one tick to the next.
#[inline(always)]
pub(crate) fn tick() -> u32 {
    TICK.load()
}

/// The kernel's count of ticks at boot.
#[inline(always)]
pub(crate) fn first_tick() -> u64 {
    FIRST_TICK.load()
}
