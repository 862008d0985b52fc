//! What a daemon serves: its control socket, and the events that it reads for all who follow them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    Options,
    control::{self, Call, ControlError, Server},
};
use crate::{
    datapath::PinDir,
    telemetry::{EventHub, EventReader},
};

/// Most calls that wait for the daemon's loop.
const WAITING: usize = 16;

/// A socket that is served.
#[derive(Debug)]
pub(super) struct Serving {
    pins: PinDir,
    socket: PathBuf,
    /// The socket's inode: another process may put its own there.
    inode: Option<u64>,
    hub: Arc<EventHub>,
    server: Server,
    telling: Option<JoinHandle<()>>,
}

impl Serving {
    /// Listens, and gives what is asked for.
    pub(super) fn begin(options: &Options) -> Result<(Self, mpsc::Receiver<Call>), ControlError> {
        let (calls, called) = mpsc::channel(WAITING);
        let socket = control::socket_path(&options.state_dir);
        let hub = Arc::new(EventHub::new());
        let listener = control::listen(&socket)?;
        let serving = Self {
            pins: PinDir::new(&options.pin_dir),
            inode: inode(&socket),
            socket,
            server: Server::begin(listener, calls, Arc::clone(&hub)),
            hub,
            telling: None,
        };
        Ok((serving, called))
    }

    /// Reads what the kernel tells of single packets, from now on. The guard is as good without.
    pub(super) fn tell(&mut self) {
        self.stop_telling();
        let event_reader = match EventReader::open(&self.pins, Arc::clone(&self.hub)) {
            Ok(event_reader) => event_reader,
            Err(error) => {
                tracing::error!("{error}: no events are available");
                self.hub.fail(error.to_string());
                return;
            }
        };
        let hub = Arc::clone(&self.hub);
        self.telling = Some(tokio::spawn(async move {
            let Err(error) = event_reader.tell().await;
            tracing::error!("{error}: no more events are available");
            hub.fail(error.to_string());
        }));
    }

    /// Leaves the events to another process: the buffer has one reader.
    pub(super) fn stop_telling(&mut self) {
        if let Some(telling) = self.telling.take() {
            telling.abort();
        }
    }

    /// Listens where another process was to, which may have put its socket there. Connections that
    /// there are stay.
    pub(super) fn listen_again(&mut self) -> Result<(), ControlError> {
        if !self.is_ours() {
            self.server.listen(control::listen(&self.socket)?);
            self.inode = inode(&self.socket);
        }
        Ok(())
    }

    /// Gives the answers that are due, and ends. Nothing is to take calls any more.
    pub(super) async fn end(mut self) {
        if self.is_ours() {
            drop(fs::remove_file(&self.socket));
        }
        self.stop_telling();
        self.server.end().await;
    }

    fn is_ours(&self) -> bool {
        self.inode.is_some() && self.inode == inode(&self.socket)
    }
}

fn inode(socket: &Path) -> Option<u64> {
    fs::symlink_metadata(socket).ok().map(|socket| socket.ino())
}
