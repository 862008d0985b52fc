//! What of all that is wanted goes into tables that have no room for it all.
//!
//! The order is [`Precedence`]: however much others ask for, what root asks for is in the tables before any of
//! it.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use ntpguard_common::maps::tables::{ALLOW_ENDPOINT_SIZE, Grant, names};

use super::{claim::Claim, projection::Projection};
use crate::sources::Speaker;

/// Whose claims have room first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precedence {
    /// What root denies: without it more would be open than root wants.
    Denial,
    /// What root grants, in its files and by hand.
    Root,
    /// Addresses of names that root has written. How many there are DNS says.
    Resolved,
    /// What a command line names.
    CommandLine,
    /// What a daemon says.
    Daemon,
    /// What others than root have written.
    Others,
    /// What a container asks for.
    #[default]
    Container,
}

impl Precedence {
    /// That of a claim.
    pub fn of(claim: &Claim) -> Self {
        match claim.speaker {
            Speaker::Root if claim.role.is_none() => Self::Denial,
            Speaker::Root if claim.name.is_none() => Self::Root,
            Speaker::Root => Self::Resolved,
            Speaker::CommandLine => Self::CommandLine,
            Speaker::Daemon => Self::Daemon,
            Speaker::Others => Self::Others,
            Speaker::Container => Self::Container,
        }
    }

    /// Whether it is root's own word, apart from DNS.
    pub const fn is_root(self) -> bool {
        matches!(self, Self::Denial | Self::Root)
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Denial => "denials",
            Self::Root => "grants of root's",
            Self::Resolved => "addresses of names",
            Self::CommandLine => "servers of command lines",
            Self::Daemon => "servers that daemons say they use",
            Self::Others => "servers in files that users other than root can write",
            Self::Container => "servers of containers",
        }
    }
}

/// How many entries the tables have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Each of the `ALLOW_*` maps.
    pub each: usize,
    /// `ALLOW_ENDPOINT`.
    pub endpoints: usize,
}

impl Room {
    /// Room for everything, where there are no tables.
    pub const ENDLESS: Self = Self {
        each: usize::MAX,
        endpoints: usize::MAX,
    };

    /// That of tables of so many entries.
    pub const fn of(table_size: u32) -> Self {
        Self {
            each: table_size as usize,
            endpoints: ALLOW_ENDPOINT_SIZE as usize,
        }
    }
}

/// What is wanted, with whose word each entry is: the most trusted of those who want it.
///
/// This is no [`Projection`], which is what tables hold: it becomes one as far as there is
/// [room](Self::within).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub(super) addresses: BTreeMap<IpAddr, (Precedence, Grant)>,
    pub(super) prefixes: BTreeMap<IpNet, (Precedence, Grant)>,
    pub(super) endpoints: BTreeMap<SocketAddr, (Precedence, Grant)>,
}

impl Wanted {
    /// What has room, root's first, and what is left out.
    pub fn within(self, room: Room) -> (Projection, LeftOut) {
        let mut left_out = LeftOut::default();
        let (v4, v6) = halves(self.addresses, IpAddr::is_ipv4);
        let (net_v4, net_v6) = halves(self.prefixes, |prefix| prefix.addr().is_ipv4());
        let mut addresses = left_out.fit(names::ALLOW_V4, v4, room.each);
        addresses.extend(left_out.fit(names::ALLOW_V6, v6, room.each));
        let mut prefixes = left_out.fit(names::ALLOW_NET_V4, net_v4, room.each);
        prefixes.extend(left_out.fit(names::ALLOW_NET_V6, net_v6, room.each));
        let endpoints = left_out.fit(names::ALLOW_ENDPOINT, self.endpoints, room.endpoints);
        let projection = Projection {
            addresses,
            prefixes,
            endpoints,
        };
        (projection, left_out)
    }
}

/// Entries of one kind, each with whose word it is.
type Entries<K> = BTreeMap<K, (Precedence, Grant)>;

fn halves<K: Ord>(entries: Entries<K>, is_first: impl Fn(&K) -> bool) -> (Entries<K>, Entries<K>) {
    entries.into_iter().partition(|(key, _)| is_first(key))
}

/// What no table had room for, by the table and by whose word it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    tables: BTreeMap<&'static str, Short>,
}

/// A table that is too short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Short {
    room: usize,
    left_out: BTreeMap<Precedence, usize>,
}

impl LeftOut {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// How many entries of root's own there are.
    pub fn of_root(&self) -> usize {
        let left_out = self.tables.values().flat_map(|short| &short.left_out);
        left_out
            .filter(|(precedence, _)| precedence.is_root())
            .map(|(_, count)| count)
            .sum()
    }

    /// The entries that have room in a table.
    fn fit<K: Ord + Copy>(
        &mut self,
        table: &'static str,
        wanted: Entries<K>,
        room: usize,
    ) -> BTreeMap<K, Grant> {
        let grant = |(key, (_, grant))| (key, grant);
        if wanted.len() <= room {
            return wanted.into_iter().map(grant).collect();
        }
        let mut order: Vec<_> = wanted.into_iter().collect();
        // Those of the same precedence stay in the order of their keys.
        order.sort_by_key(|(_, (precedence, _))| *precedence);
        let mut short = Short {
            room,
            ..Short::default()
        };
        for (_, (precedence, _)) in order.drain(room..) {
            *short.left_out.entry(precedence).or_default() += 1;
        }
        self.tables.insert(table, short);
        order.into_iter().map(grant).collect()
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, short) in &self.tables {
            let kinds: Vec<&str> = short.left_out.keys().map(|kind| kind.what()).collect();
            write!(
                f,
                "map {table} is full: of {} entries that it has room for none is left for {}; ",
                short.room,
                kinds.join(", ")
            )?;
        }
        f.write_str("what root grants and denies came first: ")?;
        if self
            .tables
            .keys()
            .all(|table| *table == names::ALLOW_ENDPOINT)
        {
            return f.write_str("have fewer servers asked at other ports than 123");
        }
        f.write_str("start again with a larger --table-size")
    }
}

#[cfg(test)]
mod tests;
