//! What arrives is judged.

use core::hint::black_box;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, xdp_md},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use ntpguard_common::{
    elsewhere::{Elsewhere as _, Far, find},
    frame::Frame,
    judge::{decide, screen},
    packet::{Datagram, Family, Packet, walk},
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

    /// Finds the datagram of a server that is asked elsewhere, if one is at this source port, in a
    /// function apart; what [`apart::unpack_found`] takes.
    fn find_elsewhere(&self, port: u64) -> u64;

    /// Judges a datagram in the function apart of its family, and gives the number of the reason: see
    /// [`apart`].
    fn decide(&self, family: Family, place: u64, ports: u64, part: u64) -> u32;

    /// Tells that the frame was judged for the reason of this number, in a function apart too.
    fn tell(&self, reason: u32);
}

/// As [`ntpguard_common::judge::judge`], with the recorder in the place of the verdict.
///
/// Where servers are asked at other ports, UDP of other ports is walked again in a function apart if
/// its port is one of theirs: kept over the look at it, what the walk found would cost all packets.
#[inline(always)]
fn judge<A: Arrived>(frame: &A) -> u32 {
    let link = settings::link();
    let reason = match walk(frame, link) {
        Packet::Foreign => return A::ACTIONS.pass,
        Packet::OtherPort(datagram, _) => match judge_elsewhere(frame, datagram.source_port) {
            Some(reason) => reason,
            None => return A::ACTIONS.pass,
        },
        Packet::Bad(reason) => reason as u32,
        Packet::Datagram(datagram) => match screen(frame, &datagram, link, &KernelTables) {
            Ok(part) => {
                let (place, ports) = apart::pack(&datagram);
                let part = apart::pack_part(part);
                // The compiler knows how large the number can be. The verifier does not, and wants
                // to see it bounded before it is a place.
                black_box(frame.decide(datagram.family, place, ports, part))
            }
            Err(reason) => reason as u32,
        },
    };
    // Here and not in the functions apart, whose stack comes on top of that of whatever they call.
    recorder::record(reason, A::ACTIONS, || frame.tell(reason))
}

/// Judges UDP of other ports; `None` where it is not NTP's.
#[inline(always)]
fn judge_elsewhere<A: Arrived>(frame: &A, port: u16) -> Option<u32> {
    if !settings::looks_at_other_ports() {
        return None;
    }
    match apart::unpack_found(frame, frame.find_elsewhere(port.into()))? {
        Ok((datagram, part)) => {
            let (place, ports) = apart::pack(&datagram);
            Some(black_box(frame.decide(datagram.family, place, ports, part)))
        }
        Err(reason) => Some(reason),
    }
}

/// The walk to a datagram of a server that is asked elsewhere, if one is at this source port, and the
/// part that it plays.
#[inline(always)]
fn find_apart<F: Arrived>(frame: &F, port: u64) -> u64 {
    if !KernelTables.may_be_asked_at(port as u16) {
        return apart::NOT_FOUND;
    }
    let link = settings::link();
    match find(frame, link, Far::Source, &KernelTables) {
        Packet::Foreign | Packet::OtherPort(..) => apart::NOT_FOUND,
        Packet::Bad(reason) => apart::pack_flaw(reason),
        Packet::Datagram(datagram) => match screen(frame, &datagram, link, &KernelTables) {
            Ok(part) => apart::pack_found(&datagram, part),
            Err(reason) => apart::pack_flaw(reason),
        },
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
    fn find_elsewhere(&self, port: u64) -> u64 {
        ntpguard_find(self.0.as_ptr().cast(), port)
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
extern "C" fn ntpguard_find(context: *mut xdp_md, port: u64) -> u64 {
    find_apart(&XdpFrame(XdpContext::new(context)), port)
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
    fn find_elsewhere(&self, port: u64) -> u64 {
        ntpguard_tc_find(self.0.0.as_ptr().cast(), port)
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
extern "C" fn ntpguard_tc_find(context: *mut __sk_buff, port: u64) -> u64 {
    find_apart(&arrived(context), port)
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
