//! A chronyd in a container of the host's own users: processes and files of its own, and the host's
//! network. Its root is root, so what it writes looks like root's.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    cgroup::Cgroup, daemons::chrony::Chronyd, process::Process, wait::eventually,
};
use tempfile::TempDir;

use super::{CLIENTS, SECRET, Scene, ensure_kept, problems, wait_roles};

/// How long a container may take to start.
const STARTED: Duration = Duration::from_secs(10);

/// Makes the container's own /etc and /run, and hides the host's directory $0 from it, whose files
/// it starts with.
const INSIDE: &str = r#"config=$(cat "$0/chrony.conf") \
    && mount -t tmpfs -o mode=755 tmpfs /etc && mount -t tmpfs -o mode=755 tmpfs /run \
    && mount -t tmpfs -o mode=755 tmpfs "$0" \
    && mkdir /etc/chrony && echo root:x:0:0:root:/:/bin/sh >/etc/passwd \
    && echo "$config" >/etc/chrony/chrony.conf \
    && exec setpriv --bounding-set=-sys_time --inh-caps=-sys_time -- "$@""#;

/// A container with a chronyd that was given no file by name.
struct Container {
    /// A directory of the host's, which is empty inside.
    directory: TempDir,
    cgroup: Cgroup,
    process: Process,
    server: String,
}

impl Container {
    fn start(scene: &Scene) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let server = scene.server(9).to_string();
        let config = format!(
            "server {server}\npeer {server}\nallow {CLIENTS}\ncmdport 0\nbindcmdaddress /\n\
             pidfile /run/chronyd.pid\n"
        );
        fs::write(directory.path().join("chrony.conf"), config)?;
        fs::write(
            directory.path().join("secret"),
            format!("server {SECRET}!\nallow 10.98.0.0/24\nserver 10.98.0.1\nallow {SECRET}\n"),
        )?;
        let cgroup = Cgroup::new()?;
        let mut command = scene.host.namespace.command("unshare");
        command
            .args(["--mount", "--propagation", "private"])
            .args(["--pid", "--mount-proc", "--fork", "--kill-child"])
            .args(["--", "sh", "-c", INSIDE])
            .arg(directory.path())
            .arg(Chronyd::program()?)
            .args(["-x", "-d", "-u", "root"]);
        let command: Command = cgroup.command(&command);
        Ok(Self {
            directory,
            process: Process::spawn(command)?,
            cgroup,
            server,
        })
    }

    /// Its chronyd's process id on the host.
    fn pid(&mut self) -> Result<u32> {
        let parent = self.process.id();
        let found = eventually(STARTED, "the container's chronyd", || {
            let path = format!("/proc/{parent}/task/{parent}/children");
            let children = fs::read_to_string(path)?;
            let child: u32 = children.trim().parse().context("no child")?;
            let exe = fs::read_link(format!("/proc/{child}/exe"))?;
            ensure!(
                exe == Chronyd::program()?.canonicalize()?,
                "{}",
                exe.display()
            );
            Ok(child)
        });
        found.map_err(|error| self.process.explain(error))
    }

    /// Its configuration as the host sees it.
    fn file(&mut self, name: &str) -> Result<PathBuf> {
        let pid = self.pid()?;
        Ok(format!("/proc/{pid}/root/etc/chrony/{name}").into())
    }
}

#[test]
fn a_container_is_not_read_unless_it_is_named() -> Result<()> {
    let scene = Scene::new()?;
    let mut container = Container::start(&scene)?;
    let pid = container.pid()?;
    let guard = scene.guard().ready()?;
    let cure = format!("--trust {}", container.cgroup.path().display());
    eventually(super::NOTICED, "the finding", || {
        let problems = problems(&guard)?;
        ensure!(
            problems.contains("chronyd runs in a container"),
            "{problems}"
        );
        ensure!(problems.contains(&cure), "no {cure:?} in {problems}");
        Ok(())
    })?;
    let why = guard.json(&["status", "--json"])?["sources"].to_string();
    ensure!(why.contains(&format!("pid {pid}")), "{why}");
    wait_roles(&guard, &container.server, &[])?;
    wait_roles(&guard, CLIENTS, &[])
}

#[test]
fn a_container_that_is_named_names_servers_alone() -> Result<()> {
    let scene = Scene::new()?;
    let mut container = Container::start(&scene)?;
    container.pid()?;
    let trust = container.cgroup.path().display().to_string();
    let guard = scene.guard().args(["--trust", &trust]).ready()?;
    wait_roles(&guard, &container.server, &["server"])?;
    wait_roles(&guard, CLIENTS, &[])?;
    let problems = problems(&guard)?;
    ensure!(
        problems.contains("a container cannot grant `client`"),
        "{problems}"
    );
    // What is written there later counts, too, though nothing tells of it.
    let more = scene.server(10).to_string();
    let file = container.file("chrony.conf")?;
    fs::write(&file, format!("server {more}\n"))?;
    wait_roles(&guard, &more, &["server"])?;
    wait_roles(&guard, &container.server, &[])
}

/// Through links, includes and directories, each of which leads to the host's file from the host.
#[test]
fn a_container_leads_to_no_file_of_the_host() -> Result<()> {
    let scene = Scene::new()?;
    let mut container = Container::start(&scene)?;
    let secret = container.directory.path().join("secret");
    let shown = secret.display().to_string();
    let trust = container.cgroup.path().display().to_string();
    let file = container.file("chrony.conf")?;
    let guard = scene.guard().args(["--trust", &trust]).ready()?;
    wait_roles(&guard, &container.server, &["server"])?;

    symlink(&secret, container.file("link.conf")?)?;
    symlink("/proc/1/root", container.file("up")?)?;
    let conf_d = container.file("conf.d")?;
    symlink(container.directory.path(), conf_d)?;
    let own = container.file("link.conf")?;
    // So it is for who follows links.
    ensure!(
        fs::read_to_string(&own)?.contains(SECRET),
        "no leak to close"
    );
    let more = scene.server(10).to_string();
    let text = format!(
        "include {shown}\ninclude /etc/chrony/link.conf\ninclude /etc/chrony/up{shown}\n\
         include ../../../../../../..{shown}\ninclude /etc/chrony/conf.d/*\n\
         include /etc/chrony/up{}/*\nconfdir /etc/chrony/conf.d\nserver {more}\n",
        container.directory.path().display()
    );
    fs::write(&file, text)?;
    wait_roles(&guard, &more, &["server"])?;
    wait_roles(&guard, "10.98.0.1", &[])?;
    wait_roles(&guard, "10.98.0.0/24", &[])?;
    ensure_kept(&guard)?;

    fs::remove_file(&file)?;
    symlink(&secret, &file)?;
    let problem = eventually(super::NOTICED, "the missing file", || {
        let problems = problems(&guard)?;
        ensure!(problems.contains("no such file"), "{problems}");
        Ok(problems)
    })?;
    ensure!(!problem.contains(SECRET), "{problem}");
    wait_roles(&guard, "10.98.0.1", &[])?;
    ensure_kept(&guard)
}
