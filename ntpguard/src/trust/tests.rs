//! Whom the kernel is to trust, from what was found.

use super::*;

fn sender(uids: Option<&[u32]>, depth: Option<u32>) -> trusted::TrustedCgroup {
    let sender = TrustedSender {
        cgroup: "/x".into(),
        why: String::new(),
        depth,
        uids: uids.map(|uids| uids.iter().copied().collect()),
    };
    sender.for_kernel()
}

#[test]
fn the_kernel_knows_no_uids_but_those_that_count() {
    let some = sender(Some(&[0, 102]), Some(2));
    assert_eq!((some.depth, some.any_uid), (2, 0));
    assert_eq!(some.uids, [0, 102, 102, 102]);
    assert_eq!(sender(Some(&[0]), Some(1)).uids, [0; trusted::UIDS]);
    assert_eq!(sender(Some(&[0, 1, 2, 3, 4]), None).uids, [0, 1, 2, 3]);
    assert_eq!(sender(Some(&[0]), None).depth, UNKNOWN_DEPTH);
    assert_eq!(sender(None, Some(1)).any_uid, 1);
}

#[test]
fn a_cgroup_that_is_found_twice_is_trusted_for_the_uids_of_both() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("a")).unwrap();
    let hierarchy = Hierarchy::at(directory.path());
    let mut found = Found::default();
    let mut trust = |uids: Option<Vec<u32>>| {
        let uids = uids.map(with_root);
        found.trust(&hierarchy, "/a".into(), String::new(), uids);
        let sender = found.trusted_senders.values().next().unwrap();
        assert_eq!(sender.depth, Some(1));
        let uids = sender.uids.clone();
        uids.map(|uids| uids.into_iter().collect::<Vec<u32>>())
    };
    assert_eq!(trust(Some(vec![102])), Some(vec![0, 102]));
    assert_eq!(trust(Some(vec![105])), Some(vec![0, 102, 105]));
    assert_eq!(trust(None), None);
    assert_eq!(trust(Some(vec![106])), None);
}

fn with_senders(senders: &[(u64, &[u32])]) -> Found {
    let sender = |uids: &[u32]| TrustedSender {
        cgroup: "/x".into(),
        why: String::new(),
        depth: Some(1),
        uids: Some(uids.iter().copied().collect()),
    };
    let senders = senders.iter().map(|(id, uids)| (*id, sender(uids)));
    Found {
        trusted_senders: senders.collect(),
        ..Found::default()
    }
}

#[test]
fn what_was_known_counts_as_long_as_it_cannot_be_looked_at() {
    let before = with_senders(&[(7, &[0, 102]), (8, &[0])]);
    let refused = |senders| Found {
        refused: Some("too many open files".to_owned()),
        ..with_senders(senders)
    };
    let uids = |found: &Found, id| found.trusted_senders[&id].uids.clone().unwrap();
    let kept = refused(&[]).after(&before);
    assert_eq!(kept.trusted_senders, before.trusted_senders);
    let kept = refused(&[(7, &[0]), (9, &[0])]).after(&before);
    assert_eq!(kept.trusted_senders.len(), 3);
    assert_eq!(uids(&kept, 7), BTreeSet::from([0, 102]));
    // The next look is at all of it.
    assert_eq!(
        with_senders(&[]).after(&kept).trusted_senders,
        BTreeMap::new()
    );
}

#[test]
fn a_hierarchy_that_cannot_be_looked_for_is_no_missing_one() {
    let mut found = Found::default();
    let error = io::Error::from_raw_os_error(nix::libc::EMFILE);
    found.without_hierarchy(Lookup::Refused(error), &[]);
    assert!(found.refused.is_some());
    let mut missing = Found::default();
    missing.without_hierarchy(Lookup::Absent, &[]);
    assert_eq!(missing.refused, None);
}
