//! Filters of the clsact qdisc, as kernels before tcx have them.

use std::process::Command;

use super::harness::{in_netns, run, veth};
use crate::datapath::{
    Hook, Settings,
    attach::clsact,
    object::{
        loader,
        programs::{Kind, Programs},
    },
};

fn programs() -> Programs {
    Programs::new(loader::load_private(Settings::default()).unwrap())
}

const HOOKS: [(Hook, &str); 2] = [(Hook::Ingress, "ingress"), (Hook::Egress, "egress")];

#[test]
fn a_filter_is_put_replaced_in_place_and_removed_with_its_qdisc() {
    for (hook, side) in HOOKS {
        in_netns(|| {
            let (veth, mut programs) = (veth("g0"), programs());
            let kind = Kind::on_tc(hook);
            let show = || run(&format!("tc filter show dev g0 {side}"));
            assert!(clsact::find(hook, veth.index).unwrap().is_none());
            clsact::put(programs.fd(kind).unwrap(), hook, veth.index, None).unwrap();
            let before = show();
            let words = format!("ntpguard_{side} direct-action");
            assert!(before.contains(&words), "{before}");

            let ours = clsact::find(hook, veth.index).unwrap().unwrap();
            let mut second = self::programs();
            clsact::put(second.fd(kind).unwrap(), hook, veth.index, Some(&ours)).unwrap();
            let after = show();
            assert_eq!(after.matches("direct-action").count(), 1, "{after}");
            assert_ne!(after, before, "another program is in it");

            clsact::remove(clsact::find(hook, veth.index).unwrap().unwrap()).unwrap();
            assert!(clsact::find(hook, veth.index).unwrap().is_none());
            assert!(!run("tc qdisc show dev g0").contains("clsact"));
        });
    }
}

/// Classic BPF that takes every packet to class 1:1, as a shaper would. Ours cannot share a priority
/// with a filter for one protocol.
fn add_theirs(side: &str, place: &str) {
    let filter = format!("filter add dev g0 {side} {place} bpf bytecode");
    let added = Command::new("tc")
        .args(filter.split(' '))
        .args(["1,6 0 0 4294967295", "flowid", "1:1"])
        .status();
    assert!(added.unwrap().success());
}

#[test]
fn somebody_elses_filter_and_qdisc_are_left_alone() {
    for (hook, side) in HOOKS {
        in_netns(|| {
            let (veth, mut programs) = (veth("g0"), programs());
            let show = || run(&format!("tc filter show dev g0 {side}"));
            run("tc qdisc add dev g0 clsact");
            add_theirs(side, "pref 7 protocol all");
            let theirs = show();
            let program = programs.fd(Kind::on_tc(hook)).unwrap();
            clsact::put(program, hook, veth.index, None).unwrap();
            assert!(clsact::before_ours(hook, veth.index).unwrap().is_empty());
            clsact::remove(clsact::find(hook, veth.index).unwrap().unwrap()).unwrap();
            assert_eq!(show(), theirs);
            assert!(run("tc qdisc show dev g0").contains("clsact"));
        });
    }
}

#[test]
fn a_filter_that_has_the_first_place_is_told() {
    in_netns(|| {
        let (veth, mut programs) = (veth("g0"), programs());
        run("tc qdisc add dev g0 clsact");
        add_theirs("ingress", "pref 1 protocol ip");
        let program = programs.fd(Kind::TcIngress).unwrap();
        clsact::put(program, Hook::Ingress, veth.index, None).unwrap();
        let before = clsact::before_ours(Hook::Ingress, veth.index).unwrap();
        assert_eq!(before, ["a filter of kind bpf with priority 1"]);
    });
}
