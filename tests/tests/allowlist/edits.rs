//! Additions and removals hold on the very next packet, whatever is left of the daemon.

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::maps::tables::{Role, names};
use ntpguard_tests::{bpftool, guard::Home, lab::Lab};

use super::{ADDRESS, OTHER, empty_source, guarded, listed, ok, orphaned};

const V6: &str = "2001:db8::1";

/// Dropped, added, admitted, removed, dropped: each on the very next packet.
fn each_edit_holds_on_the_next_packet(lab: &Lab, home: &Home) -> Result<()> {
    for address in [ADDRESS, V6] {
        lab.drops(home, address, Role::Server)?;
        ok(&lab.cli(home, &["allowlist", "add", address])?)?;
        lab.admits(home, address, Role::Server)?;
        ok(&lab.cli(home, &["allowlist", "remove", address])?)?;
        lab.drops(home, address, Role::Server)?;
    }
    ok(&lab.cli(home, &["allowlist", "add", OTHER])?)?;
    ensure!(bits(home)? == 1, "one address has {} bits", bits(home)?);
    ok(&lab.cli(home, &["allowlist", "remove", OTHER])?)?;
    // A prefix is another table, and the first and last of them switch its look-up on and off.
    for (prefix, address) in [
        ("198.51.100.0/24", "198.51.100.7"),
        ("2001:db8:1::/48", "2001:db8:1::7"),
    ] {
        lab.drops(home, address, Role::Client)?;
        ok(&lab.cli(home, &["allowlist", "add", prefix, "--role", "client"])?)?;
        lab.admits(home, address, Role::Client)?;
        ok(&lab.cli(home, &["allowlist", "remove", prefix])?)?;
        lab.drops(home, address, Role::Client)?;
    }
    Ok(())
}

#[test]
fn edits_hold_from_the_next_packet_while_the_daemon_runs() -> Result<()> {
    let lab = Lab::new()?;
    lab.arrives_unguarded(ADDRESS, Role::Server)?;
    let guard = guarded(&lab)?;
    each_edit_holds_on_the_next_packet(&lab, guard.home())?;
    let left = bits(guard.home())?;
    ensure!(left == 0, "{left} bits are left of what is granted no more");
    Ok(())
}

/// The bits of the sieve that are set, which nothing but speed tells of.
fn bits(home: &Home) -> Result<u32> {
    let dump = bpftool::map_dump(&home.pin_dir().join("maps").join(names::GRANT_BITS))?;
    let words = dump.first().and_then(|entry| entry.value.as_ref());
    let words = words.and_then(|value| value["words"].as_array());
    let ones = words.context("no words")?.iter().map(|word| {
        let word = word.as_u64().context("a word is no number")?;
        Ok(word.count_ones())
    });
    ones.sum()
}

#[test]
fn edits_hold_from_the_next_packet_after_the_daemon_was_killed() -> Result<()> {
    let lab = Lab::new()?;
    let home = orphaned(&lab)?;
    each_edit_holds_on_the_next_packet(&lab, &home)
}

#[test]
fn edits_hold_from_the_next_packet_over_what_persist_left() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = lab
        .guard()
        .source(&empty_source(&lab)?)
        .args(["--persist"])
        .ready()?;
    ensure!(guard.terminate()?.success(), "{}", guard.stderr());
    each_edit_holds_on_the_next_packet(&lab, guard.home())
}

#[test]
fn edits_with_nothing_loaded_are_kept_for_the_next_run() -> Result<()> {
    let lab = Lab::new()?;
    let home = Home::new()?;
    let added = lab.json(
        &home,
        &["allowlist", "add", ADDRESS, "--comment", "early", "--json"],
    )?;
    ensure!(
        added["changed"] == true && added["in_kernel"] == false,
        "{added}"
    );
    ok(&lab.cli(&home, &["allowlist", "add", OTHER])?)?;
    let removed = lab.json(&home, &["allowlist", "remove", OTHER, "--json"])?;
    ensure!(removed["in_kernel"] == false, "{removed}");
    let said = lab.cli(&home, &["allowlist", "add", "192.0.2.3"])?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.contains("no guard is loaded"), "{said}");
    ensure!(
        listed(&lab, &home)? == ["192.0.2.1/32", "192.0.2.3/32"],
        "{:?}",
        listed(&lab, &home)?
    );
    let _guard = lab
        .guard()
        .home(&home)
        .source(&empty_source(&lab)?)
        .ready()?;
    lab.admits(&home, ADDRESS, Role::Server)?;
    lab.admits(&home, "192.0.2.3", Role::Server)?;
    lab.drops(&home, OTHER, Role::Server)
}

#[test]
fn adding_the_same_again_changes_nothing_and_succeeds() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    for changed in [true, false, false] {
        let added = guard.json(&["allowlist", "add", ADDRESS, "--json"])?;
        ensure!(added["changed"] == changed, "{added}");
    }
    Ok(())
}
