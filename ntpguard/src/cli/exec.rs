//! `ntpguard exec`: a time daemon in a cgroup of its own.

use std::{
    ffi::OsStr,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{self, ExitCode},
};

use anyhow::{Context as _, Result};
use ntpguard::trust::own::{self, OwnError};

use super::{WRONG_USAGE, args::ExecArgs};

/// Becomes the command, so it returns only where that failed.
pub(super) fn run(args: &ExecArgs) -> Result<ExitCode> {
    let (program, arguments) = args.command.split_first().context("no command is given")?;
    match own::enter(&name(args, program)) {
        Err(error @ OwnError::Name(_)) => {
            eprintln!("ntpguard: {error}");
            return Ok(ExitCode::from(WRONG_USAGE));
        }
        entered => entered?,
    };
    let error = process::Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot execute {}", Path::new(program).display()))
}

/// The name of the cgroup: the one given, or the program's without its directory.
fn name(args: &ExecArgs, program: &OsStr) -> String {
    args.name.clone().unwrap_or_else(|| {
        let file = Path::new(program).file_name().unwrap_or(program);
        file.to_string_lossy().into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_is_named_for_the_program() {
        let named = |name: Option<&str>, program: &str| {
            let args = ExecArgs {
                name: name.map(str::to_owned),
                command: vec![program.into()],
            };
            super::name(&args, OsStr::new(program))
        };
        assert_eq!(named(None, "/usr/sbin/chronyd"), "chronyd");
        assert_eq!(named(None, "ntpd"), "ntpd");
        assert_eq!(named(Some("eu"), "/usr/sbin/chronyd"), "eu");
    }
}
