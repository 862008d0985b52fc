//! Accounts of services that are not a time daemon's.

use std::{
    fs,
    io::{PipeReader, Write as _, pipe},
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{FcntlArg, fcntl};

use super::{
    chronyd,
    machine::{Machine, proc},
};
use crate::wait::eventually;

/// Debian's www-data, which every system has and no time daemon is.
const ACCOUNT: &str = "33";
/// What its command line names.
const NAMED: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

/// A chronyd that never comes past its first message, because nothing reads that. So it needs no
/// directory to write to, and its command line stays as it was given. Killed when dropped.
struct Stuck {
    child: Child,
    _unread: PipeReader,
}

impl Stuck {
    fn start(account: &str, directives: &[&str]) -> Result<Self> {
        let (unread, mut full) = pipe().context("no pipe")?;
        let size = fcntl(full.as_fd(), FcntlArg::F_GETPIPE_SZ).context("a pipe has no size")?;
        full.write_all(&vec![b'.'; usize::try_from(size)?])?;
        let mut command = Command::new("setpriv");
        command.args(["--reuid", account, "--regid", account, "--clear-groups"]);
        command.arg(chronyd::PROGRAM).args(chronyd::OPTIONS);
        command
            .args(directives)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(full);
        let child = command.spawn().context("`setpriv` does not start")?;
        Ok(Self {
            child,
            _unread: unread,
        })
    }

    /// Waits until it is chronyd.
    fn wait_started(&self) -> Result<()> {
        let pid = self.child.id();
        eventually(Duration::from_secs(20), "a stuck chronyd", || {
            let program = fs::read_link(format!("/proc/{pid}/exe"))?;
            ensure!(
                program.as_os_str() == chronyd::PROGRAM,
                "{}",
                program.display()
            );
            Ok(())
        })
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        // Both can only fail for a process that is gone.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// It is the system's own program, with arguments of that account's: neither they nor its requests are
/// a time daemon's.
pub(super) fn service_account_grants_nothing(machine: &mut Machine) -> Result<()> {
    let server = format!("server {NAMED}");
    let chronyd = Stuck::start(ACCOUNT, &[&server, "allow all"])?;
    chronyd.wait_started()?;
    let line = proc(chronyd.child.id(), "cmdline")?;
    ensure!(line.contains("allow all"), "its command line is {line:?}");
    machine.wait_look()?;
    let line = proc(chronyd.child.id(), "cmdline")?;
    ensure!(line.contains("allow all"), "it ended too early: {line:?}");
    let rows = machine.allowlist()?.rows;
    let granted: Vec<_> = rows
        .iter()
        .filter(|row| row.prefix == NAMED.into() || row.prefix.address.prefix_len() == 0)
        .collect();
    ensure!(granted.is_empty(), "its command line grants {granted:?}");
    let cgroup = proc(chronyd.child.id(), "cgroup")?;
    let cgroup = cgroup.trim_start_matches("0::").trim_end();
    ensure!(!machine.trusts(cgroup)?, "its cgroup is trusted: {cgroup}");
    Ok(())
}
