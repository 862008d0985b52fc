//! What leaves is tracked, and never touched.

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
        requests::UngrantedKey,
        tables::{EXPLAIN_BASE, Role},
    },
    rule::{
        outbound::track_leaving,
        packed,
        stages::{Leaving, look},
        track::{Tracked, track_request},
    },
    wire::packet::{Datagram, Family, Link},
};

use crate::{
    clock::KernelClocks,
    frame::{LinearFrame, SkbFrame},
    maps::{self, InMaps, KernelTables, trusted},
    settings,
};

/// Programs that come after this one have their turn: `TC_ACT_UNSPEC` is `TCX_NEXT`.
const NEXT: i32 = TC_ACT_UNSPEC;

#[classifier]
fn ntpguard_egress(context: TcContext) -> i32 {
    track_leaving(&LeavingFrame::new(context))
}

/// A frame that leaves, and the stages by which it is tracked as BPF subprograms.
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
    type FastFrame = LinearFrame;
    type Frame = SkbFrame;
    type Tables = KernelTables;

    #[inline(always)]
    fn fast_frame(&self) -> &LinearFrame {
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
    fn track(&self, family: Family, place: u64, ports: u64) -> i32 {
        let context = self.whole.0.as_ptr().cast();
        match family {
            Family::V4 => ntpguard_note4(context, place, ports),
            Family::V6 => ntpguard_note6(context, place, ports),
        }
    }
}

/// Tracks what may be a request.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_note(context: *mut __sk_buff) -> i32 {
    look(&LeavingFrame::new(TcContext::new(context)))
}

/// Tracks a request over IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_note4(context: *mut __sk_buff, place: u64, ports: u64) -> i32 {
    track::<[u8; 4]>(context, &packed::unpack(Family::V4, place, ports))
}

/// The same over IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_note6(context: *mut __sk_buff, place: u64, ports: u64) -> i32 {
    track::<[u8; 16]>(context, &packed::unpack(Family::V6, place, ports))
}

#[inline(always)]
fn track<A: InMaps>(context: *mut __sk_buff, datagram: &Datagram) -> i32 {
    let frame = SkbFrame(TcContext::new(context));
    let tracked = track_request::<A, _, _, _>(
        &frame,
        datagram,
        || is_trusted(&frame.0),
        &KernelClocks,
        settings::policy(),
        &KernelTables,
    );
    match tracked {
        Tracked::Nothing => return NEXT,
        Tracked::Trusted => maps::count_request(|requests| requests.trusted += 1),
        Tracked::Granted => maps::count_request(|requests| requests.granted += 1),
        Tracked::Ungranted(server) => {
            maps::count_request(|requests| requests.ungranted += 1);
            remember_ungranted(&frame.0, server, Role::Server);
        }
        Tracked::Control(server) => remember_ungranted(&frame.0, server, Role::Control),
    }
    if settings::returns_reason() {
        return explain(tracked);
    }
    NEXT
}

/// The place of an outcome in the enumeration, for test runs.
#[inline(always)]
const fn explain(tracked: Tracked) -> i32 {
    let number = match tracked {
        Tracked::Nothing => 0,
        Tracked::Trusted => 1,
        Tracked::Granted => 2,
        Tracked::Ungranted(_) => 3,
        Tracked::Control(_) => 4,
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
    let is_trusted_cgroup = |depth| trusted::is_trusted_cgroup(cgroup_at(&context, depth), uid);
    let is_trusted = trusted::trusted_depths().any(is_trusted_cgroup)
        || settings::trusts_uids() && trusted::is_trusted_uid(uid());
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
fn remember_ungranted(context: &TcContext, server: [u8; 16], role: Role) {
    let key = UngrantedKey {
        server,
        cgroup: cgroup(context),
        role: role.bit(),
        reserved: 0,
    };
    // What is forwarded is sent by whatever process happens to run.
    let has_process = settings::names_process() && key.cgroup != 0;
    maps::remember_ungranted(&key, KernelClocks.tick(), || {
        if has_process {
            bpf_get_current_comm().unwrap_or_default()
        } else {
            [0; 16]
        }
    });
}
