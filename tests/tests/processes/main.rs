//! Whose word of a running daemon counts: real chronyds and impostors, of root, of a service's
//! account and of a user, and a guard that is told of no source.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    daemons::chrony::Chronyd,
    guard::{Builder, Guard},
    process::Process,
    switch::{Host, Switch},
};
use serde_json::Value;
use tempfile::TempDir;

mod accounts;
mod command_line;
mod memory;
mod race;

/// How long anything may take.
const SOON: Duration = Duration::from_secs(20);

/// A service's account that no time daemon has: www-data, on Debian.
const SERVICE: u32 = 33;

/// A person's account.
const PERSON: u32 = 1500;

/// Two hosts on a switch, of which the client is guarded.
struct Scene {
    _switch: Switch,
    server: Host,
    client: Host,
    files: TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let switch = Switch::new()?;
        let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
        let files = tempfile::tempdir()?;
        // Every user can have files there, and none can change another's.
        fs::set_permissions(files.path(), Permissions::from_mode(0o1777))?;
        Ok(Self {
            _switch: switch,
            server,
            client,
            files,
        })
    }

    /// A guard that finds its sources itself.
    fn guard(&self) -> Builder {
        Guard::builder(&self.client.namespace).interface(&self.client.port.interface)
    }

    /// Starts a chronyd beside the guard, as this user, with these directives for arguments.
    fn chronyd(&self, uid: u32, directives: &[&str]) -> Result<Process> {
        let pidfile = format!("pidfile {}/chronyd.pid", self.files.path().display());
        let directives = [directives, &[&pidfile]].concat();
        Chronyd::by_arguments(&self.client.namespace, uid, &directives)
    }

    /// A copy of the impostor that is called `name`, root's, with this mode.
    fn impostor(&self, name: &str, mode: u32) -> Result<PathBuf> {
        let path = self.files.path().join(name);
        fs::copy(env!("CARGO_BIN_EXE_impostor"), &path).context("no impostor")?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        Ok(path)
    }

    /// Starts a program beside the guard, as this user.
    fn start(&self, uid: u32, program: &Path, arguments: &[&str]) -> Result<Process> {
        let id = uid.to_string();
        let mut inner = Command::new("setpriv");
        inner
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
            .arg(program)
            .args(arguments);
        Process::spawn(self.client.namespace.within(&inner))
    }
}

/// What a guard grants, a line each: `PREFIX ROLE`.
fn granted(guard: &Guard) -> Result<Vec<String>> {
    let listing = guard.json(&["allowlist", "list", "--json"])?;
    let rows = listing["rows"].as_array().context("no rows")?;
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    Ok(rows
        .iter()
        .map(|row| format!("{} {}", text(row, "prefix"), text(row, "role")))
        .collect())
}

/// Has a guard look at all running processes now. It may know names that no test resolves, those of
/// this machine's own configuration.
fn look(guard: &Guard) -> Result<()> {
    let output = guard.cli(&["allowlist", "update", "--json"])?;
    let updated: Value = serde_json::from_slice(&output.stdout).context("no update")?;
    ensure!(updated["schema"].is_number(), "{updated}");
    Ok(())
}

/// What `sources` has to say of the processes.
fn findings(guard: &Guard) -> Result<Vec<String>> {
    let inventory = guard.json(&["sources", "--json"])?;
    let problems = inventory["problems"].as_array().context("no problems")?;
    Ok(problems
        .iter()
        .filter(|problem| problem["place"]["file"] == "/proc")
        .filter_map(|problem| problem["message"].as_str().map(str::to_owned))
        .collect())
}
