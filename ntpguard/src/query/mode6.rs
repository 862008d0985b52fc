//! NTP's control messages, mode 6 (RFC 9327), as the classic ntpd and NTPsec answer them to this
//! host.

pub(super) mod wire;

use std::{collections::BTreeMap, net::IpAddr};

use ntpguard_common::{maps::tables::Role, wire::ntp};
use tokio::net::UdpSocket;

use self::wire::{Message, Opcode, Variables};
use super::{
    AskError, Asked, Asking, InUse,
    apart::{self, Talk},
    is_absent, loopback,
};
use crate::{readers::Readers, scope::Scoped, sources::unicast};

/// Most bytes of one answer, in all its fragments.
const MAX_ANSWER: usize = 64 << 10;
/// Association modes: symmetric active, symmetric passive, client (RFC 5905 section 7.3).
const ACTIVE: u8 = 1;
const PASSIVE: u8 = 2;
const CLIENT: u8 = 3;
/// The selection of a status word that means the system peer (RFC 9327 section 3.2).
const SYSTEM_PEER: u16 = 6;

/// ntpd, at its only port.
pub(super) struct Ntpd;

impl Asked for Ntpd {
    fn name(&self) -> &'static str {
        "ntpd"
    }

    fn ask<'a>(&'a self, readers: &'a Readers) -> Asking<'a> {
        Box::pin(async {
            let socket = loopback::connect(ntp::PORT).await?;
            apart::hear(readers, &Talk::Ntpd, &socket).await
        })
    }
}

/// Asks ntpd over a socket for its sources; `None` where it is not there.
pub(super) async fn converse(socket: UdpSocket) -> Result<Option<Vec<InUse>>, AskError> {
    match sources(socket).await {
        Err(AskError::Io(error)) if is_absent(&error) => Ok(None),
        other => other.map(Some),
    }
}

async fn sources(socket: UdpSocket) -> Result<Vec<InUse>, AskError> {
    let mut conversation = Conversation {
        socket,
        sequence: fastrand::u16(..),
    };
    let list = conversation.ask(Opcode::ReadStatus, 0).await?;
    let mut found = Vec::new();
    for (association, status) in wire::associations(&list)? {
        match conversation.ask(Opcode::ReadVariables, association).await {
            Ok(data) => found.extend(source(&wire::variables(&data), status)),
            // It has gone since the list was made.
            Err(AskError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The source that an association's variables tell of; none for a reference clock, a pool, or a
/// name that is not resolved.
pub(super) fn source(variables: &Variables, status: u16) -> Option<InUse> {
    let address: Scoped<IpAddr> = variables.get("srcadr")?.parse().ok()?;
    unicast(address.address)?;
    // NTPsec tells no mode of an association that has yet to poll.
    let mode = variables
        .get("hmode")
        .map_or(Some(CLIENT), |mode| mode.parse().ok())?;
    let is_selected = status >> 8 & 7 == SYSTEM_PEER;
    let name = variables.get("srchost").filter(|name| !name.is_empty());
    let mut source = InUse::server(address, name.cloned(), is_selected);
    match mode {
        CLIENT => {}
        ACTIVE | PASSIVE => source.roles.push(Role::Peer),
        _ => return None,
    }
    Some(source)
}

struct Conversation {
    socket: UdpSocket,
    sequence: u16,
}

impl Conversation {
    /// Asks one question, and puts the fragments of the answer together.
    async fn ask(&mut self, opcode: Opcode, association: u16) -> Result<Vec<u8>, AskError> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = wire::request(opcode, self.sequence, association);
        self.socket.send(&request).await?;
        let mut answer = Fragments::default();
        let mut bytes = [0; wire::MAX_MESSAGE];
        loop {
            let length = self.socket.recv(&mut bytes).await?;
            let message = Message::decode(bytes.get(..length).unwrap_or_default())?;
            if message.sequence != self.sequence {
                continue;
            }
            if let Some(error) = message.error {
                return Err(AskError::Refused(format!("error {error}")));
            }
            if let Some(whole) = answer.add(&message)? {
                return Ok(whole);
            }
        }
    }
}

/// The fragments of an answer so far, in any order.
#[derive(Default)]
pub(super) struct Fragments {
    /// The data of each, by where it begins.
    data: BTreeMap<u16, Vec<u8>>,
    /// Bytes of data, of all fragments together.
    received: usize,
    /// Where the last one ends.
    end: Option<usize>,
}

impl Fragments {
    /// Adds one; gives the whole answer when none is missing.
    pub(super) fn add(&mut self, message: &Message<'_>) -> Result<Option<Vec<u8>>, AskError> {
        if !message.more {
            self.end = Some(usize::from(message.offset) + message.data.len());
        }
        self.received += message.data.len();
        if let Some(again) = self.data.insert(message.offset, message.data.to_owned()) {
            self.received -= again.len();
        }
        if self.received > MAX_ANSWER {
            return Err(AskError::Nonsense(format!("over {MAX_ANSWER} bytes")));
        }
        if self.end != Some(self.received) {
            return Ok(None);
        }
        let mut whole = Vec::new();
        for (offset, data) in &self.data {
            if usize::from(*offset) != whole.len() {
                return Err(AskError::Nonsense("fragments that overlap".to_owned()));
            }
            whole.extend(data);
        }
        Ok(Some(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: u16, more: bool, data: &[u8]) -> Message<'_> {
        Message {
            sequence: 1,
            error: None,
            more,
            offset,
            data,
        }
    }

    #[test]
    fn fragments_come_in_any_order() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.add(&message(4, false, b"ef")).unwrap(), None);
        assert_eq!(fragments.add(&message(4, false, b"ef")).unwrap(), None);
        assert_eq!(fragments.add(&message(3, true, b"d")).unwrap(), None);
        assert_eq!(
            fragments.add(&message(0, true, b"abc")).unwrap(),
            Some(b"abcdef".to_vec())
        );
    }

    #[test]
    fn fragments_that_overlap_are_nonsense() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.add(&message(4, false, b"ef")).unwrap(), None);
        assert_eq!(fragments.add(&message(1, true, b"bc")).unwrap(), None);
        assert!(fragments.add(&message(2, true, b"cd")).is_err());
    }

    #[test]
    fn associations_are_told_by_their_variables() {
        let of = |text: &str, status| source(&wire::variables(text.as_bytes()), status);
        let client = of(
            "srcadr=192.0.2.1, srcport=123, srchost=\"a.example\", hmode=3",
            0x961a,
        );
        let expected = InUse::server("192.0.2.1".parse().unwrap(), Some("a.example".into()), true);
        assert_eq!(client, Some(expected));
        let peer = of("srcadr=2001:db8::1,hmode=1", 0x9014).unwrap();
        assert_eq!(peer.roles, [Role::Server, Role::Peer]);
        assert!(!peer.selected);
        let on_link = of("srcadr=fe80::1%2,hmode=3", 0).unwrap();
        assert_eq!(on_link.address.to_string(), "fe80::1%2");
        for other in [
            "srcadr=0.0.0.0, hmode=3",
            "srcadr=::, hmode=3",
            "srcadr=127.127.1.0, hmode=3",
            "srcadr=LOCAL(0), hmode=3",
            "srcadr=224.0.1.1, hmode=5",
            "srcadr=192.0.2.1, hmode=6",
            "hmode=3",
        ] {
            assert_eq!(of(other, 0), None, "{other}");
        }
    }
}
