//! Bonds and their members.

use anyhow::{Context, Result, ensure};

use super::scene::{self, SOON, Scene, findings, join, row, wait_logged};
use crate::{
    guard::{Builder, Guard},
    wait::eventually,
};

/// The first kernel whose bonds take native XDP.
const NATIVE: (u32, u32) = (5, 15);

pub(super) fn guard(scene: &Scene) -> Builder {
    scene.guard(&[&scene.bond.near, &scene.vlan.near])
}

/// What arrives by either member is judged, and `status` says why where it is not done natively.
pub(super) fn is_guarded(scene: &Scene, guard: &Guard) -> Result<()> {
    let row = row(guard, &scene.bond.near)?;
    if scene::kernel()? >= NATIVE {
        ensure!(row["attached"] == "native", "{row}");
    } else {
        let why = row["why_not_better"].as_str().unwrap_or_default();
        let is_explained = why.contains("native") && why.contains("driver");
        ensure!(row["attached"] == "tc" && is_explained, "{row}");
    }
    let by_member = || -> Result<Vec<u64>> {
        let ports = scene.members.iter();
        ports.map(|member| scene.arrived(member)).collect()
    };
    let before = by_member()?;
    scene.exchange(&scene.bond, guard)?;
    let after = by_member()?;
    let grew = before
        .iter()
        .zip(&after)
        .all(|(before, after)| after > before);
    ensure!(grew, "{before:?} became {after:?}");
    Ok(())
}

pub(super) fn member_is_found(scene: &Scene, guard: &Guard) -> Result<()> {
    ensure_found(scene, guard)?;
    wait_logged(guard, &words(scene), SOON)
}

/// A finding ends when the interface leaves the bond, and is there again when it joins another.
pub(super) fn later_member_is_found(scene: &Scene, guard: &Guard) -> Result<()> {
    let member = &scene.members[0];
    scene.ip(&["link", "set", &member.interface, "nomaster"])?;
    wait_logged(guard, "resolved: ", SOON)?;
    ensure!(findings(guard)? == "[]", "{}", findings(guard)?);
    let logged = guard.stderr().len();
    join(member, &scene.bond.near.interface)?;
    ensure_found(scene, guard)?;
    eventually(SOON, "a line of the log", || {
        let log = guard.stderr();
        let later = log.get(logged..).context("a shorter log")?;
        ensure!(later.contains(&words(scene)), "{later}");
        Ok(())
    })
}

fn words(scene: &Scene) -> String {
    let [member, other] = scene.members.each_ref().map(|port| &port.interface);
    let bond = &scene.bond.near.interface;
    format!("{member} is a member of {bond}, and {other} is not guarded")
}

/// The finding names the bond, and its cure both ways out.
fn ensure_found(scene: &Scene, guard: &Guard) -> Result<()> {
    let [member, other] = scene.members.each_ref().map(|port| &port.interface);
    let bond = &scene.bond.near.interface;
    let cure = format!("guard {bond} (-i {bond}), or all its members (-i {member} -i {other})");
    eventually(SOON, "a finding", || {
        let findings = findings(guard)?;
        let is_whole = findings.contains(&words(scene)) && findings.contains(&cure);
        ensure!(is_whole, "{findings}");
        Ok(())
    })
}
