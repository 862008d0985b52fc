//! What leaves is noted, and never touched.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, TC_ACT_UNSPEC},
    helpers::{
        bpf_get_current_comm,
        generated::{bpf_skb_ancestor_cgroup_id, bpf_skb_cgroup_id},
    },
    macros::classifier,
    programs::TcContext,
};
use ntpguard_common::{
    clock::Clocks as _,
    maps::{
        requests::Stray,
        tables::{EXPLAIN_BASE, Role},
    },
    rule::{
        outbound::note_leaving,
        packed,
        stages::{Leaving, look},
        track::{Noted, note_request},
    },
    wire::packet::{Datagram, Family, Link},
};

use crate::{
    clock::KernelClocks,
    frame::{LinearFrame, SkbFrame},
    maps::{self, InMaps, KernelTables},
    settings,
};

/// Programs that come after this one have their turn: `TC_ACT_UNSPEC` is `TCX_NEXT`.
const NEXT: i32 = TC_ACT_UNSPEC;

#[classifier]
fn ntpguard_egress(context: TcContext) -> i32 {
    note_leaving(&LeavingFrame::new(context))
}

/// A frame that leaves, and the stages by which it is noted as BPF subprograms.
struct LeavingFrame {
    linear: LinearFrame,
    whole: SkbFrame,
}

impl LeavingFrame {
    #[inline(always)]
    fn new(context: TcContext) -> Self {
        Self {
            whole: SkbFrame(TcContext::new(context.as_ptr().cast())),
            linear: LinearFrame(context),
        }
    }
}

impl Leaving for LeavingFrame {
    /// An action of tc's.
    type Outcome = i32;
    type Glance = LinearFrame;
    type Frame = SkbFrame;
    type Tables = KernelTables;

    #[inline(always)]
    fn glance(&self) -> &LinearFrame {
        &self.linear
    }

    #[inline(always)]
    fn frame(&self) -> &SkbFrame {
        &self.whole
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
    fn pass(&self) -> i32 {
        NEXT
    }

    #[inline(always)]
    fn look(&self) -> i32 {
        ntpguard_note(self.whole.0.as_ptr().cast())
    }

    #[inline(always)]
    fn note(&self, family: Family, place: u64, ports: u64) -> i32 {
        let context = self.whole.0.as_ptr().cast();
        match family {
            Family::V4 => ntpguard_note4(context, place, ports),
            Family::V6 => ntpguard_note6(context, place, ports),
        }
    }
}

/// Notes what may be a request.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_note(context: *mut __sk_buff) -> i32 {
    look(&LeavingFrame::new(TcContext::new(context)))
}

/// Notes a request over IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_note4(context: *mut __sk_buff, place: u64, ports: u64) -> i32 {
    note::<[u8; 4]>(context, &packed::unpack(Family::V4, place, ports))
}

/// The same over IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_note6(context: *mut __sk_buff, place: u64, ports: u64) -> i32 {
    note::<[u8; 16]>(context, &packed::unpack(Family::V6, place, ports))
}

#[inline(always)]
fn note<A: InMaps>(context: *mut __sk_buff, datagram: &Datagram) -> i32 {
    let frame = SkbFrame(TcContext::new(context));
    let noted = note_request::<A, _, _, _>(
        &frame,
        datagram,
        || is_trusted(&frame.0),
        &KernelClocks,
        settings::limits(),
        &KernelTables,
    );
    match noted {
        Noted::Nothing => return NEXT,
        Noted::Trusted => maps::count_request(|requests| requests.trusted += 1),
        Noted::Granted => maps::count_request(|requests| requests.granted += 1),
        Noted::Ungranted(server) => {
            maps::count_request(|requests| requests.ungranted += 1);
            remember_stray(&frame.0, server, Role::Server);
        }
        Noted::Control(server) => remember_stray(&frame.0, server, Role::Control),
    }
    if settings::returns_reason() {
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
        Noted::Control(_) => 4,
    };
    EXPLAIN_BASE.cast_signed() + number
}

/// Whether the process that sent this frame is trusted.
#[inline(always)]
fn is_trusted(context: &TcContext) -> bool {
    ntpguard_trusts(context.as_ptr().cast()) != 0
}

/// 1 where the process that sent this frame is trusted: by its cgroup or one above it and, where that
/// was asked for, by the uid that made its socket. In a function of its own, since the verifier would
/// go on from each depth at which the search may end.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_trusts(context: *mut __sk_buff) -> u32 {
    let context = TcContext::new(context);
    let uid = || context.get_socket_uid();
    let is_teacher = |depth| maps::is_teacher(cgroup_at(&context, depth), uid);
    let is_trusted = maps::teacher_depths().any(is_teacher)
        || settings::trusts_uids() && maps::is_teacher_uid(uid());
    u32::from(is_trusted)
}

/// The number of the cgroup at this depth which the sender's own is or is below, where the root is at
/// 0; 0 where there is none.
#[inline(always)]
fn cgroup_at(context: &TcContext, depth: u32) -> u64 {
    // SAFETY: the context is the kernel's.
    unsafe { bpf_skb_ancestor_cgroup_id(context.as_ptr().cast(), depth.cast_signed()) }
}

/// The number of the sender's cgroup; 0 for what no socket here sent.
#[inline(always)]
fn cgroup(context: &TcContext) -> u64 {
    // SAFETY: the context is the kernel's.
    unsafe { bpf_skb_cgroup_id(context.as_ptr().cast()) }
}

#[inline(always)]
fn remember_stray(context: &TcContext, server: [u8; 16], role: Role) {
    let stray = Stray {
        server,
        cgroup: cgroup(context),
        role: role.bit(),
        reserved: 0,
    };
    // What is forwarded is sent by whatever process happens to run.
    let has_process = settings::names_process() && stray.cgroup != 0;
    maps::remember_stray(&stray, KernelClocks.tick(), || {
        if has_process {
            bpf_get_current_comm().unwrap_or_default()
        } else {
            [0; 16]
        }
    });
}
