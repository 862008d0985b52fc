//! The one way out for a judged packet: it is counted, and its action decided.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use ntpguard_common::{reason::Counters, reason::Reason, tables::EXPLAIN_BASE};

use crate::maps::COUNTERS;

/// Whether packets are dropped or only counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Enforce,
    Monitor,
}

/// Counts `reason` and returns what XDP is to do with the packet.
#[inline(always)]
pub(crate) fn record(reason: Reason, mode: Mode, explain: bool) -> u32 {
    count(reason, mode);
    if explain {
        return EXPLAIN_BASE + reason as u32;
    }
    if reason.admits() || mode == Mode::Monitor {
        XDP_PASS
    } else {
        XDP_DROP
    }
}

#[inline(always)]
fn count(reason: Reason, mode: Mode) {
    let Some(counters) = COUNTERS.get_ptr_mut(mode as u32) else {
        return;
    };
    let slot = reason as usize % Counters::SLOTS;
    // SAFETY: Counters is SLOTS u64 in a row, checked where it is defined, and `slot` is below
    // that. No other CPU writes this CPU's copy, and programs on one CPU do not interleave.
    unsafe { *counters.cast::<u64>().add(slot) += 1 };
}
