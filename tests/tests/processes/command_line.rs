//! An honest command line, as chronyd leaves it in /proc.

use anyhow::{Context, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{daemons::chrony::Chronyd, wait::eventually};

use super::{SOON, Scene, granted};

#[test]
fn chronyds_arguments_name_its_server_and_open_nothing() -> Result<()> {
    let scene = Scene::new()?;
    let _server = Chronyd::serve(&scene.server.namespace)?;
    let server = format!("server {} iburst minpoll 0 maxpoll 0", scene.server.v4);
    let arguments = [
        server.as_str(),
        "allow 10.99.0.0/24",
        "server 192.0.2.7 port 1123 iburst",
    ];
    let chronyd = scene.chronyd(0, &arguments)?;
    // It is split only once it was read.
    let path = format!("/proc/{}/cmdline", chronyd.id());
    eventually(SOON, "chronyd's splitting its arguments", || {
        let text = std::fs::read(&path).context("no command line")?;
        ensure!(text.windows(6).any(|text| text == b"allow\0"));
        Ok(())
    })?;
    let guard = scene.guard().args(["--learn", "off"]).ready()?;
    eventually(SOON, "a reply through the guard", || {
        ensure!(guard.counters()?.enforced(Reason::Server) > 0, "none");
        Ok(())
    })?;
    let mut granted = granted(&guard)?;
    granted.sort_unstable();
    let mut expected = vec![
        format!("{}/32 server", scene.server.v4),
        "192.0.2.7/32 server".to_owned(),
    ];
    expected.sort_unstable();
    ensure!(granted == expected, "{granted:?}");
    let log = guard.stderr();
    ensure!(
        log.contains("allow grants nothing on a command line"),
        "{log}"
    );
    Ok(())
}
