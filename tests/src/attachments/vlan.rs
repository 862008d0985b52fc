//! VLAN devices, guarded themselves or above an interface that is.

use anyhow::{Result, ensure};

use super::scene::{Scene, row};
use crate::guard::Guard;

/// The guard is on the interface below, and sees requests and replies with their tag.
pub(super) fn above_is_judged(scene: &Scene, guard: &Guard) -> Result<()> {
    scene.exchange(&scene.vlan, guard)
}

/// No kernel here has native XDP for VLAN devices, and `status` says so.
pub(super) fn is_guarded_on_tc(scene: &Scene, guard: &Guard) -> Result<()> {
    let row = row(guard, &scene.vlan.near)?;
    let why = row["why_not_better"].as_str().unwrap_or_default();
    ensure!(row["attached"] == "tc" && why.contains("native"), "{row}");
    scene.exchange(&scene.vlan, guard)
}

pub(super) fn is_guarded_by_generic_xdp(scene: &Scene, guard: &Guard) -> Result<()> {
    let row = row(guard, &scene.vlan.near)?;
    ensure!(row["attached"] == "generic", "{row}");
    scene.exchange(&scene.vlan, guard)
}
