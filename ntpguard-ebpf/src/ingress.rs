//! What arrives is judged.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{xdp_action::XDP_PASS, xdp_md},
    macros::xdp,
    programs::XdpContext,
};
use ntpguard_common::{
    judge::{decide, screen},
    packet::{Datagram, Family, Packet, walk},
};

use crate::{
    apart,
    frame::XdpFrame,
    maps::{InMaps, KernelTables},
    recorder,
    settings::{self, KernelClocks},
};

/// For drivers that hand over jumbo frames in several buffers (Linux 5.18).
#[xdp(frags)]
fn ingress(context: XdpContext) -> u32 {
    judge(context)
}

/// For kernels and drivers that refuse the former.
#[xdp]
fn ingress_linear(context: XdpContext) -> u32 {
    judge(context)
}

/// As [`ntpguard_common::judge::judge`], with the recorder in the place of the verdict.
#[inline(always)]
fn judge(context: XdpContext) -> u32 {
    let frame = XdpFrame(context);
    let link = settings::link();
    let datagram = match walk(&frame, link) {
        Packet::Foreign => return XDP_PASS,
        Packet::Bad(reason) => return recorder::record(reason),
        Packet::Datagram(datagram) => datagram,
    };
    match screen(&frame, &datagram, link, &KernelTables) {
        Ok(part) => {
            let (place, ports) = apart::pack(&datagram);
            let part = apart::pack_part(part);
            let context = frame.0.as_ptr().cast();
            match datagram.family {
                Family::V4 => ntpguard_decide4(context, place, ports, part),
                Family::V6 => ntpguard_decide6(context, place, ports, part),
            }
        }
        Err(reason) => recorder::record(reason),
    }
}

/// Judges a datagram from an IPv4 address of which something may be known.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_decide4(context: *mut xdp_md, place: u64, ports: u64, part: u64) -> u32 {
    let datagram = apart::unpack(Family::V4, place, ports);
    decide_apart::<[u8; 4]>(context, &datagram, part)
}

/// The same of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_decide6(context: *mut xdp_md, place: u64, ports: u64, part: u64) -> u32 {
    let datagram = apart::unpack(Family::V6, place, ports);
    decide_apart::<[u8; 16]>(context, &datagram, part)
}

#[inline(always)]
fn decide_apart<A: InMaps>(context: *mut xdp_md, datagram: &Datagram, part: u64) -> u32 {
    let frame = XdpFrame(XdpContext::new(context));
    let reason = decide::<A, _, _, _>(
        &frame,
        datagram,
        apart::unpack_part(part),
        &KernelClocks,
        settings::limits(),
        &KernelTables,
    );
    recorder::record_reply::<A, _>(&frame, datagram, reason);
    recorder::record(reason)
}
