//! The interfaces as `INFO` names them.

use ntpguard_common::maps::tables::{Info, MAX_INTERFACES};

/// The interfaces that `INFO` names.
pub(in crate::datapath) fn guarded(info: &Info) -> Vec<u32> {
    let named = info.interfaces.iter().copied();
    named.filter(|index| *index != 0).collect()
}

/// The interfaces as `INFO` names them.
pub(in crate::datapath) fn interfaces(indices: impl Iterator<Item = u32>) -> [u32; MAX_INTERFACES] {
    let mut interfaces = [0; MAX_INTERFACES];
    for (place, index) in interfaces.iter_mut().zip(indices) {
        *place = index;
    }
    interfaces
}
