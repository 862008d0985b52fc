//! Programs on the tc hooks that others take away: with the clsact qdisc, with a filter, or by detaching
//! a tcx link.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::scene::{self, Scene, row, wait_logged};
use crate::{
    guard::{Builder, Guard},
    process::run_program,
    wait::eventually,
};

/// How soon a loss is repaired. It takes two to three seconds, or five more for the second of the same
/// program; an emulated CPU that others use as well can stand still for as long.
const REPAIRED_WITHIN: Duration = Duration::from_secs(30);
/// The first kernel with tcx.
const TCX: (u32, u32) = (6, 6);

pub(super) fn guard(scene: &Scene) -> Builder {
    scene
        .guard(&[&scene.cable.near, &scene.members[0]])
        .args(["--attach", "tc"])
}

pub(super) fn judges(scene: &Scene, guard: &Guard) -> Result<()> {
    let row = row(guard, &scene.cable.near)?;
    let hooks = if has_tcx()? { "tcx" } else { "clsact" };
    ensure!(row["attached"] == "tc" && row["egress"] == hooks, "{row}");
    scene.exchange(&scene.cable, guard)
}

pub(super) fn comes_back(scene: &Scene, guard: &Guard) -> Result<()> {
    let name = scene.cable.near.interface.as_str();
    if has_tcx()? {
        for hook in ["egress", "ingress"] {
            let pin = format!("links/{}-{hook}", scene.cable.near.index);
            let pin = guard.home().pin_dir().join(pin);
            let pin = pin.to_str().context("a path that is no text")?;
            run_program("bpftool", &["link", "detach", "pinned", pin])?;
            repaired(scene, guard, &lost(hook, name, "link detached"))?;
        }
        return Ok(());
    }
    scene.tc(&["qdisc", "del", "dev", name, "clsact"])?;
    let cause = format!("qdisc clsact of {name} was removed");
    for hook in ["ingress", "egress"] {
        repaired(scene, guard, &lost(hook, name, &cause))?;
    }
    scene.tc(&["filter", "del", "dev", name, "egress"])?;
    let words = lost("egress", name, "its filter was removed");
    repaired(scene, guard, &words)
}

fn lost(hook: &str, interface: &str, cause: &str) -> String {
    format!("the {hook} program is no longer attached to {interface} ({cause})")
}

/// The loss is found and repaired, as the log says, and requests are answered again.
fn repaired(scene: &Scene, guard: &Guard, loss: &str) -> Result<()> {
    let start = Instant::now();
    wait_logged(guard, &format!("repaired: {loss}"), REPAIRED_WITHIN)?;
    println!("repaired after {:.1?}: {loss}", start.elapsed());
    eventually(REPAIRED_WITHIN, "an end of the finding", || {
        let findings = scene::findings(guard)?;
        ensure!(!findings.contains("no longer attached"), "{findings}");
        Ok(())
    })?;
    scene.exchange(&scene.cable, guard)
}

fn has_tcx() -> Result<bool> {
    Ok(scene::kernel()? >= TCX)
}
