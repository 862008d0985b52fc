//! What arrives is judged: the programs, and the stages of the judge as BPF subprograms.

use core::hint::black_box;

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use ntpguard_common::{
    reason::Reason,
    rule::{
        arrival::{judge_arrived, judge_whole},
        decide::decide,
        packed,
        refuse::{Refused, refuse},
        stages::{Arrived, find, gather, look_inside, screen_found},
    },
    wire::{
        frame::Frame,
        packet::{Datagram, Family, Link},
    },
};

use crate::{
    clock::KernelClocks,
    events::{ntpguard_tc_tell, ntpguard_tell, ntpguard_whole_tell},
    frame::{ArrivedFrame, KernelFrame, SkbFrame, WholeFrame, XdpFrame},
    maps::{InMaps, KernelTables},
    recorder::{self, Actions},
    settings,
};

/// For drivers that hand over jumbo frames in several buffers (Linux 5.18).
#[xdp(frags)]
fn ingress(context: XdpContext) -> u32 {
    judge_arrived(&FirstBuffer(XdpFrame(context)))
}

/// For kernels and drivers that refuse the former: they hand over one buffer.
#[xdp]
fn ingress_linear(context: XdpContext) -> u32 {
    judge_arrived(&XdpFrame(context))
}

/// For interfaces whose XDP hook is somebody else's. The stack has moved the outermost VLAN tag out
/// of the frame by then (`skb_vlan_untag`), so that the parser can step over one more.
#[classifier]
#[inline(always)]
fn ntpguard_ingress(context: TcContext) -> i32 {
    judge_arrived(&ArrivedFrame(SkbFrame(context))).cast_signed()
}

/// The number of a reason that a subprogram gave. The compiler knows how large it can be. The verifier
/// does not, and wants to see it bounded before it is a place.
#[inline(always)]
fn unknown(reason: u32) -> u32 {
    black_box(reason)
}

/// The stage that decides, for a datagram from an address of which something may be known. What its
/// server says is recorded with it.
#[inline(always)]
fn decide_and_record<A: InMaps, F: Frame>(frame: &F, datagram: &Datagram, class: u64) -> u32 {
    let reason = decide::<A, _, _, _>(
        frame,
        datagram,
        packed::unpack_class(class),
        &KernelClocks,
        settings::policy(),
        &KernelTables,
    );
    recorder::record_reply::<A, _>(frame, datagram, reason);
    reason as u32
}

/// The stage that takes up what was refused. What a server says in a long reply is recorded with it.
#[inline(always)]
fn refuse_and_record<A: InMaps, F: Frame>(frame: &F, datagram: &Datagram, refused: u64) -> u32 {
    let (class, Some(reason)) = packed::unpack_refusal(refused) else {
        return Reason::Malformed as u32;
    };
    let reason = refuse::<A, _, _, _>(
        frame,
        datagram,
        Refused { class, reason },
        &KernelClocks,
        settings::policy(),
        &KernelTables,
    );
    recorder::record_reply::<A, _>(frame, datagram, reason);
    reason as u32
}

/// The stages of the judge for one kind of frame, each in a subprogram of its own: for another kind
/// they are other code.
macro_rules! subprograms {
    (
        $frame:ty, $context:ty, $actions:expr, $tell:ident:
        $find:ident, $screen:ident, $inside:ident, $decide4:ident, $decide6:ident,
        $refuse4:ident, $refuse6:ident
        $(, gather $gather:ident)?
    ) => {
        impl Arrived for $frame {
            /// The number of an action.
            type Outcome = u32;
            type Frame = Self;
            type Tables = KernelTables;

            #[inline(always)]
            fn frame(&self) -> &Self {
                self
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
            fn pass(&self) -> u32 {
                $actions.pass
            }

            #[inline(always)]
            fn record(&self, reason: u32) -> u32 {
                recorder::record(reason, $actions, || {
                    $tell(self.context(), reason.into());
                })
            }

            #[inline(always)]
            fn find(&self) -> u64 {
                $find(self.context())
            }

            #[inline(always)]
            fn screen(&self, found: u64) -> u64 {
                $screen(self.context(), found)
            }

            #[inline(always)]
            fn look_inside(&self, inner: u64) -> u64 {
                $inside(self.context(), inner)
            }

            $(
                #[inline(always)]
                fn gather(&self) -> u64 {
                    $gather(self.context())
                }
            )?

            #[inline(always)]
            fn decide(&self, family: Family, place: u64, ports: u64, class: u64) -> u32 {
                unknown(match family {
                    Family::V4 => $decide4(self.context(), place, ports, class),
                    Family::V6 => $decide6(self.context(), place, ports, class),
                })
            }

            #[inline(always)]
            fn refuse(&self, family: Family, place: u64, ports: u64, refused: u64) -> u32 {
                unknown(match family {
                    Family::V4 => $refuse4(self.context(), place, ports, refused),
                    Family::V6 => $refuse6(self.context(), place, ports, refused),
                })
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $find(context: *mut $context) -> u64 {
            find(&<$frame>::of(context), settings::link(), &KernelTables)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $screen(context: *mut $context, found: u64) -> u64 {
            screen_found(
                &<$frame>::of(context),
                found,
                settings::link(),
                &KernelTables,
            )
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $inside(context: *mut $context, inner: u64) -> u64 {
            look_inside(&<$frame>::of(context), inner, &KernelTables)
        }

        $(
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $gather(context: *mut $context) -> u64 {
                gather(&<$frame>::of(context), settings::link())
            }
        )?

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $decide4(context: *mut $context, place: u64, ports: u64, class: u64) -> u32 {
            let datagram = packed::unpack(Family::V4, place, ports);
            decide_and_record::<[u8; 4], _>(&<$frame>::of(context), &datagram, class)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $decide6(context: *mut $context, place: u64, ports: u64, class: u64) -> u32 {
            let datagram = packed::unpack(Family::V6, place, ports);
            decide_and_record::<[u8; 16], _>(&<$frame>::of(context), &datagram, class)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $refuse4(
            context: *mut $context,
            place: u64,
            ports: u64,
            refused: u64,
        ) -> u32 {
            let datagram = packed::unpack(Family::V4, place, ports);
            refuse_and_record::<[u8; 4], _>(&<$frame>::of(context), &datagram, refused)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $refuse6(
            context: *mut $context,
            place: u64,
            ports: u64,
            refused: u64,
        ) -> u32 {
            let datagram = packed::unpack(Family::V6, place, ports);
            refuse_and_record::<[u8; 16], _>(&<$frame>::of(context), &datagram, refused)
        }
    };
}

subprograms! {
    XdpFrame, xdp_md, Actions::XDP, ntpguard_tell:
    ntpguard_find, ntpguard_screen, ntpguard_inside, ntpguard_decide4, ntpguard_decide6,
    ntpguard_refuse4, ntpguard_refuse6
}

subprograms! {
    WholeFrame, xdp_md, Actions::XDP, ntpguard_whole_tell:
    ntpguard_whole_find, ntpguard_whole_screen, ntpguard_whole_inside,
    ntpguard_whole_decide4, ntpguard_whole_decide6,
    ntpguard_whole_refuse4, ntpguard_whole_refuse6, gather ntpguard_whole_gather
}

subprograms! {
    ArrivedFrame, __sk_buff, Actions::TC, ntpguard_tc_tell:
    ntpguard_tc_find, ntpguard_tc_screen, ntpguard_tc_inside,
    ntpguard_tc_decide4, ntpguard_tc_decide6,
    ntpguard_tc_refuse4, ntpguard_tc_refuse6
}

/// A frame of which the first buffer is read, as long as that has what is looked for: nearly always. Of
/// any other all is read, in a subprogram that has the other stages as its own.
struct FirstBuffer(XdpFrame);

impl Arrived for FirstBuffer {
    type Outcome = u32;
    type Frame = XdpFrame;
    type Tables = KernelTables;

    const MAY_HOLD_MORE: bool = true;

    #[inline(always)]
    fn frame(&self) -> &XdpFrame {
        &self.0
    }

    #[inline(always)]
    fn link(&self) -> Link {
        self.0.link()
    }

    #[inline(always)]
    fn tables(&self) -> &KernelTables {
        self.0.tables()
    }

    #[inline(always)]
    fn pass(&self) -> u32 {
        self.0.pass()
    }

    #[inline(always)]
    fn record(&self, reason: u32) -> u32 {
        recorder::record(reason, Actions::XDP, || {
            ntpguard_whole_tell(self.0.context(), reason.into());
        })
    }

    #[inline(always)]
    fn find(&self) -> u64 {
        self.0.find()
    }

    #[inline(always)]
    fn screen(&self, found: u64) -> u64 {
        self.0.screen(found)
    }

    #[inline(always)]
    fn look_inside(&self, inner: u64) -> u64 {
        self.0.look_inside(inner)
    }

    #[inline(always)]
    fn decide(&self, family: Family, place: u64, ports: u64, class: u64) -> u32 {
        self.0.decide(family, place, ports, class)
    }

    #[inline(always)]
    fn refuse(&self, family: Family, place: u64, ports: u64, refused: u64) -> u32 {
        self.0.refuse(family, place, ports, refused)
    }

    #[inline(always)]
    fn judge_whole(&self) -> u32 {
        unknown(ntpguard_whole(self.0.context()))
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ntpguard_whole(context: *mut xdp_md) -> u32 {
    judge_whole(&WholeFrame::of(context))
}
