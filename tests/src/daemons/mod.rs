//! Real time daemons, which can never set the clock.
//!
//! They run as root: port 123 and their directories need it, and no other user can be counted on.
//! What keeps the machine's clock safe is that the kernel refuses it to them: `CAP_SYS_TIME` is
//! gone from their bounding set before they start, and no root gets it back.

use std::{
    env,
    ffi::OsString,
    fmt::Write,
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    cgroup::Cgroup,
    namespace::Namespace,
    process::{self, COMMAND_LIMIT},
};

pub mod chrony;
mod clock;
pub mod keys;
pub mod ntpd_rs;
pub mod ntpdig;
pub mod ntpsec;
pub mod nts;
pub mod openntpd;
pub mod responder;
pub mod stand_in;
pub mod timesyncd;

/// How long a daemon has until it answers its own command-line tool.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Puts a file of names in the place of the system's, in a mount namespace of its own: $0 is the
/// directory that has it.
const WITH_NAMES: &str = r#"mount --bind "$0/resolv.conf" /etc/resolv.conf"#;

/// Keeps the right to set the clock from all that follows.
const WITHOUT_CLOCK: [&str; 3] = [
    "setpriv",
    "--bounding-set=-sys_time",
    "--inh-caps=-sys_time",
];

/// The directory of one daemon: its configuration, its sockets, its `resolv.conf`; and its cgroup.
///
/// Made before the daemon, it lets a guard read the daemon's configuration and be there first.
#[derive(Debug)]
pub struct Setup {
    directory: TempDir,
    cgroup: Option<Cgroup>,
    /// Words before the program that make it run in another way.
    wrapper: Vec<OsString>,
}

impl Setup {
    /// Writes what the test wants configured, and which DNS server the daemon asks.
    ///
    /// # Errors
    ///
    /// When the files cannot be written.
    pub fn new(config: &str, nameserver: Option<IpAddr>) -> Result<Self> {
        // chronyd opens its socket only where nobody else could.
        let private = fs::Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new()
            .permissions(private)
            .tempdir()
            .context("no place for a daemon's files")?;
        let mut resolv = String::from("options timeout:1 attempts:2\n");
        // Where nobody listens a look-up fails at once.
        let nameserver = nameserver.unwrap_or(IpAddr::from([127, 0, 0, 1]));
        writeln!(resolv, "nameserver {nameserver}")?;
        let setup = Self {
            directory,
            cgroup: None,
            wrapper: Vec::new(),
        };
        setup.write("resolv.conf", &resolv)?;
        setup.write("ntp.conf", config)?;
        Ok(setup)
    }

    /// Has the daemon run in this cgroup, where it would be in the test's own.
    #[must_use]
    pub fn inside(self, cgroup: &Cgroup) -> Self {
        Self {
            cgroup: Some(cgroup.clone()),
            ..self
        }
    }

    /// Has the daemon started by a command of these words, which the program and its arguments follow.
    #[must_use]
    pub fn started_by(self, wrapper: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            wrapper: wrapper.into_iter().collect(),
            ..self
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The file with what the test wants configured and nothing else: a guard's source.
    pub fn config(&self) -> PathBuf {
        self.path("ntp.conf")
    }

    /// A command that runs `program` in `namespace`, with these names and without the right to
    /// set the clock.
    fn confine(&self, namespace: &Namespace, program: &Path) -> Command {
        self.confine_after(WITH_NAMES, namespace, program)
    }

    /// As [`Self::confine`], after a line of shell that may change mounts: the daemon's are its
    /// own. $0 is the directory.
    fn confine_after(&self, line: &str, namespace: &Namespace, program: &Path) -> Command {
        let mut command = namespace.command("unshare");
        command
            .args(["--mount", "--propagation", "private", "--"])
            .args(WITHOUT_CLOCK)
            .args(["--", "sh", "-c"])
            .arg(format!(r#"{line} && exec "$@""#))
            .arg(self.directory.path())
            .args(&self.wrapper)
            .arg(program);
        match &self.cgroup {
            Some(cgroup) => cgroup.command(&command),
            None => command,
        }
    }
}

/// Runs a command line in `namespace` that finds names as a daemon with this DNS server would.
///
/// # Errors
///
/// When it cannot be started or hangs; a failure is in the output.
pub fn output_with_nameserver(
    namespace: &Namespace,
    nameserver: IpAddr,
    line: &[&str],
) -> Result<Output> {
    let setup = Setup::new("", Some(nameserver))?;
    let (program, arguments) = line.split_first().context("an empty command line")?;
    let mut command = setup.confine(namespace, Path::new(program));
    command.args(arguments);
    process::output(command, COMMAND_LIMIT)
}

/// The directory of daemons: `NTPGUARD_DAEMONS`, or what `cargo xtask setup` made.
fn directory() -> PathBuf {
    env::var_os("NTPGUARD_DAEMONS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.toolchain/daemons"),
        PathBuf::from,
    )
}

/// The program at `path` below the directory of daemons.
fn binary(path: &str) -> Result<PathBuf> {
    let binary = directory().join(path);
    ensure!(
        binary.is_file(),
        "{} is missing: run `cargo xtask setup`, or name another directory with NTPGUARD_DAEMONS",
        binary.display()
    );
    Ok(binary)
}
