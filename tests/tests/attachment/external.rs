//! The program that xdp-loader attaches, over the tables of a daemon.

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{switch::Switch, wait::eventually, xdp_loader};

use super::{SOON, Target, Wire, config, guard, interface_status};

#[test]
fn what_xdp_loader_attaches_judges_by_the_daemons_tables_and_is_told() -> Result<()> {
    let switch = Switch::new()?;
    let (host, other) = (switch.host("host", 1)?, switch.host("other", 2)?);
    let port = &host.port;
    let target = Target::of(&host)?;
    let mut wire = Wire::new(&other.port, port)?;
    let config = config()?;
    let mut guard = guard(&port.namespace, &[&port.interface], &config)
        .args(["--attach", "external"])
        .start()?;
    eventually(SOON, "what is missing", || {
        let status = interface_status(&guard, &port.interface)?;
        let why = status["why_not_attached"].as_str().unwrap_or_default();
        ensure!(why.contains("ntpguard object"), "{status}");
        Ok(())
    })?;
    target.ensure_all_arrive(&mut wire)?;

    let files = tempfile::tempdir()?;
    let file = files.path().join("ntpguard.o");
    let file = file.to_str().context("a path that is no text")?;
    let written = guard.cli(&["object", "--track", "off", file])?;
    ensure!(written.status.success(), "{written:?}");
    let maps = guard.home().pin_dir().join("maps");
    let maps = maps.to_str().context("a path that is no text")?;
    let load = ["xdp-loader", "load", "-n", "ingress", "-p", maps];
    let load = [&load[..], &[&port.interface, file]].concat();
    // One that was killed left its lock, and another test's may be running.
    xdp_loader::leave_lock()?;
    xdp_loader::when_free(|| port.namespace.run(&load))?;
    guard.wait_ready()?;
    let status = interface_status(&guard, &port.interface)?;
    ensure!(status["attached"] == "external", "{status}");
    target.ensure_only_listed_arrive(&mut wire, guard.home())?;

    let unload = ["xdp-loader", "unload", "-a", &port.interface];
    xdp_loader::when_free(|| port.namespace.run(&unload))?;
    eventually(SOON, "its absence", || {
        let status = interface_status(&guard, &port.interface)?;
        ensure!(status["attached"].is_null(), "{status}");
        Ok(())
    })?;
    target.ensure_all_arrive(&mut wire)
}
