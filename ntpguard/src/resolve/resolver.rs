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
    readers::{ReaderError, Readers},
};

/// How long one server has for one question.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How many times [`TIMEOUT`] a question may take in all: three servers twice each, and some aliases.
pub(super) const TIMEOUTS_IN_ALL: u32 = 10;

/// How many times [`TIMEOUT`] a reader has, which keeps to that itself.
const TIMEOUTS_OF_READER: u32 = TIMEOUTS_IN_ALL + 1;

/// Has DNS asked, and `/etc/hosts` before it, as the system's own resolver would.
#[derive(Debug)]
pub struct Resolver {
    readers: Readers,
    servers: Source,
    hosts: PathBuf,
    refused: RefusedFiles,
    timeout: Duration,
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

    async fn ask_apart(&self, question: &Question) -> Result<Said, ReaderError> {
        let hosts = self.open_hosts();
        let (servers, system) = match &self.servers {
            Source::Given(servers) => (Asked::Given(servers.clone()), None),
            Source::System(path) => match self.open_system(path) {
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
        line.hear_in_time().await
    }

    /// Each name that cannot be resolved for it is logged, so that this is not.
    fn open_system(&self, path: &Path) -> Lookup<File> {
        let opened = Lookup::of(File::open(path));
        let outcome = format!("names are not resolved; {UNREADABLE_CURE}");
        self.refused.note(path, &opened, &outcome);
        opened
    }

    fn open_hosts(&self) -> Option<File> {
        let opened = Lookup::of(File::open(&self.hosts));
        let outcome = "its names are resolved by DNS only; run as root";
        if self.refused.note(&self.hosts, &opened, outcome)
            && let Lookup::Refused(error) = &opened
        {
            warn!("{}", refusal(&self.hosts, error, outcome));
        }
        opened.found()
    }
}
