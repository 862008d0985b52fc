//! Sampled verdicts for whoever reads `EVENTS`.
//!
//! Deciding that a packet is not told costs two loads and a comparison, and writes nothing: that is
//! all that most packets of a flood meet of this. An event is made in a subprogram.

use core::{cell::UnsafeCell, ptr};

use aya_ebpf::bindings::{__sk_buff, BPF_RB_NO_WAKEUP, xdp_md};
use ntpguard_common::{
    clock::Clocks as _,
    events::{Event, INTERVAL, describe},
    reason::Counters,
    wire::frame::Frame,
};

use crate::{
    clock,
    clock::KernelClocks,
    frame::{ArrivedFrame, KernelFrame as _, WholeFrame, XdpFrame},
    maps::EVENTS,
    settings,
};

/// When each reason may be told again, in ticks: the time would have to be worked out for each packet.
struct Gates(UnsafeCell<[u64; Counters::SLOTS]>);

// SAFETY: words of eight bytes are read and written whole. Of two CPUs that pass a gate at the same
// time both tell, which is one event more.
unsafe impl Sync for Gates {}

/// Of all CPUs, or machines that have many would tell as many times more.
static GATES: Gates = Gates(UnsafeCell::new([0; Counters::SLOTS]));

/// Whether a packet of this reason is to be told. Then the next one is not, for a while.
#[inline(always)]
pub(crate) fn is_due(reason: u32) -> bool {
    let now = clock::ticks();
    let slot = reason as usize % Counters::SLOTS;
    // SAFETY: `slot` is below the length of the array, which lives as long as the program.
    let gate = unsafe { GATES.0.get().cast::<u64>().add(slot) };
    // SAFETY: see above. Volatile, since others write it.
    if now < unsafe { ptr::read_volatile(gate) } {
        return false;
    }
    // SAFETY: see above.
    unsafe { ptr::write_volatile(gate, now + clock::ticks_in(INTERVAL)) };
    true
}

/// Tells of a packet. Where the buffer is full, `COUNTERS` alone has it.
#[inline(always)]
fn tell<F: Frame>(frame: &F, reason: u64, interface: u32) -> u32 {
    let Some(mut entry) = EVENTS.reserve_untyped::<Event>(0) else {
        return 0;
    };
    // Written where it stays: the stack has little room for it.
    let event = entry.write(Event {
        time: KernelClocks.tick(),
        reason: reason as u32,
        interface,
        mode: settings::mode(),
        ..Event::default()
    });
    describe(frame, settings::link(), event);
    // To wake the reader takes tens of microseconds where CPUs are virtual, by which a reply would be late.
    entry.submit(BPF_RB_NO_WAKEUP.into());
    1
}

/// Tells of a packet on the XDP hook, and says whether there was room for it: a subprogram has to
/// return a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn ntpguard_tell(context: *mut xdp_md, reason: u64) -> u32 {
    tell(&XdpFrame::of(context), reason, interface(context))
}

/// The same of a packet in any number of buffers.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn ntpguard_whole_tell(context: *mut xdp_md, reason: u64) -> u32 {
    tell(&WholeFrame::of(context), reason, interface(context))
}

#[inline(always)]
fn interface(context: *mut xdp_md) -> u32 {
    // SAFETY: the context is the kernel's.
    unsafe { (*context).ingress_ifindex }
}

/// The same on the tc hook.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn ntpguard_tc_tell(context: *mut __sk_buff, reason: u64) -> u32 {
    // SAFETY: the context is the kernel's.
    let interface = unsafe { (*context).ifindex };
    tell(&ArrivedFrame::of(context), reason, interface)
}
