//! Asking the daemon, or taking its place for a moment where none lives.

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

/// Who is to do what a command wants.
pub(crate) enum Doer {
    /// The daemon, which has done it and says this.
    Daemon(Reply),
    /// The command itself, as long as it holds this.
    Myself(Lock),
}

/// Has the daemon do something, be it one that is just starting; where there is none, takes the lock
/// so that none can start meanwhile.
pub(crate) async fn ask(guard: &GuardArgs, request: &Request) -> Result<Doer> {
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
            Ok(Some(reply)) => return Ok(Doer::Daemon(reply)),
            Ok(None) => match pins.lock(Duration::ZERO) {
                Ok(lock) => return Ok(Doer::Myself(lock)),
                Err(Error::Locked { .. }) if start.elapsed() < PATIENCE => {}
                Err(error) => return Err(error.into()),
            },
            Err(error @ ControlError::Ended { .. }) => cut_off = Some(error),
            Err(error) => return Err(error.into()),
        }
        if start.elapsed() > PATIENCE {
            return Err(match cut_off {
                Some(error) => error.into(),
                None => anyhow::anyhow!("the daemon is ending, and none has come in its place"),
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
            "{before}, and may have done it (`ntpguard allowlist list` shows it); the next one says"
        )),
        None => failed,
    }
}

/// Asks the daemon a question that changes nothing, again where it ends meanwhile; `None` where none
/// lives.
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
        "no daemon listens at {}: it is the one that reads the kernel's events; `ntpguard run` starts it",
        control::socket_path(&guard.state_dir).display()
    )
}

/// The daemon could not do it, or answered something else than it was asked.
pub(crate) fn unexpected<T>(reply: &Reply) -> Result<T> {
    if let Reply::Failed(why) = reply {
        bail!("{why}");
    }
    bail!("the daemon gave another answer than it was asked for: {reply:?}")
}
