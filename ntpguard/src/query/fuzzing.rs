//! What reads the daemons' answers, for the fuzz targets.

use std::net::{IpAddr, Ipv4Addr};

use ntpguard_common::maps::tables::Role;

use super::{
    Answer, AskError, InUse, chrony as chronyd, mode6 as ntpd, ntpd_rs as rs, timesyncd as systemd,
};

/// A source that a daemon says it speaks with as a peer, at a port that it tells.
pub fn peer(address: IpAddr) -> InUse {
    InUse {
        roles: vec![Role::Server, Role::Peer],
        ..InUse::server(address.into(), None, false).on(123)
    }
}

/// Reads a reply of chronyd's as one to each question, and says how many it answers.
pub fn chrony(reply: &[u8]) -> usize {
    let requests = [
        chronyd::wire::Request::Sources,
        chronyd::wire::Request::Source(0),
        chronyd::wire::Request::Name(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ];
    let replies = requests.map(|request| chronyd::wire::Reply::decode(reply, &request));
    replies.iter().flatten().count()
}

/// Reads messages of ntpd's, each with its length before it in two bytes, as the fragments of a list
/// of associations and of the variables of one.
pub fn mode6(messages: &[u8]) -> Option<InUse> {
    let mut fragments = ntpd::Fragments::default();
    let mut rest = messages;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (message, after) = after.split_at(length);
        rest = after;
        let message = ntpd::wire::Message::decode(message).ok()?;
        if let Some(whole) = fragments.add(&message).ok()? {
            let associations = ntpd::wire::associations(&whole).unwrap_or_default();
            let status = associations.first().map_or(0, |(_, status)| *status);
            return ntpd::source(&ntpd::wire::variables(&whole), status);
        }
    }
    None
}

/// Reads what ntpd-rs's observation socket gives after the length.
pub fn ntpd_rs(json: &[u8]) -> Result<Answer, AskError> {
    rs::decode(json)
}

/// Reads the bytes of an address that timesyncd has, after one for its family.
pub fn timesyncd(address: &[u8]) -> Option<IpAddr> {
    let (family, bytes) = address.split_first()?;
    systemd::address((*family).into(), bytes)
}
