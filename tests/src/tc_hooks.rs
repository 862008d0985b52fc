//! The guard on both tc hooks of a loopback interface, beside filters of somebody else: what kernels
//! before tcx do in a way of their own. It needs `ip` and `tc`, and no other program, so that it
//! runs as well in a virtual machine that has nothing else.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ntpguard::datapath::{AttachMode, AttachPoint, Guard, Occasion, Tc};

use crate::{
    loopback::{self, Pins, works},
    process::run_program,
    wait::eventually,
};

/// Priorities of somebody else's filters: one for IPv6 alone takes the first place, another comes
/// after ours.
const THEIRS: [(&str, &str); 2] = [("1", "ipv6"), ("7", "all")];

/// A second repair of the same thing waits for five seconds.
const AGAIN: Duration = Duration::from_secs(20);

const SIDES: [&str; 2] = ["ingress", "egress"];

/// Guards, restarts and unloads, alone and beside others, in a network namespace of its own. Says
/// how the programs were attached.
///
/// # Errors
///
/// When something is not as it must be, or a program is missing.
pub fn run() -> Result<Tc> {
    loopback::alone_in_a_namespace(|| {
        let tc = alone().context("alone")?;
        if tc == Tc::Clsact {
            taken_away().context("taken away by others")?;
        }
        beside_others(tc).context("beside filters of others")?;
        Ok(tc)
    })
}

/// Where no other program is, nothing stays behind.
fn alone() -> Result<Tc> {
    let pins = Pins::new();
    let guard = start(&pins)?;
    let tc = guard.attached[0].egress.context("no requests are noted")?;
    works(&guard)?;
    let again = start(&pins)?;
    ensure!(again.attached[0].adopted, "the guard was not adopted");
    ensure!(ours(tc)? == [1, 1], "filters of ours: {:?}", ours(tc)?);
    works(&again)?;
    again.detach()?;
    let qdiscs = run_program("tc", &["qdisc", "show", "dev", "lo"])?;
    ensure!(!qdiscs.contains("clsact"), "{qdiscs}");
    ensure!(!pins.0.exists(), "pins were left");
    Ok(tc)
}

/// Filters that others remove, with their qdisc or without, are told and come back.
fn taken_away() -> Result<()> {
    let pins = Pins::new();
    let mut guard = start(&pins)?;
    for (line, cause) in [
        (
            &["qdisc", "del", "dev", "lo", "clsact"][..],
            "qdisc clsact of lo was removed",
        ),
        (
            &["filter", "del", "dev", "lo", "egress"],
            "its filter was removed",
        ),
    ] {
        guard.reattach(Occasion::Tick);
        let before = guard.look()?;
        ensure!(before.findings.is_empty(), "{before:?}");
        run_program("tc", line)?;
        let lost = guard.look()?;
        let said = lost.findings.iter().map(ToString::to_string);
        let said: Vec<String> = said.collect();
        ensure!(
            said.iter()
                .any(|one| one.contains("egress program") && one.contains(cause)),
            "{said:?}"
        );
        ensure!(lost.interfaces[0].egress.is_none(), "{lost:?}");
        eventually(AGAIN, "a repair", || {
            guard.reattach(Occasion::Tick);
            let after = guard.look()?;
            ensure!(after.findings.is_empty(), "{after:?}");
            Ok(())
        })?;
        ensure!(ours(Tc::Clsact)? == [1, 1], "{:?}", ours(Tc::Clsact)?);
        works(&guard)?;
    }
    guard.detach().map(drop)?;
    Ok(())
}

/// Where others are, they stay as they are.
fn beside_others(tc: Tc) -> Result<()> {
    run_program("tc", &["qdisc", "add", "dev", "lo", "clsact"])?;
    for side in SIDES {
        for (priority, protocol) in THEIRS {
            // Classic BPF that takes every packet to a class, and has it go on.
            let place = ["filter", "add", "dev", "lo", side, "pref", priority];
            let what = [
                "protocol",
                protocol,
                "bpf",
                "bytecode",
                "1,6 0 0 4294967295",
            ];
            let class = ["flowid", "1:1"];
            run_program("tc", &[&place[..], &what, &class].concat())?;
        }
    }
    let theirs = filters()?;
    let pins = Pins::new();
    let guard = start(&pins)?;
    works(&guard)?;
    let again = start(&pins)?;
    ensure!(again.attached[0].adopted, "the guard was not adopted");
    ensure!(ours(tc)? == [1, 1], "filters of ours: {:?}", ours(tc)?);
    works(&again)?;
    again.detach()?;
    ensure!(filters()? == theirs, "{theirs:?} became {:?}", filters()?);
    Ok(())
}

fn start(pins: &Pins) -> Result<Guard> {
    let guard = loopback::guard(pins, AttachMode::Tc)?;
    ensure!(
        guard.attached[0].how == AttachPoint::Tc,
        "{:?}",
        guard.attached
    );
    Ok(guard)
}

/// What tc shows of the filters on both sides.
fn filters() -> Result<[String; 2]> {
    let show = |side| run_program("tc", &["filter", "show", "dev", "lo", side]);
    Ok([show(SIDES[0])?, show(SIDES[1])?])
}

/// How many filters of ours there are on each side; one link each is as good.
fn ours(tc: Tc) -> Result<[usize; 2]> {
    if tc == Tc::Tcx {
        return Ok([1, 1]);
    }
    Ok(filters()?.map(|shown| shown.matches("direct-action").count()))
}
