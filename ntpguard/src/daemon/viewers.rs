//! Events for whoever follows them, over the control socket.
//!
//! A viewer never keeps anybody waiting: what he does not take in time he loses, and is told so.

use std::{io, path::Path, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::broadcast::{Receiver, error::RecvError},
};

use super::{
    control::{ControlError, connect, send},
    protocol::{Reply, Request},
};
use crate::{report::events::Event, telemetry::News};

/// Sends events until the viewer hangs up.
pub(super) async fn show(
    news: &News,
    mut events: Receiver<Arc<Event>>,
    read: &mut BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
) -> io::Result<()> {
    send(write, &Reply::Following).await?;
    loop {
        let reply = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => Reply::Event(Box::new((*event).clone())),
                Err(RecvError::Lagged(missed)) => Reply::Missed(missed),
                Err(RecvError::Closed) => {
                    let why = news.follow().err().unwrap_or_default();
                    return send(write, &Reply::Failed(why)).await;
                }
            },
            // There is nothing more to say for a viewer: this is the end, one way or another.
            _ = read.read_u8() => return Ok(()),
        };
        send(write, &reply).await?;
    }
}

/// The events of a living daemon.
#[derive(Debug)]
pub struct Following {
    answers: Lines<BufReader<OwnedReadHalf>>,
    /// The daemon takes the other half's end for ours.
    _write: OwnedWriteHalf,
}

impl Following {
    /// Follows the daemon that listens at `path`; `None` where none does.
    pub async fn begin(path: &Path) -> Result<Option<Self>, ControlError> {
        let Some(stream) = connect(path).await? else {
            return Ok(None);
        };
        let (read, mut write) = stream.into_split();
        send(&mut write, &Request::Events)
            .await
            .map_err(|source| ControlError::ask(path, source))?;
        Ok(Some(Self {
            answers: BufReader::new(read).lines(),
            _write: write,
        }))
    }

    /// The next thing the daemon says; `None` when it has ended.
    pub async fn next(&mut self, path: &Path) -> Result<Option<Reply>, ControlError> {
        let line = self.answers.next_line().await;
        let line = line.map_err(|source| ControlError::ask(path, source))?;
        line.map(|line| {
            serde_json::from_str(&line).map_err(|source| ControlError::answer(path, source))
        })
        .transpose()
    }
}
