//! A limit on locked memory as a login shell has it, which tables count against before Linux 5.11.

use anyhow::{Result, ensure};

use super::scene::{self, Scene};
use crate::guard::Builder;

/// Starts a program with 64 KiB.
const LOW: [&str; 2] = ["prlimit", "--memlock=65536:65536"];
/// Starts a program that cannot raise any limit.
const FIXED: [&str; 2] = ["setpriv", "--bounding-set=-sys_resource"];
/// The first kernel that counts tables otherwise.
const UNCOUNTED: (u32, u32) = (5, 11);

/// Whether this kernel counts tables against the limit.
pub(super) fn is_counted() -> Result<bool> {
    Ok(scene::kernel()? < UNCOUNTED)
}

/// Raises the limit where it must, and does not need to where tables do not count.
pub(super) fn guard(scene: &Scene) -> Builder {
    let is_counted = is_counted().unwrap_or(true);
    let fixed = if is_counted { &[][..] } else { &FIXED };
    scene
        .guard(&[&scene.vlan.near])
        .args(["--attach", "generic"])
        .under([&LOW, fixed].concat())
}

/// One error says which limit, and what to do.
pub(super) fn is_named(scene: &Scene) -> Result<()> {
    let mut guard = scene
        .guard(&[&scene.vlan.near])
        .under([LOW, FIXED].concat())
        .start()?;
    let status = guard.wait_end()?;
    let said = guard.stderr();
    ensure!(status.code() == Some(1), "{status}: {said}");
    let is_once = |words| said.matches(words).count() == 1;
    ensure!(
        is_once("the limit on locked memory, 64 KiB") && is_once("LimitMEMLOCK=infinity"),
        "{said}"
    );
    ensure!(
        !said.contains("processed ") && !said.contains("verifier"),
        "{said}"
    );
    Ok(())
}
