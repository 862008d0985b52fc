//! What arrives is judged: the programs, and the stages of the judge as BPF subprograms.

use core::hint::black_box;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, xdp_md},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use ntpguard_common::{
    frame::Frame,
    judge::{decide, judge_arrived},
    packed,
    packet::{Datagram, Family, Link},
    stages::{Arrived, find, screen_found},
};

use crate::{
    events::{ntpguard_tc_tell, ntpguard_tell},
    frame::{ArrivedFrame, SkbFrame, XdpFrame},
    maps::{InMaps, KernelTables},
    recorder::{self, Actions},
    settings::{self, KernelClocks},
};

/// For drivers that hand over jumbo frames in several buffers (Linux 5.18).
#[xdp(frags)]
fn ingress(context: XdpContext) -> u32 {
    judge_arrived(&XdpFrame(context))
}

/// For kernels and drivers that refuse the former.
#[xdp]
fn ingress_linear(context: XdpContext) -> u32 {
    judge_arrived(&XdpFrame(context))
}

/// For interfaces whose XDP hook is somebody else's. The stack has moved the outermost VLAN tag out
/// of the frame by then (`skb_vlan_untag`), so that the walk can step over one more.
#[classifier]
fn ntpguard_ingress(context: TcContext) -> i32 {
    judge_arrived(&ArrivedFrame(SkbFrame(context))).cast_signed()
}

/// The number of a reason that a subprogram gave. The compiler knows how large it can be. The verifier
/// does not, and wants to see it bounded before it is a place.
#[inline(always)]
fn unknown(reason: u32) -> u32 {
    black_box(reason)
}

/// The stage that decides, for a datagram from an address of which something may be known. What its
/// server says is recorded with it.
#[inline(always)]
fn decide_and_record<A: InMaps, F: Frame>(frame: &F, datagram: &Datagram, part: u64) -> u32 {
    let reason = decide::<A, _, _, _>(
        frame,
        datagram,
        packed::unpack_part(part),
        &KernelClocks,
        settings::limits(),
        &KernelTables,
    );
    recorder::record_reply::<A, _>(frame, datagram, reason);
    reason as u32
}

impl Arrived for XdpFrame {
    /// An action of XDP's.
    type Outcome = u32;
    type Frame = Self;
    type Tables = KernelTables;

    #[inline(always)]
    fn frame(&self) -> &Self {
        self
    }

    #[inline(always)]
    fn link(&self) -> Link {
        settings::link()
    }

    #[inline(always)]
    fn tables(&self) -> &KernelTables {
        &KernelTables
    }

    #[inline(always)]
    fn pass(&self) -> u32 {
        Actions::XDP.pass
    }

    #[inline(always)]
    fn record(&self, reason: u32) -> u32 {
        recorder::record(reason, Actions::XDP, || {
            ntpguard_tell(self.0.as_ptr().cast(), reason.into());
        })
    }

    #[inline(always)]
    fn find(&self) -> u64 {
        ntpguard_find(self.0.as_ptr().cast())
    }

    #[inline(always)]
    fn screen(&self, found: u64) -> u64 {
        ntpguard_screen(self.0.as_ptr().cast(), found)
    }

    #[inline(always)]
    fn decide(&self, family: Family, place: u64, ports: u64, part: u64) -> u32 {
        let context = self.0.as_ptr().cast();
        unknown(match family {
            Family::V4 => ntpguard_decide4(context, place, ports, part),
            Family::V6 => ntpguard_decide6(context, place, ports, part),
        })
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_find(context: *mut xdp_md) -> u64 {
    find(
        &XdpFrame(XdpContext::new(context)),
        settings::link(),
        &KernelTables,
    )
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_screen(context: *mut xdp_md, found: u64) -> u64 {
    screen_found(
        &XdpFrame(XdpContext::new(context)),
        found,
        settings::link(),
        &KernelTables,
    )
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_decide4(context: *mut xdp_md, place: u64, ports: u64, part: u64) -> u32 {
    let datagram = packed::unpack(Family::V4, place, ports);
    decide_and_record::<[u8; 4], _>(&XdpFrame(XdpContext::new(context)), &datagram, part)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_decide6(context: *mut xdp_md, place: u64, ports: u64, part: u64) -> u32 {
    let datagram = packed::unpack(Family::V6, place, ports);
    decide_and_record::<[u8; 16], _>(&XdpFrame(XdpContext::new(context)), &datagram, part)
}

impl Arrived for ArrivedFrame {
    /// An action of tc's.
    type Outcome = u32;
    type Frame = Self;
    type Tables = KernelTables;

    #[inline(always)]
    fn frame(&self) -> &Self {
        self
    }

    #[inline(always)]
    fn link(&self) -> Link {
        settings::link()
    }

    #[inline(always)]
    fn tables(&self) -> &KernelTables {
        &KernelTables
    }

    #[inline(always)]
    fn pass(&self) -> u32 {
        Actions::TC.pass
    }

    #[inline(always)]
    fn record(&self, reason: u32) -> u32 {
        recorder::record(reason, Actions::TC, || {
            ntpguard_tc_tell(self.0.0.as_ptr().cast(), reason.into());
        })
    }

    #[inline(always)]
    fn find(&self) -> u64 {
        ntpguard_tc_find(self.0.0.as_ptr().cast())
    }

    #[inline(always)]
    fn screen(&self, found: u64) -> u64 {
        ntpguard_tc_screen(self.0.0.as_ptr().cast(), found)
    }

    #[inline(always)]
    fn decide(&self, family: Family, place: u64, ports: u64, part: u64) -> u32 {
        let context = self.0.0.as_ptr().cast();
        unknown(match family {
            Family::V4 => ntpguard_tc_decide4(context, place, ports, part),
            Family::V6 => ntpguard_tc_decide6(context, place, ports, part),
        })
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_tc_find(context: *mut __sk_buff) -> u64 {
    find(&arrived(context), settings::link(), &KernelTables)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_tc_screen(context: *mut __sk_buff, found: u64) -> u64 {
    screen_found(&arrived(context), found, settings::link(), &KernelTables)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_tc_decide4(
    context: *mut __sk_buff,
    place: u64,
    ports: u64,
    part: u64,
) -> u32 {
    let datagram = packed::unpack(Family::V4, place, ports);
    decide_and_record::<[u8; 4], _>(&arrived(context), &datagram, part)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_tc_decide6(
    context: *mut __sk_buff,
    place: u64,
    ports: u64,
    part: u64,
) -> u32 {
    let datagram = packed::unpack(Family::V6, place, ports);
    decide_and_record::<[u8; 16], _>(&arrived(context), &datagram, part)
}

#[inline(always)]
const fn arrived(context: *mut __sk_buff) -> ArrivedFrame {
    ArrivedFrame(SkbFrame(TcContext::new(context)))
}
