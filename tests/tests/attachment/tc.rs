//! The guard on the tc hook, beside programs of others.

use anyhow::{Context, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    bpftool,
    guard::Guard,
    link::{Options, Port, Veth},
    namespace::Namespace,
    packets::{frame, ntp::Message},
    wait::eventually,
};
use serde_json::Value;

use super::{
    LISTED, SOON, STRANGERS, Scene, Target, Way as _, Wire, config, ensure_attached, ensure_gone,
    guard, ingress_link, scene, xdp_on,
};

/// Somebody else's program that is attached without a link: a guard's of another host.
fn attach_theirs(scene: &Scene, kind: &str) -> Result<Theirs> {
    let other = &scene.other.port;
    let config = config()?;
    let elsewhere = guard(&other.namespace, &[&other.interface], &config)
        .args(["--mode", "monitor"])
        .ready()?;
    let program = elsewhere.home().pin_dir().join("programs/ingress");
    let program = program.to_str().context("a path that is no text")?;
    let attach = ["bpftool", "net", "attach", kind, "pinned", program, "dev"];
    let host = &scene.host.port;
    host.namespace
        .run(&[&attach[..], &[&host.interface]].concat())?;
    let shown = xdp_on(&host.namespace, &host.interface)?.context("theirs is not attached")?;
    Ok(Theirs {
        id: shown["id"].as_u64().context("no id")?,
        mode: shown["mode"].clone(),
    })
}

/// As bpftool shows it.
#[derive(Debug, PartialEq)]
struct Theirs {
    id: u64,
    mode: Value,
}

impl Theirs {
    fn ensure_stays(&self, port: &Port) -> Result<()> {
        let shown = xdp_on(&port.namespace, &port.interface)?.context("theirs is gone")?;
        ensure!(
            shown["id"] == self.id && shown["mode"] == self.mode,
            "{self:?} became {shown}"
        );
        Ok(())
    }
}

#[test]
fn behind_another_xdp_program_auto_takes_tc_and_says_why() -> Result<()> {
    for kind in ["xdpdrv", "xdpgeneric"] {
        let mut scene = scene()?;
        let theirs = attach_theirs(&scene, kind)?;
        let port = &scene.host.port;
        scene.target.ensure_all_arrive(&mut scene.wire)?;
        let config = config()?;
        let mut guard = guard(&port.namespace, &[&port.interface], &config).ready()?;
        let status = interface_of(&guard, port)?;
        let why = status["why_not_better"].as_str().unwrap_or_default();
        ensure!(
            status["attached"] == "tc" && why.contains(&format!("id {}", theirs.id)),
            "{status}"
        );
        let text = String::from_utf8(guard.cli(&["status"])?.stdout)?;
        ensure!(
            text.contains(&format!("{}: tc (", port.interface)),
            "{text}"
        );
        theirs.ensure_stays(port)?;
        scene
            .target
            .ensure_only_listed_arrive(&mut scene.wire, guard.home())?;
        ensure!(guard.terminate()?.success(), "{}", guard.stderr());
        ensure!(!guard.home().pin_dir().exists(), "pins were left");
        theirs.ensure_stays(port)?;
        scene.target.ensure_all_arrive(&mut scene.wire)?;
    }
    Ok(())
}

fn interface_of(guard: &Guard, port: &Port) -> Result<Value> {
    super::interface_status(guard, &port.interface)
}

#[test]
fn a_program_that_comes_after_ours_is_refused_by_the_kernel_and_ours_stays() -> Result<()> {
    for how in ["native", "generic"] {
        let mut scene = scene()?;
        let port = &scene.host.port;
        let config = config()?;
        let guard = guard(&port.namespace, &[&port.interface], &config)
            .args(["--attach", how])
            .ready()?;
        for kind in ["xdpdrv", "xdpgeneric"] {
            ensure!(
                attach_theirs(&scene, kind).is_err(),
                "{kind} came beside {how}"
            );
        }
        ensure_attached(&guard, port, how)?;
        scene
            .target
            .ensure_only_listed_arrive(&mut scene.wire, guard.home())?;
    }
    Ok(())
}

#[test]
fn beside_ours_on_tc_an_xdp_program_can_come_and_go() -> Result<()> {
    let mut scene = scene()?;
    let port = scene.host.port.clone();
    let config = config()?;
    let guard = guard(&port.namespace, &[&port.interface], &config)
        .args(["--attach", "tc"])
        .ready()?;
    let theirs = attach_theirs(&scene, "xdpdrv")?;
    theirs.ensure_stays(&port)?;
    scene
        .target
        .ensure_only_listed_arrive(&mut scene.wire, guard.home())?;
    port.namespace
        .run(&["bpftool", "net", "detach", "xdpdrv", "dev", &port.interface])?;
    scene
        .target
        .ensure_only_listed_arrive(&mut scene.wire, guard.home())
}

#[test]
fn a_second_start_swaps_the_program_in_place_and_keeps_the_hook() -> Result<()> {
    let mut scene = scene()?;
    let port = &scene.host.port;
    let config = config()?;
    let mut first = guard(&port.namespace, &[&port.interface], &config)
        .args(["--attach", "tc", "--persist"])
        .ready()?;
    let before = ingress_link(first.home(), port)?;
    ensure!(first.terminate()?.success(), "{}", first.stderr());
    let mut second = guard(&port.namespace, &[&port.interface], &config)
        .home(first.home())
        .args(["--mode", "monitor"])
        .ready()?;
    let after = ingress_link(second.home(), port)?;
    ensure!(
        before["id"] == after["id"] && before["prog_id"] != after["prog_id"],
        "{before} became {after}"
    );
    let status = ensure_attached(&second, port, "tc")?;
    ensure!(status["why_not_better"].is_string(), "{status}");
    // Monitor mode passes everything, and tells.
    scene.target.ensure_all_arrive(&mut scene.wire)?;
    let counts = second.counters()?;
    ensure!(counts.monitored(Reason::Unlisted) > 0, "{counts:?}");
    ensure!(second.terminate()?.success(), "{}", second.stderr());
    ensure_gone(second.home(), port)?;
    let refused = guard(&port.namespace, &[&port.interface], &config)
        .args(["--attach", "native"])
        .ready();
    ensure_attached(&refused?, port, "native").map(drop)
}

#[test]
fn somebody_elses_filters_before_and_after_ours_are_left_alone() -> Result<()> {
    let mut scene = scene()?;
    let port = scene.host.port.clone();
    let tc = |line: &str| -> Result<String> {
        let words: Vec<&str> = line.split(' ').collect();
        port.namespace.run(&[&["tc"], &words[..]].concat())
    };
    tc(&format!("qdisc add dev {} clsact", port.interface))?;
    // Classic BPF that takes every packet to a class, and lets it go on.
    port.namespace.run(&[
        "tc",
        "filter",
        "add",
        "dev",
        &port.interface,
        "ingress",
        "pref",
        "7",
        "protocol",
        "all",
        "bpf",
        "bytecode",
        "1,6 0 0 4294967295",
        "flowid",
        "1:1",
    ])?;
    let show = format!("filter show dev {} ingress", port.interface);
    let theirs = tc(&show)?;
    let config = config()?;
    let mut guard = guard(&port.namespace, &[&port.interface], &config)
        .args(["--attach", "tc"])
        .ready()?;
    ensure!(tc(&show)? == theirs, "theirs changed");
    scene
        .target
        .ensure_only_listed_arrive(&mut scene.wire, guard.home())?;
    ensure!(guard.terminate()?.success(), "{}", guard.stderr());
    ensure!(tc(&show)? == theirs, "theirs changed");
    Ok(())
}

#[test]
fn a_guard_before_ours_on_tc_is_told() -> Result<()> {
    let scene = scene()?;
    let port = &scene.host.port;
    let config = config()?;
    let on_tc = || guard(&port.namespace, &[&port.interface], &config).args(["--attach", "tc"]);
    let mut ours = on_tc().args(["--persist"]).ready()?;
    ensure!(
        !ours.stderr().contains("before the guard"),
        "{}",
        ours.stderr()
    );
    ensure!(ours.terminate()?.success(), "{}", ours.stderr());
    // It stands first, as whoever comes last and asks for that does.
    let _theirs = on_tc().ready()?;
    let again = on_tc().home(ours.home()).ready()?;
    let said = again.stderr();
    ensure!(
        said.contains("before the guard's where packets arrive")
            && said.contains("ntpguard_ingres"),
        "{said}"
    );
    Ok(())
}

/// The kernel hands tc the outermost tag beside the frame, and the frame's data as it has it.
#[test]
fn tags_and_jumbo_frames_hide_nothing_from_tc() -> Result<()> {
    let (host, other) = (Namespace::new("host")?, Namespace::new("other")?);
    let options = Options {
        mtu: Some(9000),
        ..Options::default()
    };
    let addresses = ["10.0.0.1/24", "fd00::1/64"];
    let cable = Veth::with(options, &host, &addresses, &other, &[])?;
    let target = Target::new(&host, ["10.0.0.1", "fd00::1"])?;
    let mut wire = Wire::new(&cable.right, &cable.left)?;
    let config = config()?;
    let guard = guard(&host, &[&cable.left.interface], &config)
        .args(["--attach", "tc"])
        .ready()?;
    target.ensure_only_listed_arrive(&mut wire, guard.home())?;
    let counted = guard.counters()?;
    let payload = Message::new(4, 4).to_vec();
    let long = vec![0x24; 8900];
    for (source, to) in STRANGERS.iter().zip(target.addresses) {
        for (payload, tags) in [
            (&payload, &[0x8100_u16][..]),
            (&payload, &[0x88a8, 0x8100]),
            (&payload, &[0x8100, 0x8100, 0x8100, 0x8100]),
            (&long, &[]),
            (&long, &[0x8100]),
        ] {
            let source = (source.parse::<std::net::IpAddr>()?, 123).into();
            let packet = frame::udp(source, (to, 123).into(), payload)?;
            wire.tags = tags.iter().map(|tag| (*tag, 7)).collect();
            wire.send(&packet)?;
        }
    }
    wire.tags.clear();
    let expected = 10;
    eventually(SOON, "the judging of each", || {
        let counts = guard.counters()?;
        let dropped: u64 =
            counts.enforced.values().sum::<u64>() - counted.enforced.values().sum::<u64>();
        ensure!(dropped == expected, "{dropped}: {counts:?}");
        Ok(())
    })?;
    // A listed server's jumbo frame, for comparison, passes.
    let source = (LISTED[0].parse::<std::net::IpAddr>()?, 123).into();
    let before = target.sink.count_from(LISTED[0].parse()?);
    wire.send(&frame::udp(
        source,
        (target.addresses[0], 123).into(),
        &long,
    )?)?;
    eventually(SOON, "a listed server's jumbo frame", || {
        let count = target.sink.count_from(LISTED[0].parse()?);
        ensure!(count == before + 1, "{count}");
        Ok(())
    })?;
    let program = bpftool::prog_show(&guard.home().pin_dir().join("programs/ingress"))?;
    ensure!(program["type"] == "sched_cls", "{program}");
    Ok(())
}
