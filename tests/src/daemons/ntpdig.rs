//! ntpdig of NTPsec, which asks once and ends.

use std::process::Command;

use anyhow::Result;

use super::{WITHOUT_CLOCK, binary};

/// A command that asks each of `servers` as often as `samples` says, and prints the time it got.
/// It fails where none answers within a second.
///
/// # Errors
///
/// When it is missing.
pub fn command(servers: &[String], samples: u32) -> Result<Command> {
    let [setpriv, without @ ..] = WITHOUT_CLOCK;
    let mut command = Command::new(setpriv);
    command
        .args(without)
        .arg("--")
        .arg(binary("ntpsec-ntpdig/usr/bin/ntpdig")?)
        .args(["-t", "1", "-p", &samples.to_string()])
        .args(servers);
    Ok(command)
}
