//! Events for whoever follows them, over the control socket.
//!
//! A viewer keeps no other waiting: it loses what it does not take in time, and is told how much.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, BufReader},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::broadcast::{Receiver, error::RecvError},
    time::sleep,
};

use super::{
    client::{Connection, SILENCE},
    control::{ALIVE_EVERY, ControlError, send_within},
};
use crate::{
    api::{
        events::Event,
        protocol::{Reply, Request},
    },
    telemetry::EventHub,
};

/// How long a viewer may take nothing, as one that is stopped at a terminal.
const PATIENCE: Duration = Duration::from_secs(600);

/// Sends events until the viewer hangs up.
pub(super) async fn show(
    hub: &EventHub,
    mut events: Receiver<Arc<Event>>,
    read: &mut BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
) -> io::Result<()> {
    send_within(PATIENCE, write, &Reply::Following).await?;
    loop {
        let reply = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => Reply::Event(Box::new((*event).clone())),
                Err(RecvError::Lagged(missed)) => Reply::Missed(missed),
                Err(RecvError::Closed) => {
                    let why = hub.follow().err().unwrap_or_default();
                    return send_within(PATIENCE, write, &Reply::Failed(why)).await;
                }
            },
            () = sleep(ALIVE_EVERY) => Reply::Alive,
            // There is nothing more to say for a viewer: this is the end, one way or another.
            _ = read.read_u8() => return Ok(()),
        };
        send_within(PATIENCE, write, &reply).await?;
    }
}

/// The events of a living daemon.
#[derive(Debug)]
pub struct Following(Connection);

impl Following {
    /// Follows the daemon that listens at `path`; `None` where none does.
    pub async fn begin(path: &Path) -> Result<Option<Self>, ControlError> {
        let Some(mut connection) = Connection::open(path, SILENCE).await? else {
            return Ok(None);
        };
        connection.say(&Request::Events).await?;
        Ok(Some(Self(connection)))
    }

    /// The next thing the daemon says; `None` when it has ended.
    pub async fn next(&mut self) -> Result<Option<Reply>, ControlError> {
        match self.0.answer().await {
            Ok(Reply::Ending) | Err(ControlError::Ended { .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }
}
