//! The other end of the control socket: a command that asks.
//!
//! A daemon says every second that it lives ([`Reply::Alive`]). One that is silent for longer is stopped
//! or hangs, and is not waited for.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, sleep, timeout},
};

use super::control::ControlError;
use crate::api::protocol::{MAX_ANSWER, Reply, Request};

/// How long a daemon may be silent that was asked.
pub const SILENCE: Duration = Duration::from_secs(5);

/// How long an answer may take of a daemon that says that it lives: an update asks for all names.
pub const LONGEST: Duration = Duration::from_secs(120);

/// How soon to try again where too many commands wait to be heard.
const CONNECT_AGAIN: Duration = Duration::from_millis(20);

/// The state of a process that a signal has stopped, as /proc shows it (proc(5)).
const STOPPED: char = 'T';

/// Asks the daemon that listens at `path`; `None` where none does.
pub async fn ask(path: &Path, request: &Request) -> Result<Option<Reply>, ControlError> {
    ask_within(path, request, SILENCE).await
}

/// The same, where the daemon may be silent for this long.
pub async fn ask_within(
    path: &Path,
    request: &Request,
    silence: Duration,
) -> Result<Option<Reply>, ControlError> {
    let Some(mut connection) = Connection::open(path, silence).await? else {
        return Ok(None);
    };
    connection.say(request).await?;
    let answer = timeout(LONGEST, connection.answer()).await;
    answer
        .unwrap_or_else(|_| Err(connection.unanswered(LONGEST)))
        .map(Some)
}

/// The process id of the daemon that listens at `path`, where one does and this process may know.
pub async fn listens(path: &Path) -> Option<u32> {
    let connection = Connection::open(path, SILENCE).await.ok()?;
    connection.and_then(|connection| connection.pid)
}

/// A connection to a daemon.
#[derive(Debug)]
pub(super) struct Connection {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    path: PathBuf,
    /// Whose the socket is, where this process may know.
    pub(super) pid: Option<u32>,
    silence: Duration,
}

impl Connection {
    /// Connects to the daemon that listens at `path`; `None` where none does.
    pub(super) async fn open(path: &Path, silence: Duration) -> Result<Option<Self>, ControlError> {
        let start = Instant::now();
        loop {
            let error = match UnixStream::connect(path).await {
                Ok(stream) => return Ok(Some(Self::of(stream, path, silence))),
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => return Ok(None),
                // As many wait already as may: a daemon that lives hears them soon.
                ErrorKind::WouldBlock if start.elapsed() < silence => sleep(CONNECT_AGAIN).await,
                ErrorKind::WouldBlock => return Err(ControlError::unanswered(None, silence)),
                _ => return Err(ControlError::ask(path, error)),
            }
        }
    }

    fn of(stream: UnixStream, path: &Path, silence: Duration) -> Self {
        let credentials = stream.peer_cred().ok();
        let pid = credentials.and_then(|credentials| credentials.pid());
        let (read, write) = stream.into_split();
        Self {
            read: BufReader::new(read),
            write,
            path: path.to_owned(),
            // A process of another pid namespace has the number 0.
            pid: pid
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid != 0),
            silence,
        }
    }

    /// Says something, in a line.
    pub(super) async fn say(&mut self, document: &impl Serialize) -> Result<(), ControlError> {
        let mut line = serde_json::to_vec(document)
            .map_err(|error| ControlError::ask(&self.path, error.into()))?;
        line.push(b'\n');
        match timeout(self.silence, self.write.write_all(&line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => Err(self.unanswered(self.silence)),
        }
    }

    /// The next thing that the daemon says, but for that it lives.
    pub(super) async fn answer(&mut self) -> Result<Reply, ControlError> {
        loop {
            let line = self.line().await?;
            match serde_json::from_slice(&line) {
                Ok(Reply::Alive) => {}
                Ok(reply) => return Ok(reply),
                Err(error) => return Err(ControlError::answer(&self.path, error)),
            }
        }
    }

    /// The next line. However long it is, it must not pause for longer than a daemon may be silent.
    async fn line(&mut self) -> Result<Vec<u8>, ControlError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let part = match timeout(self.silence, self.read.fill_buf()).await {
                Ok(Ok(part)) => part,
                Ok(Err(error)) => return Err(self.failed(error)),
                Err(_) => return Err(self.unanswered(self.silence)),
            };
            let end = part.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(part.len(), |end| end + 1);
            if length == 0 {
                return Err(ControlError::Ended { pid: self.pid });
            }
            line.extend_from_slice(&part[..length]);
            self.read.consume(length);
            if line.len() > MAX_ANSWER {
                let why = format!("its reply is longer than {MAX_ANSWER} bytes");
                return Err(ControlError::ask(&self.path, io::Error::other(why)));
            }
        }
        Ok(line)
    }

    /// Where the daemon listens.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The socket itself, of which nothing is read or buffered yet.
    pub(super) fn socket(&self) -> &UnixStream {
        self.write.as_ref()
    }

    /// Waits until the daemon hangs up, whatever else it says; at most as long as it may be silent.
    pub(super) async fn end(mut self) -> bool {
        let silence = self.silence;
        let ended = async { while self.line().await.is_ok() {} };
        timeout(silence, ended).await.is_ok()
    }

    fn failed(&self, error: io::Error) -> ControlError {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                ControlError::Ended { pid: self.pid }
            }
            _ => ControlError::ask(&self.path, error),
        }
    }

    pub(super) fn unanswered(&self, waited: Duration) -> ControlError {
        ControlError::unanswered(self.pid, waited)
    }
}

/// The words for a daemon, and what to do about it where it does not answer.
pub(super) fn named(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("`ntpguard run` (pid {pid})"),
        None => "`ntpguard run`".to_owned(),
    }
}

/// What to do about a daemon that does not answer.
pub(super) fn advice(pid: Option<u32>) -> String {
    let Some(pid) = pid else {
        return "it may be stopped or hung; find it with `ps -eo pid,stat,wchan,args`".to_owned();
    };
    let ending = format!(
        "end it with `kill -KILL {pid}`: the kernel keeps guarding, and a new `ntpguard run` \
         adopts it"
    );
    if is_stopped(pid) {
        format!("it is stopped by a signal; continue it with `kill -CONT {pid}`, or {ending}")
    } else {
        format!(
            "it may be stopped or hung; check with `ps -o pid,stat,wchan,args {pid}`, or {ending}"
        )
    }
}

fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it may have any character.
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim_start().chars().next());
    state == Some(STOPPED)
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::{super::control::socket_path, *};

    const SHORT: Duration = Duration::from_millis(200);

    fn listening(directory: &Path) -> (PathBuf, UnixListener) {
        let path = socket_path(directory);
        let listener = UnixListener::bind(&path).unwrap();
        (path, listener)
    }

    #[tokio::test]
    async fn a_daemon_that_is_silent_is_given_up_with_its_pid() {
        let directory = tempfile::tempdir().unwrap();
        let (path, _listener) = listening(directory.path());
        let error = ask_within(&path, &Request::Status, SHORT)
            .await
            .unwrap_err();
        let said = error.to_string();
        let pid = std::process::id();
        assert!(
            said.starts_with(&format!("`ntpguard run` (pid {pid}) did not reply within ")),
            "{said}"
        );
        assert!(said.contains(&format!("kill -KILL {pid}")), "{said}");
    }

    #[tokio::test]
    async fn a_daemon_that_is_asked_by_too_many_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = socket_path(directory.path());
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _first = UnixStream::connect(&path).await.unwrap();
        let error = ask_within(&path, &Request::Status, SHORT)
            .await
            .unwrap_err();
        assert!(matches!(error, ControlError::Unanswered { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_daemon_that_says_it_lives_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let (path, listener) = listening(directory.path());
        let slow = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            for _ in 0..5 {
                sleep(SHORT / 2).await;
                stream.write_all(b"\"alive\"\n").await.unwrap();
            }
            stream.write_all(b"\"yielding\"\n").await.unwrap();
            stream
        };
        let (answer, _stream) = tokio::join!(ask_within(&path, &Request::Yield, SHORT), slow);
        assert_eq!(answer.unwrap(), Some(Reply::Yielding));
    }

    #[tokio::test]
    async fn a_daemon_that_hangs_up_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let (path, listener) = listening(directory.path());
        let hang_up = async { drop(listener.accept().await.unwrap()) };
        let (answer, ()) = tokio::join!(ask(&path, &Request::Status), hang_up);
        let error = answer.unwrap_err();
        assert!(matches!(error, ControlError::Ended { .. }), "{error}");
    }

    #[tokio::test]
    async fn where_no_daemon_listens_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = socket_path(directory.path());
        assert_eq!(ask(&path, &Request::List).await.unwrap(), None);
        // What a killed daemon leaves behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(ask(&path, &Request::List).await.unwrap(), None);
    }
}
