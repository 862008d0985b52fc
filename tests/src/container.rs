//! A process as in a container: a user, process and mount namespace of its own.

use std::process::Command;

/// The same command as the root of a container that user `uid` of the host started. From the host
/// its user id is `uid`, inside it is 0.
#[must_use]
pub fn command(inner: &Command, uid: u32) -> Command {
    let id = uid.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
        .args(["unshare", "--user", "--map-root-user"])
        .args(["--pid", "--fork", "--kill-child", "--mount", "--"])
        .arg(inner.get_program())
        .args(inner.get_args());
    command
}
