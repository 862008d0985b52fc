//! Asking the daemon, or taking its place for a moment where none lives.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ntpguard::{
    daemon::{
        control,
        protocol::{Reply, Request},
    },
    datapath::{Lock, PinDir},
};

use super::args::GuardArgs;

/// How long a command waits for another to let go of the lock, or for a daemon that is starting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who is to do what a command wants.
pub(crate) enum Doer {
    /// The daemon, which has done it and says this.
    Daemon(Reply),
    /// The command itself, as long as it holds this.
    Myself(Lock),
}

/// Asks the daemon; where there is none, takes the lock so that none can start meanwhile.
pub(crate) async fn ask(guard: &GuardArgs, request: &Request) -> Result<Doer> {
    let socket = control::socket_path(&guard.state_dir);
    let pins = PinDir::new(&guard.pin_dir);
    let start = Instant::now();
    loop {
        match control::ask(&socket, request).await? {
            Some(Reply::Failed(why)) => bail!(why),
            Some(reply) => return Ok(Doer::Daemon(reply)),
            None => {}
        }
        match pins.lock(Duration::ZERO) {
            Ok(lock) => return Ok(Doer::Myself(lock)),
            Err(error) if start.elapsed() > PATIENCE => return Err(error.into()),
            // Somebody has the lock and does not listen yet, or no more.
            Err(ntpguard::datapath::Error::Locked { .. }) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error.into()),
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
