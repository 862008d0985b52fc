//! The control socket: root asks, the daemon answers.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::{
    protocol::{MAX_ANSWER, MAX_QUESTION, Reply, Request},
    viewers,
};
use crate::telemetry::News;

/// The socket's name below the state directory.
pub const SOCKET: &str = "control.sock";

/// A question, and where its answer goes.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Takes the answer.
    pub answer: oneshot::Sender<Reply>,
}

/// A socket that could not be made, or not be asked.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The daemon cannot listen.
    #[error("cannot listen on {path}: {source}")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A command got no answer.
    #[error("no answer from the daemon at {path}: {source}")]
    Ask {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A command got an answer of another version.
    #[error(
        "the daemon at {path} gave an answer that this command does not understand ({source}): \
         are they of one version?"
    )]
    Answer {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl ControlError {
    pub(super) fn ask(path: &Path, source: io::Error) -> Self {
        Self::Ask {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn answer(path: &Path, source: serde_json::Error) -> Self {
        Self::Answer {
            path: path.to_owned(),
            source,
        }
    }
}

/// Where the guard whose `--state-dir` is `directory` listens.
pub fn socket_path(directory: &Path) -> PathBuf {
    directory.join(SOCKET)
}

/// Listens, in the place of any socket that a dead daemon left. Only root may connect.
///
/// The caller holds the pin directory's lock, so that no daemon of this guard can be living.
pub fn listen(path: &Path) -> Result<UnixListener, ControlError> {
    let listen = || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    listen().map_err(|source| ControlError::Listen {
        path: path.to_owned(),
        source,
    })
}

/// How long to wait where a connection cannot be accepted: for want of descriptors, mostly.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Answers connections for ever, each in a task of its own.
pub async fn serve(listener: UnixListener, calls: mpsc::Sender<Call>, news: Arc<News>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot accept a control connection: {error}");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let (calls, news) = (calls.clone(), Arc::clone(&news));
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &calls, &news).await {
                tracing::debug!("a control connection ended: {error}");
            }
        });
    }
}

async fn converse(stream: UnixStream, calls: &mpsc::Sender<Call>, news: &News) -> io::Result<()> {
    // The socket's mode keeps others out already; this holds however the file came to be.
    if stream.peer_cred()?.uid() != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the peer is not root",
        ));
    }
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = String::new();
        let length = (&mut read)
            .take(MAX_QUESTION as u64)
            .read_line(&mut line)
            .await?;
        if length == 0 {
            return Ok(());
        }
        if length == MAX_QUESTION && !line.ends_with('\n') {
            let why = format!("the question is longer than {MAX_QUESTION} bytes");
            return send(&mut write, &Reply::Failed(why)).await;
        }
        let answer = match serde_json::from_str(&line) {
            Ok(Request::Events) => match news.follow() {
                Ok(events) => return viewers::show(news, events, &mut read, &mut write).await,
                Err(why) => Reply::Failed(why),
            },
            Ok(Request::Top) => news.top().map_or_else(Reply::Failed, Reply::Top),
            Ok(request) => ask_daemon(request, calls).await,
            Err(error) => Reply::Failed(format!("the question makes no sense: {error}")),
        };
        send(&mut write, &answer).await?;
    }
}

async fn ask_daemon(request: Request, calls: &mpsc::Sender<Call>) -> Reply {
    let (answer, answered) = oneshot::channel();
    let ending = || Reply::Failed("the daemon is ending".to_owned());
    if calls.send(Call { request, answer }).await.is_err() {
        return ending();
    }
    answered.await.unwrap_or_else(|_| ending())
}

/// Says something, in a line.
pub(super) async fn send(write: &mut OwnedWriteHalf, document: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(document)?;
    line.push(b'\n');
    write.write_all(&line).await
}

/// Connects to the daemon that listens at `path`; `None` where none does.
pub(super) async fn connect(path: &Path) -> Result<Option<UnixStream>, ControlError> {
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(ControlError::ask(path, error)),
    }
}

/// Asks the daemon that listens at `path`; `None` where none does.
pub async fn ask(path: &Path, request: &Request) -> Result<Option<Reply>, ControlError> {
    let failed = |source| ControlError::ask(path, source);
    let Some(stream) = connect(path).await? else {
        return Ok(None);
    };
    let (read, mut write) = stream.into_split();
    send(&mut write, request).await.map_err(failed)?;
    let mut answer = String::new();
    let mut read = BufReader::new(read).take(MAX_ANSWER as u64);
    if read.read_line(&mut answer).await.map_err(failed)? == 0 {
        return Err(failed(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it closed the connection",
        )));
    }
    serde_json::from_str(&answer)
        .map(Some)
        .map_err(|source| ControlError::answer(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(directory: &Path) -> PathBuf {
        let path = socket_path(directory);
        let listener = listen(&path).unwrap();
        let (calls, mut called) = mpsc::channel::<Call>(1);
        tokio::spawn(serve(listener, calls, Arc::new(News::new())));
        tokio::spawn(async move {
            while let Some(call) = called.recv().await {
                let answer = match call.request {
                    Request::Yield => Reply::Yielding,
                    other => Reply::Failed(format!("{other:?}")),
                };
                drop(call.answer.send(answer));
            }
        });
        path
    }

    #[tokio::test]
    async fn a_question_is_answered() {
        let directory = tempfile::tempdir().unwrap();
        let path = daemon(directory.path());
        assert_eq!(
            ask(&path, &Request::Yield).await.unwrap(),
            Some(Reply::Yielding)
        );
    }

    #[tokio::test]
    async fn nonsense_is_answered_too_and_ends_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = daemon(directory.path());
        let stream = UnixStream::connect(&path).await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        for nonsense in ["\n", "{}\n", "[1,2\n", "{\"ask\":\"reboot\"}\n"] {
            write.write_all(nonsense.as_bytes()).await.unwrap();
            let answer = lines.next_line().await.unwrap().unwrap();
            assert!(answer.contains("makes no sense"), "{answer}");
        }
        assert_eq!(
            ask(&path, &Request::Yield).await.unwrap(),
            Some(Reply::Yielding)
        );
    }

    #[tokio::test]
    async fn where_no_daemon_listens_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = socket_path(directory.path());
        assert_eq!(ask(&path, &Request::List).await.unwrap(), None);
        // What a killed daemon leaves behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(ask(&path, &Request::List).await.unwrap(), None);
        listen(&path).unwrap();
    }

    #[tokio::test]
    async fn only_root_may_open_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = socket_path(directory.path());
        let _listener = listen(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
