//! What arrives is judged.

use core::hint::black_box;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, xdp_md},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use ntpguard_common::{
    elsewhere::{Elsewhere as _, Far, is_asked},
    frame::Frame,
    glance::{Arriving, arriving, known},
    judge::{decide, screen},
    ntp,
    packet::{Datagram, Family, Link, OnAnyPort, OnNtpPort, Packet, walk},
    part::Part,
    reason::Reason,
};

use crate::{
    apart,
    events::{ntpguard_tc_tell, ntpguard_tell},
    frame::{ArrivedFrame, SkbFrame, XdpFrame},
    maps::{InMaps, KernelTables},
    recorder::{self, Actions},
    settings::{self, KernelClocks},
};

/// For drivers that hand over jumbo frames in several buffers (Linux 5.18).
#[xdp(frags)]
fn ingress(context: XdpContext) -> u32 {
    judge(&XdpFrame(context))
}

/// For kernels and drivers that refuse the former.
#[xdp]
fn ingress_linear(context: XdpContext) -> u32 {
    judge(&XdpFrame(context))
}

/// For interfaces whose XDP hook is somebody else's. The stack has moved the outermost VLAN tag out
/// of the frame by then (`skb_vlan_untag`), so that the walk can step over one more.
#[classifier]
fn ntpguard_ingress(context: TcContext) -> i32 {
    judge(&ArrivedFrame(SkbFrame(context))).cast_signed()
}

/// A frame at the place where a program judges it.
trait Arrived: Frame {
    /// The words there for what becomes of it.
    const ACTIONS: Actions;

    /// Walks in a function apart to a datagram that may come from a server that is asked elsewhere:
    /// what [`apart::pack_found`] makes of it, or [`apart::NOTHING`].
    fn find(&self) -> u64;

    /// Screens such a datagram in a function apart, if its sender is one: what
    /// [`apart::pack_screened`] makes of it, the number of a reason, or [`apart::NOBODYS`].
    fn screen(&self, found: u64) -> u64;

    /// Judges a datagram in the function apart of its family, and gives the number of the reason: see
    /// [`apart`].
    fn decide(&self, family: Family, place: u64, ports: u64, part: u64) -> u32;

    /// Tells that the frame was judged for the reason of this number, in a function apart too.
    fn tell(&self, reason: u32);
}

/// As [`ntpguard_common::judge::judge`], with the recorder in the place of the verdict, and with a
/// glance first, which settles most frames.
#[inline(always)]
fn judge<A: Arrived>(frame: &A) -> u32 {
    // Twice, so that offsets are constants in each.
    let glance = match settings::link() {
        Link::Ethernet => arriving(frame, Link::Ethernet, &KernelTables),
        Link::RawIp => arriving(frame, Link::RawIp, &KernelTables),
    };
    let reason = match glance {
        Arriving::Foreign => return A::ACTIONS.pass,
        // With reasons that are constants, what a flood consists of is recorded faster.
        Arriving::Stranger => return record(frame, Reason::Unlisted as u32),
        Arriving::Private => return record(frame, Reason::Private as u32),
        Arriving::Known => {
            let (datagram, part) = known(frame, settings::link());
            decide_in_part(frame, &datagram, part)
        }
        Arriving::Unusual => match judge_unusual(frame) {
            Some(reason) => reason,
            None => return A::ACTIONS.pass,
        },
    };
    record(frame, reason)
}

/// Here and not in the functions apart, whose stack comes on top of that of whatever they call.
#[inline(always)]
fn record<A: Arrived>(frame: &A, reason: u32) -> u32 {
    recorder::record(reason, A::ACTIONS, || frame.tell(reason))
}

/// Walks through a frame and judges what it is; `None` if that is not the guard's business.
#[inline(always)]
fn judge_unusual<A: Arrived>(frame: &A) -> Option<u32> {
    match walk(frame, settings::link(), &OnNtpPort) {
        Packet::Foreign => None,
        Packet::OtherPorts => judge_elsewhere(frame),
        Packet::Bad(reason) => Some(reason as u32),
        Packet::Datagram(datagram) => {
            let of_another_port = datagram.source_port != ntp::PORT;
            let elsewhere = of_another_port.then(|| judge_elsewhere(frame)).flatten();
            Some(elsewhere.unwrap_or_else(|| judge_datagram(frame, &datagram)))
        }
    }
}

/// Judges a datagram of nobody who is asked elsewhere.
#[inline(always)]
fn judge_datagram<A: Arrived>(frame: &A, datagram: &Datagram) -> u32 {
    match screen(frame, datagram, settings::link(), false, &KernelTables) {
        Ok(part) => decide_in_part(frame, datagram, part),
        Err(reason) => reason as u32,
    }
}

/// Has a datagram that may play its part judged in the function apart of its family.
#[inline(always)]
fn decide_in_part<A: Arrived>(frame: &A, datagram: &Datagram, part: Part) -> u32 {
    let (place, ports) = apart::pack(datagram);
    let reason = frame.decide(datagram.family, place, ports, apart::pack_part(part));
    // The compiler knows how large the number can be. The verifier does not, and wants to see it
    // bounded before it is a place.
    black_box(reason)
}

/// Judges a frame that comes from a server that is asked elsewhere; `None` for any other.
///
/// It is walked again for that, in a function apart: what the walk found already would have to be
/// kept over the look at the port, and cost all packets.
#[inline(always)]
fn judge_elsewhere<A: Arrived>(frame: &A) -> Option<u32> {
    if !settings::looks_at_other_ports() {
        return None;
    }
    let found = frame.find();
    if found == apart::NOTHING {
        return None;
    }
    let screened = frame.screen(found);
    if screened == apart::NOBODYS {
        return None;
    }
    let reason = match apart::unpack_screened(screened) {
        Some((ports, part)) => frame.decide(apart::family(found), found, ports, part),
        None => screened as u32,
    };
    Some(black_box(reason))
}

/// The function apart of [`Arrived::find`].
#[inline(always)]
fn find_apart<F: Frame>(frame: &F) -> u64 {
    match walk(frame, settings::link(), &OnAnyPort) {
        Packet::Datagram(datagram) if KernelTables.may_be_asked_at(datagram.source_port) => {
            apart::pack_found(&datagram)
        }
        _ => apart::NOTHING,
    }
}

/// The function apart of [`Arrived::screen`]. What it leaves to be decided is not decided in it, as
/// its stack would come on top.
#[inline(always)]
fn screen_apart<F: Frame>(frame: &F, found: u64) -> u64 {
    let datagram = apart::unpack_found(frame, found);
    if !is_asked(frame, &datagram, Far::Source, &KernelTables) {
        return apart::NOBODYS;
    }
    let flaw = apart::flaw(found);
    if flaw != 0 {
        return flaw;
    }
    match screen(frame, &datagram, settings::link(), true, &KernelTables) {
        Ok(part) => apart::pack_screened(&datagram, part),
        Err(reason) => reason as u64,
    }
}

/// The second half of [`judge`], for a datagram from an address of which something may be known.
#[inline(always)]
fn decide_apart<A: InMaps, F: Frame>(frame: &F, datagram: &Datagram, part: u64) -> u32 {
    let reason = decide::<A, _, _, _>(
        frame,
        datagram,
        apart::unpack_part(part),
        &KernelClocks,
        settings::limits(),
        &KernelTables,
    );
    recorder::record_reply::<A, _>(frame, datagram, reason);
    reason as u32
}

impl Arrived for XdpFrame {
    const ACTIONS: Actions = Actions::XDP;

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
        match family {
            Family::V4 => ntpguard_decide4(context, place, ports, part),
            Family::V6 => ntpguard_decide6(context, place, ports, part),
        }
    }

    #[inline(always)]
    fn tell(&self, reason: u32) {
        ntpguard_tell(self.0.as_ptr().cast(), reason.into());
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_find(context: *mut xdp_md) -> u64 {
    find_apart(&XdpFrame(XdpContext::new(context)))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_screen(context: *mut xdp_md, found: u64) -> u64 {
    screen_apart(&XdpFrame(XdpContext::new(context)), found)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_decide4(context: *mut xdp_md, place: u64, ports: u64, part: u64) -> u32 {
    let datagram = apart::unpack(Family::V4, place, ports);
    decide_apart::<[u8; 4], _>(&XdpFrame(XdpContext::new(context)), &datagram, part)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_decide6(context: *mut xdp_md, place: u64, ports: u64, part: u64) -> u32 {
    let datagram = apart::unpack(Family::V6, place, ports);
    decide_apart::<[u8; 16], _>(&XdpFrame(XdpContext::new(context)), &datagram, part)
}

impl Arrived for ArrivedFrame {
    const ACTIONS: Actions = Actions::TC;

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
        match family {
            Family::V4 => ntpguard_tc_decide4(context, place, ports, part),
            Family::V6 => ntpguard_tc_decide6(context, place, ports, part),
        }
    }

    #[inline(always)]
    fn tell(&self, reason: u32) {
        ntpguard_tc_tell(self.0.0.as_ptr().cast(), reason.into());
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_tc_find(context: *mut __sk_buff) -> u64 {
    find_apart(&arrived(context))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_tc_screen(context: *mut __sk_buff, found: u64) -> u64 {
    screen_apart(&arrived(context), found)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_tc_decide4(
    context: *mut __sk_buff,
    place: u64,
    ports: u64,
    part: u64,
) -> u32 {
    let datagram = apart::unpack(Family::V4, place, ports);
    decide_apart::<[u8; 4], _>(&arrived(context), &datagram, part)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_tc_decide6(
    context: *mut __sk_buff,
    place: u64,
    ports: u64,
    part: u64,
) -> u32 {
    let datagram = apart::unpack(Family::V6, place, ports);
    decide_apart::<[u8; 16], _>(&arrived(context), &datagram, part)
}

#[inline(always)]
const fn arrived(context: *mut __sk_buff) -> ArrivedFrame {
    ArrivedFrame(SkbFrame(TcContext::new(context)))
}
