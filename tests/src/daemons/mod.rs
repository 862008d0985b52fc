//! Real time daemons, which can never set the clock.
//!
//! They run as root: port 123 and their directories need it, and no other user can be counted on.
//! What keeps the machine's clock safe is that the kernel refuses it to them: `CAP_SYS_TIME` is
//! gone from their bounding set before they start, and no root gets it back.

use std::{
    env,
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
    namespace::Namespace,
    process::{self, COMMAND_LIMIT},
};

pub mod chrony;
pub mod ntpsec;

/// How long a daemon has until it answers its own command-line tool.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Puts a file of names in the place of the system's, in a mount namespace of its own, and
/// becomes the daemon: $0 is the file, $@ the daemon.
const WITH_NAMES: &str = r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#;

/// The directory of one daemon: its configuration, its sockets, its `resolv.conf`.
///
/// Made before the daemon, it lets a guard read the daemon's configuration and be there first.
#[derive(Debug)]
pub struct Setup {
    directory: TempDir,
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
        let setup = Self { directory };
        setup.write("resolv.conf", &resolv)?;
        setup.write("ntp.conf", config)?;
        Ok(setup)
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
        let mut command = namespace.command("unshare");
        command
            .args(["--mount", "--propagation", "private", "--"])
            .args([
                "setpriv",
                "--bounding-set=-sys_time",
                "--inh-caps=-sys_time",
                "--",
            ])
            .args(["sh", "-c", WITH_NAMES])
            .args([self.path("resolv.conf").as_os_str(), program.as_os_str()]);
        command
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

/// The program at `path` below the directory of daemons: `NTPGUARD_DAEMONS`, or what
/// `cargo xtask setup` made.
fn binary(path: &str) -> Result<PathBuf> {
    let daemons = env::var_os("NTPGUARD_DAEMONS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.toolchain/daemons"),
        PathBuf::from,
    );
    let binary = daemons.join(path);
    ensure!(
        binary.is_file(),
        "{} is missing: run `cargo xtask setup`, or name another directory with NTPGUARD_DAEMONS",
        binary.display()
    );
    Ok(binary)
}
