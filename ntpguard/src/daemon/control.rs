//! The control socket: root asks, the daemon answers.
//!
//! No client holds up the daemon or another client: each has a task of its own, a question and each part
//! of an answer have a deadline, and where there are too many connections the one goes that has been
//! idle longest.

mod complete;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use self::complete::complete;
pub use super::client::{LONGEST, SILENCE, ask, ask_within, listens};
use super::{client, idle::Idle, spare::Spare, subscribers};
use crate::{
    api::protocol::{MAX_QUESTION, Reply, Request},
    lookup::is_exhaustion,
    telemetry::EventHub,
};

/// The socket's name below the state directory.
pub const SOCKET: &str = "control.sock";

/// How often a client is told that the daemon lives while it waits for its answer.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// How long a client has for a question.
const QUESTION: Duration = Duration::from_secs(60);

/// How long a client may take nothing of its answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a client has for a question when the daemon is ending.
const LAST_QUESTION: Duration = Duration::from_millis(100);

/// How long a daemon that is ending waits for its last answers to be taken.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Most connections at a time.
const MOST: usize = 256;

/// A question, and where its answer goes.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Takes the answer.
    pub answer: oneshot::Sender<Reply>,
    /// The connection itself, for a successor.
    pub connection: Option<UnixStream>,
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
    /// A command could not ask.
    #[error("cannot query the daemon at {path}: {source}{}", root_may(.source))]
    Ask {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon is stopped, or hangs.
    #[error(
        "{} did not reply within {} s: {}",
        client::named(*.pid), .waited.as_secs(), client::advice(*.pid)
    )]
    Unanswered {
        /// Its process id, where that may be known.
        pid: Option<u32>,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The daemon ended, or was killed, before it answered.
    #[error("{} stopped before it replied", client::named(*.pid))]
    Ended {
        /// Its process id, where that may be known.
        pid: Option<u32>,
    },
    /// A command got an answer of another version.
    #[error(
        "cannot understand the reply of the daemon at {path} ({source}): is it another version of \
         ntpguard?"
    )]
    Answer {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// The cure for one who may not ask.
fn root_may(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "; run as root"
    } else {
        ""
    }
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

    pub(super) const fn unanswered(pid: Option<u32>, waited: Duration) -> Self {
        Self::Unanswered { pid, waited }
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

/// The answering of all connections, each in a task of its own.
#[derive(Debug)]
pub struct Server {
    task: JoinHandle<()>,
    listening: mpsc::UnboundedSender<UnixListener>,
    ending: watch::Sender<bool>,
}

impl Server {
    /// Answers from now on, with the help of what takes `calls`.
    pub fn begin(listener: UnixListener, calls: mpsc::Sender<Call>, hub: Arc<EventHub>) -> Self {
        let (ending, ends) = watch::channel(false);
        let (listening, listens) = mpsc::unbounded_channel();
        let answering = Answering {
            calls,
            hub,
            idle: Idle::default(),
            ends,
        };
        Self {
            task: tokio::spawn(serve(listener, listens, answering)),
            listening,
            ending,
        }
    }

    /// Listens there from now on. Connections that there are stay.
    pub fn listen(&self, listener: UnixListener) {
        // An error is the end of the task, which comes with this value's.
        drop(self.listening.send(listener));
    }

    /// Takes no more connections, gives the answers that are due, and ends soon. Nothing is to take calls
    /// any more.
    pub async fn end(mut self) {
        self.ending.send_replace(true);
        if timeout(LAST_ANSWERS, &mut self.task).await.is_err() {
            tracing::debug!("some clients do not read their replies");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What answers.
#[derive(Clone)]
struct Answering {
    calls: mpsc::Sender<Call>,
    hub: Arc<EventHub>,
    idle: Idle,
    ends: watch::Receiver<bool>,
}

impl Answering {
    /// Waits until the daemon is ending.
    async fn ending(&mut self) {
        // An error is the end of the daemon, too.
        drop(self.ends.wait_for(|ends| *ends).await);
    }
}

async fn serve(
    mut listener: UnixListener,
    mut listens: mpsc::UnboundedReceiver<UnixListener>,
    mut answering: Answering,
) {
    let mut conversations = JoinSet::new();
    let mut spare = Spare::new();
    loop {
        if conversations.len() >= MOST {
            answering.idle.turn_out();
        }
        let accepted = tokio::select! {
            biased;
            () = answering.ending() => break,
            Some(another) = listens.recv() => {
                listener = another;
                continue;
            }
            _ = conversations.join_next(), if !conversations.is_empty() => continue,
            accepted = listener.accept(), if conversations.len() < MOST => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                begin(&mut conversations, stream, &answering);
                spare.take_again();
            }
            Err(error) if is_exhaustion(&error) && spare.give(&error) => {}
            Err(error) => {
                spare.note(&error);
                answering.idle.turn_out();
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    // Those that connected in time are told that the daemon is ending.
    while let Ok(Ok((stream, _))) = timeout(Duration::ZERO, listener.accept()).await {
        begin(&mut conversations, stream, &answering);
    }
    drop(listener);
    while conversations.join_next().await.is_some() {}
}

fn begin(conversations: &mut JoinSet<()>, stream: UnixStream, answering: &Answering) {
    let answering = answering.clone();
    conversations.spawn(async move {
        if let Err(error) = converse(stream, answering).await {
            tracing::debug!("a control connection ended: {error}");
        }
    });
}

async fn converse(stream: UnixStream, mut answering: Answering) -> io::Result<()> {
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
        let Some(line) = next_question(&mut read, &mut answering).await? else {
            return Ok(());
        };
        // What a command has given up on is not to be done when it no longer knows of it.
        if has_hung_up(write.as_ref()) {
            return Ok(());
        }
        if line.len() == MAX_QUESTION && !line.ends_with('\n') {
            let why = format!("the request is longer than {MAX_QUESTION} bytes");
            return send(&mut write, &Reply::Failed(why)).await;
        }
        let answer = match serde_json::from_str(&line) {
            Ok(Request::Events) => match answering.hub.follow() {
                Ok(events) => {
                    let hub = Arc::clone(&answering.hub);
                    return tokio::select! {
                        shown = subscribers::show(&hub, events, &mut read, &mut write) => shown,
                        () = answering.ending() => Ok(()),
                    };
                }
                Err(why) => Reply::Failed(why),
            },
            Ok(Request::Yield) => return hand_over(read, write, &answering.calls).await,
            Ok(Request::Top) => answering.hub.top().map_or_else(Reply::Failed, Reply::Top),
            Ok(request) => {
                let reply = answer(request, &answering.calls, &mut write).await?;
                complete(reply, &answering.hub).await
            }
            Err(error) => Reply::Failed(format!("invalid request: {error}")),
        };
        send(&mut write, &answer).await?;
    }
}

/// Whether nobody is at the other end any more. Who has only finished to ask still is.
fn has_hung_up(stream: &UnixStream) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::empty())];
    let found = poll(&mut polled, Some(&Timespec::default()));
    found.is_ok() && polled[0].revents().contains(PollFlags::HUP)
}

/// The next line; `None` where there is none in time, or the client has hung up.
async fn next_question(
    read: &mut BufReader<OwnedReadHalf>,
    answering: &mut Answering,
) -> io::Result<Option<String>> {
    let idle = answering.idle.begin();
    let mut line = String::new();
    let length = tokio::select! {
        biased;
        length = async { read.take(MAX_QUESTION as u64).read_line(&mut line).await } => length?,
        () = idle.turned_out() => 0,
        () = sleep(QUESTION) => 0,
        () = async {
            answering.ending().await;
            sleep(LAST_QUESTION).await;
        } => 0,
    };
    Ok((length > 0).then_some(line))
}

/// Asks the daemon's loop, and says meanwhile that it lives.
async fn answer(
    request: Request,
    calls: &mpsc::Sender<Call>,
    write: &mut OwnedWriteHalf,
) -> io::Result<Reply> {
    let mut answer = pin!(ask_daemon(request, calls));
    loop {
        tokio::select! {
            reply = &mut answer => return Ok(reply),
            () = sleep(ALIVE_EVERY) => send(write, &Reply::Alive).await?,
        }
    }
}

async fn ask_daemon(request: Request, calls: &mpsc::Sender<Call>) -> Reply {
    let (answer, answered) = oneshot::channel();
    let call = Call {
        request,
        answer,
        connection: None,
    };
    if calls.send(call).await.is_err() {
        return Reply::Ending;
    }
    answered.await.unwrap_or(Reply::Ending)
}

/// Leaves the connection of a successor to the daemon's loop.
async fn hand_over(
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    calls: &mpsc::Sender<Call>,
) -> io::Result<()> {
    let stream = read.into_inner().reunite(write).map_err(io::Error::other)?;
    let (answer, answered) = oneshot::channel();
    let call = Call {
        request: Request::Yield,
        answer,
        connection: Some(stream),
    };
    if calls.send(call).await.is_ok() {
        // As long as this lasts, the connection counts among the others.
        drop(answered.await);
    }
    Ok(())
}

/// Says something, in a line.
async fn send(write: &mut OwnedWriteHalf, document: &impl Serialize) -> io::Result<()> {
    send_within(ANSWER, write, document).await
}

/// Says something to a client that may take nothing of it for this long.
pub(super) async fn send_within(
    patience: Duration,
    write: &mut OwnedWriteHalf,
    document: &impl Serialize,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(document)?;
    line.push(b'\n');
    let mut left = line.as_slice();
    while !left.is_empty() {
        let written = timeout(patience, write.write(left)).await??;
        left = &left[written..];
    }
    Ok(())
}

#[cfg(test)]
mod tests;
