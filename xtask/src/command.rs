//! Other programs: run, read and, where needed, as root.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// A command without what `cargo run` put into our environment: with cargo's library path a
/// program would find the compiler's libraries here, and nowhere else.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.env_remove("LD_LIBRARY_PATH").stdin(Stdio::null());
    command
}

/// The cargo that called us.
pub(crate) fn cargo() -> Command {
    program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A command as root, through `sudo` if this process is not root.
pub(crate) fn as_root(name: impl AsRef<OsStr>) -> Result<Command> {
    if is_root() {
        return Ok(program(name));
    }
    if find("sudo").is_none() {
        bail!(
            "`{}` needs root, and there is no `sudo`: call this as root",
            name.as_ref().display()
        );
    }
    let mut command = program("sudo");
    command.arg(name);
    Ok(command)
}

/// Whether this process is root: `/proc/self` belongs to who runs it.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Runs a command whose output the user sees.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("`{}` does not start", shown(command)))?;
    if !status.success() {
        bail!(
            "`{}` failed ({status}): its output is above",
            shown(command)
        );
    }
    Ok(())
}

/// Runs a command and returns what it printed. An error carries what it complained of.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("`{}` does not start", shown(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed ({}):\n{}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as it would be typed.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

/// The file that a program's name stands for. Administrators' directories count, which are often
/// not on a user's `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_carries_the_command_and_its_complaint() {
        let error = read(program("sh").args(["-c", "echo no such luck >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c"), "{text}");
        assert!(text.contains("no such luck"), "{text}");
        assert!(text.contains('3'), "{text}");
    }

    #[test]
    fn a_command_that_does_not_exist_is_named() {
        let error = run(&mut program("ntpguard-no-such-program")).unwrap_err();
        assert!(
            error.to_string().contains("ntpguard-no-such-program"),
            "{error}"
        );
    }

    #[test]
    fn programs_are_found_by_name_and_absent_ones_are_not() {
        assert!(find("sh").is_some_and(|file| file.is_absolute()));
        assert_eq!(find("ntpguard-no-such-program"), None);
        // A directory is not a program, though its mode has the bits.
        assert!(!is_executable(Path::new("/usr")));
    }
}
