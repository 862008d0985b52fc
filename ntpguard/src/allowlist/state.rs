//! The state file: what was known, so that a restart, or a boot without DNS, starts from it.

mod salvage;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::row::Row;
use crate::clock::BootSeconds;

/// The number of the file's layout.
pub const SCHEMA: u32 = 1;

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Which boot `saved` counts from: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// When the file was written.
    pub saved: BootSeconds,
    /// What the guard read, as `--source` takes it; for `allowlist update` without a daemon.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Whether it looked for these where the distributions put them.
    #[serde(default)]
    pub discover: bool,
    /// The cgroups of containers whose configurations are read, as `--trust` takes them.
    #[serde(default)]
    pub trust: Vec<String>,
    /// Whom it asked for names, where that was not the system's resolver.
    #[serde(default)]
    pub resolvers: Vec<SocketAddr>,
    /// Whether a daemon's own configuration may open this host to everybody (`--serve`).
    #[serde(default)]
    pub serve: bool,
    /// The claims.
    pub rows: Vec<Row>,
}

/// What a file of any layout says first.
#[derive(Deserialize)]
struct Layout {
    schema: u32,
}

/// A state file that could not be read or written.
#[derive(Debug, Error)]
pub enum StateError {
    /// Reading failed.
    #[error("cannot read the state file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing failed; the file is as it was before.
    #[error(
        "cannot write the state file {path}: {source}; is the directory writable and not full?"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The boot could not be identified.
    #[error("cannot read {BOOT_ID}: {0}; is /proc mounted?")]
    BootId(io::Error),
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where the state is kept.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    /// Whether the file that is there could not be read, and is to be kept when another takes its place.
    is_unreadable: bool,
}

impl StateFile {
    /// The state file of the guard whose `--state-dir` is `directory`.
    pub fn below(directory: &Path) -> Self {
        Self {
            path: directory.join("state.json"),
            is_unreadable: false,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file and lets its lifetimes run on to `now`. A missing file is an empty state.
    ///
    /// Of a file that is damaged, or that a newer version wrote, the manual denials hold on. It stays where
    /// it is until [`save`](Self::save) needs its place.
    pub fn load(&mut self, now: BootSeconds) -> Result<State, StateError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            Err(source) => {
                return Err(StateError::Read {
                    path: self.path.clone(),
                    source,
                });
            }
        };
        match parse(&bytes) {
            Ok(state) => Ok(state.aged(&boot_id()?, now)),
            Err(why) => Ok(self.salvaged(&bytes, &why)),
        }
    }

    fn salvaged(&mut self, bytes: &[u8], why: &str) -> State {
        self.is_unreadable = true;
        let rows = salvage::denials(&String::from_utf8_lossy(bytes));
        tracing::error!(
            "cannot use the state file {}: {why}. Its manual denials stay in force ({}), its \
             manual grants do not; grants from configuration files are read again. The file is \
             renamed before a new one is written; to go back, stop ntpguard, restore the file's \
             name, and start the version that wrote it",
            self.path.display(),
            rows.len()
        );
        State {
            rows,
            ..State::default()
        }
    }

    /// Replaces the file in one step. One that could not be read is kept beside it.
    pub fn save(&mut self, mut state: State, now: BootSeconds) -> Result<(), StateError> {
        state.schema = SCHEMA;
        state.boot_id = boot_id()?;
        state.saved = now;
        self.keep_unreadable()
            .and_then(|()| self.replace(&state))
            .map_err(|source| StateError::Write {
                path: self.path.clone(),
                source,
            })
    }

    /// Gives a file that could not be read the first name beside it that is free.
    fn keep_unreadable(&mut self) -> io::Result<()> {
        if !self.is_unreadable {
            return Ok(());
        }
        for number in 1u32.. {
            let kept = self
                .path
                .with_extension(format!("json.unreadable-{number}"));
            match rustix::fs::renameat_with(CWD, &self.path, CWD, &kept, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    tracing::warn!(
                        "the unreadable state file was renamed to {}",
                        kept.display()
                    );
                    break;
                }
            }
        }
        self.is_unreadable = false;
        Ok(())
    }

    /// Writes a file beside it, always of the same name: one that a killed process left is overwritten.
    fn replace(&self, state: &State) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut text = serde_json::to_vec_pretty(state)?;
        text.push(b'\n');
        let new = self.path.with_extension("json.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        let written = file
            .write_all(&text)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&new, &self.path));
        written.inspect_err(|_| drop(fs::remove_file(&new)))
    }
}

fn parse(bytes: &[u8]) -> Result<State, String> {
    let layout: Layout = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match layout.schema {
        SCHEMA => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        newer if newer > SCHEMA => Err(format!(
            "it was written by a newer version of ntpguard (schema {newer}, this version reads \
             {SCHEMA})"
        )),
        other => Err(format!("its schema is {other}, not {SCHEMA}")),
    }
}

fn boot_id() -> Result<String, StateError> {
    let id = fs::read_to_string(BOOT_ID).map_err(StateError::BootId)?;
    Ok(id.trim().to_owned())
}

impl State {
    /// Takes the time since the file was written off its lifetimes, and the rows with nothing
    /// left with it. Time that passed while the machine was off is unknown, and counts as none.
    fn aged(mut self, boot_id: &str, now: BootSeconds) -> Self {
        if self.boot_id == boot_id {
            let passed = now.since(self.saved);
            for row in &mut self.rows {
                row.left = row.left.map(|left| left.saturating_sub(passed));
            }
        }
        // A name's last known addresses stay until it is resolved again, however old.
        self.rows
            .retain(|row| row.left != Some(0) || row.name.is_some());
        self
    }
}

#[cfg(test)]
mod tests {
    use ntpguard_common::maps::tables::{Origin, Role};

    use super::*;
    use crate::{
        scope::Scope,
        sources::{Family, Speaker},
    };

    fn row(left: Option<u32>, name: Option<&str>) -> Row {
        Row {
            prefix: "192.0.2.1/32".parse().unwrap(),
            scope: None,
            role: Some(Role::Server),
            speaker: Speaker::Root,
            origin: Origin::Dns,
            name: name.map(str::to_owned),
            family: Family::V4,
            port: 123,
            long_replies: false,
            source: Some("ntp.conf:/etc/ntp.conf".into()),
            file: Some("/etc/ntp.conf".into()),
            line: 3,
            left,
            comment: None,
        }
    }

    fn state(rows: Vec<Row>) -> State {
        State {
            rows,
            ..State::default()
        }
    }

    #[test]
    fn what_is_saved_is_loaded_with_its_lifetimes_run_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = StateFile::below(&directory.path().join("new"));
        assert_eq!(file.load(BootSeconds(5)).unwrap(), State::default());
        file.save(
            state(vec![row(Some(100), None), row(None, None)]),
            BootSeconds(10),
        )
        .unwrap();
        let loaded = file.load(BootSeconds(40)).unwrap();
        assert_eq!(loaded.rows, vec![row(Some(70), None), row(None, None)]);
    }

    #[test]
    fn the_interface_of_an_address_is_kept_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = StateFile::below(directory.path());
        let row = Row {
            prefix: "fe80::1/128".parse().unwrap(),
            scope: Scope::new("eth0"),
            ..row(None, None)
        };
        file.save(state(vec![row.clone()]), BootSeconds(10))
            .unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(text.contains(r#""scope": "eth0""#), "{text}");
        let loaded = file.load(BootSeconds(10)).unwrap().rows;
        assert_eq!(loaded, [row]);
        let host = loaded[0].claim(BootSeconds(10)).addresses();
        assert_eq!(host.to_string(), "fe80::1%eth0/128");
    }

    #[test]
    fn a_row_past_its_end_goes_unless_it_is_the_last_known_of_a_name() {
        let mut state = state(vec![row(Some(10), None), row(Some(10), Some("a.example"))]);
        state.boot_id = "this boot".into();
        let aged = state.aged("this boot", BootSeconds(20));
        assert_eq!(aged.rows, vec![row(Some(0), Some("a.example"))]);
    }

    #[test]
    fn time_while_the_machine_was_off_counts_as_none() {
        let mut state = state(vec![row(Some(10), None)]);
        state.boot_id = "another boot".into();
        state.saved = BootSeconds(1_000_000);
        assert_eq!(
            state.aged("this boot", BootSeconds(20)).rows,
            vec![row(Some(10), None)]
        );
    }

    /// A file of a newer layout that denies one address and grants another, and of which `after` is the end.
    fn newer(after: &str) -> String {
        format!(
            r#"{{"schema":99,"boot_id":[1],"new":{{}},"rows":[
                {{"prefix":"192.0.2.1/32","role":"none","origin":"manual","new":[{{}}],"left":7}},
                {{"prefix":"192.0.2.2/32","role":"server","origin":"manual"}},
                {{"prefix":"192.0.2.3/32","role":"none","origin":"config"}}{after}"#
        )
    }

    #[test]
    fn of_a_file_that_cannot_be_read_the_denials_hold_and_a_reader_leaves_it() {
        let directory = tempfile::tempdir().unwrap();
        for unreadable in [
            newer("]}").as_bytes(),
            newer(", {").as_bytes(),
            b"{",
            b"\xff\xfe",
        ] {
            let mut file = StateFile::below(directory.path());
            fs::write(file.path(), unreadable).unwrap();
            let rows = file.load(BootSeconds(0)).unwrap().rows;
            let denied: Vec<_> = rows
                .iter()
                .map(|row| (row.prefix.to_string(), row.role, row.left))
                .collect();
            if unreadable.len() > 2 {
                assert_eq!(denied, [("192.0.2.1/32".to_owned(), None, Some(7))]);
            } else {
                assert!(denied.is_empty());
            }
            assert_eq!(fs::read(file.path()).unwrap(), unreadable);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_kept_under_a_name_of_its_own_before_another_is_written() {
        let directory = tempfile::tempdir().unwrap();
        for (number, unreadable) in [(1, "{"), (2, "}")] {
            let mut file = StateFile::below(directory.path());
            fs::write(file.path(), unreadable).unwrap();
            file.load(BootSeconds(0)).unwrap();
            for _ in 0..2 {
                file.save(State::default(), BootSeconds(0)).unwrap();
            }
            let kept = format!("state.json.unreadable-{number}");
            assert_eq!(
                fs::read_to_string(directory.path().join(kept)).unwrap(),
                unreadable
            );
            assert!(parse(&fs::read(file.path()).unwrap()).is_ok());
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_a_killed_process_left_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = StateFile::below(directory.path());
        fs::write(directory.path().join("state.json.new"), "{").unwrap();
        file.save(State::default(), BootSeconds(0)).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let mut file = StateFile::below(Path::new("/proc/nowhere"));
        let error = file
            .save(State::default(), BootSeconds(0))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/proc/nowhere/state.json"), "{error}");
    }
}
