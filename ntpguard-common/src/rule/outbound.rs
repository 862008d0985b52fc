//! What leaves this host: requests are tracked, so that their replies can be told from forgeries.

use super::{
    fast_path::is_plainly_foreign,
    policy::Limits,
    stages::{Inline, InlineLeaving, Leaving},
    track::Noted,
};
use crate::{clock::Clocks, maps::lookup::Ledger, wire::frame::Frame};

/// Notes a frame that leaves this host, if it is a request, all of it here. `is_trusted` says whether
/// its sender is; it is asked for requests alone.
#[inline(always)]
pub fn note<F, C, T>(
    frame: &F,
    is_trusted: impl Fn() -> bool,
    clocks: &C,
    limits: Limits,
    ledger: &T,
) -> Noted
where
    F: Frame + ?Sized,
    C: Clocks,
    T: Ledger,
{
    note_leaving(&InlineLeaving {
        inline: Inline {
            frame,
            clocks,
            limits,
            tables: ledger,
        },
        is_trusted,
    })
}

/// Notes a frame that leaves this host, in the stages of whoever notes it. The kernel's program calls
/// this.
#[inline(always)]
pub fn note_leaving<L: Leaving>(leaving: &L) -> L::Outcome {
    if is_plainly_foreign(leaving.glance(), leaving.link(), leaving.tables()) {
        leaving.pass()
    } else {
        leaving.look()
    }
}
