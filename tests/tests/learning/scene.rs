//! A guard that finds its trusted senders by itself.

use std::{ffi::OsStr, net::IpAddr, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    cgroup::{self, Cgroup},
    config::ConfigFile,
    daemons::{Setup, chrony::Chronyd, ntpdig},
    guard::Guard,
    process,
    switch::Host,
    wait::eventually,
};
use serde_json::Value;

use super::pool::Pool;

/// A user of the host.
pub(crate) const USER: u32 = 1_500;

/// How long a guard has to find a daemon: it looks every five seconds.
pub(crate) const FOUND: Duration = Duration::from_secs(15);

/// A guard that was given no sender and no server, and a daemon in a cgroup.
pub(crate) struct Scene {
    pool: Pool,
    guard: Guard,
    _nothing: ConfigFile,
}

impl Scene {
    pub(crate) fn new() -> Result<Self> {
        Self::trusting(&[])
    }

    /// As [`Self::new`], but for these options.
    pub(crate) fn trusting(options: &[&OsStr]) -> Result<Self> {
        let (pool, nothing) = (Pool::new()?, ConfigFile::chrony("")?);
        let guard = pool.guard(&nothing).args(options).ready()?;
        Ok(Self {
            pool,
            guard,
            _nothing: nothing,
        })
    }

    /// Starts a real chronyd of root's in `cgroup`.
    pub(crate) fn chronyd(&self, cgroup: &Cgroup) -> Result<Chronyd> {
        let setup = Setup::new("", None)?.inside(cgroup);
        Chronyd::start_in(&self.pool.client.namespace, setup)
    }

    /// Starts one in the root cgroup, wherever the test itself is.
    pub(crate) fn chronyd_at_root(&self) -> Result<Chronyd> {
        let to_root = cgroup::at_root(&Command::new("env"))?;
        let words = std::iter::once(to_root.get_program()).chain(to_root.get_args());
        self.chronyd_started_by(words)
    }

    /// Starts one by a command of these words, which its own follow.
    pub(crate) fn chronyd_started_by<'a>(
        &self,
        words: impl Iterator<Item = &'a OsStr>,
    ) -> Result<Chronyd> {
        let setup = Setup::new("", None)?.started_by(words.map(OsStr::to_owned));
        Chronyd::start_in(&self.pool.client.namespace, setup)
    }

    /// The guarded host.
    pub(crate) fn host(&self) -> &Host {
        &self.pool.client
    }

    /// A server's address.
    pub(crate) fn server(&self) -> IpAddr {
        self.pool.server.v4.into()
    }

    /// The guard.
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// What `status` prints.
    pub(crate) fn status(&self) -> Result<String> {
        let output = self.guard.cli(&["status"])?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until `status` names `chronyd` among the `trusted_senders` or the `untrusted`, and gives the entry
    /// in which `field` has this text.
    fn wait_listed(&self, list: &str, field: &str, text: &str) -> Result<Value> {
        let mut found = Value::Null;
        eventually(FOUND, "the daemon in status", || {
            let status = self.guard.json(&["status", "--json"])?;
            let entries = status[list].as_array().context("no list")?;
            let has_text =
                |entry: &&Value| entry[field].as_str().is_some_and(|it| it.contains(text));
            let entry = entries.iter().find(has_text);
            found = entry
                .with_context(|| format!("no {text} in {status}"))?
                .clone();
            Ok(())
        })?;
        Ok(found)
    }

    pub(crate) fn wait_trusted(&self, cgroup: &Cgroup) -> Result<Value> {
        let name = cgroup.path().file_name().unwrap_or_default();
        self.wait_listed("trusted_senders", "cgroup", &name.to_string_lossy())
    }

    pub(crate) fn wait_untrusted(&self, chronyd: &Chronyd) -> Result<Value> {
        let pid = format!("(pid {})", chronyd.id());
        self.wait_listed("untrusted", "daemon", &pid)
    }

    /// Asks once in `cgroup`, as this user; says whether there was an answer.
    pub(crate) fn is_answered(&self, cgroup: &Cgroup, uid: u32) -> Result<bool> {
        let uid = uid.to_string();
        let asking = ntpdig::command(&[self.pool.server.v4.to_string()], 1)?;
        let mut as_user = Command::new("setpriv");
        as_user
            .args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"])
            .arg(asking.get_program())
            .args(asking.get_args());
        let asking = cgroup.command(&self.pool.client.namespace.within(&as_user));
        let before = (self.pool.answered()?, self.admitted()?);
        let output = process::output(asking, process::COMMAND_LIMIT)?;
        ensure!(
            self.pool.answered()? > before.0,
            "it did not ask: {output:?}"
        );
        let is_admitted = self.admitted()? > before.1;
        ensure!(output.status.success() == is_admitted, "{output:?}");
        Ok(is_admitted)
    }

    fn admitted(&self) -> Result<u64> {
        Ok(self.guard.counters()?.enforced(Reason::Server))
    }

    /// Runs chronyd in a cgroup that is not fit, and makes sure that neither its own requests nor
    /// others are trusted. Gives what `status` says of it.
    pub(crate) fn is_refused(&self, cgroup: &Cgroup) -> Result<Value> {
        let chronyd = self.chronyd(cgroup)?;
        let untrusted = self.wait_untrusted(&chronyd)?;
        ensure!(!self.is_answered(cgroup, 0)?, "trusted: {untrusted}");
        let status = self.guard.json(&["status", "--json"])?;
        ensure!(status["requests"]["trusted"] == 0, "{}", status["requests"]);
        Ok(untrusted)
    }
}

/// Fails unless this text is in that field.
pub(crate) fn says(entry: &Value, field: &str, text: &str) -> Result<()> {
    ensure!(
        entry[field]
            .as_str()
            .is_some_and(|said| said.contains(text)),
        "no {text:?} in {entry}"
    );
    Ok(())
}
