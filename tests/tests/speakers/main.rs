//! Whose word counts for what: files that others can write, links in their directories, and
//! containers, with real users, a real chronyd and a real guard.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    guard::{Builder, Guard},
    switch::{Host, Switch},
    wait::eventually,
};
use serde_json::Value;

mod budgets;
mod containers;
mod files;

/// A service account and a person, neither of which need exist.
const SERVICE: u32 = 33;
const PERSON: u32 = 1500;

/// How long a guard has to notice a change: it looks for daemons every 10 s.
const NOTICED: Duration = Duration::from_secs(25);

/// The network that no file of others may grant anything to.
const CLIENTS: &str = "10.99.0.0/24";

/// A main file in a dialect that is known by its name.
const SCENE_FILE: &str = "chrony.conf";

/// What must never be shown.
const SECRET: &str = "hunter2";

/// A host on a switch, to be guarded.
struct Scene {
    switch: Switch,
    host: Host,
}

impl Scene {
    fn new() -> Result<Self> {
        let switch = Switch::new()?;
        let host = switch.host("host", 1)?;
        Ok(Self { switch, host })
    }

    /// A guard that finds its sources by itself.
    fn guard(&self) -> Builder {
        Guard::builder(&self.host.namespace).interface(&self.host.port.interface)
    }

    /// An address where no time is to be had.
    fn server(&self, number: u8) -> IpAddr {
        self.switch.v4(number).into()
    }
}

/// The roles of a prefix, in the order of their names.
fn roles(guard: &Guard, prefix: &str) -> Result<Vec<String>> {
    let listing = guard.json(&["allowlist", "list", "--json"])?;
    let rows = listing["rows"].as_array().context("no rows")?;
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let of_prefix = |row: &&Value| {
        let found = text(row, "prefix");
        found == prefix || found.split('/').next() == Some(prefix)
    };
    let mut roles: Vec<String> = rows
        .iter()
        .filter(of_prefix)
        .map(|row| text(row, "role"))
        .collect();
    roles.sort();
    Ok(roles)
}

/// Waits until a prefix has exactly these roles.
fn wait_roles(guard: &Guard, prefix: &str, expected: &[&str]) -> Result<()> {
    eventually(NOTICED, "the roles", || {
        let found = roles(guard, prefix)?;
        ensure!(found == expected, "{prefix}: {found:?}");
        Ok(())
    })
}

/// What `status` says is wrong with the sources.
fn problems(guard: &Guard) -> Result<String> {
    let status = guard.json(&["status", "--json"])?;
    Ok(status["problems"].to_string())
}

/// Makes sure that the secret is neither in what the guard says when asked nor in its log.
fn ensure_kept(guard: &Guard) -> Result<()> {
    let commands: [&[&str]; 5] = [
        &["status"],
        &["status", "--json"],
        &["sources"],
        &["allowlist", "list", "--json"],
        &["allowlist", "update"],
    ];
    for command in commands {
        let output = guard.cli(command)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(!said.contains(SECRET), "{command:?} says: {said}");
    }
    let log = guard.stderr();
    ensure!(!log.contains(SECRET), "the log: {log}");
    Ok(())
}
