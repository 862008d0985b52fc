//! Commands at the same time as others, or as the daemon's start: none is lost.

use std::{fs, net::Ipv4Addr, process::Output, thread, time::Duration};

use anyhow::{Result, bail, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{guard::Home, lab::Lab};
use serde_json::Value;

use super::{empty_source, entries, guarded, listed, ok, orphaned};

/// Twenty commands at once, each about another address.
fn twenty_at_once(lab: &Lab, home: &Home) -> Result<()> {
    let address = |number: u8| Ipv4Addr::new(192, 0, 2, number).to_string();
    let all = || -> Result<()> {
        let outputs: Vec<Result<Output>> = thread::scope(|scope| {
            let running: Vec<_> = (1..=20)
                .map(|number| {
                    scope.spawn(move || lab.cli(home, &["allowlist", "add", &address(number)]))
                })
                .collect();
            running
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| bail!("a command's thread panicked"))
                })
                .collect()
        });
        outputs.into_iter().try_for_each(|output| ok(&output?))
    };
    all()?;
    let listed = listed(lab, home)?;
    ensure!(listed.len() == 20, "{listed:?}");
    if home.pin_dir().join("maps").exists() {
        ensure!(entries(home)? == 20, "{} in the table", entries(home)?);
        lab.admits(home, &address(1), Role::Server)?;
        lab.admits(home, &address(20), Role::Server)?;
    }
    let file: Value =
        serde_json::from_str(&fs::read_to_string(home.state_dir().join("state.json"))?)?;
    ensure!(file["rows"].as_array().map(Vec::len) == Some(20), "{file}");
    Ok(())
}

#[test]
fn of_twenty_additions_at_once_none_is_lost_while_the_daemon_runs() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    twenty_at_once(&lab, guard.home())
}

#[test]
fn of_twenty_additions_at_once_none_is_lost_after_the_daemon_was_killed() -> Result<()> {
    let lab = Lab::new()?;
    let home = orphaned(&lab)?;
    twenty_at_once(&lab, &home)
}

#[test]
fn of_twenty_additions_at_once_none_is_lost_with_nothing_loaded() -> Result<()> {
    let lab = Lab::new()?;
    let home = Home::new()?;
    twenty_at_once(&lab, &home)
}

#[test]
fn a_command_while_the_daemon_starts_is_not_lost() -> Result<()> {
    let lab = Lab::new()?;
    let home = Home::new()?;
    let source = empty_source(&lab)?;
    // Whether the command or the daemon takes the lock first, both come to see the addition.
    for number in 1..=8_u8 {
        let mut guard = lab.guard().home(&home).source(&source).start()?;
        thread::sleep(Duration::from_millis(u64::from(number) * 15));
        let address = Ipv4Addr::new(192, 0, 2, number).to_string();
        ok(&lab.cli(&home, &["allowlist", "add", &address])?)?;
        guard.wait_ready()?;
        lab.admits(&home, &address, Role::Server)?;
        ensure!(
            listed(&lab, &home)?.len() == usize::from(number),
            "one was lost"
        );
        guard.kill9()?;
    }
    Ok(())
}
