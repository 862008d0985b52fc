//! ntpd-rs's observation socket: a length of eight bytes, most significant first, and then JSON.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tokio::{io::AsyncReadExt as _, net::UnixStream};

use super::{
    Answer, AskError, Asked, Asking, InUse,
    apart::{self, Talk},
    is_absent, peer, socket,
};
use crate::{
    escape,
    readers::Readers,
    scope::{Scope, Scoped, is_link_local},
    sources::unicast,
};

/// The most bytes that ntpd-rs sends.
const MAX_MESSAGE: u64 = 1 << 20;

/// ntpd-rs.
pub(super) struct NtpdRs {
    /// Its `observation-path`, of each configuration that has one.
    pub(super) paths: Vec<PathBuf>,
    /// The running processes of it that may serve these.
    pub(super) pids: Vec<u32>,
}

impl Asked for NtpdRs {
    fn name(&self) -> &'static str {
        "ntpd-rs"
    }

    fn ask<'a>(&'a self, readers: &'a Readers) -> Asking<'a> {
        Box::pin(async {
            let mut all: Option<Answer> = None;
            let mut trouble = None;
            for path in &self.paths {
                match self.ask_at(readers, path).await {
                    Ok(None) => {}
                    Ok(Some(answer)) => {
                        all.get_or_insert_default().sources.extend(answer.sources);
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

impl NtpdRs {
    async fn ask_at(&self, readers: &Readers, path: &Path) -> Result<Option<Answer>, AskError> {
        let stream = match socket::connect_to(path).await {
            Err(error) if is_absent(&error) => return Ok(None),
            other => other?,
        };
        if !self.pids.contains(&peer::listener(&stream)?) {
            return Err(AskError::Impostor {
                daemon: "ntpd-rs",
                place: escape::path(path),
            });
        }
        apart::hear(readers, &Talk::NtpdRs, &stream).await
    }
}

/// Hears what ntpd-rs says over a socket: it is not asked.
pub(super) async fn converse(mut stream: UnixStream) -> Result<Answer, AskError> {
    let length = stream.read_u64().await?;
    if length > MAX_MESSAGE {
        return Err(AskError::Nonsense(format!("{length} bytes")));
    }
    let mut json = Vec::new();
    stream.take(length).read_to_end(&mut json).await?;
    decode(&json)
}

/// What matters here of what ntpd-rs tells.
#[derive(Deserialize)]
struct State {
    sources: Vec<SourceState>,
}

#[derive(Deserialize)]
struct SourceState {
    /// As the file has it.
    name: String,
    /// `ADDRESS:PORT`; a path for a local clock.
    address: String,
}

/// It does not tell which of its sources it takes the time from.
pub(super) fn decode(json: &[u8]) -> Result<Answer, AskError> {
    let state: State =
        serde_json::from_slice(json).map_err(|error| AskError::Nonsense(error.to_string()))?;
    let sources = state.sources.into_iter().filter_map(|source| {
        let address: SocketAddr = source.address.parse().ok()?;
        let server = InUse::server(of_socket(address)?, Some(source.name), false);
        Some(server.on(address.port()))
    });
    Ok(Answer {
        sources: sources.collect(),
        ..Answer::default()
    })
}

/// The host of a socket's address: that of a link-local one has the index of an interface.
fn of_socket(address: SocketAddr) -> Option<Scoped<IpAddr>> {
    let scope = match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 && is_link_local(address.ip()) => {
            Some(Scope::of_index(v6.scope_id()))
        }
        _ => None,
    };
    Some(Scoped {
        address: unicast(address.ip())?,
        scope,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_addresses_with_ports() {
        let json = br#"{"program":{},"sources":[
            {"offset":0.1,"name":"a.example:123","address":"192.0.2.1:123","id":1},
            {"name":"b.example","address":"[2001:db8::1]:1123"},
            {"name":"gps","address":"/run/gps.sock"}],"servers":[]}"#;
        let found = decode(json).unwrap().sources;
        assert_eq!(
            found,
            [
                InUse::server(
                    "192.0.2.1".parse().unwrap(),
                    Some("a.example:123".into()),
                    false
                )
                .on(123),
                InUse::server(
                    "2001:db8::1".parse().unwrap(),
                    Some("b.example".into()),
                    false
                )
                .on(1123),
            ]
        );
    }

    #[test]
    fn a_link_local_source_has_its_interface() {
        let json = br#"{"sources":[{"name":"fe80::1","address":"[fe80::1%3]:123"}]}"#;
        let found = decode(json).unwrap().sources;
        assert_eq!(found[0].address.to_string(), "fe80::1%3");
    }

    #[test]
    fn nonsense_is_told() {
        for json in ["", "{}", "[1]", "{\"sources\":[{}]}"] {
            assert!(matches!(
                decode(json.as_bytes()),
                Err(AskError::Nonsense(_))
            ));
        }
    }
}
