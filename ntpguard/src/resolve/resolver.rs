//! Has DNS asked, by a process apart ([`crate::readers`]) for each question.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    net::SocketAddr,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;
use tokio::time::timeout;
use tracing::warn;

use super::{
    Answer, Failure, Question,
    failure::UNREADABLE_CURE,
    message::{Asked, Said, Task},
};
use crate::{
    confine::Work,
    lookup::{Lookup, RefusedFiles, refusal},
    offload::{NotInTime, Turns},
    readers::{ReaderError, Readers},
    sources::open_regular,
};

/// How long one server has for one question.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How many times [`TIMEOUT`] a question may take in all: three servers twice each, and some aliases.
pub(super) const TIMEOUTS_IN_ALL: u32 = 10;

/// How many times [`TIMEOUT`] a reader has, which keeps to that itself.
const TIMEOUTS_OF_READER: u32 = TIMEOUTS_IN_ALL + 1;

/// How long the system's files have to be opened.
const TIMEOUT_OF_FILES: Duration = Duration::from_secs(2);

/// The name of the thread that opens them.
const THREAD: &str = "ntpguard-hosts";

/// Has DNS asked, and `/etc/hosts` before it, as the system's own resolver would.
#[derive(Debug)]
pub struct Resolver {
    readers: Readers,
    servers: Source,
    hosts: PathBuf,
    refused: RefusedFiles,
    timeout: Duration,
    /// Opening files may hang.
    opening: Turns<Files>,
}

/// The system's files, as far as they were opened.
#[derive(Debug)]
struct Files {
    hosts: Lookup<File>,
    /// Nothing where the servers are given.
    servers: Option<Lookup<File>>,
}

/// Why nobody was asked.
#[derive(Debug, Error)]
enum NotAsked {
    #[error("cannot open {}: {source}", .files.join(" and "))]
    Files {
        files: Vec<String>,
        source: NotInTime,
    },
    #[error(transparent)]
    Reader(#[from] ReaderError),
}

/// Who says which servers to ask.
#[derive(Debug)]
enum Source {
    System(PathBuf),
    Given(Vec<SocketAddr>),
}

impl Resolver {
    /// Asks the servers that `/etc/resolv.conf` names. The file may come, go and change: each
    /// question goes by what it says then.
    pub fn from_system(readers: Readers) -> Self {
        Self::new(readers, Source::System("/etc/resolv.conf".into()))
    }

    /// Asks these servers, in this order, and does not read `/etc/resolv.conf`.
    pub fn with_servers(readers: Readers, servers: &[SocketAddr]) -> Self {
        Self::new(readers, Source::Given(servers.to_vec()))
    }

    fn new(readers: Readers, servers: Source) -> Self {
        Self {
            readers,
            servers,
            hosts: PathBuf::from("/etc/hosts"),
            refused: RefusedFiles::default(),
            timeout: TIMEOUT,
            opening: Turns::new(THREAD),
        }
    }

    /// Which of the files it could not read at the last question.
    pub fn refused(&self) -> RefusedFiles {
        self.refused.clone()
    }

    /// Asks for the addresses of a name, those of both families at once. It takes 33 s at most.
    pub async fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        let limit = self.timeout * TIMEOUTS_OF_READER;
        match timeout(limit, self.ask_apart(question)).await {
            Ok(Ok(said)) => said.answer(question),
            Ok(Err(error)) => Err(Failure::NotAsked {
                message: error.to_string(),
            }),
            Err(_) => Err(Failure::Timeout),
        }
    }

    /// As [`Self::ask`], for many questions at once: the answer comes with its question.
    pub async fn look_up(&self, question: Question) -> (Question, Result<Answer, Failure>) {
        let result = self.ask(&question).await;
        (question, result)
    }

    async fn ask_apart(&self, question: &Question) -> Result<Said, NotAsked> {
        let Files { hosts, servers } = self.open().await?;
        let hosts = self.found_hosts(hosts);
        let (servers, system) = match (&self.servers, servers) {
            (Source::Given(servers), _) => (Asked::Given(servers.clone()), None),
            (Source::System(path), servers) => match self.found_system(path, servers) {
                Lookup::Found(file) => (Asked::System(path.into()), Some(file)),
                Lookup::Absent => (Asked::Absent(path.into()), None),
                Lookup::Refused(error) => (Asked::Refused(path.into(), error.to_string()), None),
            },
        };
        let files: Vec<_> = [&hosts, &system].into_iter().flatten().collect();
        let descriptors: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        let mut line = self.readers.begin(Work::Names, &descriptors)?;
        line.say(&Task {
            question: question.clone(),
            servers,
            has_hosts: hosts.is_some(),
            timeout: self.timeout,
        })?;
        Ok(line.hear_in_time().await?)
    }

    /// Opens the system's files, which may hang, off the event loop.
    async fn open(&self) -> Result<Files, NotAsked> {
        let hosts = self.hosts.clone();
        let servers = match &self.servers {
            Source::System(path) => Some(path.clone()),
            Source::Given(_) => None,
        };
        let files = [Some(&hosts), servers.as_ref()].into_iter().flatten();
        let files = files.map(|path| path.display().to_string()).collect();
        let open = move || Files {
            hosts: Lookup::of(open_regular(&hosts)),
            servers: servers.map(|path| Lookup::of(open_regular(&path))),
        };
        let opened = self.opening.within(TIMEOUT_OF_FILES, open).await;
        opened.map_err(|source| NotAsked::Files { files, source })
    }

    /// Each name that cannot be resolved for it is logged, so that this is not.
    fn found_system(&self, path: &Path, opened: Option<Lookup<File>>) -> Lookup<File> {
        let opened = opened.unwrap_or(Lookup::Absent);
        let outcome = format!("names are not resolved; {UNREADABLE_CURE}");
        self.refused.note(path, &opened, &outcome);
        opened
    }

    fn found_hosts(&self, opened: Lookup<File>) -> Option<File> {
        let outcome = "its names are resolved by DNS only; run as root";
        if self.refused.note(&self.hosts, &opened, outcome)
            && let Lookup::Refused(error) = &opened
        {
            warn!("{}", refusal(&self.hosts, error, outcome));
        }
        opened.found()
    }
}
