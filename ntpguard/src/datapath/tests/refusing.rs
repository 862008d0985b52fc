//! What the kernel refuses is said with its cause, in its own words where it has any.

use std::path::PathBuf;

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::harness::{Pins, Wire, in_netns, interface, run, servers, veth};
use crate::{
    causes,
    datapath::{
        AttachMode, AttachPoint, Error, Guard, Options, Settings, advice,
        attach::bpf_link::Link,
        interface::{netlink, netlink::Xdp, refusal},
        object::{
            loader::load_private,
            programs::{Kind, Programs},
        },
    },
};

fn options(pins: &Pins, name: &str, attach: AttachMode) -> Options {
    Options {
        attach,
        ..Options::new(&pins.0, vec![interface(name).unwrap()])
    }
}

/// What a start says that fails.
fn refusal(options: &Options) -> String {
    let error = Guard::start(options, &servers(&[])).unwrap_err();
    causes::joined(&error)
}

#[test]
fn the_driver_itself_says_that_an_mtu_is_too_large() {
    in_netns(|| {
        let veth = veth("g0");
        run("ip link set g0p mtu 9000");
        // A program that takes one buffer a frame has a limit in this driver.
        let mut programs = Programs::new(load_private(Settings::default()).unwrap());
        let program = programs.fd(Kind::Linear).unwrap();
        let error = Link::attach_xdp(program, veth.index, Xdp::Native).unwrap_err();
        let words = refusal::of_xdp(program, veth.index, Xdp::Native);
        let said = advice::of_xdp(Xdp::Native, &error, words.as_deref());
        assert!(said.contains("Peer MTU is too large to set XDP"), "{said}");
        assert!(said.starts_with("the driver says: "), "{said}");
    });
}

#[test]
fn a_device_below_one_that_has_a_program_is_refused_in_the_kernels_words() {
    in_netns(|| {
        let pins = Pins::new();
        veth("g0");
        // As a VLAN or a bond stands on what is below it.
        run("ip link add link g0 name m0 type macvlan");
        run("ip link set m0 up");
        let above = Pins::new();
        let guard =
            Guard::start(&options(&above, "m0", AttachMode::Generic), &servers(&[])).unwrap();
        assert_eq!(guard.attached[0].how, AttachPoint::Generic);
        for attach in [AttachMode::Native, AttachMode::Generic] {
            let said = refusal(&options(&pins, "g0", attach));
            assert!(
                said.contains("Cannot attach when an upper device already has a program"),
                "{said}"
            );
            assert!(
                !said.contains("another program") && !said.contains("MTU"),
                "{said}"
            );
        }
        // tc is not in its way, and says why it is not better.
        let guard = Guard::start(&options(&pins, "g0", AttachMode::Auto), &servers(&[])).unwrap();
        assert_eq!(guard.attached[0].how, AttachPoint::Tc);
        let why = guard.attached[0].why_not_better.as_deref().unwrap();
        assert!(why.contains("upper device already has a program"), "{why}");
    });
}

#[test]
fn asking_for_the_kernels_words_leaves_nothing_attached() {
    in_netns(|| {
        let pins = Pins::new();
        // The loopback driver has no native XDP, and says nothing of it.
        let said = refusal(&options(&pins, "lo", AttachMode::Native));
        assert!(said.contains("native"), "{said}");
        let lo = interface("lo").unwrap();
        let link = netlink::ask(lo.index).unwrap().unwrap();
        assert_eq!(netlink::occupant(&link), None);
    });
}

#[test]
fn an_interface_with_a_program_in_another_mode_says_so() {
    in_netns(|| {
        let (pins, other) = (Pins::new(), Pins::new());
        let veth = veth("g0");
        let guard =
            Guard::start(&options(&other, "g0", AttachMode::Generic), &servers(&[])).unwrap();
        let error = Guard::start(&options(&pins, "g0", AttachMode::Native), &servers(&[]));
        let error = error.unwrap_err();
        assert!(matches!(error, Error::AnotherProgram { .. }), "{error}");
        assert!(!Wire::into(&veth).passes("192.0.2.9"));
        drop(guard);
    });
}

#[test]
fn a_bpf_file_system_that_is_read_only_is_said_to_be() {
    in_netns(|| {
        veth("g0");
        let pins = Pins::new();
        drop(Guard::start(&options(&pins, "g0", AttachMode::Auto), &servers(&[])).unwrap());
        // For this thread alone.
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(
            Some("/sys/fs/bpf"),
            "/sys/fs/bpf",
            none,
            MsFlags::MS_BIND,
            none,
        )
        .unwrap();
        mount(none, "/sys/fs/bpf", none, read_only, none).unwrap();
        let fresh = Options {
            pin_dir: PathBuf::from("/sys/fs/bpf/ngtest-read-only"),
            ..options(&pins, "g0", AttachMode::Auto)
        };
        for options in [&fresh, &options(&pins, "g0", AttachMode::Auto)] {
            let said = refusal(options);
            assert!(said.contains("mounted read-only"), "{said}");
            assert!(said.contains("mount -o remount,rw"), "{said}");
            assert_eq!(said.matches("os error 30").count(), 1, "{said}");
        }
    });
}
