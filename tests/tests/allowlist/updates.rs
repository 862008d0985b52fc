//! `allowlist update`: sources are read and names asked for again, at once.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{dns::DnsServer, guard::Home, lab::Lab};
use serde_json::{Value, json};

use super::{ADDRESS, OTHER, named};

/// `update` re-reads a source and asks for every name; both hold on the next packet.
fn an_update_holds_on_the_next_packet(
    lab: &Lab,
    home: &Home,
    dns: &DnsServer,
    source: &Path,
) -> Result<()> {
    lab.admits(home, ADDRESS, Role::Server)?;
    lab.drops(home, "192.0.2.10", Role::Server)?;
    lab.drops(home, "192.0.2.11", Role::Server)?;
    fs::write(source, "server 192.0.2.10\nserver time.test\n")?;
    dns.set_fixed("time.test", &["192.0.2.11".parse()?]);
    let updated = lab.json(home, &["allowlist", "update", "--json"])?;
    lab.admits(home, "192.0.2.10", Role::Server)?;
    lab.admits(home, "192.0.2.11", Role::Server)?;
    // DNS's answers are added to each other, a file's lines are not.
    lab.admits(home, OTHER, Role::Server)?;
    lab.drops(home, ADDRESS, Role::Server)?;
    ensure!(
        updated["schema"] == 1 && updated["in_kernel"] == true,
        "{updated}"
    );
    // A daemon may have noticed the changed file by itself, just before it was told.
    let granted: Vec<&Value> = ["added", "kept"]
        .iter()
        .flat_map(|key| updated[key].as_array().into_iter().flatten())
        .collect();
    ensure!(
        granted.len() == 3 && granted.contains(&&json!("192.0.2.10/32")),
        "{updated}"
    );
    let added = updated["added"].as_array().context("no list")?;
    ensure!(added.contains(&json!("192.0.2.11/32")), "{updated}");
    ensure!(updated["failed"] == json!({}), "{updated}");
    Ok(())
}

#[test]
fn an_update_holds_from_the_next_packet_while_the_daemon_runs() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, source, guard) = named(&lab)?;
    an_update_holds_on_the_next_packet(&lab, guard.home(), &dns, &source)
}

#[test]
fn an_update_holds_from_the_next_packet_after_the_daemon_was_killed() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, source, mut guard) = named(&lab)?;
    guard.kill9()?;
    an_update_holds_on_the_next_packet(&lab, guard.home(), &dns, &source)?;
    let again = guard.json(&["allowlist", "update", "--json"])?;
    ensure!(
        again["kept"] == json!(["192.0.2.2/32", "192.0.2.10/32", "192.0.2.11/32"]),
        "{again}"
    );
    ensure!(
        again["added"] == json!([]) && again["removed"] == json!([]),
        "{again}"
    );
    fs::write(&source, "server time.test\nserver 192.0.2.12\n")?;
    let again = guard.json(&["allowlist", "update", "--json"])?;
    ensure!(again["added"] == json!(["192.0.2.12/32"]), "{again}");
    ensure!(again["removed"] == json!(["192.0.2.10/32"]), "{again}");
    Ok(())
}

#[test]
fn an_update_that_cannot_resolve_a_name_says_so_and_exits_1() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, _source, mut guard) = named(&lab)?;
    dns.set("time.test", ntpguard_tests::dns::Behaviour::ServFail);
    for with_daemon in [true, false] {
        if !with_daemon {
            guard.kill9()?;
        }
        let output = guard.cli(&["allowlist", "update", "--json"])?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        let updated: Value = serde_json::from_slice(&output.stdout)?;
        let why = updated["failed"]["time.test"]
            .as_str()
            .context("no reason")?;
        ensure!(why.contains(&dns.address().to_string()), "{why}");
        lab.admits(guard.home(), OTHER, Role::Server)?;
    }
    Ok(())
}
