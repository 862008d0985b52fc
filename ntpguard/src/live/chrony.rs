//! chronyd's command protocol, version 6 (chrony's candm.h), of which three requests need no
//! privilege: how many sources there are, what each is, and by which name.

pub(super) mod wire;

use std::{
    collections::BTreeSet,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use futures_util::future::BoxFuture;
use ntpguard_common::tables::Role;
use tokio::net::{UdpSocket, UnixDatagram};

use self::wire::{Mode, Reply, Request};
use super::{Answer, AskError, Asked, Channel, InUse, is_absent};

/// Where chronyd listens unless told otherwise.
const PORT: u16 = 323;
const SOCKETS: [&str; 2] = ["/run/chrony/chronyd.sock", "/var/run/chrony/chronyd.sock"];
/// Most sources that are asked for: chronyd has fewer.
const MAX_SOURCES: u32 = 1024;

/// chronyd, wherever it listens.
pub(super) struct Chronyd {
    channels: BTreeSet<Channel>,
}

impl Chronyd {
    /// Takes the usual places, and chronyd's among `channels`.
    pub(super) fn new(channels: &BTreeSet<Channel>) -> Self {
        let port = Channel::ChronyPort(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
        let sockets = SOCKETS
            .iter()
            .filter_map(|socket| fs::canonicalize(socket).ok())
            .map(Channel::ChronySocket);
        let of_chrony = |channel: &&Channel| !matches!(channel, Channel::Observation(_));
        let named = channels.iter().filter(of_chrony).cloned();
        Self {
            channels: sockets.chain(named).chain([port]).collect(),
        }
    }
}

impl Asked for Chronyd {
    fn name(&self) -> &'static str {
        "chronyd"
    }

    fn ask(&self) -> BoxFuture<'_, Result<Option<Answer>, AskError>> {
        Box::pin(async {
            // There may be several; what one of them says is worth more than another's silence.
            let mut all: Option<Answer> = None;
            let mut trouble = None;
            for channel in &self.channels {
                match ask_at(channel).await {
                    Ok(None) => {}
                    Ok(Some(sources)) => {
                        let sources = sources.into_iter();
                        let known = &mut all.get_or_insert_default().sources;
                        known.extend(sources);
                        known.sort_unstable();
                        known.dedup();
                    }
                    Err(error) => trouble = Some(error),
                }
            }
            match (all, trouble) {
                (None, Some(error)) => Err(error),
                (all, _) => Ok(all),
            }
        })
    }
}

async fn ask_at(channel: &Channel) -> Result<Option<Vec<InUse>>, AskError> {
    let socket = match Socket::open(channel).await {
        Err(error) if is_absent(&error) => return Ok(None),
        other => other?,
    };
    match sources(&socket).await {
        Err(AskError::Io(error)) if is_absent(&error) => Ok(None),
        other => other.map(Some),
    }
}

async fn sources(socket: &Socket) -> Result<Vec<InUse>, AskError> {
    let Reply::Sources(count) = socket.exchange(Request::Sources).await? else {
        return Err(nonsense("not a number of sources"));
    };
    let mut found = Vec::new();
    for index in 0..count.min(MAX_SOURCES) {
        let Reply::Source(source) = socket.exchange(Request::Source(index)).await? else {
            return Err(nonsense("not a source"));
        };
        // It has no address while its name is not resolved.
        let (Some(address), Mode::Client | Mode::Peer) = (source.address, source.mode) else {
            continue;
        };
        // A source that goes between two questions has no name any more.
        let name = match socket.exchange(Request::Name(address)).await {
            Ok(Reply::Name(name)) => Some(name),
            _ => None,
        };
        let mut in_use = InUse::server(address, name, source.selected);
        if source.mode == Mode::Peer {
            in_use.roles.push(Role::Peer);
        }
        found.push(in_use);
    }
    Ok(found)
}

fn nonsense(what: &str) -> AskError {
    AskError::Nonsense(what.to_owned())
}

/// A way to speak with chronyd.
enum Socket {
    Port(UdpSocket),
    Path(PathSocket),
}

/// A socket with a path of its own, which chronyd answers to and which goes with this.
struct PathSocket {
    socket: UnixDatagram,
    own: PathBuf,
}

impl Drop for PathSocket {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.own));
    }
}

impl PathSocket {
    /// chronyd answers only a socket that has a path, and one that it may write to, whatever user
    /// it runs as. Its directory is closed to others.
    fn open(path: &Path) -> io::Result<Self> {
        fs::metadata(path)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        let own = directory.join(format!("ntpguard.{}.sock", std::process::id()));
        // An earlier process of this number may have been killed.
        drop(fs::remove_file(&own));
        let socket = UnixDatagram::bind(&own)?;
        let opened = Self { socket, own };
        fs::set_permissions(&opened.own, fs::Permissions::from_mode(0o666))?;
        opened.socket.connect(path)?;
        Ok(opened)
    }
}

impl Socket {
    async fn open(channel: &Channel) -> io::Result<Self> {
        match channel {
            Channel::ChronyPort(address) => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                socket.connect(address).await?;
                Ok(Self::Port(socket))
            }
            Channel::ChronySocket(path) | Channel::Observation(path) => {
                PathSocket::open(path).map(Self::Path)
            }
        }
    }

    async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Port(socket) => socket.send(bytes).await,
            Self::Path(path) => path.socket.send(bytes).await,
        }
    }

    async fn receive(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Port(socket) => socket.recv(bytes).await,
            Self::Path(path) => path.socket.recv(bytes).await,
        }
    }

    async fn exchange(&self, request: Request) -> Result<Reply, AskError> {
        let sequence = fastrand::u32(..);
        self.send(&request.encode(sequence)).await?;
        let mut answer = [0; wire::MAX_REPLY];
        loop {
            let length = self.receive(&mut answer).await?;
            let answer = answer.get(..length).unwrap_or_default();
            // A late answer to an earlier question.
            if wire::sequence(answer) == Some(sequence) {
                return Reply::decode(answer, &request);
            }
        }
    }
}
