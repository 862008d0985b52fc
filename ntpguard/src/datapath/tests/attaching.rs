//! Interfaces and attachments: native, generic, bare IP, refused, taken.

use std::{io::Write as _, time::Duration};

use aya::programs::{Xdp, XdpMode};
use ntpguard_common::{
    maps::tables::{ABI, names},
    wire::packet::Link,
};

use super::harness::{
    Pins, Wire, bpftool, in_netns, interface, link, reply, run, servers, set_link_type, tun, veth,
};
use crate::datapath::{
    AttachMode, AttachPoint, Error, Guard, Interface, Mode, Options, PinDir, Settings, Tracking,
    interface::netlink, object::loader, survey, unload,
};

#[test]
fn an_interface_is_guarded_natively_and_let_go() {
    in_netns(|| {
        let pins = Pins::new();
        let veth = veth("g0");
        let wire = Wire::into(&veth);
        assert!(wire.passes("192.0.2.9"));

        let options = Options::new(&pins.0, vec![veth.clone()]);
        let guard = Guard::start(&options, &servers(&["192.0.2.1"])).unwrap();
        assert_eq!(guard.attached[0].how, AttachPoint::Native);
        assert_eq!(guard.attached[0].why_not_better, None);
        assert!(!guard.attached[0].adopted);
        assert!(wire.passes("192.0.2.1"));
        assert!(!wire.passes("192.0.2.9"));
        assert_eq!(guard.tables.counters(Mode::Enforce).unwrap().unlisted, 1);

        assert_eq!(pins.list("programs"), ["egress", "ingress"]);
        assert_eq!(pins.list("maps").len(), names::ALL.len());
        let net = bpftool("net show");
        assert_eq!(net[0]["xdp"][0]["mode"], "driver", "{net}");
        let program = bpftool(&format!(
            "prog show pinned {}/programs/ingress",
            pins.0.display()
        ));
        assert_eq!(program["id"], link(&pins, &veth)["prog_id"]);

        let removed = guard.detach().unwrap();
        assert_eq!(
            (removed.links, removed.programs, removed.maps),
            (2, 2, names::ALL.len())
        );
        assert!(wire.passes("192.0.2.9"));
        assert!(!pins.0.exists());
    });
}

#[test]
fn the_maps_print_their_field_names() {
    in_netns(|| {
        let pins = Pins::new();
        let options = Options::new(&pins.0, vec![veth("g0")]);
        let _guard = Guard::start(&options, &servers(&["192.0.2.1"])).unwrap();
        let dump = bpftool(&format!(
            "map dump pinned {}/maps/ALLOW_V4",
            pins.0.display()
        ));
        assert_eq!(dump[0]["formatted"]["value"]["roles"], 1, "{dump}");
        let info = bpftool(&format!("map dump pinned {}/maps/INFO", pins.0.display()));
        assert_eq!(info[0]["formatted"]["value"]["abi"], ABI, "{info}");
    });
}

#[test]
fn generic_is_used_when_it_is_asked_for() {
    in_netns(|| {
        let pins = Pins::new();
        let veth = veth("g0");
        let options = Options {
            attach: AttachMode::Generic,
            ..Options::new(&pins.0, vec![veth.clone()])
        };
        let guard = Guard::start(&options, &servers(&["192.0.2.1"])).unwrap();
        assert_eq!(guard.attached[0].how, AttachPoint::Generic);
        let found = survey(&pins.0).unwrap();
        assert_eq!(found.interfaces[0].how, Some(AttachPoint::Generic));
        let wire = Wire::into(&veth);
        assert!(wire.passes("192.0.2.1"));
        assert!(!wire.passes("192.0.2.9"));
    });
}

#[test]
fn a_driver_that_refuses_native_gives_tc_with_the_reason() {
    in_netns(|| {
        let pins = Pins::new();
        // The loopback driver has no native XDP.
        let lo = interface("lo").unwrap();
        assert_eq!(lo.link, Link::Ethernet);
        let options = Options::new(&pins.0, vec![lo]);
        let guard = Guard::start(&options, &servers(&[])).unwrap();
        assert_eq!(guard.attached[0].how, AttachPoint::Tc);
        let why = guard.attached[0].why_not_better.clone().unwrap();
        assert!(
            why.contains("Underlying driver does not support XDP in native mode"),
            "{why}"
        );
        // It is so for both programs, and said once.
        assert_eq!(why.matches("Underlying").count(), 1, "{why}");
        guard.detach().unwrap();

        let options = Options {
            attach: AttachMode::Native,
            ..options
        };
        let error = Guard::start(&options, &servers(&[])).unwrap_err();
        assert!(matches!(&error, Error::CannotAttach { .. }), "{error}");
        assert!(!pins.0.exists(), "a first start that fails leaves nothing");
    });
}

#[test]
fn a_tun_device_is_guarded_by_the_program_for_bare_ip() {
    in_netns(|| {
        let pins = Pins::new();
        let mut device = tun("t0");
        run("ip link set t0 up");
        let tun = interface("t0").unwrap();
        assert_eq!(tun.link, Link::RawIp);
        let veth = veth("g0");
        let options = Options {
            tracking: Tracking::OFF,
            ..Options::new(&pins.0, vec![tun, veth.clone()])
        };
        let guard = Guard::start(&options, &servers(&["192.0.2.1"])).unwrap();
        assert_eq!(pins.list("programs"), ["ingress", "ingress-raw"]);

        device.write_all(&reply("192.0.2.1")).unwrap();
        device.write_all(&reply("192.0.2.9")).unwrap();
        device.write_all(&reply("192.0.2.9")).unwrap();
        let counters = guard.tables.counters(Mode::Enforce).unwrap();
        assert_eq!((counters.server, counters.unlisted), (1, 2));
        assert!(!Wire::into(&veth).passes("192.0.2.9"));
        let counters = guard.tables.counters(Mode::Enforce).unwrap();
        assert_eq!(counters.unlisted, 3, "both programs share the maps");
    });
}

#[test]
fn an_unknown_link_type_is_refused_by_number() {
    in_netns(|| {
        const ARPHRD_CAN: u16 = 280;
        let device = tun("t0");
        set_link_type(&device, ARPHRD_CAN);
        let error = interface("t0").unwrap_err();
        assert!(
            matches!(
                error,
                Error::LinkType {
                    number: ARPHRD_CAN,
                    ..
                }
            ),
            "{error}"
        );
    });
}

#[test]
fn a_missing_interface_is_told_by_name() {
    in_netns(|| {
        let error = interface("nosuch0").unwrap_err();
        assert!(
            matches!(&error, Error::NoInterface(name) if name == "nosuch0"),
            "{error}"
        );
    });
}

#[test]
fn the_interface_of_the_default_route_is_found() {
    in_netns(|| {
        let find = || netlink::blocking(async { Interface::default_route().await });
        assert!(matches!(find().unwrap_err(), Error::NoDefaultRoute));
        for name in ["g0", "g1"] {
            veth(name);
        }
        run("ip -6 route add default dev g1");
        assert_eq!(find().unwrap().name, "g1");
        run("ip route add default dev g1 metric 200");
        run("ip route add default dev g0 metric 100");
        assert_eq!(find().unwrap().name, "g0");
    });
}

#[test]
fn another_program_is_named_and_left_alone() {
    in_netns(|| {
        for mode in [XdpMode::Driver, XdpMode::Skb] {
            let pins = Pins::new();
            let veth = veth("g0");
            let mut other = loader::load_private(Settings::default()).unwrap();
            let other: &mut Xdp = other
                .program_mut("ingress_linear")
                .unwrap()
                .try_into()
                .unwrap();
            other.load().unwrap();
            other.attach_to_if_index(veth.index, mode).unwrap();
            let before = bpftool("net show");

            for attach in [AttachMode::Native, AttachMode::Generic] {
                let options = Options {
                    attach,
                    ..Options::new(&pins.0, vec![veth.clone()])
                };
                let error = Guard::start(&options, &servers(&[])).unwrap_err();
                let text = error.to_string();
                assert!(matches!(error, Error::AnotherProgram { .. }), "{text}");
                assert!(
                    text.contains("ingress_linear") && text.contains("g0"),
                    "{text}"
                );
            }
            assert_eq!(bpftool("net show"), before);
            assert!(!pins.0.exists());
            run("ip link del g0");
        }
    });
}

#[test]
fn a_start_that_fails_at_one_interface_frees_the_others() {
    in_netns(|| {
        let pins = Pins::new();
        let (first, second) = (veth("g0"), veth("g1"));
        let wire = Wire::into(&first);
        // The loopback driver has no native XDP, so this fails after g0 is attached.
        let lo = interface("lo").unwrap();
        let mut options = Options::new(&pins.0, vec![first.clone(), lo.clone()]);
        options.attach = AttachMode::Native;
        Guard::start(&options, &servers(&[])).unwrap_err();
        assert!(wire.passes("192.0.2.9"));

        options.interfaces = vec![second.clone()];
        Guard::start(&options, &servers(&[])).unwrap();
        options.interfaces = vec![second.clone(), first, lo];
        Guard::start(&options, &servers(&[])).unwrap_err();
        assert!(wire.passes("192.0.2.9"), "g0 was not guarded before");
        assert!(!Wire::into(&second).passes("192.0.2.9"), "g1 was");
    });
}

#[test]
fn unload_removes_everything_and_is_content_with_nothing() {
    in_netns(|| {
        let pins = Pins::new();
        assert_eq!(unload(&pins.0).unwrap().links, 0);
        let (first, second) = (veth("g0"), veth("g1"));
        let options = Options::new(&pins.0, vec![first.clone(), second]);
        let guard = Guard::start(&options, &servers(&["192.0.2.1"])).unwrap();
        drop(guard);
        assert!(
            !Wire::into(&first).passes("192.0.2.9"),
            "a guard outlives its process"
        );

        let removed = unload(&pins.0).unwrap();
        assert_eq!(
            (removed.links, removed.programs, removed.maps),
            (4, 2, names::ALL.len())
        );
        assert!(!pins.0.exists());
        assert!(Wire::into(&first).passes("192.0.2.9"));
        assert_eq!(
            bpftool("net show")[0]["xdp"].as_array().map(Vec::len),
            Some(0)
        );
    });
}

#[test]
fn a_directory_of_something_else_is_not_unloaded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("programs/mine");
    std::fs::create_dir(dir.path().join("programs")).unwrap();
    std::fs::write(&file, "precious").unwrap();
    let error = unload(dir.path()).unwrap_err();
    assert!(matches!(error, Error::NotBpffs { .. }), "{error}");
    assert!(file.exists());
}

#[test]
fn one_process_at_a_time_holds_the_lock() {
    let pins = Pins::new();
    let dir = PinDir::new(&pins.0);
    let held = dir.lock(Duration::ZERO).unwrap();
    let error = dir.lock(Duration::from_millis(100)).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(held);
    let held = dir.lock(Duration::ZERO).unwrap();
    // An unload removes the directory under its own lock.
    unload(&pins.0).unwrap();
    let anew = dir.lock(Duration::ZERO).unwrap();
    drop((held, anew));
}

#[test]
fn a_dot_in_the_pin_directory_is_told() {
    let dir = PinDir::new("/sys/fs/bpf/ngtest.dotted");
    let error = dir.create().unwrap_err();
    assert!(matches!(error, Error::DottedName(_)), "{error}");
}
