//! What arrives is judged.

use aya_ebpf::{bindings::xdp_action::XDP_PASS, macros::xdp, programs::XdpContext};
use ntpguard_common::{
    judge::rule,
    packet::{Packet, walk},
};

use crate::{frame::XdpFrame, maps::KernelTables, recorder, settings};

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

/// As [`ntpguard_common::judge::judge`], with the recorder in the place of the verdict.
#[inline(always)]
fn judge(frame: &XdpFrame) -> u32 {
    let limits = settings::limits();
    match walk(frame, limits.link) {
        Packet::Foreign => XDP_PASS,
        Packet::Bad(reason) => recorder::record(reason),
        Packet::Datagram(datagram) => {
            let reason = rule(frame, &datagram, settings::now, limits, &KernelTables);
            recorder::record_reply(frame, &datagram, reason);
            recorder::record(reason)
        }
    }
}
