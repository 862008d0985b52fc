use nix::libc::ENOENT;

use super::*;

fn root(kernel: (u32, u32)) -> Facts {
    Facts {
        lacks: CapsHashSet::new(),
        is_in_user_namespace: false,
        kernel,
        locked_memory: Some(64 << 10),
    }
}

fn without(capability: Capability) -> Facts {
    Facts {
        lacks: [capability].into(),
        ..root((6, 12))
    }
}

fn advice(attempt: Attempt, number: i32, facts: &Facts) -> Option<Advice> {
    of(attempt, &io::Error::from_raw_os_error(number), facts)
}

/// The advice, which must be there.
fn text(attempt: Attempt, number: i32, facts: &Facts) -> String {
    advice(attempt, number, facts).unwrap().text
}

#[test]
fn a_capability_that_is_missing_is_named_and_no_other() {
    let facts = without(Capability::CAP_PERFMON);
    // The verifier's number for what it takes with the capability.
    for number in [EPERM, EACCES, EINVAL] {
        let found = advice(Attempt::Program, number, &facts).unwrap();
        assert!(found.is_privilege);
        assert!(found.text.starts_with("missing CAP_PERFMON: "), "{found:?}");
    }
    // A map takes none of it.
    let map = text(Attempt::Map, EPERM, &facts);
    assert!(!map.contains("missing"), "{map}");
    let facts = without(Capability::CAP_NET_ADMIN);
    let attach = text(Attempt::Attach, EPERM, &facts);
    assert!(attach.starts_with("missing CAP_NET_ADMIN: "), "{attach}");
}

#[test]
fn who_has_all_capabilities_lacks_none() {
    let facts = root((6, 12));
    assert_eq!(advice(Attempt::Program, EINVAL, &facts), None);
    let found = advice(Attempt::Program, EPERM, &facts).unwrap();
    assert!(
        found.text.contains("lockdown") && !found.is_privilege,
        "{found:?}"
    );
    let inside = Facts {
        is_in_user_namespace: true,
        ..facts
    };
    assert!(text(Attempt::Program, EPERM, &inside).contains("user namespace"));
}

#[test]
fn locked_memory_is_the_cause_before_linux_5_11_alone() {
    for attempt in [Attempt::Map, Attempt::Program] {
        let old = text(attempt, EPERM, &root((5, 10)));
        assert!(
            old.contains("64 KiB") && old.contains("ulimit -l unlimited"),
            "{old}"
        );
        let new = text(attempt, EPERM, &root((5, 11)));
        assert!(!new.contains("locked"), "{new}");
    }
    let unlimited = Facts {
        locked_memory: None,
        ..root((5, 10))
    };
    assert!(!text(Attempt::Map, EPERM, &unlimited).contains("memory"));
}

#[test]
fn a_read_only_file_system_is_said_to_be_whatever_was_attempted() {
    for attempt in [Attempt::Map, Attempt::Pin, Attempt::Other] {
        let text = text(attempt, EROFS, &root((6, 1)));
        assert!(text.contains("mount -o remount,rw"), "{text}");
    }
}

#[test]
fn what_is_not_known_is_left_to_the_kernels_words() {
    assert_eq!(advice(Attempt::Other, ENOENT, &root((6, 1))), None);
    assert_eq!(
        of(Attempt::Map, &io::Error::other("odd"), &root((6, 1))),
        None
    );
}

#[test]
fn the_drivers_own_words_come_before_any_guess() {
    let error = io::Error::from_raw_os_error(ERANGE);
    let said = of_xdp(
        Xdp::Native,
        &error,
        Some("Peer MTU is too large to set XDP"),
    );
    assert!(
        said.starts_with("the driver says: Peer MTU is too large"),
        "{said}"
    );
    assert!(of_xdp(Xdp::Native, &error, None).contains("MTU: lower it"));
}

#[test]
fn sys_admin_stands_for_the_capabilities_of_bpf() {
    let held = [Capability::CAP_SYS_ADMIN, Capability::CAP_NET_ADMIN].into();
    assert!(lacks(&held).is_empty());
    let held = [Capability::CAP_SYS_ADMIN].into();
    assert_eq!(lacks(&held), [Capability::CAP_NET_ADMIN].into());
    assert_eq!(lacks(&CapsHashSet::new()).len(), 3);
}

#[test]
fn facts_are_read_as_the_kernel_writes_them() {
    assert_eq!(version("5.10.0-28-amd64"), (5, 10));
    assert_eq!(version("6.18.2"), (6, 18));
    assert_eq!(version(""), (0, 0));
    assert!(!is_mapped("         0          0 4294967295\n"));
    assert!(is_mapped("         0     100000      65536\n"));
    assert!(!is_mapped(""));
    let facts = Facts::now();
    assert!(facts.kernel >= (5, 10), "{facts:?}");
}
