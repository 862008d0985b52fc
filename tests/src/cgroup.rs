//! Control groups of version 2, by which a guard tells the time daemon from everybody else.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{names, wait::eventually};

/// What the names of all our cgroups begin with.
const PREFIX: &str = "ng-test";

/// How long processes that were killed may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Moves itself into a cgroup and becomes the program: $0 is the cgroup's list of processes.
const JOIN: &str = r#"echo $$ >"$0" && exec "$@""#;

/// What `ntpguard exec` has the names of its cgroups begin with.
const EXEC: &str = "ntpguard.";

/// Where systemd keeps the services of the system.
const SERVICES: &str = "system.slice";

/// A cgroup of its own. Clones are the same.
///
/// When the last is dropped, whatever still runs in it and below is killed, and it is removed.
#[derive(Clone, Debug)]
pub struct Cgroup {
    owned: Arc<Owned>,
}

#[derive(Debug)]
struct Owned {
    path: PathBuf,
}

impl Cgroup {
    /// Makes a cgroup.
    ///
    /// # Errors
    ///
    /// Without root, or where cgroups of version 2 are not mounted.
    pub fn new() -> Result<Self> {
        let cgroup = Self::planned()?;
        cgroup.make()?;
        Ok(cgroup)
    }

    /// A cgroup directly below the root that is not there yet, but has its path.
    ///
    /// # Errors
    ///
    /// Where cgroups of version 2 are not mounted.
    pub fn planned() -> Result<Self> {
        Self::named("", &names::unique(PREFIX))
    }

    /// A planned cgroup as systemd makes one for a service of the system.
    ///
    /// # Errors
    ///
    /// As for [`Self::planned`].
    pub fn service() -> Result<Self> {
        Self::unique_in(SERVICES, ".service")
    }

    /// A planned cgroup with a name of its own that ends so, in the cgroup `above`, from the root.
    ///
    /// # Errors
    ///
    /// As for [`Self::planned`].
    pub fn unique_in(above: &str, ending: &str) -> Result<Self> {
        Self::named(above, &format!("{}{ending}", names::unique(PREFIX)))
    }

    /// A planned cgroup `name` in the cgroup `above`, from the root.
    ///
    /// # Errors
    ///
    /// As for [`Self::planned`].
    pub fn named(above: &str, name: &str) -> Result<Self> {
        let path = root()?.join(above).join(name);
        Ok(Self {
            owned: Arc::new(Owned { path }),
        })
    }

    /// A planned cgroup as `ntpguard exec --name` makes one, and that name.
    ///
    /// # Errors
    ///
    /// As for [`Self::planned`].
    pub fn of_exec() -> Result<(Self, String)> {
        let name = names::unique(PREFIX);
        Ok((Self::named("", &format!("{EXEC}{name}"))?, name))
    }

    /// A planned cgroup below this one, which must be dropped before it.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        let path = self.path().join(name);
        Self {
            owned: Arc::new(Owned { path }),
        }
    }

    /// Makes a planned cgroup and what it is below, or one that was removed.
    ///
    /// # Errors
    ///
    /// Without root.
    pub fn make(&self) -> Result<()> {
        // Another test may remove what is above, while nothing else is there.
        eventually(END_LIMIT, "the making of a cgroup", || {
            self.path().parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::create_dir(self.path())
                .with_context(|| format!("cannot make {}", self.path().display()))
        })
    }

    /// Gives the cgroup to a user, as a service manager delegates it.
    ///
    /// # Errors
    ///
    /// Without root, or when it is gone.
    pub fn delegate(&self, uid: u32) -> Result<()> {
        for name in [
            "",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
        ] {
            let path = self.path().join(name);
            chown(&path, Some(uid), Some(uid))
                .with_context(|| format!("cannot give {} away", path.display()))?;
        }
        Ok(())
    }

    /// Removes the cgroup as a service manager does when a service ends.
    ///
    /// # Errors
    ///
    /// When a process stays.
    pub fn remove(&self) -> Result<()> {
        remove(self.path())
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.owned.path
    }

    /// Its number, by which the kernel's tables know it: that of its directory.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn id(&self) -> Result<u64> {
        let found = fs::metadata(self.path());
        Ok(found
            .with_context(|| format!("no cgroup {}", self.path().display()))?
            .ino())
    }

    /// The same command, run inside.
    #[must_use]
    pub fn command(&self, inner: &Command) -> Command {
        join(self.path(), inner)
    }
}

/// The same command, run in the root cgroup, wherever the test itself is.
///
/// # Errors
///
/// Where cgroups of version 2 are not mounted.
pub fn at_root(inner: &Command) -> Result<Command> {
    Ok(join(&root()?, inner))
}

/// Removes what a cgroup was below and nothing else is. Slices at the top are systemd's, where it runs.
fn remove_slices(path: &Path) {
    let Ok(root) = root() else {
        return;
    };
    let has_systemd = Path::new("/run/systemd/system").exists();
    let is_slice = |above: &&Path| {
        above
            .extension()
            .is_some_and(|kind| kind == "slice" || kind == "service")
    };
    for above in path.ancestors().skip(1).take_while(is_slice) {
        if has_systemd && above.parent() == Some(&root) || fs::remove_dir(above).is_err() {
            return;
        }
    }
}

/// Where cgroups of version 2 are mounted: alone, or beside those of version 1.
///
/// # Errors
///
/// Where they are not.
pub fn root() -> Result<PathBuf> {
    let table = "/proc/self/mounts";
    let mounts = fs::read_to_string(table).with_context(|| format!("cannot read {table}"))?;
    mount_point(&mounts).context("cgroups of version 2 are not mounted, and these tests need them")
}

fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let place = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(place))
    })
}

fn join(cgroup: &Path, inner: &Command) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", JOIN])
        .arg(cgroup.join("cgroup.procs"))
        .arg(inner.get_program())
        .args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Removes the cgroups that killed runs left.
pub(crate) fn sweep() {
    // Where cgroups of version 2 are not mounted none is left.
    let mut to_see: Vec<PathBuf> = root().into_iter().collect();
    while let Some(directory) = to_see.pop() {
        for below in directories(&directory) {
            let name = below.file_name().unwrap_or_default().to_string_lossy();
            let name = name.strip_prefix(EXEC).unwrap_or(&name);
            if !names::is_orphan(PREFIX, name) {
                to_see.push(below);
            } else if let Err(error) = remove_all(&below) {
                eprintln!("cannot remove a leftover cgroup: {error:#}");
            }
        }
    }
}

fn remove_all(path: &Path) -> Result<()> {
    for below in directories(path) {
        remove_all(&below)?;
    }
    remove(path)?;
    remove_slices(path);
    Ok(())
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Kills what is in a cgroup and removes it.
fn remove(path: &Path) -> Result<()> {
    // Linux 5.14 and later.
    fs::write(path.join("cgroup.kill"), "1").ok();
    eventually(END_LIMIT, "the end of a cgroup", || {
        let left = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        let removed = fs::remove_dir(path);
        ensure!(
            removed.is_ok() || !path.exists(),
            "{}: {removed:?}, with the processes {left:?}",
            path.display()
        );
        Ok(())
    })
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("{error:#}");
        }
        remove_slices(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_found_alone_and_beside_version_1() {
        let alone = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        assert_eq!(mount_point(alone), Some(PathBuf::from("/sys/fs/cgroup")));
        let beside = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = mount_point(beside);
        assert_eq!(found, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_point("cgroup /sys/fs/cgroup cgroup rw 0 0\n"), None);
    }
}
