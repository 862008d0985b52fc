//! `ntpguard unload`: take the guard away.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use ntpguard::datapath::{self, PinDir};

use super::{
    args::GuardArgs,
    output::{self, count},
};

pub(crate) fn run(guard: &GuardArgs) -> Result<ExitCode> {
    if !guard.pin_dir.exists() {
        output::print("nothing is loaded\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    // A daemon keeps the lock as long as it lives, and detaches by itself when it ends.
    let _lock = PinDir::new(&guard.pin_dir).lock(Duration::ZERO)?;
    let removed = datapath::unload(&guard.pin_dir)?;
    output::print(&format!(
        "removed {}, {}, {}\n",
        count(removed.links, "link", "links"),
        count(removed.programs, "program", "programs"),
        count(removed.maps, "map", "maps"),
    ))?;
    Ok(ExitCode::SUCCESS)
}
