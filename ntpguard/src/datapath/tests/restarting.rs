//! A start over a guard that is there: adopted, swapped, its maps kept or replaced.

use ntpguard_common::maps::tables::{ABI, Info, names};

use super::harness::{Pins, Wire, in_netns, link, map_id, run, servers, veth};
use crate::{
    datapath::{
        AttachMode, AttachPoint, Difference, Error, Guard, Mode, Occasion, Options, Tables, survey,
        unload,
    },
    trust::Found,
};

#[test]
fn a_second_start_swaps_the_program_on_the_same_link_and_keeps_the_maps() {
    in_netns(|| {
        let pins = Pins::new();
        let veth = veth("g0");
        let wire = Wire::into(&veth);
        let options = Options::new(&pins.0, vec![veth.clone()]);
        drop(Guard::start(&options, &servers(&["192.0.2.1", "192.0.2.2"])).unwrap());
        assert!(!wire.passes("192.0.2.9"));
        let before = link(&pins, &veth);
        let counters = map_id(&pins.0.join("maps").join(names::COUNTERS));

        let options = Options {
            mode: Mode::Monitor,
            ..options
        };
        let guard = Guard::start(&options, &servers(&["192.0.2.2", "192.0.2.3"])).unwrap();
        assert!(guard.attached[0].adopted);
        assert_eq!(guard.attached[0].how, AttachPoint::Native);
        let after = link(&pins, &veth);
        assert_eq!(before["id"], after["id"]);
        assert_ne!(before["prog_id"], after["prog_id"]);
        assert_eq!(map_id(&pins.0.join("maps").join(names::COUNTERS)), counters);
        assert_eq!(guard.tables.counters(Mode::Enforce).unwrap().unlisted, 1);
        assert_eq!(
            guard.tables.read().unwrap(),
            servers(&["192.0.2.2", "192.0.2.3"])
        );
        assert!(wire.passes("192.0.2.9"), "monitor mode passes everything");
        assert_eq!(guard.tables.counters(Mode::Monitor).unwrap().unlisted, 1);

        let found = survey(&pins.0).unwrap();
        assert_eq!(found.mode(), Some(Mode::Monitor));
        assert!(found.is_guarding());
        let info = found.info.unwrap();
        assert_eq!(
            (info.abi, info.interfaces[0], info.interfaces[1]),
            (ABI, veth.index, 0)
        );
        assert!(info.loaded > 0);
    });
}

#[test]
fn an_adopted_link_keeps_its_kind() {
    in_netns(|| {
        let pins = Pins::new();
        let veth = veth("g0");
        let mut options = Options::new(&pins.0, vec![veth.clone()]);
        options.attach = AttachMode::Generic;
        drop(Guard::start(&options, &servers(&[])).unwrap());
        options.attach = AttachMode::Auto;
        let guard = Guard::start(&options, &servers(&[])).unwrap();
        assert_eq!(
            (guard.attached[0].how, guard.attached[0].adopted),
            (AttachPoint::Generic, true)
        );
        assert!(guard.attached[0].why_not_better.is_some());
        assert_eq!(
            survey(&pins.0).unwrap().interfaces[0].how,
            Some(AttachPoint::Generic)
        );

        let program = link(&pins, &veth)["prog_id"].clone();
        options.attach = AttachMode::Native;
        let error = Guard::start(&options, &servers(&[])).unwrap_err();
        assert!(
            matches!(
                error,
                Error::OtherKind {
                    how: AttachPoint::Generic,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(
            link(&pins, &veth)["prog_id"],
            program,
            "nothing was changed"
        );
    });
}

/// Writes another layout's number into the pinned tables.
fn make_foreign(pins: &Pins) {
    let mut tables = Tables::open(&pins.0).unwrap().unwrap();
    let mut info = tables.info().unwrap();
    info.abi = ABI + 1;
    tables.set_info(&info).unwrap();
}

#[test]
fn maps_of_another_layout_are_replaced_and_the_grants_carried_over() {
    in_netns(|| {
        let pins = Pins::new();
        let veth = veth("g0");
        let wire = Wire::into(&veth);
        let options = Options::new(&pins.0, vec![veth.clone()]);
        drop(Guard::start(&options, &servers(&["192.0.2.1"])).unwrap());
        let before = (link(&pins, &veth), map_id(&pins.0.join("maps/ALLOW_V4")));
        make_foreign(&pins);
        let error = Tables::open(&pins.0).unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }), "{error}");

        let guard = Guard::start(&options, &servers(&["192.0.2.1", "198.51.100.0/24"])).unwrap();
        assert!(guard.attached[0].adopted);
        assert_eq!(link(&pins, &veth)["id"], before.0["id"]);
        assert_ne!(map_id(&pins.0.join("maps/ALLOW_V4")), before.1);
        assert_eq!(guard.tables.info().unwrap().abi, ABI);
        assert!(wire.passes("192.0.2.1"));
        assert!(wire.passes("198.51.100.1"));
        assert!(!wire.passes("192.0.2.9"));
        assert_eq!(pins.list(""), ["links", "maps", "programs"]);
    });
}

/// Pins a table of trusted senders in the place of ours, as the layout before had it.
fn make_older(pins: &Pins) {
    const OLDER: u32 = 5;
    let mut tables = Tables::open(&pins.0).unwrap().unwrap();
    let info = tables.info().unwrap();
    tables.set_info(&Info { abi: OLDER, ..info }).unwrap();
    let path = pins.0.join("maps").join(names::TRUSTED_CGROUPS);
    std::fs::remove_file(&path).unwrap();
    run(&format!(
        "bpftool map create {} type hash key 8 value 8 entries 256 name TEACHERS flags 1",
        path.display()
    ));
}

#[test]
fn tables_of_the_layout_before_are_replaced_and_can_be_unloaded() {
    in_netns(|| {
        let pins = Pins::new();
        let veth = veth("g0");
        let wire = Wire::into(&veth);
        let options = Options::new(&pins.0, vec![veth.clone()]);
        drop(Guard::start(&options, &servers(&["192.0.2.1"])).unwrap());
        let before = link(&pins, &veth);
        make_older(&pins);
        let error = Tables::open(&pins.0).unwrap_err().to_string();
        assert!(error.contains("layout is number 5"), "{error}");
        // It says which interfaces are guarded all the same.
        let info = Tables::info_in(&pins.0.join("maps")).unwrap();
        assert_eq!(info.interfaces[0], veth.index);

        let guard = Guard::start(&options, &servers(&["192.0.2.1"])).unwrap();
        assert!(guard.attached[0].adopted);
        assert_eq!(link(&pins, &veth)["id"], before["id"]);
        assert_eq!(guard.tables.info().unwrap().abi, ABI);
        assert!(guard.tables.trusted_cgroups().unwrap().is_empty());
        assert!(wire.passes("192.0.2.1") && !wire.passes("192.0.2.9"));

        drop(guard);
        make_older(&pins);
        unload(&pins.0).unwrap();
        assert!(!pins.0.exists());
        assert!(wire.passes("192.0.2.9"), "nothing is attached any more");
    });
}

#[test]
fn another_table_size_makes_new_maps() {
    in_netns(|| {
        let pins = Pins::new();
        let veth = veth("g0");
        let wire = Wire::into(&veth);
        let mut options = Options::new(&pins.0, vec![veth]);
        options.table_size = 2;
        drop(Guard::start(&options, &servers(&["192.0.2.1", "192.0.2.2"])).unwrap());
        let three = servers(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        // What has room is guarded.
        let guard = Guard::start(&options, &three).unwrap();
        assert_eq!(guard.tables.read().unwrap().addresses.len(), 2);
        drop(guard);
        assert!(wire.passes("192.0.2.2") && !wire.passes("192.0.2.3"));

        options.table_size = 3;
        Guard::start(&options, &three).unwrap();
        assert!(wire.passes("192.0.2.3") && !wire.passes("192.0.2.9"));
        assert_eq!(survey(&pins.0).unwrap().info.unwrap().abi, ABI);
    });
}

#[test]
fn an_interface_that_came_back_is_attached_anew() {
    in_netns(|| {
        let pins = Pins::new();
        let gone = veth("g0");
        let mut options = Options::new(&pins.0, vec![gone.clone()]);
        drop(Guard::start(&options, &servers(&["192.0.2.1"])).unwrap());
        run("ip link del g0");
        assert_eq!(survey(&pins.0).unwrap().interfaces[0].how, None);
        assert!(!survey(&pins.0).unwrap().is_guarding());

        run(&format!(
            "ip link add g0 index {} type veth peer name g0p",
            gone.index
        ));
        run("ip link set g0 up");
        run("ip link set g0p up");
        options.interfaces = vec![super::harness::interface("g0").unwrap()];
        assert_eq!(options.interfaces[0].index, gone.index);
        let guard = Guard::start(&options, &servers(&["192.0.2.1"])).unwrap();
        assert!(!guard.attached[0].adopted);
        let wire = Wire::into(&options.interfaces[0]);
        assert!(wire.passes("192.0.2.1") && !wire.passes("192.0.2.9"));
    });
}

#[test]
fn interfaces_no_longer_guarded_are_let_go() {
    in_netns(|| {
        let pins = Pins::new();
        let (first, second) = (veth("g0"), veth("g1"));
        let mut options = Options::new(&pins.0, vec![first.clone(), second.clone()]);
        drop(Guard::start(&options, &servers(&[])).unwrap());
        options.interfaces = vec![second.clone()];
        let guard = Guard::start(&options, &servers(&[])).unwrap();
        assert!(Wire::into(&first).passes("192.0.2.9"));
        assert!(!Wire::into(&second).passes("192.0.2.9"));
        let links = ["egress", "ingress"].map(|hook| format!("{}-{hook}", second.index));
        assert_eq!(pins.list("links"), links);
        assert_eq!(
            guard.tables.info().unwrap().interfaces[..2],
            [second.index, 0]
        );
    });
}

#[test]
fn a_link_of_another_network_namespace_is_left_alone() {
    let pins = Pins::new();
    in_netns(|| {
        let here = veth("g0");
        drop(Guard::start(&Options::new(&pins.0, vec![here.clone()]), &servers(&[])).unwrap());
        in_netns(|| {
            let there = veth("g0");
            assert_eq!(here.index, there.index);
            let options = Options::new(&pins.0, vec![there]);
            let error = Guard::start(&options, &servers(&[])).unwrap_err();
            assert!(matches!(error, Error::Endpoint(_)), "{error}");
        });
        assert!(!Wire::into(&here).passes("192.0.2.9"));
    });
}

#[test]
fn a_renamed_interface_is_asked_for_by_its_old_name_also_after_a_handing_over_that_failed() {
    in_netns(|| {
        let pins = Pins::new();
        let granted = servers(&["192.0.2.1"]);
        let options = Options::new(&pins.0, vec![veth("g0")]);
        let mut guard = Guard::start(&options, &granted).unwrap();
        for command in ["down", "name lan0", "up"] {
            let name = if command == "up" { "lan0" } else { "g0" };
            run(&format!("ip link set {name} {command}"));
        }
        guard.reattach(Occasion::Tick);
        let renamed = Difference::Renamed {
            from: "g0".to_owned(),
            to: "lan0".to_owned(),
        };
        let found = |guard: &Guard| {
            let findings = guard.look().unwrap().findings.into_iter();
            findings.map(|one| one.difference).collect::<Vec<_>>()
        };
        assert_eq!(found(&guard), std::slice::from_ref(&renamed));

        guard.set_yielding(true);
        guard.resume(&Found::default(), &granted).unwrap();
        assert_eq!(found(&guard), [renamed]);
        run("ip link delete lan0");
        guard.reattach(Occasion::Tick);
        assert_eq!(guard.missing[0].interface.name, "g0");
        guard.detach().unwrap();
    });
}
