//! What the guard does to files, as the kernel saw it.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    daemons::{chrony::Chronyd, ntpd_rs::NtpdRs},
    guard::Home,
    lab::Lab,
};
use tempfile::TempDir;

/// For at least six looks at what runs.
const IDLE: Duration = Duration::from_secs(60);

/// What is recorded: all that takes the name of a file, and what changes files by descriptor.
const CALLS: &str = "trace=%file,fchmod,fchown,fsetxattr,fremovexattr,bind,bpf";

/// What changes a directory, or a file's mode or owner.
const CHANGING: &[&str] = &[
    "bind",
    "bpf",
    "chmod",
    "chown",
    "creat",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fremovexattr",
    "fsetxattr",
    "lchown",
    "link",
    "linkat",
    "lremovexattr",
    "lsetxattr",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mount",
    "move_mount",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "setxattr",
    "symlink",
    "symlinkat",
    "truncate",
    "umount2",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
];

/// A call's name and its line.
struct Call {
    name: String,
    line: String,
}

impl Call {
    /// Whether it makes, takes away or changes what a name stands for.
    fn changes_names(&self) -> bool {
        let line = &self.line;
        match self.name.as_str() {
            "open" | "openat" | "openat2" => line.contains("O_CREAT") || line.contains("O_TMPFILE"),
            "bind" => line.contains("sun_path=\""),
            "bpf" => line.contains("BPF_OBJ_PIN"),
            name => CHANGING.contains(&name),
        }
    }

    /// The paths among its arguments, and those of descriptors there.
    fn paths(&self) -> Vec<PathBuf> {
        let (arguments, _) = self.line.rsplit_once(" = ").unwrap_or((&self.line, ""));
        let quoted = arguments.split('"').skip(1).step_by(2);
        let described = arguments.split('<').skip(1);
        let described = described.filter_map(|rest| rest.split('>').next());
        let all = quoted.chain(described);
        all.filter(|path| path.starts_with('/'))
            .map(Into::into)
            .collect()
    }
}

/// All calls, of each thread, in strace's files.
fn recorded(directory: &Path) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for file in fs::read_dir(directory)? {
        let text = fs::read_to_string(file?.path())?;
        let lines = text.lines().filter_map(|line| {
            let (name, _) = line.split_once('(')?;
            Some(Call {
                name: name.to_owned(),
                line: line.to_owned(),
            })
        });
        calls.extend(lines);
    }
    Ok(calls)
}

/// The calls that change names outside the guard's own directories.
fn outside<'a>(calls: &'a [Call], home: &Home) -> Vec<&'a str> {
    let ours = [home.state_dir(), home.pin_dir(), "/run/ntpguard".into()];
    let is_ours = |path: &PathBuf| {
        let working_directory = std::env::current_dir().ok();
        ours.iter().any(|ours| path.starts_with(ours)) || Some(path) == working_directory.as_ref()
    };
    let changing = calls.iter().filter(|call| call.changes_names());
    changing
        .filter(|call| call.paths().is_empty() || !call.paths().iter().all(is_ours))
        .map(|call| call.line.as_str())
        .collect()
}

#[test]
fn a_guard_changes_nothing_outside_its_own_directories() -> Result<()> {
    let lab = Lab::new()?;
    let namespace = &lab.inside.namespace;
    let config = "cmdport 323\nserver 192.0.2.7 minpoll 0 maxpoll 0\n";
    let _chronyd = Chronyd::start(namespace, config, None)?;
    let _ntpd_rs = NtpdRs::start(namespace, "", None)?;
    let traces = TempDir::new()?;
    let trace = traces.path().join("calls");
    let strace = [
        "strace", "-D", "-ff", "-y", "-qq", "-s", "4096", "-e", CALLS, "-o",
    ];
    let strace = strace.iter().map(AsRef::as_ref).chain([trace.as_os_str()]);
    let mut guard = lab.guard().under(strace).start()?;
    guard.wait_ready().context("under strace")?;
    thread::sleep(IDLE);
    // It fails where the machine's own configuration has names: there is no DNS here.
    let update = guard.cli(&["allowlist", "update"])?;
    let printed = String::from_utf8_lossy(&update.stdout);
    ensure!(printed.contains("kept"), "{printed}");
    let home = guard.home().clone();
    let calls = recorded(traces.path())?;
    guard.terminate()?;
    // They were recorded: the guard made its own, and read others'.
    let of = |name: &str| calls.iter().filter(|call| call.name == name).count();
    ensure!(of("openat") > 100, "{} calls", calls.len());
    let own = calls.iter().filter(|call| call.changes_names()).count();
    ensure!(own > 5, "{own} calls change names");
    let outside = outside(&calls, &home);
    ensure!(outside.is_empty(), "{outside:#?}");
    eprintln!("{} calls, {own} of which change names", calls.len());
    Ok(())
}
