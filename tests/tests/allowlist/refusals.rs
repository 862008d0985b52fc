//! Edits that cannot be made: the command fails, says why, and changes nothing.

use std::{fs, sync::Arc};

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::lab::Lab;
use serde_json::Value;

use super::{ADDRESS, OTHER, empty_source, entries, guarded, listed, named, ok, refusal, rows};

#[test]
fn removing_what_was_not_granted_by_hand_fails_and_says_who_did() -> Result<()> {
    let lab = Lab::new()?;
    let (_dns, source, mut guard) = named(&lab)?;
    for with_daemon in [true, false] {
        if !with_daemon {
            guard.kill9()?;
        }
        let said = refusal(&guard.cli(&["allowlist", "remove", ADDRESS])?, 1)?;
        let place = format!("{}:1", source.display());
        ensure!(
            said.contains("not manually") && said.contains(&place),
            "{said}"
        );
        ensure!(
            said.contains("--role none"),
            "it does not say what to do: {said}"
        );
        let said = refusal(&guard.cli(&["allowlist", "remove", OTHER])?, 1)?;
        ensure!(said.contains("time.test"), "{said}");
        let said = refusal(&guard.cli(&["allowlist", "remove", "203.0.113.1"])?, 1)?;
        ensure!(
            said.contains("203.0.113.1") && said.contains("not in the allowlist"),
            "{said}"
        );
        lab.admits(guard.home(), ADDRESS, Role::Server)?;
        lab.admits(guard.home(), OTHER, Role::Server)?;
    }
    Ok(())
}

#[test]
fn wrong_usage_exits_2_and_changes_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    ok(&guard.cli(&["allowlist", "add", ADDRESS])?)?;
    let before = rows(&lab, guard.home())?;
    let wrong: &[(&[&str], &str)] = &[
        (&["allowlist", "add", "pool.ntp.org"], "192.0.2.1"),
        (&["allowlist", "add", "192.0.2.1/24"], "192.0.2.0/24"),
        (&["allowlist", "add", "192.0.2.0/33"], "expected"),
        (&["allowlist", "add", OTHER, "--role", "king"], "king"),
        (&["allowlist", "add", OTHER, "--ttl", "0s"], "second"),
        (&["allowlist", "add", OTHER, "--ttl", "soon"], "soon"),
        (&["allowlist", "add"], "ADDR"),
        (&["allowlist", "remove"], "ADDR"),
        (&["allowlist", "forget", OTHER], "forget"),
        (&["allowlist"], "add"),
    ];
    for (line, hint) in wrong {
        let said = refusal(&guard.cli(line)?, 2)?;
        ensure!(said.contains(hint), "{line:?}: {said}");
    }
    ensure!(rows(&lab, guard.home())? == before, "the list changed");
    Ok(())
}

#[test]
fn a_denial_beside_a_grant_in_one_command_is_refused() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    let line = [
        "allowlist",
        "add",
        ADDRESS,
        "--role",
        "none",
        "--role",
        "client",
    ];
    let output = guard.cli(&line)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(2) && said.contains("none"),
        "{output:?}"
    );
    ensure!(
        listed(&lab, guard.home())?.is_empty(),
        "it was granted all the same"
    );
    Ok(())
}

#[test]
fn a_full_table_refuses_the_addition_and_evicts_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = lab
        .guard()
        .source(&empty_source(&lab)?)
        .args(["--table-size", "4"])
        .ready()?;
    let home = Arc::clone(guard.home());
    for last in 1..=4 {
        ok(&guard.cli(&[
            "allowlist",
            "add",
            &format!("192.0.2.{last}"),
            "--comment",
            "in time",
        ])?)?;
    }
    let state = home.state_dir().join("state.json");
    let kept = |file: &str| -> Result<Value> {
        let state: Value = serde_json::from_str(file)?;
        Ok(state["rows"].clone())
    };
    for with_daemon in [true, false] {
        if !with_daemon {
            guard.kill9()?;
        }
        let (list, file) = (rows(&lab, &home)?, fs::read_to_string(&state)?);
        let said = refusal(&lab.cli(&home, &["allowlist", "add", "192.0.2.5"])?, 1)?;
        ensure!(
            said.contains("full") && said.contains("--table-size"),
            "{said}"
        );
        ensure!(rows(&lab, &home)? == list, "the list changed");
        ensure!(
            kept(&fs::read_to_string(&state)?)? == kept(&file)?,
            "the state file changed"
        );
        ensure!(entries(&home)? == 4, "{} entries", entries(&home)?);
        for last in 1..=4 {
            lab.admits(&home, &format!("192.0.2.{last}"), Role::Server)?;
        }
        lab.drops(&home, "192.0.2.5", Role::Server)?;
        // A role more for an address that is there needs no room.
        ok(&lab.cli(
            &home,
            &["allowlist", "add", "192.0.2.4", "--role", "client"],
        )?)?;
        ok(&lab.cli(
            &home,
            &["allowlist", "remove", "192.0.2.4", "--role", "client"],
        )?)?;
    }
    // Whoever makes room has it.
    ok(&lab.cli(&home, &["allowlist", "remove", "192.0.2.1"])?)?;
    ok(&lab.cli(&home, &["allowlist", "add", "192.0.2.5"])?)?;
    lab.admits(&home, "192.0.2.5", Role::Server)
}
