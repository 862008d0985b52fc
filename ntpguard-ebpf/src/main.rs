//! The kernel half of ntpguard: it hands each packet to the judge and does what the judge says.

#![no_std]
#![no_main]

mod frame;
mod maps;
mod recorder;

use aya_ebpf::{
    Global, bindings::xdp_action::XDP_PASS, helpers::bpf_ktime_get_boot_ns, macros::xdp,
    programs::XdpContext,
};
use ntpguard_common::{
    judge::{Limits, Verdict, judge},
    packet::Link,
};

use crate::{frame::XdpFrame, maps::KernelTables, recorder::Mode};

/// 0 an Ethernet header, 1 a bare IP header.
#[unsafe(no_mangle)]
static LINK: Global<u8> = Global::new(0);

/// 0 enforce, 1 monitor.
#[unsafe(no_mangle)]
static MODE: Global<u8> = Global::new(0);

/// 1 makes the return value carry the reason; for test runs only, never to be attached.
#[unsafe(no_mangle)]
static EXPLAIN: Global<u8> = Global::new(0);

/// For drivers that hand over jumbo frames in several buffers (Linux 5.18).
#[xdp(frags)]
fn ingress(context: XdpContext) -> u32 {
    judge_frame(&XdpFrame(context))
}

/// For kernels and drivers that refuse the former.
#[xdp]
fn ingress_linear(context: XdpContext) -> u32 {
    judge_frame(&XdpFrame(context))
}

#[inline(always)]
fn judge_frame(frame: &XdpFrame) -> u32 {
    let limits = Limits {
        link: if LINK.load() == 0 {
            Link::Ethernet
        } else {
            Link::RawIp
        },
    };
    match judge(frame, boot_seconds, &limits, &KernelTables) {
        Verdict::Foreign => XDP_PASS,
        Verdict::Judged(reason) => {
            let mode = if MODE.load() == 0 {
                Mode::Enforce
            } else {
                Mode::Monitor
            };
            recorder::record(reason, mode, EXPLAIN.load() != 0)
        }
    }
}

#[inline(always)]
fn boot_seconds() -> u32 {
    // SAFETY: the helper takes nothing and reads a clock.
    (unsafe { bpf_ktime_get_boot_ns() } / 1_000_000_000) as u32
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The kernel lends its helpers to programs under the GPL only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
