//! Asking the daemon to do something, or doing it offline where none runs.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ntpguard::{
    api::protocol::{Reply, Request},
    daemon::control::{self, ControlError},
    datapath::{Error, Lock, PinDir},
};

use super::args::GuardArgs;

/// How long a command waits for another to let go of the lock, or for a daemon that is starting.
const PATIENCE: Duration = Duration::from_secs(30);

/// How soon to try again.
const AGAIN: Duration = Duration::from_millis(50);

/// What carries out a request.
pub(crate) enum Executor {
    /// The daemon, which has done it and replied this.
    Daemon(Reply),
    /// The command itself, while it holds this lock.
    Offline(Lock),
}

/// Has the daemon do something, be it one that is just starting; where there is none, takes the lock
/// so that none can start meanwhile.
pub(crate) async fn ask(guard: &GuardArgs, request: &Request) -> Result<Executor> {
    let socket = control::socket_path(&guard.state_dir);
    let pins = PinDir::new(&guard.pin_dir);
    let start = Instant::now();
    // Whether a daemon may have done it and not come to say so.
    let mut cut_off = None;
    loop {
        match control::ask(&socket, request).await {
            Ok(Some(Reply::Failed(why))) => return Err(failed(why, cut_off)),
            // It ends without having done it; another may be about to start.
            Ok(Some(Reply::Ending)) => {}
            Ok(Some(reply)) => return Ok(Executor::Daemon(reply)),
            Ok(None) => match pins.lock(Duration::ZERO) {
                Ok(lock) => return Ok(Executor::Offline(lock)),
                Err(Error::Locked { .. }) if start.elapsed() < PATIENCE => {}
                Err(error) => return Err(error.into()),
            },
            Err(error @ ControlError::Ended { .. }) => cut_off = Some(error),
            Err(error) => return Err(error.into()),
        }
        if start.elapsed() > PATIENCE {
            return Err(match cut_off {
                Some(error) => error.into(),
                None => anyhow::anyhow!("the daemon is stopping, and no other has taken over"),
            });
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What a daemon could not do, perhaps because one before it had done it already.
fn failed(why: String, cut_off: Option<ControlError>) -> anyhow::Error {
    let failed = anyhow::anyhow!(why);
    match cut_off {
        Some(before) => failed.context(format!(
            "{before} and may have made the change (see `ntpguard allowlist list`); its successor \
             reports"
        )),
        None => failed,
    }
}

/// Asks the daemon a question that changes nothing, again where it ends meanwhile; `None` where none
/// runs.
pub(crate) async fn question(guard: &GuardArgs, request: &Request) -> Result<Option<Reply>> {
    let socket = control::socket_path(&guard.state_dir);
    let start = Instant::now();
    loop {
        match control::ask(&socket, request).await {
            Ok(Some(Reply::Ending)) | Err(ControlError::Ended { .. })
                if start.elapsed() < PATIENCE =>
            {
                tokio::time::sleep(AGAIN).await;
            }
            answer => return Ok(answer?),
        }
    }
}

/// There is no daemon to ask for what only a daemon knows.
pub(crate) fn no_daemon<T>(guard: &GuardArgs) -> Result<T> {
    bail!(
        "no daemon listens on {}; start one with `ntpguard run`",
        control::socket_path(&guard.state_dir).display()
    )
}

/// The daemon could not do it, or answered something else than it was asked.
pub(crate) fn unexpected<T>(reply: &Reply) -> Result<T> {
    if let Reply::Failed(why) = reply {
        bail!("{why}");
    }
    bail!("unexpected reply from the daemon: {reply:?}")
}
