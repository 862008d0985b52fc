//! The state file: what was known, so that a restart, or a boot without DNS, starts from it.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
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
}

impl StateFile {
    /// The state file of the guard whose `--state-dir` is `directory`.
    pub fn below(directory: &Path) -> Self {
        Self {
            path: directory.join("state.json"),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file and lets its lifetimes run on to `now`. A missing file is an empty state.
    ///
    /// A file that makes no sense is set aside beside itself, so that nothing in it is lost, and
    /// the guard starts from its sources.
    pub fn load(&self, now: BootSeconds) -> Result<State, StateError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok(self.set_aside(&error.to_string()));
            }
            Err(source) => {
                return Err(StateError::Read {
                    path: self.path.clone(),
                    source,
                });
            }
        };
        match serde_json::from_str::<State>(&text) {
            Ok(state) if state.schema == SCHEMA => Ok(state.aged(&boot_id()?, now)),
            Ok(state) => {
                Ok(self.set_aside(&format!("its schema is {}, not {SCHEMA}", state.schema)))
            }
            Err(error) => Ok(self.set_aside(&error.to_string())),
        }
    }

    fn set_aside(&self, why: &str) -> State {
        let aside = self.path.with_extension("json.unreadable");
        let kept = match fs::rename(&self.path, &aside) {
            Ok(()) => format!("kept as {}", aside.display()),
            Err(error) => format!("and cannot be renamed: {error}"),
        };
        tracing::error!(
            "the state file {} makes no sense ({why}); {kept}. Grants made by hand in it must be \
             made again; those from configuration files come back by themselves",
            self.path.display()
        );
        State::default()
    }

    /// Replaces the file in one step.
    pub fn save(&self, mut state: State, now: BootSeconds) -> Result<(), StateError> {
        state.schema = SCHEMA;
        state.boot_id = boot_id()?;
        state.saved = now;
        self.replace(&state).map_err(|source| StateError::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn replace(&self, state: &State) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut text = serde_json::to_vec_pretty(state)?;
        text.push(b'\n');
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
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
    use ntpguard_common::tables::{Origin, Role};

    use super::*;
    use crate::sources::{Family, Speaker};

    fn row(left: Option<u32>, name: Option<&str>) -> Row {
        Row {
            prefix: "192.0.2.1/32".parse().unwrap(),
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
        let file = StateFile::below(&directory.path().join("new"));
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

    #[test]
    fn a_file_that_makes_no_sense_is_kept_beside() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::below(directory.path());
        for nonsense in [
            &b"{\"schema\":99,\"boot_id\":\"\",\"saved\":0,\"rows\":[]}"[..],
            b"{",
            b"\xff\xfe",
        ] {
            fs::write(file.path(), nonsense).unwrap();
            assert_eq!(file.load(BootSeconds(0)).unwrap(), State::default());
            let aside = directory.path().join("state.json.unreadable");
            assert_eq!(fs::read(aside).unwrap(), nonsense);
            assert!(!file.path().exists());
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let file = StateFile::below(Path::new("/proc/nowhere"));
        let error = file
            .save(State::default(), BootSeconds(0))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/proc/nowhere/state.json"), "{error}");
    }
}
