//! Connections to Unix stream sockets. Looking a path up may hang as reading may, so it is done off the event
//! loop.

use std::{
    io,
    os::{fd::AsRawFd as _, unix::net::UnixStream as Connected},
    path::Path,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use tokio::net::UnixStream;

use super::PATIENCE;
use crate::offload::Turns;

static CONNECTING: Turns<io::Result<Connected>> = Turns::new("ntpguard-connect");

/// Connects to what listens at `path`, which is not waited for.
pub(super) async fn connect_to(path: &Path) -> io::Result<UnixStream> {
    let path = path.to_owned();
    let connected = CONNECTING.within(PATIENCE, move || at_once(&path)).await;
    UnixStream::from_std(connected.map_err(io::Error::other)??)
}

fn at_once(path: &Path) -> io::Result<Connected> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_listener_that_accepts_nothing_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let missing = connect_to(&path).await.unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let _listening = UnixListener::bind(&path).unwrap();
        let mut connected = Vec::new();
        let refused = loop {
            match connect_to(&path).await {
                Ok(stream) => connected.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(!connected.is_empty());
    }
}
