//! The kernel half of ntpguard: it hands each packet to the judge and does what the judge says.

#![no_std]
#![no_main]
// For one instruction; aya-ebpf needs it as well.
#![feature(asm_experimental_arch)]

mod clock;
mod egress;
mod events;
mod frame;
mod ingress;
mod libxdp;
mod maps;
mod recorder;
mod settings;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The kernel lends its helpers to programs under the GPL only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
