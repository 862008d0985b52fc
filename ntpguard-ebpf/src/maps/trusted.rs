//! Who is trusted to send requests.

use ntpguard_common::maps::trusted::Depths;

use super::{INFO, TRUSTED_CGROUPS, TRUSTED_UIDS, only};

/// The depths at which there are trusted cgroups.
#[inline(always)]
pub(crate) fn trusted_depths() -> Depths {
    Depths(only(&INFO).map_or(0, |info| info.depths))
}

/// Whether senders of `uid` in this cgroup are trusted.
#[inline(always)]
pub(crate) fn is_trusted_cgroup(cgroup: u64, uid: impl Fn() -> u32) -> bool {
    // SAFETY: nothing writes the value while it is in the map, and it is freed only after this
    // program's RCU section.
    unsafe { TRUSTED_CGROUPS.get(cgroup) }.is_some_and(|trusted| trusted.trusts(uid))
}

/// Whether senders of this uid are trusted.
#[inline(always)]
pub(crate) fn is_trusted_uid(uid: u32) -> bool {
    TRUSTED_UIDS.get_ptr(uid).is_some()
}
