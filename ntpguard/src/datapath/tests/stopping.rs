//! A start that is killed anywhere leaves a guard that works, and the next start finishes it.

use std::{os::unix::process::ExitStatusExt as _, path::PathBuf, process::Command};

use nix::libc::SIGKILL;
use ntpguard_common::maps::tables::{ABI, names};

use super::harness::{Pins, Wire, in_netns, interface, link, servers, veth};
use crate::{
    allowlist::projection::Projection,
    datapath::{
        Error, Guard, Options, Tables,
        guard::failpoint::{
            Failpoint,
            testing::{ALL, VARIABLE},
        },
    },
};

const PIN_DIR: &str = "NTPGUARD_TEST_PIN_DIR";

/// What the killed start wants: 192.0.2.1 stays granted, 192.0.2.2 is new.
fn wanted() -> Projection {
    servers(&["192.0.2.1", "192.0.2.2", "198.51.100.0/24"])
}

#[test]
#[ignore = "run by the tests below, as a process to be killed"]
fn start_and_be_killed() {
    let pin_dir = PathBuf::from(std::env::var_os(PIN_DIR).unwrap());
    let options = Options::new(pin_dir, vec![interface("g0").unwrap()]);
    Guard::start(&options, &wanted()).unwrap();
}

/// Starts a guard in a process that is killed at `stop`.
fn killed_at(stop: Failpoint, pins: &Pins) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "datapath::tests::stopping::start_and_be_killed",
        ])
        .env(VARIABLE, format!("{stop:?}"))
        .env(PIN_DIR, &pins.0)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.signal(),
        Some(SIGKILL),
        "{stop:?} was not reached: {said}"
    );
}

fn foreign(pins: &Pins) {
    let mut tables = Tables::open(&pins.0).unwrap().unwrap();
    let info = ntpguard_common::maps::tables::Info {
        abi: ABI + 1,
        ..tables.info().unwrap()
    };
    tables.set_info(&info).unwrap();
}

/// Kills a start at each stop over a guard prepared so, and looks at what is left. At the `torn`
/// ones requests are noted in new tables and replies looked for in the old, so that all are dropped
/// until the next start.
fn over_a_guard(prepare: fn(&Pins), stops: &[Failpoint], torn: &[Failpoint]) {
    for stop in stops {
        in_netns(|| {
            let pins = Pins::new();
            let veth = veth("g0");
            let wire = Wire::into(&veth);
            let options = Options::new(&pins.0, vec![veth.clone()]);
            drop(Guard::start(&options, &servers(&["192.0.2.1"])).unwrap());
            prepare(&pins);
            let before = link(&pins, &veth);

            killed_at(*stop, &pins);
            let passes = wire.passes("192.0.2.1");
            assert_eq!(passes, !torn.contains(stop), "{stop:?}: what is granted");
            assert!(!wire.passes("192.0.2.9"), "{stop:?}: what is not does not");
            match Tables::open(&pins.0) {
                Ok(Some(_)) | Err(Error::Unusable { .. }) => {}
                other => panic!("{stop:?}: {other:?}"),
            }

            let guard = Guard::start(&options, &wanted()).unwrap();
            assert!(guard.attached[0].adopted, "{stop:?}");
            assert_eq!(link(&pins, &veth)["id"], before["id"], "{stop:?}");
            works(&guard, &wire, &pins, *stop);
        });
    }
}

fn works(guard: &Guard, wire: &Wire, pins: &Pins, stop: Failpoint) {
    for source in ["192.0.2.1", "192.0.2.2", "198.51.100.7"] {
        assert!(wire.passes(source), "{stop:?}: {source}");
    }
    assert!(!wire.passes("192.0.2.9"), "{stop:?}");
    assert_eq!(guard.tables.info().unwrap().prefixes_v4, 1, "{stop:?}");
    assert_eq!(pins.list(""), ["links", "maps", "programs"], "{stop:?}");
    assert_eq!(pins.list("programs"), ["egress", "ingress"], "{stop:?}");
    assert_eq!(pins.list("maps").len(), names::ALL.len(), "{stop:?}");
}

#[test]
fn killed_while_it_replaces_tables_of_another_layout_it_still_guards() {
    over_a_guard(foreign, &ALL, &[Failpoint::EgressAttached]);
}

#[test]
fn killed_while_it_takes_over_a_guard_it_still_guards() {
    let stops: Vec<Failpoint> = ALL
        .into_iter()
        .filter(|stop| *stop != Failpoint::MapsSetAside)
        .collect();
    over_a_guard(|_| {}, &stops, &[]);
}

#[test]
fn killed_in_its_first_start_it_guards_with_its_grants_or_not_at_all() {
    for stop in ALL
        .into_iter()
        .filter(|stop| *stop != Failpoint::MapsSetAside)
    {
        in_netns(|| {
            let pins = Pins::new();
            let veth = veth("g0");
            let wire = Wire::into(&veth);
            killed_at(stop, &pins);
            for source in ["192.0.2.1", "192.0.2.2", "198.51.100.7"] {
                assert!(wire.passes(source), "{stop:?}: {source}");
            }
            let guard = Guard::start(&Options::new(&pins.0, vec![veth]), &wanted()).unwrap();
            works(&guard, &wire, &pins, stop);
        });
    }
}
