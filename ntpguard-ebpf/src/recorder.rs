//! The one way out for a judged packet: it is counted, and its action decided.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use ntpguard_common::{
    frame::Frame,
    ntp::{self, FirstByte},
    packet::{Address, Datagram, Family},
    reason::{Counters, Reason},
    requests::Server,
    tables::EXPLAIN_BASE,
};

use crate::{
    maps::{COUNTERS, SERVERS},
    settings,
};

/// Counts `reason` and returns what XDP is to do with the packet.
#[inline(always)]
pub(crate) fn record(reason: Reason) -> u32 {
    count(reason);
    if settings::explains() {
        return EXPLAIN_BASE + reason as u32;
    }
    if reason.admits() || settings::monitors() {
        XDP_PASS
    } else {
        XDP_DROP
    }
}

#[inline(always)]
fn count(reason: Reason) {
    let Some(counters) = COUNTERS.get_ptr_mut(u32::from(settings::monitors())) else {
        return;
    };
    let slot = reason as usize % Counters::SLOTS;
    // SAFETY: Counters is SLOTS u64 in a row, checked where it is defined, and `slot` is below
    // that. No other CPU writes this CPU's copy, and programs on one CPU do not interleave.
    unsafe { *counters.cast::<u64>().add(slot) += 1 };
}

/// Keeps what a server says in an admitted reply.
#[inline(always)]
pub(crate) fn record_reply<F: Frame>(frame: &F, datagram: &Datagram, reason: Reason) {
    if !matches!(reason, Reason::Server | Reason::WarmUp) {
        return;
    }
    let server = match datagram.family {
        Family::V4 => <[u8; 4]>::source(frame, datagram).map(Address::mapped),
        Family::V6 => <[u8; 16]>::source(frame, datagram),
    };
    let Some(server) = server else {
        return;
    };
    let Some([first, stratum, poll, _]) = frame.load(datagram.payload) else {
        return;
    };
    let Some(refid) = frame.load(datagram.payload + ntp::REFERENCE_ID) else {
        return;
    };
    let now = settings::now();
    let is_kiss = stratum == 0;
    let first = FirstByte(first);
    let Some(entry) = SERVERS.get_ptr_mut(server) else {
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
