//! The capabilities that guarding takes (capabilities(7)).

use caps::{CapSet, Capability, CapsHashSet, runtime};

use super::ConfineError;

/// What else than the usual a guard has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It looks through all programs of the kernel, for one that another attaches.
    pub sees_all_programs: bool,
}

/// To load programs, to attach them, to look for daemons (`/proc/PID/exe` of another user's process),
/// and to read their files.
const KEPT: [Capability; 5] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
];

/// Drops all others from every set, and says what could not be dropped.
pub(super) fn drop_others(needs: Needs) -> Vec<ConfineError> {
    let supported = runtime::thread_all_supported();
    keep(&kept(needs, &supported), &supported)
}

/// Drops all from every set, and says what could not be dropped.
pub(super) fn drop_all() -> Vec<ConfineError> {
    keep(&CapsHashSet::new(), &runtime::thread_all_supported())
}

fn keep(kept: &CapsHashSet, supported: &CapsHashSet) -> Vec<ConfineError> {
    let mut failed = Vec::new();
    // First, as it takes a capability that goes with the others.
    let mut bounding = Ok(());
    for capability in supported - kept {
        bounding = bounding.and(caps::drop(None, CapSet::Bounding, capability));
    }
    let mut note = |what, result: Result<(), caps::errors::CapsError>| {
        failed.extend(
            result
                .err()
                .map(|source| ConfineError::Capabilities { what, source }),
        );
    };
    // Without CAP_SETPCAP the bounding set stays, and is worth nothing: no program is executed.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        note("the bounding set", bounding);
    }
    note("ambient capabilities", caps::clear(None, CapSet::Ambient));
    for (what, set) in [
        ("effective capabilities", CapSet::Effective),
        ("permitted capabilities", CapSet::Permitted),
    ] {
        let reduced = caps::read(None, set).and_then(|held| caps::set(None, set, &(&held & kept)));
        note(what, reduced);
    }
    note(
        "inheritable capabilities",
        caps::clear(None, CapSet::Inheritable),
    );
    failed
}

/// Before Linux 5.8 (kernel commit a17b53c4a4b5) `CAP_SYS_ADMIN` is the capability of BPF.
fn kept(needs: Needs, supported: &CapsHashSet) -> CapsHashSet {
    let mut kept: CapsHashSet = KEPT.into_iter().collect();
    if needs.sees_all_programs || !supported.contains(&Capability::CAP_BPF) {
        kept.insert(Capability::CAP_SYS_ADMIN);
    }
    &kept & supported
}

/// The names in a set, as /proc shows it: a hexadecimal number, a bit for each.
pub(super) fn names(set: &str) -> Vec<String> {
    let bits = u64::from_str_radix(set, 16).unwrap_or(0);
    let mut held: Vec<Capability> = caps::all()
        .into_iter()
        .filter(|capability| bits & capability.bitmask() != 0)
        .collect();
    held.sort_by_key(Capability::index);
    held.iter()
        .map(|capability| capability.to_string().replacen("CAP_", "", 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_leave_the_capability_that_bpf_takes_there() {
        let all = caps::all();
        let old: CapsHashSet = all
            .iter()
            .copied()
            .filter(|capability| capability.index() < Capability::CAP_PERFMON.index())
            .collect();
        let admin = Capability::CAP_SYS_ADMIN;
        assert!(kept(Needs::default(), &old).contains(&admin));
        assert!(!kept(Needs::default(), &all).contains(&admin));
        let sees = Needs {
            sees_all_programs: true,
        };
        assert!(kept(sees, &all).contains(&admin));
        assert_eq!(kept(Needs::default(), &all).len(), KEPT.len());
    }
}
