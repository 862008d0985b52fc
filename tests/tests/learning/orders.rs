//! The daemon synchronises from a pool of which the guard knows other servers, whichever of the
//! two comes first.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    cgroup::Cgroup,
    config::ConfigFile,
    daemons::{Setup, chrony::Chronyd, ntpsec::Ntpd},
    guard::{Builder, Guard},
    wait::eventually,
};

use super::pool::{NAME, Pool, SYNCHRONISED, ensure_no_drops, listed};

const CHRONY: &str = "iburst minpoll 0 maxpoll 0";
const NTPSEC: &str = "iburst minpoll 0 maxpoll 3";

/// A pool, and what the daemon is to run in and be told.
struct Scene {
    pool: Pool,
    cgroup: Cgroup,
    config: ConfigFile,
}

impl Scene {
    fn new(options: &str) -> Result<Self> {
        Self::within(Cgroup::planned()?, options)
    }

    /// As where systemd starts the daemon.
    fn in_service(options: &str) -> Result<Self> {
        Self::within(Cgroup::service()?, options)
    }

    /// The cgroup is not there yet, as that of a unit that is not started.
    fn within(cgroup: Cgroup, options: &str) -> Result<Self> {
        Ok(Self {
            pool: Pool::new()?,
            cgroup,
            config: ConfigFile::chrony(&format!("pool {NAME} {options}\n"))?,
        })
    }

    fn guard(&self) -> Builder {
        let trust = ["--trust".as_ref(), self.cgroup.path().as_os_str()];
        self.pool.guard(&self.config).args(trust)
    }

    fn setup(&self, options: &str) -> Result<Setup> {
        let config = format!("pool {NAME} {options}\n");
        let setup = Setup::new(&config, Some(self.pool.dns.address()))?;
        Ok(setup.inside(&self.cgroup))
    }

    fn chronyd(&self) -> Result<Chronyd> {
        self.cgroup.make()?;
        Chronyd::start_in(&self.pool.client.namespace, self.setup(CHRONY)?)
    }
}

/// The daemon gets on, each server that it asks is shown as learned, and no reply was lost.
fn is_well(chronyd: &mut Chronyd, guard: &Guard) -> Result<()> {
    chronyd.wait_synchronised(SYNCHRONISED)?;
    eventually(SYNCHRONISED, "replies through the guard", || {
        let admitted = guard.counters()?.enforced(Reason::Server);
        ensure!(admitted >= 20, "{admitted} were admitted");
        Ok(())
    })?;
    let sources = chronyd.sources()?;
    for source in &sources {
        ensure!(source.reach & 1 == 1, "the last poll failed: {source:?}");
    }
    shows_as_learned(guard, sources.iter().map(|source| source.address.as_str()))?;
    ensure_no_drops(guard)
}

fn shows_as_learned<'a>(guard: &Guard, servers: impl Iterator<Item = &'a str>) -> Result<()> {
    let learned = listed(guard, "learned")?;
    let mut unlearned = Vec::new();
    let mut count = 0;
    for server in servers {
        let server: IpAddr = server.parse()?;
        count += 1;
        unlearned.extend((!learned.contains(&server)).then_some(server));
    }
    ensure!(
        count > 0 && unlearned.is_empty(),
        "{unlearned:?} of {count} are not among {learned:?}"
    );
    Ok(())
}

#[test]
fn a_daemon_that_starts_after_the_guard_loses_no_reply() -> Result<()> {
    let scene = Scene::new(CHRONY)?;
    let guard = scene.guard().ready()?;
    let mut chronyd = scene.chronyd()?;
    is_well(&mut chronyd, &guard)?;
    let (answered, counts) = (scene.pool.answered()?, guard.counters()?);
    // The daemon goes on between the two looks, with four servers at once.
    let admitted = counts.enforced(Reason::Server);
    ensure!(
        answered.abs_diff(admitted) <= 4,
        "{answered} answers: {counts:?}"
    );
    Ok(())
}

#[test]
fn a_daemon_that_runs_before_the_guard_loses_no_reply() -> Result<()> {
    let scene = Scene::new(CHRONY)?;
    let mut chronyd = scene.chronyd()?;
    chronyd.wait_synchronised(SYNCHRONISED)?;
    let guard = scene.guard().ready()?;
    is_well(&mut chronyd, &guard)
}

#[test]
fn a_daemon_that_starts_with_the_guard_loses_no_reply() -> Result<()> {
    let scene = Scene::new(CHRONY)?;
    let mut guard = scene.guard().start()?;
    let mut chronyd = scene.chronyd()?;
    guard.wait_ready()?;
    is_well(&mut chronyd, &guard)
}

#[test]
fn ntpsec_that_starts_after_the_guard_loses_no_reply() -> Result<()> {
    let scene = Scene::new(NTPSEC)?;
    let guard = scene.guard().ready()?;
    scene.cgroup.make()?;
    let mut ntpd = Ntpd::start_in(&scene.pool.client.namespace, scene.setup(NTPSEC)?)?;
    let peers = ntpd.wait_synchronised(SYNCHRONISED)?;
    let reached = peers.iter().filter(|peer| peer.reach != 0);
    shows_as_learned(&guard, reached.map(|peer| peer.address.as_str()))?;
    ensure_no_drops(&guard)
}

#[test]
fn a_unit_that_restarts_is_trusted_again() -> Result<()> {
    let scene = Scene::new(CHRONY)?;
    let guard = scene.guard().ready()?;
    let mut chronyd = scene.chronyd()?;
    is_well(&mut chronyd, &guard)?;
    let before = scene.cgroup.id()?;
    drop(chronyd);
    scene.cgroup.remove()?;
    let mut chronyd = scene.chronyd()?;
    ensure!(scene.cgroup.id()? != before, "the cgroup is the same");
    is_well(&mut chronyd, &guard)
}

#[test]
fn a_well_known_daemon_is_found_by_itself() -> Result<()> {
    let scene = Scene::in_service(CHRONY)?;
    let nothing = ConfigFile::chrony("")?;
    let mut chronyd = scene.chronyd()?;
    let guard = scene.pool.guard(&nothing).ready()?;
    chronyd.wait_synchronised(SYNCHRONISED)?;
    eventually(SYNCHRONISED, "replies through the guard", || {
        let counts = guard.counters()?;
        ensure!(counts.enforced(Reason::Server) >= 20, "{counts:?}");
        Ok(())
    })?;
    let trusted_senders = guard.json(&["status", "--json"])?["trusted_senders"].clone();
    let cgroup = scene.cgroup.path().file_name().unwrap_or_default();
    ensure!(
        trusted_senders
            .to_string()
            .contains(&*cgroup.to_string_lossy()),
        "{trusted_senders}"
    );
    let sources = chronyd.sources()?;
    shows_as_learned(&guard, sources.iter().map(|source| source.address.as_str()))
}

#[test]
fn what_was_learned_is_kept_over_a_restart() -> Result<()> {
    let scene = Scene::new(CHRONY)?;
    let mut guard = scene.guard().ready()?;
    let mut chronyd = scene.chronyd()?;
    is_well(&mut chronyd, &guard)?;
    let learned = listed(&guard, "learned")?;
    drop(chronyd);
    guard.terminate()?;
    let guard = scene.guard().home(guard.home()).ready()?;
    let saved = listed(&guard, "saved")?;
    let lost: Vec<_> = learned
        .iter()
        .filter(|address| !saved.contains(address))
        .collect();
    ensure!(lost.is_empty(), "{lost:?} of {learned:?} are not saved");
    Ok(())
}
