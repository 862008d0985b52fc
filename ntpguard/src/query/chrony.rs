//! chronyd's command protocol, version 6 (chrony's candm.h), of which three requests need no
//! privilege: how many sources there are, what each is, and by which name.

pub(super) mod wire;

use std::collections::BTreeSet;

use ntpguard_common::maps::tables::Role;
use tokio::net::UdpSocket;

use self::wire::{Mode, Reply, Request};
use super::{
    Answer, AskError, Asked, Asking, Channel, InUse,
    apart::{self, Talk},
    is_absent, loopback,
};
use crate::readers::Readers;

/// Where chronyd listens unless told otherwise.
const PORT: u16 = 323;
/// Most sources that are asked for: chronyd has fewer.
const MAX_SOURCES: u32 = 1024;

/// chronyd, at its command ports. Its Unix socket is left alone: chronyd answers there only to a socket
/// that has a path of its own, and whoever may write in that directory could put a link in its place.
pub(super) struct Chronyd {
    /// Those that configurations name, 0 for none.
    ports: BTreeSet<u16>,
}

impl Chronyd {
    /// Takes chronyd's ports among `channels`, and where none is named the usual one.
    pub(super) fn new(channels: &BTreeSet<Channel>) -> Self {
        let named = channels.iter().filter_map(|channel| match channel {
            Channel::ChronyPort(port) => Some(*port),
            Channel::Observation(_) => None,
        });
        let mut ports: BTreeSet<u16> = named.collect();
        if ports.is_empty() {
            ports.insert(PORT);
        }
        Self { ports }
    }
}

impl Asked for Chronyd {
    fn name(&self) -> &'static str {
        "chronyd"
    }

    fn ask<'a>(&'a self, readers: &'a Readers) -> Asking<'a> {
        Box::pin(async {
            // There may be several; what one of them says is worth more than another's silence.
            let mut all: Option<Answer> = None;
            let mut trouble = None;
            for port in &self.ports {
                match ask_at(readers, *port).await {
                    Ok(None) => {}
                    Ok(Some(answer)) => {
                        let known = &mut all.get_or_insert_default().sources;
                        known.extend(answer.sources);
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

async fn ask_at(readers: &Readers, port: u16) -> Result<Option<Answer>, AskError> {
    if port == 0 {
        return Err(AskError::Closed("its configuration has `cmdport 0`"));
    }
    let socket = loopback::connect(port).await?;
    apart::hear(readers, &Talk::Chronyd, &socket).await
}

/// Asks chronyd over a socket for its sources; `None` where it is not there.
pub(super) async fn converse(socket: UdpSocket) -> Result<Option<Vec<InUse>>, AskError> {
    match sources(&Socket(socket)).await {
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
        let mut in_use = InUse::server(address.into(), name, source.selected);
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
struct Socket(UdpSocket);

impl Socket {
    async fn exchange(&self, request: Request) -> Result<Reply, AskError> {
        let sequence = fastrand::u32(..);
        self.0.send(&request.encode(sequence)).await?;
        let mut answer = [0; wire::MAX_REPLY];
        loop {
            let length = self.0.recv(&mut answer).await?;
            let answer = answer.get(..length).unwrap_or_default();
            // A late answer to an earlier question.
            if wire::sequence(answer) == Some(sequence) {
                return Reply::decode(answer, &request);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_port_counts_where_no_configuration_names_one() {
        let ports = |channels: &[Channel]| Chronyd::new(&channels.iter().cloned().collect()).ports;
        assert_eq!(ports(&[]), [323].into());
        let elsewhere = Channel::Observation("/run/observe".into());
        assert_eq!(ports(&[elsewhere]), [323].into());
        let named = [Channel::ChronyPort(0), Channel::ChronyPort(300)];
        assert_eq!(ports(&named), [0, 300].into());
    }

    #[tokio::test]
    async fn without_a_port_chronyd_is_not_asked() {
        let error = ask_at(&crate::work::readers_on_threads(), 0)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("cmdport 0"), "{error}");
    }
}
