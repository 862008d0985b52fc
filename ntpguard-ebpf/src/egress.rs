//! What leaves is noted, and never touched.

use aya_ebpf::{
    EbpfContext as _,
    bindings::TC_ACT_UNSPEC,
    helpers::{bpf_get_current_comm, generated::bpf_skb_cgroup_id},
    macros::classifier,
    programs::TcContext,
};
use ntpguard_common::{
    outbound::{Noted, note},
    requests::Stray,
    tables::EXPLAIN_BASE,
};

use crate::{frame::SkbFrame, maps, settings};

/// Programs that come after this one have their turn: `TC_ACT_UNSPEC` is `TCX_NEXT`.
const NEXT: i32 = TC_ACT_UNSPEC;

#[classifier]
fn ntpguard_egress(context: TcContext) -> i32 {
    let frame = SkbFrame(context);
    let limits = settings::limits();
    let noted = note(
        &frame,
        || is_trusted(&frame.0),
        settings::now,
        limits,
        &maps::KernelTables,
    );
    match noted {
        Noted::Nothing => return NEXT,
        Noted::Trusted => maps::count_request(|requests| requests.trusted += 1),
        Noted::Granted => maps::count_request(|requests| requests.granted += 1),
        Noted::Ungranted(server) => {
            maps::count_request(|requests| requests.ungranted += 1);
            remember_stray(&frame.0, server);
        }
    }
    if settings::explains() {
        return explain(noted);
    }
    NEXT
}

/// The place of an outcome in the enumeration, for test runs.
#[inline(always)]
const fn explain(noted: Noted) -> i32 {
    let number = match noted {
        Noted::Nothing => 0,
        Noted::Trusted => 1,
        Noted::Granted => 2,
        Noted::Ungranted(_) => 3,
    };
    EXPLAIN_BASE.cast_signed() + number
}

/// Whether the process that sent this frame is trusted: by its cgroup and, where that was asked
/// for, by the uid that made its socket.
#[inline(always)]
fn is_trusted(context: &TcContext) -> bool {
    if maps::is_teacher(cgroup(context)) {
        return true;
    }
    settings::trusts_uids() && maps::is_teacher_uid(context.get_socket_uid())
}

/// The number of the sender's cgroup; 0 for what no socket here sent.
#[inline(always)]
fn cgroup(context: &TcContext) -> u64 {
    // SAFETY: the context is the kernel's.
    unsafe { bpf_skb_cgroup_id(context.as_ptr().cast()) }
}

#[inline(always)]
fn remember_stray(context: &TcContext, server: [u8; 16]) {
    let stray = Stray {
        server,
        cgroup: cgroup(context),
    };
    // What is forwarded is sent by whatever process happens to run.
    let has_process = settings::names_process() && stray.cgroup != 0;
    maps::remember_stray(&stray, settings::now(), || {
        if has_process {
            bpf_get_current_comm().unwrap_or_default()
        } else {
            [0; 16]
        }
    });
}
