//! What libxdp is to know of the program when it chains it with others: its place, and after which
//! of its answers the next one has its turn. It reads the types alone.

use core::ptr;

/// Members as libxdp names them; a number is the length of an array.
#[repr(C)]
#[expect(non_snake_case, reason = "libxdp's names")]
struct RunConfig {
    priority: *const [i32; 20],
    XDP_PASS: *const [i32; 1],
}

// SAFETY: nobody follows the pointers, which are null.
unsafe impl Sync for RunConfig {}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".xdp_run_config")]
static _ingress: RunConfig = RunConfig {
    priority: ptr::null(),
    XDP_PASS: ptr::null(),
};
