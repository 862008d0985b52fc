//! What leaves this host: requests are tracked, so that their replies can be told from forgeries.

use super::{
    fast_path::is_plainly_foreign,
    policy::Policy,
    stages::{Inline, InlineLeaving, Leaving},
    track::Tracked,
};
use crate::{clock::Clocks, maps::lookup::Tracker, wire::frame::Frame};

/// Tracks a frame that leaves this host, if it is a request, all of it here. `is_trusted` says whether
/// its sender is; it is asked for requests alone.
#[inline(always)]
pub fn track<F, C, T>(
    frame: &F,
    is_trusted: impl Fn() -> bool,
    clocks: &C,
    policy: Policy,
    tracker: &T,
) -> Tracked
where
    F: Frame + ?Sized,
    C: Clocks,
    T: Tracker,
{
    track_leaving(&InlineLeaving {
        inline: Inline {
            frame,
            clocks,
            policy,
            tables: tracker,
        },
        is_trusted,
    })
}

/// Tracks a frame that leaves this host, in the stages of the caller. The kernel's program calls
/// this.
#[inline(always)]
pub fn track_leaving<L: Leaving>(leaving: &L) -> L::Outcome {
    if is_plainly_foreign(leaving.fast_frame(), leaving.link(), leaving.tables()) {
        leaving.pass()
    } else {
        leaving.look()
    }
}
