//! What helps where a server is not heard.

use std::time::Duration;

use anyhow::{Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    daemons::{Setup, chrony::Chronyd, ntpd_rs::NtpdRs, openntpd::OpenNtpd, responder::Manner},
    guard::Guard,
    wait::eventually,
};

use super::scene::{SOON, Scene};

/// As long as a MAC of MD5, which the request has not.
fn longer() -> Manner {
    Manner {
        longer: 20,
        ..Manner::default()
    }
}

fn late() -> Manner {
    Manner {
        delay: Duration::from_millis(1500),
        ..Manner::default()
    }
}

#[test]
fn openntpd_hears_a_server_of_long_replies_once_it_may_send_them() -> Result<()> {
    let scene = Scene::new(|_| longer())?;
    let config = format!("server {}\n", scene.asked);
    let setup = Setup::new(&config, None)?;
    let guard = scene.guard(&setup, &[])?;
    let unheard = OpenNtpd::start_in(&scene.client.namespace, setup)?;
    scene.shows(&guard, "oversize")?;
    // It waits for minutes before it asks again.
    drop(unheard);
    let asked = scene.asked.to_string();
    let done = guard.cli(&["allowlist", "add", &asked, "--allow-long-replies"])?;
    ensure!(done.status.success(), "{done:?}");
    let mut openntpd = OpenNtpd::start(&scene.client.namespace, &config, None)?;
    scene.is_heard(&guard)?;
    openntpd.wait_replies(&[scene.asked], SOON)
}

#[test]
fn ntpd_rs_hears_a_server_of_long_replies_once_it_may_send_them() -> Result<()> {
    let scene = Scene::new(|_| longer())?;
    let setup = NtpdRs::setup(&NtpdRs::servers(&[scene.asked]), None)?;
    let guard = scene.guard(&setup, &[])?;
    let ntpd_rs = NtpdRs::start_in(&scene.client.namespace, setup)?;
    scene.shows(&guard, "oversize")?;
    let asked = scene.asked.to_string();
    let done = guard.cli(&["allowlist", "add", &asked, "--allow-long-replies"])?;
    ensure!(done.status.success(), "{done:?}");
    scene.is_heard(&guard)?;
    drop(ntpd_rs);
    Ok(())
}

#[test]
fn the_grant_of_long_replies_is_listed_and_outlives_a_restart_and_a_removal_ends_it() -> Result<()>
{
    let scene = Scene::new(|_| longer())?;
    let setup = Setup::new(&format!("server {}\n", scene.asked), None)?;
    let mut guard = scene.guard(&setup, &[])?;
    let asked = scene.asked.to_string();
    let add = ["allowlist", "add", &asked, "--allow-long-replies"];
    ensure!(guard.cli(&add)?.status.success(), "not added");
    for row in ["client", "none"] {
        let wrong = [&add[..], &["--role", row]].concat();
        let refused = guard.cli(&wrong)?;
        ensure!(refused.status.code() == Some(2), "{refused:?}");
    }
    ensure!(guard.terminate()?.success(), "{}", guard.stderr());
    let home = guard.home().clone();
    let guard = Guard::builder(&scene.client.namespace)
        .interface(&scene.client.port.interface)
        .source(&setup.config())
        .home(&home)
        .ready()?;
    let listed = guard.json(&["allowlist", "list", "--json"])?;
    let rows = listed["rows"].as_array().cloned().unwrap_or_default();
    ensure!(
        rows.iter()
            .any(|row| row["prefix"] == format!("{asked}/32") && row["long_replies"] == true),
        "{listed}"
    );
    let table = String::from_utf8(guard.cli(&["allowlist", "list"])?.stdout)?;
    ensure!(table.contains("server, long replies"), "{table}");
    let openntpd = OpenNtpd::start_in(&scene.client.namespace, setup)?;
    scene.is_heard(&guard)?;
    ensure!(
        guard
            .cli(&["allowlist", "remove", &asked])?
            .status
            .success(),
        "not removed"
    );
    eventually(SOON, "a refused long reply", || {
        let refused = guard.counters()?.enforced(Reason::Oversize);
        ensure!(refused > 0, "none");
        Ok(())
    })?;
    drop(openntpd);
    Ok(())
}

#[test]
fn chronyd_hears_a_slow_server_in_a_longer_window() -> Result<()> {
    let scene = Scene::new(|_| late())?;
    let config = format!("server {} iburst minpoll 2 maxpoll 2\n", scene.asked);
    let setup = Setup::new(&config, None)?;
    let mut guard = scene.guard(&setup, &["--reply-window", "1"])?;
    let mut chronyd = Chronyd::start_in(&scene.client.namespace, setup)?;
    scene.shows(&guard, "late")?;
    let home = guard.home().clone();
    let longer = Guard::builder(&scene.client.namespace)
        .interface(&scene.client.port.interface)
        .home(&home)
        .args(["--replace", "--reply-window", "5", "--source"])
        .args([chronyd.config()])
        .ready()?;
    guard.wait_end()?;
    scene.is_heard(&longer)?;
    let text = Scene::text(&longer)?;
    ensure!(text.contains("within 5 s"), "{text}");
    chronyd.wait_synchronised(SOON)?;
    Ok(())
}
