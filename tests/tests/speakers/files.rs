//! Files of this host that others than root can change.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use ntpguard_tests::{
    daemons::{Setup, chrony::Chronyd},
    guard::Guard,
};
use tempfile::TempDir;

use super::{
    CLIENTS, PERSON, SCENE_FILE, SECRET, SERVICE, Scene, ensure_kept, problems, wait_roles,
};

fn write(path: PathBuf, text: &str) -> Result<PathBuf> {
    fs::write(&path, text)?;
    Ok(path)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

/// A directory of root's that anybody can look into.
fn directory() -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    set_mode(directory.path(), 0o755)?;
    Ok(directory)
}

/// A main file of root's that includes `text` from a file of its own, which is given to `spoil`.
struct Included {
    scene: Scene,
    directory: TempDir,
    file: PathBuf,
    server: String,
}

impl Included {
    fn new() -> Result<Self> {
        let scene = Scene::new()?;
        let directory = directory()?;
        fs::create_dir(directory.path().join("more"))?;
        let server = scene.server(9).to_string();
        let text = format!("server {server}\npeer {server}\nallow {CLIENTS}\n");
        let file = write(directory.path().join("more/some.conf"), &text)?;
        Ok(Self {
            scene,
            directory,
            file,
            server,
        })
    }

    fn guard(&self) -> Result<Guard> {
        let main = format!("include {}\n", self.file.display());
        let main = write(self.directory.path().join(SCENE_FILE), &main)?;
        self.scene.guard().source(&main).ready()
    }

    /// Its server counts and nothing else, and the guard says who can write `culprit`.
    fn names_servers_alone(&self, culprit: &Path) -> Result<()> {
        let guard = self.guard()?;
        wait_roles(&guard, &self.server, &["server"])?;
        wait_roles(&guard, CLIENTS, &[])?;
        let problems = problems(&guard)?;
        let who = format!(
            "users other than root can write this file ({} ",
            culprit.display()
        );
        ensure!(problems.contains(&who), "no {who:?} in {problems}");
        ensure!(problems.contains("cannot grant `client`"), "{problems}");
        Ok(())
    }

    fn counts_for_all(&self) -> Result<()> {
        let guard = self.guard()?;
        wait_roles(&guard, &self.server, &["peer", "server"])?;
        wait_roles(&guard, CLIENTS, &["client"])?;
        let problems = problems(&guard)?;
        ensure!(problems == "[]", "{problems}");
        Ok(())
    }
}

#[test]
fn what_root_alone_can_write_counts_for_all() -> Result<()> {
    Included::new()?.counts_for_all()
}

#[test]
fn a_file_of_a_service_account_names_servers_alone() -> Result<()> {
    let included = Included::new()?;
    chown(&included.file, Some(SERVICE), None)?;
    included.names_servers_alone(&included.file)
}

#[test]
fn a_file_that_a_group_can_write_names_servers_alone() -> Result<()> {
    let included = Included::new()?;
    chown(&included.file, None, Some(SERVICE))?;
    set_mode(&included.file, 0o664)?;
    included.names_servers_alone(&included.file)
}

#[test]
fn roots_group_is_root() -> Result<()> {
    let included = Included::new()?;
    set_mode(&included.file, 0o660)?;
    included.counts_for_all()
}

#[test]
fn a_directory_on_the_way_that_others_can_write_makes_it_theirs() -> Result<()> {
    let included = Included::new()?;
    let more = included.directory.path().join("more");
    set_mode(&more, 0o777)?;
    included.names_servers_alone(&more)?;
    set_mode(&more, 0o755)?;
    chown(&more, Some(PERSON), None)?;
    included.names_servers_alone(&more)
}

#[test]
fn in_a_sticky_directory_of_roots_what_is_roots_counts_for_all() -> Result<()> {
    let included = Included::new()?;
    let more = included.directory.path().join("more");
    set_mode(&more, 0o1777)?;
    included.counts_for_all()?;
    chown(&included.file, Some(PERSON), None)?;
    included.names_servers_alone(&included.file)
}

#[test]
fn a_link_in_a_directory_of_others_is_their_word() -> Result<()> {
    let mut included = Included::new()?;
    let theirs = included.directory.path().join("theirs");
    fs::create_dir(&theirs)?;
    let link = theirs.join("link.conf");
    symlink(&included.file, &link)?;
    chown(&theirs, Some(PERSON), None)?;
    included.file = link;
    included.names_servers_alone(&theirs)
}

#[test]
fn a_link_of_roots_leads_to_what_it_leads_to() -> Result<()> {
    let mut included = Included::new()?;
    let link = included.directory.path().join("link.conf");
    symlink(Path::new("more/some.conf"), &link)?;
    included.file = link;
    included.counts_for_all()
}

/// A rule of theirs can take none of root's back: chronyd's own `allow all` would.
#[test]
fn others_take_back_no_denial_of_roots() -> Result<()> {
    let mut included = Included::new()?;
    let text = "allow all 10.99.0.0/24\n";
    included.file = write(included.directory.path().join("theirs.conf"), text)?;
    chown(&included.file, Some(SERVICE), None)?;
    let main = format!(
        "allow 10.99.0.0/16\ndeny 10.99.0.128/25\ninclude {}\n",
        included.file.display()
    );
    let main = write(included.directory.path().join(SCENE_FILE), &main)?;
    let guard = included.scene.guard().source(&main).ready()?;
    wait_roles(&guard, "10.99.0.0/16", &["client"])?;
    wait_roles(&guard, "10.99.0.128/25", &["none"])?;
    wait_roles(&guard, CLIENTS, &[])
}

/// A link of theirs to a file that only root can read: its lines are not shown.
#[test]
fn what_others_lead_to_is_not_quoted() -> Result<()> {
    let scene = Scene::new()?;
    let directory = directory()?;
    let secret = write(
        directory.path().join("secret"),
        &format!("{SECRET} x\nserver {SECRET}! y\nincludefile /{SECRET}\n"),
    )?;
    set_mode(&secret, 0o600)?;
    let theirs = directory.path().join("theirs");
    fs::create_dir(&theirs)?;
    symlink(&secret, theirs.join("link.conf"))?;
    chown(&theirs, Some(PERSON), None)?;
    let link = theirs.join("link.conf");
    let main = format!("includefile {}\nunheard of\n", link.display());
    let main = write(directory.path().join("ntp.conf"), &main)?;
    let guard = scene.guard().source(&main).ready()?;
    let problems = problems(&guard)?;
    ensure!(
        problems.contains(&format!("{}", link.display())),
        "{problems}"
    );
    // Root's own file is quoted as ever.
    ensure!(problems.contains("unheard"), "{problems}");
    ensure_kept(&guard)
}

/// The file of a chronyd that runs: found by the guard, and followed when its owner changes.
#[test]
fn the_file_of_a_running_chronyd_counts_for_what_its_owner_may_say() -> Result<()> {
    let scene = Scene::new()?;
    let server = scene.server(9).to_string();
    let text = format!("server {server}\nallow {CLIENTS}\n");
    let setup = Setup::new(&text, None)?;
    chown(setup.config(), Some(SERVICE), None)?;
    let chronyd = Chronyd::start_in(&scene.host.namespace, setup)?;
    let guard = scene.guard().ready()?;
    wait_roles(&guard, &server, &["server"])?;
    wait_roles(&guard, CLIENTS, &[])?;
    chown(chronyd.config(), Some(0), None)?;
    wait_roles(&guard, CLIENTS, &["client"])?;
    chown(chronyd.config(), Some(SERVICE), None)?;
    wait_roles(&guard, CLIENTS, &[])?;
    wait_roles(&guard, &server, &["server"])
}

/// What was saved of a file is no more than its owner could say, even when it is gone.
#[test]
fn a_restart_gives_others_no_more() -> Result<()> {
    let included = Included::new()?;
    chown(&included.file, Some(SERVICE), None)?;
    let mut guard = included.guard()?;
    wait_roles(&guard, &included.server, &["server"])?;
    let home = guard.home().clone();
    guard.terminate()?;
    fs::remove_file(&included.file)?;
    let main = included.directory.path().join(SCENE_FILE);
    let guard = included.scene.guard().source(&main).home(&home).ready()?;
    wait_roles(&guard, &included.server, &["server"])?;
    wait_roles(&guard, CLIENTS, &[])
}
