//! Which cgroups and uids of senders are trusted where packets leave. A test run's sender is this
//! process, with root's uid.

use std::collections::{BTreeMap, BTreeSet};

use ntpguard_common::maps::{
    tables::EXPLAIN_BASE,
    trusted::{DEEPEST, TrustedCgroup, UIDS, UNKNOWN_DEPTH},
};

use super::harness::{framed, request};
use crate::datapath::{Hook, Settings, Tracking, Trial};

/// The number of the root cgroup, which every sender is below.
const ROOT: u64 = 1;

const USER: u32 = 1_500;

fn trial(trust_uids: bool) -> Trial {
    Trial::new(Settings {
        explain: true,
        tracking: Tracking {
            trust_uids,
            ..Tracking::default()
        },
        ..Settings::default()
    })
    .unwrap()
}

/// Whether a request is a trusted sender's.
fn is_trusted(trial: &mut Trial) -> bool {
    let frame = framed(&request("192.0.2.1"));
    let result = trial.run_tc(Hook::Egress, &frame, 1).unwrap();
    match result.return_value.checked_sub(EXPLAIN_BASE) {
        Some(1) => true,
        Some(3) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cgroup_is_trusted_for_its_uids_alone_unless_it_was_named() {
    let mut trial = trial(false);
    let mut trusts = |cgroup, cgroup_entry| {
        let trusted_cgroups = BTreeMap::from([(cgroup, cgroup_entry)]);
        trial
            .tables()
            .set_trusted_cgroups(&trusted_cgroups)
            .unwrap();
        is_trusted(&mut trial)
    };
    let of = |uids| TrustedCgroup {
        uids,
        ..TrustedCgroup::default()
    };
    for place in 0..UIDS {
        let mut uids = [USER; UIDS];
        uids[place] = 0;
        assert!(trusts(ROOT, of(uids)), "{uids:?}");
    }
    assert!(!trusts(ROOT, of([USER; UIDS])));
    let named = TrustedCgroup {
        any_uid: 1,
        ..of([USER; UIDS])
    };
    assert!(trusts(ROOT, named));
    // No cgroup has such a number.
    assert!(!trusts(u64::MAX, named));
}

#[test]
fn only_the_depths_of_trusted_cgroups_are_looked_at() {
    let mut trial = trial(false);
    let mut trusts = |depth| {
        let cgroup_entry = TrustedCgroup {
            depth,
            any_uid: 1,
            ..TrustedCgroup::default()
        };
        let trusted_cgroups = BTreeMap::from([(ROOT, cgroup_entry)]);
        trial
            .tables()
            .set_trusted_cgroups(&trusted_cgroups)
            .unwrap();
        is_trusted(&mut trial)
    };
    assert!(trusts(0));
    // The root has no ancestor at any of these.
    for depth in [1, 2, DEEPEST, DEEPEST + 1, UNKNOWN_DEPTH] {
        assert!(!trusts(depth), "{depth}");
    }
}

#[test]
fn what_is_trusted_no_more_is_forgotten_and_what_stays_keeps_its_time() {
    let mut trial = trial(false);
    let at = |depth| TrustedCgroup {
        depth,
        any_uid: 1,
        ..TrustedCgroup::default()
    };
    let tables = trial.tables();
    let both = BTreeMap::from([(ROOT, at(0)), (7, at(3))]);
    tables.set_trusted_cgroups(&both).unwrap();
    let first = tables.trusted_cgroups().unwrap();
    assert!(first[&ROOT].since > 0);
    assert_eq!(tables.info().unwrap().depths, 0b1001);
    let one = BTreeMap::from([(ROOT, at(0))]);
    tables.set_trusted_cgroups(&one).unwrap();
    let second = tables.trusted_cgroups().unwrap();
    assert_eq!(second, BTreeMap::from([(ROOT, first[&ROOT])]));
    assert_eq!(tables.info().unwrap().depths, 0b0001);
    assert!(is_trusted(&mut trial));
    trial
        .tables()
        .set_trusted_cgroups(&BTreeMap::new())
        .unwrap();
    assert!(!is_trusted(&mut trial));
}

#[test]
fn a_uid_is_trusted_in_any_cgroup_where_that_was_asked_for() {
    for asked in [false, true] {
        let mut trial = trial(asked);
        trial
            .tables()
            .set_trusted_uids(&BTreeSet::from([0]))
            .unwrap();
        assert_eq!(is_trusted(&mut trial), asked);
    }
}
