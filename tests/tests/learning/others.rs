//! Requests of anybody else teach nothing: an untrusted process, a container, the root cgroup.

use std::{ffi::OsStr, net::IpAddr, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    cgroup::{self, Cgroup},
    config::ConfigFile,
    container,
    daemons::ntpdig,
    guard::{Builder, Guard},
    process,
    wait::eventually,
};

use super::pool::{Pool, listed};

const SOON: Duration = Duration::from_secs(10);

/// The user that the time daemon runs as, where it has one of its own.
const DAEMON: u32 = 4321;

/// A guard of a client that nobody granted any server.
struct Scene {
    pool: Pool,
    daemon: Cgroup,
    other: Cgroup,
    nothing: ConfigFile,
}

impl Scene {
    fn new() -> Result<Self> {
        Ok(Self {
            pool: Pool::new()?,
            daemon: Cgroup::new()?,
            other: Cgroup::new()?,
            nothing: ConfigFile::chrony("")?,
        })
    }

    fn builder(&self) -> Builder {
        self.pool.guard(&self.nothing)
    }

    fn guard(&self) -> Result<Guard> {
        let trust = [OsStr::new("--trust"), self.daemon.path().as_os_str()];
        self.builder().args(trust).ready()
    }

    /// The command by which somebody in the client's network namespace asks the server once.
    fn ask(&self) -> Result<Command> {
        ntpdig::command(&[self.server().to_string()], 1)
    }

    fn server(&self) -> IpAddr {
        self.pool.server.v4.into()
    }

    fn is_answered(&self, guard: &Guard, asking: Command) -> Result<()> {
        let before = guard.counters()?.enforced(Reason::Server);
        process::run(asking)?;
        let after = guard.counters()?.enforced(Reason::Server);
        ensure!(after > before, "no reply was counted");
        ensure!(listed(guard, "learned")? == [self.server()], "not learned");
        Ok(())
    }

    /// Asks, is not answered, and the guard has learned nothing but that somebody asks.
    fn teaches_nothing(&self, guard: &Guard, asking: Command, from: Option<&Cgroup>) -> Result<()> {
        let before = self.pool.answered()?;
        let output = process::output(asking, process::COMMAND_LIMIT)?;
        ensure!(!output.status.success(), "answered: {output:?}");
        ensure!(self.pool.answered()? > before, "it did not ask: {output:?}");
        let counts = guard.counters()?;
        ensure!(
            counts.enforced(Reason::Unlisted) > 0 && counts.enforced(Reason::Server) == 0,
            "{counts:?}"
        );
        let learned = listed(guard, "learned")?;
        ensure!(learned.is_empty(), "{learned:?}");
        let status = guard.json(&["status", "--json"])?;
        ensure!(
            status["requests"]["ungranted"].as_u64() >= Some(1)
                && status["requests"]["trusted"] == 0,
            "{}",
            status["requests"]
        );
        let asked = status["ungranted"].as_array().context("no ungranted")?;
        let server = self.server().to_string();
        let row = asked.iter().find(|row| row["address"] == server.as_str());
        let row = row.with_context(|| format!("{server} is not among {asked:?}"))?;
        ensure!(row["requests"].as_u64() >= Some(1), "{row}");
        if let Some(cgroup) = from {
            let name = cgroup.path().file_name().unwrap_or_default();
            let shown = row["cgroup"].as_str().unwrap_or_default();
            ensure!(shown.ends_with(&*name.to_string_lossy()), "{row}");
            // The script is run by its interpreter, under either name.
            let process = row["process"].as_str().unwrap_or_default();
            ensure!(["ntpdig", "python3"].contains(&process), "{row}");
        }
        Ok(())
    }
}

#[test]
fn an_untrusted_process_teaches_nothing_and_a_trusted_one_does() -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard()?;
    let ask = scene.pool.client.namespace.within(&scene.ask()?);
    scene.teaches_nothing(&guard, scene.other.command(&ask), Some(&scene.other))?;
    scene.is_answered(&guard, scene.daemon.command(&ask))
}

#[test]
fn a_container_whose_user_is_the_daemons_teaches_nothing() -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard()?;
    let contained = container::command(&scene.ask()?, DAEMON);
    let ask = scene.pool.client.namespace.within(&contained);
    scene.teaches_nothing(&guard, scene.other.command(&ask), Some(&scene.other))?;
    // It is the cgroup that decides, and nothing else about it.
    scene.is_answered(&guard, scene.daemon.command(&ask))
}

#[test]
fn the_root_cgroup_teaches_nothing() -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard()?;
    let ask = scene.pool.client.namespace.within(&scene.ask()?);
    scene.teaches_nothing(&guard, cgroup::at_root(&ask)?, None)
}

#[test]
fn a_user_teaches_once_it_was_named() -> Result<()> {
    let scene = Scene::new()?;
    let contained = container::command(&scene.ask()?, DAEMON);
    let ask = scene.pool.client.namespace.within(&contained);
    let asking = || scene.other.command(&ask);
    let guard = scene.guard()?;
    scene.teaches_nothing(&guard, asking(), Some(&scene.other))?;
    drop(guard);
    let user = DAEMON.to_string();
    let guard = scene.builder().args(["--trust-uid", &user]).ready()?;
    scene.is_answered(&guard, asking())
}

#[test]
fn with_learning_off_the_daemon_itself_teaches_nothing() -> Result<()> {
    let scene = Scene::new()?;
    let trust = [OsStr::new("--trust"), scene.daemon.path().as_os_str()];
    let off = ["--learn", "off"].map(OsStr::new);
    let guard = scene.builder().args(trust).args(off).ready()?;
    let ask = scene.pool.client.namespace.within(&scene.ask()?);
    let output = process::output(scene.daemon.command(&ask), process::COMMAND_LIMIT)?;
    ensure!(!output.status.success(), "answered: {output:?}");
    let learned = listed(&guard, "learned")?;
    ensure!(learned.is_empty(), "{learned:?}");
    guard.json(&["allowlist", "add", &scene.server().to_string(), "--json"])?;
    eventually(SOON, "an answer from the granted server", || {
        process::run(scene.daemon.command(&ask)).map(drop)
    })
}

#[test]
fn neither_root_nor_the_root_cgroup_can_be_trusted() -> Result<()> {
    let scene = Scene::new()?;
    let root = cgroup::root()?;
    for arguments in [
        ["--trust-uid".as_ref(), OsStr::new("0")],
        ["--trust".as_ref(), root.as_os_str()],
    ] {
        let mut guard = scene.builder().args(arguments).start()?;
        let ended = guard.wait_end()?;
        ensure!(
            ended.code() == Some(2),
            "{arguments:?}: {ended}, {}",
            guard.stderr()
        );
    }
    Ok(())
}
