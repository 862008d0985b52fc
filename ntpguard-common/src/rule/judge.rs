//! The rule: which packets of NTP's are admitted.

use super::{arrival::judge_arrived, policy::Policy, stages::Inline};
use crate::{clock::Clocks, maps::lookup::Tables, reason::Verdict, wire::frame::Frame};

/// How long a new guard admits replies to requests that it may have missed, in nanoseconds.
pub const WARM_UP: u64 = 5_000_000_000;

/// Judges a frame that arrives at this host, all of it here.
///
/// Where several reasons to drop a packet hold, the first in this order is given: `header-chain`,
/// `malformed`, `fragment`, `length` (of UDP against IP), `coalesced`, `private`, `version`, `mode`, `length`
/// (for the mode), `unlisted`, `role`, `rate`, `late`, `oversize`, `zero-origin`, `origin`, `unsolicited`.
#[inline(always)]
pub fn judge<F, C, T>(frame: &F, clocks: &C, policy: Policy, tables: &T) -> Verdict
where
    F: Frame + ?Sized,
    C: Clocks,
    T: Tables,
{
    judge_arrived(&Inline {
        frame,
        clocks,
        policy,
        tables,
    })
}
