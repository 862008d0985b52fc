//! A daemon that leaves the guard to its successor, and goes on where that fails.
//!
//! The two speak over the control socket. The predecessor changes nothing from [`Reply::Yielding`] on,
//! which carries the lock of the pin directory, until the successor says [`Request::Taken`], or its
//! connection ends without: then the predecessor takes the guard back. The kernel guards all the while.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    pin::{Pin, pin},
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Interest},
    net::UnixStream,
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{
    client::{Connection, SILENCE, named},
    control::{Call, ControlError},
    event_loop::Daemon,
};
use crate::{
    api::protocol::{Reply, Request},
    clock::BootSeconds,
    datapath::Lock,
};

/// How long a successor may take before those that want something changed are told.
const OVERDUE: Duration = Duration::from_secs(20);

/// How long a predecessor may take to yield: it may be writing large tables.
const YIELDS_WITHIN: Duration = Duration::from_secs(10);

/// Most bytes that are read at a time of the predecessor's answer.
const ANSWER: usize = 4_096;

/// The daemon that a successor takes over from.
#[derive(Debug)]
pub(super) struct Predecessor(Connection);

impl Predecessor {
    /// Connects to the daemon that listens at `path`, if one does, and asks nothing of it yet.
    pub(super) async fn at(path: &Path) -> Result<Option<Self>, ControlError> {
        Ok(Connection::open(path, SILENCE).await?.map(Self))
    }

    /// Asks it to yield, and takes its lock; `None` where it is ending anyhow.
    pub(super) async fn yields(&mut self) -> Result<Option<OwnedFd>, ControlError> {
        self.0.say(&Request::Yield).await?;
        match timeout(YIELDS_WITHIN, receive(self.0.socket())).await {
            Ok(Ok(lock)) => Ok(lock),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Ok(Err(error)) => Err(ControlError::ask(self.0.path(), error)),
            Err(_) => Err(self.0.unanswered(YIELDS_WITHIN)),
        }
    }

    /// Tells it that its successor guards, and waits until it has let go of what one process alone can
    /// have.
    pub(super) async fn end(mut self) {
        let daemon = named(self.0.pid);
        if self.0.say(&Request::Taken).await.is_err() {
            tracing::info!("{daemon} stopped meanwhile");
        } else if !self.0.end().await {
            tracing::warn!("{daemon} was replaced but is still running: check what blocks it");
        }
    }
}

/// Receives the answer to [`Request::Yield`] with the descriptor in it.
async fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut answer = Vec::new();
    let mut lock = None;
    while !answer.ends_with(b"\n") {
        let mut part = [0; ANSWER];
        let length = socket
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut beside = RecvAncillaryBuffer::new(&mut space);
                let into = &mut [IoSliceMut::new(&mut part)];
                let received = recvmsg(socket, into, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
                for message in beside.drain() {
                    if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                        lock = descriptors.next();
                    }
                }
                Ok(received.bytes)
            })
            .await?;
        if length == 0 {
            return Ok(None);
        }
        answer.extend_from_slice(&part[..length]);
        if answer.len() > ANSWER {
            return Err(io::Error::other("its reply is too long"));
        }
    }
    match serde_json::from_slice(&answer)? {
        Reply::Yielding => Ok(lock),
        Reply::Ending => Ok(None),
        other => Err(io::Error::other(format!("unexpected reply {other:?}"))),
    }
}

/// The process at the other end of a connection, for people.
fn peer(stream: &UnixStream) -> String {
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
    let pid = pid.and_then(|pid| u32::try_from(pid).ok());
    named(pid.filter(|pid| *pid != 0))
}

/// Yields to a successor, and gives it the lock.
async fn give(socket: &UnixStream, lock: BorrowedFd<'_>) -> io::Result<()> {
    let mut answer = serde_json::to_vec(&Reply::Yielding)?;
    answer.push(b'\n');
    let given = socket.async_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let descriptors = [lock];
        // The space is made for one.
        beside.push(SendAncillaryMessage::ScmRights(&descriptors));
        let answer = &[IoSlice::new(&answer)];
        Ok(sendmsg(socket, answer, &mut beside, SendFlags::NOSIGNAL)?)
    });
    timeout(SILENCE, given).await??;
    Ok(())
}

/// Waits for the successor's word; says whether it has taken over, and has not ended or failed.
async fn has_taken(stream: &mut BufReader<UnixStream>) -> bool {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await;
    read.is_ok() && matches!(serde_json::from_str(&line), Ok(Request::Taken))
}

/// What came of a handing over.
#[derive(Debug)]
pub(super) enum Handed {
    /// The successor has the guard.
    Over,
    /// It failed; this process goes on, and does now what was asked for meanwhile.
    Back(Vec<Call>),
}

impl Daemon<'_> {
    /// Leaves the guard to the process at the other end of `stream`. Until that has it, questions are
    /// answered, and what would change anything waits.
    pub(super) async fn hand_over(
        &mut self,
        stream: UnixStream,
        lock: &Lock,
        called: &mut mpsc::Receiver<Call>,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Handed {
        let successor = peer(&stream);
        tracing::info!("{successor} is taking over");
        self.write_down();
        if let Err(error) = give(&stream, lock.share()).await {
            tracing::warn!("{successor} cannot take over: {error}");
            return Handed::Back(Vec::new());
        }
        self.guard.set_yielding(true);
        let mut stream = BufReader::new(stream);
        let mut taken = pin!(has_taken(&mut stream));
        let mut waiting: Vec<Call> = Vec::new();
        let mut overdue = Some(Instant::now() + OVERDUE);
        loop {
            tokio::select! {
                biased;
                has_taken = &mut taken => {
                    if has_taken {
                        // Before the connection's end, which says that this process has let go.
                        self.serving.stop_telling();
                        return Handed::Over;
                    }
                    break;
                }
                // The successor has the lock, and all there is to be saved.
                () = &mut shutdown => return Handed::Over,
                Some(call) = called.recv() => match call.request {
                    Request::Status | Request::Sources | Request::List => {
                        self.answer(call);
                    }
                    _ if overdue.is_none() => refuse(call, &successor),
                    _ => waiting.push(call),
                },
                () = sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => {
                    overdue = None;
                    self.note_trouble(is_overdue(&successor));
                    waiting.drain(..).for_each(|call| refuse(call, &successor));
                }
            }
        }
        tracing::warn!("{successor} stopped before it had taken over: this process continues");
        self.is_to_take_back = true;
        Handed::Back(waiting)
    }

    /// Guards as before a handing over that failed.
    pub(super) fn take_back(&mut self) -> Result<(), String> {
        // First, as commands find nobody there until then.
        self.serving
            .listen_again()
            .map_err(|error| error.to_string())?;
        let granted = self.reconciler.projected().clone();
        self.guard
            .resume(&self.found, &granted)
            .map_err(|error| format!("cannot resume guarding: {error}"))?;
        self.is_to_take_back = false;
        // There may be new tables.
        self.serving.tell();
        let saved = self.reconciler.save(BootSeconds::now());
        tracing::info!("resumed guarding");
        saved.map_err(|error| error.to_string())
    }
}

fn is_overdue(successor: &str) -> String {
    format!(
        "{successor} has been taking over for {} s without finishing: stop it, and this process \
         continues",
        OVERDUE.as_secs()
    )
}

fn refuse(call: Call, successor: &str) {
    // Whoever asked may have gone.
    drop(call.answer.send(Reply::Failed(is_overdue(successor))));
}
