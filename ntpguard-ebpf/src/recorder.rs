//! The one way out for a judged packet: it is counted, and its action decided.

use aya_ebpf::bindings::{
    TC_ACT_SHOT, TC_ACT_UNSPEC,
    xdp_action::{XDP_DROP, XDP_PASS},
};
use ntpguard_common::{
    clock::Clocks as _,
    maps::{requests::Server, tables::EXPLAIN_BASE},
    reason::{Counters, Reason},
    wire::{
        frame::Frame,
        ntp::{self, FirstByte},
        packet::Datagram,
    },
};

use crate::{
    clock::KernelClocks,
    events,
    maps::{self, InMaps},
    settings,
};

/// The words for what becomes of a packet, where a program is attached.
#[derive(Clone, Copy)]
pub(crate) struct Actions {
    pub(crate) pass: u32,
    drop: u32,
}

impl Actions {
    pub(crate) const XDP: Self = Self {
        pass: XDP_PASS,
        drop: XDP_DROP,
    };
    /// Programs that come after this one have their turn: `TC_ACT_UNSPEC` is `TCX_NEXT`.
    pub(crate) const TC: Self = Self {
        pass: TC_ACT_UNSPEC.cast_unsigned(),
        drop: TC_ACT_SHOT.cast_unsigned(),
    };
}

/// Counts a [`Reason`] by its number, has some packets told by `tell`, and returns what is to be done
/// with this one.
#[inline(always)]
pub(crate) fn record(reason: u32, actions: Actions, tell: impl FnOnce()) -> u32 {
    count(reason);
    if events::is_due(reason) {
        tell();
    }
    if settings::returns_verdict() {
        return if Reason::from_number(reason).is_some_and(Reason::admits) {
            actions.pass
        } else {
            actions.drop
        };
    }
    if settings::returns_reason() {
        EXPLAIN_BASE + reason
    } else {
        actions.pass
    }
}

#[inline(always)]
fn count(reason: u32) {
    let Some(counters) = maps::counters() else {
        return;
    };
    let slot = reason as usize % Counters::SLOTS;
    // SAFETY: Counters is SLOTS u64 in a row, checked where it is defined, and `slot` is below
    // that. No other CPU writes this CPU's copy, and programs on one CPU do not interleave.
    unsafe { *counters.cast::<u64>().add(slot) += 1 };
}

/// Keeps what a server says in an admitted reply.
#[inline(always)]
pub(crate) fn record_reply<A: InMaps, F: Frame>(frame: &F, datagram: &Datagram, reason: Reason) {
    if !matches!(reason, Reason::Server | Reason::WarmUp | Reason::Peer) {
        return;
    }
    let server = A::source(frame, datagram);
    // A peer's packets prove nothing: those of one that was never asked make no entry.
    if reason == Reason::Peer && !maps::was_asked(server) {
        return;
    }
    let [first, stratum, poll, _] = frame.field(datagram.payload);
    let refid = frame.field(datagram.payload + ntp::REFERENCE_ID);
    let now = KernelClocks.tick();
    let is_kiss = stratum == 0;
    let first = FirstByte(first);
    let Some(entry) = maps::server(server.mapped()) else {
        return;
    };
    // SAFETY: the entry is the map's until the program ends. Other CPUs may write it too, and then
    // the last one stands: this is for display.
    let entry: &mut Server = unsafe { &mut *entry };
    entry.last = now;
    entry.count += 1;
    entry.leap = first.leap();
    entry.version = first.version();
    entry.stratum = stratum;
    entry.poll = poll.cast_signed();
    entry.refid = refid;
    if is_kiss {
        entry.kiss = refid;
        entry.kissed = now;
    }
}
