//! Filters of the clsact qdisc, as kernels before tcx have them.

use std::process::Command;

use super::harness::{in_netns, run, veth};
use crate::datapath::{Settings, filter, object, programs::Programs};

fn programs() -> Programs {
    Programs::load(object::load_private(Settings::default()).unwrap()).unwrap()
}

#[test]
fn a_filter_is_put_replaced_in_place_and_removed_with_its_qdisc() {
    in_netns(|| {
        let (veth, mut programs) = (veth("g0"), programs());
        assert!(filter::find(veth.index).unwrap().is_none());
        filter::put(programs.egress_fd().unwrap(), veth.index, None).unwrap();
        let before = run("tc filter show dev g0 egress");
        assert!(before.contains("ntpguard_egress direct-action"), "{before}");

        let ours = filter::find(veth.index).unwrap().unwrap();
        let mut second = self::programs();
        filter::put(second.egress_fd().unwrap(), veth.index, Some(&ours)).unwrap();
        let after = run("tc filter show dev g0 egress");
        assert_eq!(after.matches("direct-action").count(), 1, "{after}");
        assert_ne!(after, before, "another program is in it");

        filter::remove(filter::find(veth.index).unwrap().unwrap()).unwrap();
        assert!(filter::find(veth.index).unwrap().is_none());
        assert!(!run("tc qdisc show dev g0").contains("clsact"));
    });
}

/// Classic BPF that takes every packet to class 1:1, as a shaper would.
fn add_theirs() {
    let filter = "filter add dev g0 egress pref 7 protocol all bpf bytecode";
    let added = Command::new("tc")
        .args(filter.split(' '))
        .args(["1,6 0 0 4294967295", "flowid", "1:1"])
        .status();
    assert!(added.unwrap().success());
}

#[test]
fn somebody_elses_filter_and_qdisc_are_left_alone() {
    in_netns(|| {
        let (veth, mut programs) = (veth("g0"), programs());
        run("tc qdisc add dev g0 clsact");
        add_theirs();
        let theirs = run("tc filter show dev g0 egress");
        filter::put(programs.egress_fd().unwrap(), veth.index, None).unwrap();
        filter::remove(filter::find(veth.index).unwrap().unwrap()).unwrap();
        assert_eq!(run("tc filter show dev g0 egress"), theirs);
        assert!(run("tc qdisc show dev g0").contains("clsact"));
    });
}
