//! systemd-timesyncd on D-Bus (org.freedesktop.timesync1(5)).

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{ffi::OsStrExt as _, net::SocketAddr},
    },
};

use nix::unistd::User;
use tokio::net::UnixStream;
use zbus::{
    Address, Connection,
    address::{Transport, transport::UnixSocket},
    connection, fdo,
    names::UniqueName,
    proxy::{self, CacheProperties},
};

use super::{
    Answer, AskError, Asked, Asking, Flaw, InUse, PATIENCE,
    apart::{self, Talk},
    is_absent, socket,
};
use crate::{offload::Turns, readers::Readers, scope::Scoped, sources::unicast};

const SERVICE: &str = "org.freedesktop.timesync1";
const PATH: &str = "/org/freedesktop/timesync1";
const INTERFACE: &str = "org.freedesktop.timesync1.Manager";
/// The names it has of each kind but the last, which it uses only without any of these.
const NAMES: [&str; 3] = ["LinkNTPServers", "SystemNTPServers", "RuntimeNTPServers"];
const FALLBACK: &str = "FallbackNTPServers";

/// The accounts, besides root, of daemons that serve the system's bus.
const BUS_ACCOUNTS: [&str; 2] = ["messagebus", "dbus"];

/// systemd-timesyncd.
pub(super) struct Timesyncd {
    /// The running processes of it that may own the name on the bus.
    pub(super) pids: Vec<u32>,
}

impl Asked for Timesyncd {
    fn name(&self) -> &'static str {
        "systemd-timesyncd"
    }

    fn ask<'a>(&'a self, readers: &'a Readers) -> Asking<'a> {
        Box::pin(async {
            let Some(bus) = connect().await? else {
                return Ok(None);
            };
            ensure_system_bus(&bus).await?;
            let talk = Talk::Timesyncd {
                pids: self.pids.clone(),
            };
            apart::hear(readers, &talk, &bus).await
        })
    }
}

/// A socket to the system's bus; `None` where there is none.
async fn connect() -> Result<Option<UnixStream>, AskError> {
    let Ok(address) = Address::system() else {
        return Ok(None);
    };
    let Transport::Unix(place) = address.transport() else {
        return Err(AskError::Closed("the system bus is not a Unix socket"));
    };
    let connected = match place.path() {
        UnixSocket::File(path) => socket::connect_to(path).await,
        UnixSocket::Abstract(name) => abstractly(name.as_bytes()),
        _ => return Ok(None),
    };
    match connected {
        Err(error) if is_absent(&error) => Ok(None),
        other => Ok(Some(other?)),
    }
}

fn abstractly(name: &[u8]) -> io::Result<UnixStream> {
    let address = SocketAddr::from_abstract_name(name)?;
    let stream = std::os::unix::net::UnixStream::connect_addr(&address)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Makes sure that root or the bus's own account listens at the other end.
async fn ensure_system_bus(bus: &UnixStream) -> Result<(), AskError> {
    let peer = bus.peer_cred()?.uid();
    if peer == 0 || accounts_of_bus().await?.contains(&peer) {
        Ok(())
    } else {
        Err(AskError::Impostor {
            daemon: "D-Bus daemon",
            place: "the system bus".to_owned(),
        })
    }
}

/// The uids of the bus's own accounts. Files, or even another host, say which these are, so they are looked
/// for off the event loop.
async fn accounts_of_bus() -> io::Result<Vec<u32>> {
    static LOOKING: Turns<Vec<u32>> = Turns::new("ntpguard-users");
    let look = || {
        let accounts = BUS_ACCOUNTS.iter();
        let accounts = accounts.filter_map(|name| User::from_name(name).ok().flatten());
        accounts.map(|account| account.uid.as_raw()).collect()
    };
    let found = LOOKING.within(PATIENCE, look).await;
    found.map_err(io::Error::other)
}

/// Asks timesyncd over a socket to the bus, if it is one of these processes; `None` where it is not there.
pub(super) async fn converse(bus: UnixStream, pids: &[u32]) -> Result<Option<Answer>, AskError> {
    let connection = connection::Builder::unix_stream(bus).build().await;
    let connection = connection.map_err(failure)?;
    match owner(&connection, pids).await? {
        Some(owner) => properties(&connection, owner)
            .await
            .map(Some)
            .map_err(failure),
        None => Ok(None),
    }
}

/// Who owns timesyncd's name on the bus, if that is a process of timesyncd. To speak with the owner and not
/// with the name starts no service, and reaches no other that takes the name over.
async fn owner(
    connection: &Connection,
    pids: &[u32],
) -> Result<Option<UniqueName<'static>>, AskError> {
    let bus = fdo::DBusProxy::new(connection).await.map_err(failure)?;
    let name = SERVICE
        .try_into()
        .map_err(|error| failure(zbus::Error::Names(error)))?;
    let owner = match bus.get_name_owner(name).await {
        Err(fdo::Error::NameHasNoOwner(_)) => return Ok(None),
        other => other.map_err(|error| failure(error.into()))?,
    };
    let owner = owner.into_inner();
    let process = bus.get_connection_unix_process_id(owner.clone().into());
    let pid = process.await.map_err(|error| failure(error.into()))?;
    if pids.contains(&pid) {
        Ok(Some(owner))
    } else {
        Err(impostor())
    }
}

/// That another process has timesyncd's name.
pub(super) fn impostor() -> AskError {
    AskError::Impostor {
        daemon: "systemd-timesyncd",
        place: format!("{SERVICE} on D-Bus"),
    }
}

/// Reads each property when it is wanted: timesyncd tells of no change of the address.
async fn properties(connection: &Connection, owner: UniqueName<'static>) -> zbus::Result<Answer> {
    let manager: zbus::Proxy<'_> = proxy::Builder::new(connection)
        .destination(owner)?
        .path(PATH)?
        .interface(INTERFACE)?
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let mut names = BTreeSet::new();
    for kind in NAMES {
        let of_kind: Vec<String> = manager.get_property(kind).await.unwrap_or_default();
        names.extend(of_kind);
    }
    if names.is_empty() {
        let fallback: Vec<String> = manager.get_property(FALLBACK).await?;
        names.extend(fallback);
    }
    let server: String = manager.get_property("ServerName").await?;
    let (family, bytes): (i32, Vec<u8>) = manager.get_property("ServerAddress").await?;
    Ok(answer(names, server, family, &bytes))
}

/// What it says: the servers that it has, of which some may be addresses, and the one it uses now.
fn answer(servers: BTreeSet<String>, server: String, family: i32, bytes: &[u8]) -> Answer {
    let (mut sources, mut names) = (Vec::new(), BTreeSet::new());
    for server in servers {
        match server.parse::<Scoped<IpAddr>>() {
            Ok(host) => {
                let host = unicast(host.address).map(|_| host);
                sources.extend(host.map(|host| InUse::server(host, None, false)));
            }
            Err(_) => drop(names.insert(server)),
        }
    }
    let shifted = shifted(family, bytes);
    if shifted.is_none()
        && let Some(address) = address(family, bytes)
    {
        // It tells no interface, but by which of its servers it came to the address.
        let host = match server.parse::<Scoped<IpAddr>>() {
            Ok(host) if host.address == address => host,
            _ => address.into(),
        };
        let name = names.contains(&server).then_some(server);
        sources.retain(|source| source.address != host);
        sources.push(InUse::server(host, name, true));
    }
    Answer {
        sources,
        names,
        flaw: shifted.map(Flaw::Shifted),
    }
}

/// An address of the family that C knows by this number; it has no bytes while there is none.
pub(super) fn address(family: i32, bytes: &[u8]) -> Option<IpAddr> {
    let address = match (family, bytes.len()) {
        (nix::libc::AF_INET, 4) => Ipv4Addr::from(*bytes.first_chunk()?).into(),
        (nix::libc::AF_INET6, 16) => Ipv6Addr::from(*bytes.first_chunk()?).into(),
        _ => return None,
    };
    unicast(address)
}

/// The IPv6 address as versions before 241 report it (systemd issue 11169): the flow label, which is 0,
/// then all of the address but its last 32 bits. No server's begins with so many zeros.
fn shifted(family: i32, bytes: &[u8]) -> Option<Ipv6Addr> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    let is_shifted = family == nix::libc::AF_INET6 && bytes.starts_with(&[0; 4]);
    is_shifted.then(|| bytes.into())
}

fn failure(error: zbus::Error) -> AskError {
    match error {
        zbus::Error::InputOutput(error) => {
            AskError::Io(io::Error::new(error.kind(), error.to_string()))
        }
        zbus::Error::Variant(error) => AskError::Nonsense(error.to_string()),
        error => AskError::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_bytes_of_its_family() {
        assert_eq!(address(2, &[192, 0, 2, 1]), "192.0.2.1".parse().ok());
        let mut v6 = [0; 16];
        v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        assert_eq!(address(10, &v6), "2001:db8::".parse().ok());
        for (family, bytes) in [
            (0, &[][..]),
            (2, &v6),
            (10, &[1, 2, 3, 4]),
            (2, &[127, 0, 0, 1]),
        ] {
            assert_eq!(address(family, bytes), None);
        }
    }

    fn v6(text: &str) -> Vec<u8> {
        text.parse::<Ipv6Addr>().unwrap().octets().to_vec()
    }

    fn said(servers: &[&str], server: &str, family: i32, bytes: &[u8]) -> Answer {
        let servers = servers.iter().map(|&server| server.to_owned()).collect();
        answer(servers, server.to_owned(), family, bytes)
    }

    #[test]
    fn a_server_that_is_named_by_its_address_is_no_name() {
        let answer = said(
            &["192.0.2.1", "2001:db8::1", "a.example", "127.0.0.1"],
            "2001:db8::1",
            10,
            &v6("2001:db8::1"),
        );
        assert_eq!(answer.names, BTreeSet::from(["a.example".to_owned()]));
        let sources: Vec<_> = answer
            .sources
            .iter()
            .map(|source| {
                (
                    source.address.to_string(),
                    source.name.clone(),
                    source.selected,
                )
            })
            .collect();
        assert_eq!(
            sources,
            [
                ("192.0.2.1".to_owned(), None, false),
                ("2001:db8::1".to_owned(), None, true)
            ]
        );
        assert_eq!(answer.flaw, None);
    }

    #[test]
    fn a_link_local_server_is_on_the_interface_that_it_is_named_with() {
        let servers = ["fe80::1%eth0", "fe80::2"];
        let answer = said(&servers, "fe80::1%eth0", 10, &v6("fe80::1"));
        assert!(answer.names.is_empty());
        let sources = answer.sources.iter();
        let sources: Vec<_> = sources
            .map(|source| (source.address.to_string(), source.selected))
            .collect();
        assert_eq!(
            sources,
            [
                ("fe80::2".to_owned(), false),
                ("fe80::1%eth0".to_owned(), true)
            ]
        );
    }

    #[test]
    fn a_shifted_address_is_said_and_not_believed() {
        let answer = said(&["a.example"], "a.example", 10, &v6("::2001:630:212:8:0:0"));
        assert_eq!(answer.names.len(), 1);
        assert!(answer.sources.is_empty());
        let flaw = answer.flaw.unwrap().to_string();
        assert!(flaw.contains("::2001:630:212:8:0:0"), "{flaw}");
        let right = said(&["a.example"], "a.example", 10, &v6("64:ff9b::c000:201"));
        assert_eq!((right.sources.len(), right.flaw), (1, None));
        assert_eq!(right.sources[0].name.as_deref(), Some("a.example"));
    }
}
