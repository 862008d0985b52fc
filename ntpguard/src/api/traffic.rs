//! What the kernel saw of this host's requests and of the servers' replies.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
};

use ntpguard_common::maps::{
    refusals::Refusals,
    requests::{self, UngrantedKey, UngrantedStats},
    tables::Role,
};
use serde::{Deserialize, Serialize};

use super::{astray::Answer, refusals::Refusal};
use crate::{
    clock::BootSeconds,
    datapath::{Error, Tables},
    flags::{LearnFrom, Track},
    trust::{Found, Sender},
};

/// The number that stands for a cgroup where no process of this host sent a request.
const FORWARDED: u64 = 0;

/// Requests, replies and senders, as `ntpguard status` tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Seconds for which a request may be answered; absent while nothing is loaded or tracked.
    pub reply_window: Option<u32>,
    /// `strict` or `off`: whether a reply must answer a request; absent while nothing is loaded.
    pub track: Option<String>,
    /// `off`, `trusted` or `any`: whose requests admit replies whatever is granted.
    pub learn: Option<String>,
    /// Requests a second that each client may send; absent while nothing is loaded or limited.
    pub client_rate: Option<u32>,
    /// Requests a second that all clients together may send; likewise.
    pub total_rate: Option<u32>,
    /// Requests that left, by what became of them.
    pub requests: Requests,
    /// The trusted senders, while a daemon lives to know them.
    pub trusted_senders: Vec<TrustedSender>,
    /// Time daemons that run and are not trusted.
    pub untrusted: Vec<Untrusted>,
    /// The servers, those that replied last first.
    pub servers: Vec<Server>,
    /// Answers that came from or went elsewhere than asked, the last first, while a daemon lives to find them.
    #[serde(default)]
    pub astray: Vec<Answer>,
    /// Servers that were asked and that nobody granted, by whom; the last first.
    pub ungranted: Vec<Ungranted>,
}

/// Requests that left, since the tables were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Those of trusted senders.
    pub trusted: u64,
    /// Those of others, to granted servers.
    pub granted: u64,
    /// Those of others, to servers that nobody granted: their replies were dropped.
    pub ungranted: u64,
}

/// A trusted sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedSender {
    /// Its cgroup.
    pub cgroup: String,
    /// What makes it trusted.
    pub why: String,
    /// The uids whose sockets count there; absent where all do.
    pub uids: Option<Vec<u32>>,
}

/// A time daemon that is not trusted: only granted servers answer it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untrusted {
    /// The daemon.
    pub daemon: String,
    /// Why it is not trusted.
    pub why: String,
    /// What makes it trusted.
    pub cure: String,
}

/// What a server last said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its address.
    pub address: IpAddr,
    /// How many of its replies were admitted.
    pub replies: u64,
    /// Seconds since it was last asked; absent where nothing was noted.
    pub asked_seconds_ago: Option<u32>,
    /// Seconds since it last replied; absent where it has not.
    pub replied_seconds_ago: Option<u32>,
    /// The stratum it claims; 0 in a kiss of death.
    pub stratum: u8,
    /// The leap indicator, 0 to 3.
    pub leap: u8,
    /// The version it speaks.
    pub version: u8,
    /// The poll exponent, log2 seconds.
    pub poll: i8,
    /// The reference identifier: four characters for stratum 0 and 1, an IPv4 address or the like
    /// for others.
    pub refid: String,
    /// The last kiss code, where there was one.
    pub kiss: Option<String>,
    /// Seconds since that.
    pub kissed_seconds_ago: Option<u32>,
    /// Its packets that were refused, the commonest cause first.
    #[serde(default)]
    pub refused: Vec<Refusal>,
}

/// A server that nobody granted, and who asked it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ungranted {
    /// The server.
    pub address: IpAddr,
    /// How often it was asked.
    pub requests: u64,
    /// Seconds since the last time.
    pub seconds_ago: u32,
    /// The role that it would need: `server`, or `control` for the responses to control messages.
    #[serde(default)]
    pub needs: String,
    /// The command that grants it that.
    #[serde(default)]
    pub hint: String,
    /// The process that asked first, where the kernel tells.
    pub process: Option<String>,
    /// The number of the cgroup of the sender.
    #[serde(skip)]
    pub sender: u64,
    /// The cgroup of the sender; absent for what was forwarded, and for one that is gone.
    pub cgroup: Option<String>,
    /// The directory of that cgroup, where all its processes are in a network namespace of their own: to be
    /// named with `--trust`; absent for other senders.
    #[serde(default)]
    pub guest: Option<PathBuf>,
    /// Whether no process of this host sent it: it was forwarded for another host, a container or a guest.
    #[serde(default)]
    pub forwarded: bool,
}

impl Traffic {
    /// What the tables tell. The trusted senders are the daemon's to know, and the names of other senders'
    /// cgroups are to be looked for ([`Self::senders`]).
    pub fn of_tables(tables: &Tables, now: BootSeconds) -> Result<Self, Error> {
        let info = tables.info()?;
        let mut servers = tables.servers()?;
        for (address, learned) in tables.learned()? {
            let server = servers.entry(address).or_default();
            server.asked = server.asked.max(learned.last);
        }
        let refusals = tables.refusals()?;
        for address in refusals.keys() {
            servers.entry(*address).or_default();
        }
        let mut servers: Vec<Server> = servers
            .iter()
            .map(|(address, server)| {
                let refusals = refusals.get(address).unwrap_or(&Refusals::NONE);
                Server {
                    refused: Refusal::all_of(*address, refusals, info.reply_window),
                    ..Server::of(*address, server, now)
                }
            })
            .collect();
        servers.sort_by_key(|server| {
            (
                server.replied_seconds_ago.unwrap_or(u32::MAX),
                server.address,
            )
        });
        let mut ungranted: Vec<Ungranted> = tables
            .ungranted()?
            .iter()
            .map(|(key, stats)| Ungranted::of(key, stats, now))
            .collect();
        ungranted.sort_by_key(|row| (row.seconds_ago, row.address));
        Ok(Self {
            track: Some(Track::from_window(info.reply_window).name().to_owned()),
            reply_window: limit(info.reply_window),
            learn: Some(LearnFrom::from_number(info.learn).name().to_owned()),
            client_rate: limit(info.client_rate),
            total_rate: limit(info.total_rate),
            requests: Requests::of(&tables.requests()?),
            servers,
            ungranted,
            ..Self::default()
        })
    }

    /// The numbers of the cgroups that asked servers nobody granted.
    pub fn senders(&self) -> BTreeSet<u64> {
        let senders = self.ungranted.iter().map(|row| row.sender);
        senders.filter(|number| *number != FORWARDED).collect()
    }

    /// Adds what these cgroups are called.
    pub fn name_senders(&mut self, senders: &BTreeMap<u64, Sender>) {
        for row in &mut self.ungranted {
            if let Some(sender) = senders.get(&row.sender) {
                row.cgroup = Some(sender.cgroup.display().to_string());
                row.guest.clone_from(&sender.guest);
            }
        }
    }

    /// Adds what the daemon knows of the trusted senders.
    pub fn add_senders(&mut self, found: &Found) {
        self.trusted_senders = found
            .trusted_senders
            .values()
            .map(|sender| TrustedSender {
                cgroup: sender.cgroup.display().to_string(),
                why: sender.why.clone(),
                uids: sender
                    .uids
                    .as_ref()
                    .map(|uids| uids.iter().copied().collect()),
            })
            .collect();
        self.untrusted = found
            .untrusted
            .iter()
            .map(|untrusted| Untrusted {
                daemon: untrusted.daemon.clone(),
                why: untrusted.refusal.to_string(),
                cure: untrusted.refusal.cure(),
            })
            .collect();
    }
}

/// A rate of `INFO`, where it is one.
const fn limit(rate: u32) -> Option<u32> {
    match rate {
        0 => None,
        rate => Some(rate),
    }
}

impl Requests {
    const fn of(counted: &requests::Requests) -> Self {
        Self {
            trusted: counted.trusted,
            granted: counted.granted,
            ungranted: counted.ungranted,
        }
    }
}

impl Server {
    fn of(address: IpAddr, server: &requests::Server, now: BootSeconds) -> Self {
        let kissed_seconds_ago = ago(server.kissed, now);
        Self {
            address,
            replies: server.count,
            asked_seconds_ago: ago(server.asked, now),
            replied_seconds_ago: ago(server.last, now),
            stratum: server.stratum,
            leap: server.leap,
            version: server.version,
            poll: server.poll,
            refid: refid(server.refid, server.stratum),
            kiss: kissed_seconds_ago.map(|_| letters(server.kiss)),
            kissed_seconds_ago,
            refused: Vec::new(),
        }
    }
}

impl Ungranted {
    fn of(key: &UngrantedKey, stats: &UngrantedStats, now: BootSeconds) -> Self {
        let process = String::from_utf8_lossy(&stats.process);
        let process = process.trim_end_matches('\0').to_owned();
        let address = IpAddr::from(key.server).to_canonical();
        let role = if key.role == Role::Control.bit() {
            Role::Control
        } else {
            Role::Server
        };
        Self {
            address,
            needs: role.name().to_owned(),
            hint: grant(address, role),
            requests: stats.count,
            seconds_ago: ago(stats.last, now).unwrap_or(0),
            process: (!process.is_empty()).then_some(process),
            sender: key.cgroup,
            cgroup: None,
            guest: None,
            forwarded: key.cgroup == FORWARDED,
        }
    }
}

/// The command that grants a role.
fn grant(address: IpAddr, role: Role) -> String {
    match role {
        Role::Server => format!("ntpguard allowlist add {address}"),
        role => format!("ntpguard allowlist add {address} --role {}", role.name()),
    }
}

/// Seconds since a moment in nanoseconds of monotonic time; `None` for 0, which is never.
fn ago(at: u64, now: BootSeconds) -> Option<u32> {
    (at != 0).then(|| now.since(BootSeconds::from_monotonic(at)))
}

/// A reference identifier as people read it (RFC 5905 section 7.3, figure 12).
fn refid(bytes: [u8; 4], stratum: u8) -> String {
    match stratum {
        0 | 1 => letters(bytes),
        _ => IpAddr::from(bytes).to_string(),
    }
}

/// The characters of a kiss code or a reference clock's name, without the zeros behind.
fn letters(bytes: [u8; 4]) -> String {
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    bytes[..end].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_identifiers_are_letters_or_addresses() {
        assert_eq!(refid(*b"GPS\0", 1), "GPS");
        assert_eq!(refid(*b"RATE", 0), "RATE");
        assert_eq!(refid([192, 0, 2, 1], 2), "192.0.2.1");
        assert_eq!(refid([0; 4], 0), "");
        assert_eq!(refid([0x1b, b'[', 0, b'm'], 1), "\\x1b[\\x00m");
    }

    #[test]
    fn what_never_was_has_no_age() {
        assert_eq!(ago(0, BootSeconds(100)), None);
        assert_eq!(ago(40_000_000_000, BootSeconds(100)), Some(60));
        assert_eq!(ago(140_000_000_000, BootSeconds(100)), Some(0));
    }
}
