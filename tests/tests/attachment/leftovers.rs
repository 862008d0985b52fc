//! What stays in the kernel when a guard ends.

use anyhow::{Result, ensure};
use ntpguard_tests::guard;

use super::{config, ensure_attached, ensure_gone, links_of, scene, xdp_on};

#[test]
fn a_guard_that_is_stopped_leaves_nothing() -> Result<()> {
    for attach in ["native", "generic", "tc"] {
        let mut scene = scene()?;
        let config = config()?;
        let port = &scene.host.port;
        let mut guard = super::guard(&port.namespace, &[&port.interface], &config)
            .args(["--attach", attach])
            .ready()?;
        ensure_attached(&guard, port, attach)?;
        scene
            .target
            .ensure_only_listed_arrive(&mut scene.wire, guard.home())?;
        let status = guard.terminate()?;
        ensure!(status.success(), "{status}: {}", guard.stderr());
        ensure_gone(guard.home(), port)?;
        scene.target.ensure_all_arrive(&mut scene.wire)?;
    }
    Ok(())
}

#[test]
fn a_guard_that_persists_goes_on_until_it_is_unloaded() -> Result<()> {
    let mut scene = scene()?;
    let config = config()?;
    let port = &scene.host.port;
    let mut guard = super::guard(&port.namespace, &[&port.interface], &config)
        .args(["--persist"])
        .ready()?;
    let status = guard.terminate()?;
    ensure!(status.success(), "{status}: {}", guard.stderr());
    let status = ensure_attached(&guard, port, "native")?;
    ensure!(
        guard.json(&["status", "--json"])?["daemon"].is_null(),
        "{status}"
    );
    scene
        .target
        .ensure_only_listed_arrive(&mut scene.wire, guard.home())?;

    let unloaded = guard.cli(&["unload"])?;
    let printed = String::from_utf8_lossy(&unloaded.stdout);
    ensure!(
        unloaded.status.success() && printed.contains("1 link"),
        "{unloaded:?}"
    );
    ensure_gone(guard.home(), port)?;
    scene.target.ensure_all_arrive(&mut scene.wire)?;
    let again = guard.cli(&["unload"])?;
    ensure!(again.status.success(), "{again:?}");
    Ok(())
}

#[test]
fn a_guard_is_not_unloaded_under_a_living_daemon() -> Result<()> {
    let mut scene = scene()?;
    let config = config()?;
    let port = &scene.host.port;
    let mut guard = super::guard(&port.namespace, &[&port.interface], &config).ready()?;
    let refused = guard.cli(&["unload"])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        refused.status.code() == Some(1) && said.contains(&format!("kill {}", guard.id())),
        "{refused:?}"
    );
    ensure_attached(&guard, port, "native")?;
    scene
        .target
        .ensure_only_listed_arrive(&mut scene.wire, guard.home())?;
    ensure!(guard.terminate()?.success(), "{}", guard.stderr());
    ensure_gone(guard.home(), port)
}

#[test]
fn unload_removes_what_a_killed_guard_left() -> Result<()> {
    let mut scene = scene()?;
    let config = config()?;
    let port = &scene.host.port;
    let mut killed = super::guard(&port.namespace, &[&port.interface], &config).ready()?;
    killed.kill9()?;
    ensure!(
        links_of(killed.home())?.len() == 1,
        "the link went with the process"
    );
    ensure!(
        xdp_on(&port.namespace, &port.interface)?.is_some(),
        "no program is attached"
    );
    let unloaded = guard::cli(&port.namespace, killed.home(), &["unload"])?;
    ensure!(unloaded.status.success(), "{unloaded:?}");
    ensure_gone(killed.home(), port)?;
    scene.target.ensure_all_arrive(&mut scene.wire)
}
