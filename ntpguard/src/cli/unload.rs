//! `ntpguard unload`: detaches the guard and removes its pins.

use std::{fs, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use ntpguard::{
    daemon::control,
    datapath::{self, Error, Lock, PinDir},
    lookup::Lookup,
};

use super::{
    args::GuardArgs,
    output::{self, count},
};

pub(crate) async fn run(guard: &GuardArgs) -> Result<ExitCode> {
    if let Lookup::Absent = Lookup::of(fs::metadata(&guard.pin_dir)) {
        return without_pins(guard).await;
    }
    let _lock = lock(guard).await?;
    let removed = datapath::unload(&guard.pin_dir)?;
    output::print(&format!(
        "removed {}, {}, {}\n",
        count(removed.links, "link", "links"),
        count(removed.programs, "program", "programs"),
        count(removed.maps, "map", "maps"),
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Nothing is pinned: nothing is loaded either, unless a daemon holds it by its descriptors.
async fn without_pins(guard: &GuardArgs) -> Result<ExitCode> {
    if let Some(pid) = control::listens(&control::socket_path(&guard.state_dir)).await {
        bail!(
            "`ntpguard run` (pid {pid}) is running and keeps its programs attached without {}: \
             stop it (`kill {pid}`), which detaches them, or mount the BPF file system again \
             (`ntpguard status` shows how), and it recreates its pins",
            guard.pin_dir.display()
        );
    }
    output::print("nothing is loaded\n")?;
    Ok(ExitCode::SUCCESS)
}

/// Takes the lock, which a daemon holds while it runs.
async fn lock(guard: &GuardArgs) -> Result<Lock> {
    let locked = match PinDir::new(&guard.pin_dir).lock(Duration::ZERO) {
        Err(error @ Error::Locked { .. }) => error,
        other => return Ok(other?),
    };
    match control::listens(&control::socket_path(&guard.state_dir)).await {
        Some(pid) => bail!(
            "`ntpguard run` (pid {pid}) is running: stop it (`kill {pid}`), which detaches the \
             guard unless it was started with --persist"
        ),
        None => Err(locked.into()),
    }
}
