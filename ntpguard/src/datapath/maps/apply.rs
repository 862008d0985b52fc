//! Turning what the tables hold into what they are to hold, by their differences alone.

use std::{
    collections::BTreeMap,
    fmt, mem,
    net::{IpAddr, SocketAddr},
};

use aya::maps::MapError;
use ipnet::IpNet;
use itertools::{EitherOrBoth, Itertools as _};
use nix::libc::{E2BIG, ENOSPC};
use ntpguard_common::maps::tables::{DENY_ALWAYS, Grant, Info, names};

use super::tables::errno;
use crate::{
    allowlist::projection::Projection,
    datapath::{Error, Tables},
};

/// How many entries a change touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Granted now and not before.
    pub added: usize,
    /// Granted before, on other terms.
    pub changed: usize,
    /// Granted no more.
    pub removed: usize,
}

/// A change of the tables of which a part could not be made.
#[derive(Debug)]
pub struct Incomplete {
    /// The part that was made.
    pub done: Changes,
    /// What the tables hold now.
    pub holds: Projection,
    /// Why the rest was not made.
    pub cause: Cause,
}

/// Why a change of the tables stopped short.
#[derive(Debug)]
pub enum Cause {
    /// Tables are full. Everything else was done.
    Full(Vec<Full>),
    /// The kernel refused a change for another reason, and it ended there.
    Failed(Error),
}

/// A table that could not take all it was to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// The map.
    pub map: &'static str,
    /// The entries it has.
    pub holds: usize,
    /// The entries it could not take or update.
    pub left_out: usize,
    /// The first of these.
    pub first: Slot,
}

impl Incomplete {
    /// Whether all was done but what full tables could not take.
    pub const fn is_for_lack_of_room(&self) -> bool {
        matches!(self.cause, Cause::Full(_))
    }
}

impl std::error::Error for Incomplete {}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Full(tables) => {
                let mut wanted = 0;
                for table in tables {
                    if table.map != names::ALLOW_ENDPOINT {
                        wanted = wanted.max(table.holds + table.left_out);
                    }
                    write!(
                        f,
                        "map {} is full: it holds {} entries and needs {} more, the first {}; ",
                        table.map, table.holds, table.left_out, table.first
                    )?;
                }
                f.write_str("nothing was evicted: ")?;
                if wanted == 0 {
                    return f.write_str("configure fewer servers at ports other than 123");
                }
                write!(f, "restart with --table-size {wanted} or more")
            }
            Cause::Failed(error) => {
                let Changes {
                    added,
                    changed,
                    removed,
                } = self.done;
                write!(
                    f,
                    "{error}; before that, {added} entries were added, {changed} changed and \
                     {removed} removed"
                )
            }
        }
    }
}

/// The place of one grant in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// A single address, in a hash map.
    Address(IpAddr),
    /// A prefix, in a trie.
    Prefix(IpNet),
    /// A server at another port than 123, in a hash map.
    Endpoint(SocketAddr),
}

impl Slot {
    /// The map it is in.
    pub const fn map(self) -> &'static str {
        match self {
            Self::Address(IpAddr::V4(_)) => names::ALLOW_V4,
            Self::Address(IpAddr::V6(_)) => names::ALLOW_V6,
            Self::Prefix(IpNet::V4(_)) => names::ALLOW_NET_V4,
            Self::Prefix(IpNet::V6(_)) => names::ALLOW_NET_V6,
            Self::Endpoint(_) => names::ALLOW_ENDPOINT,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Endpoint(server) => server.fmt(f),
        }
    }
}

impl Tables {
    /// Tells the judge where it has to look for these grants: in the sieve, and in the counts that
    /// `INFO` has.
    fn summarise<const N: usize>(&mut self, grants: [&Projection; N]) -> Result<(), Error> {
        self.set_prefilter(grants)?;
        let before = self.info()?;
        let prefixes = || {
            grants
                .iter()
                .map(|one| one.prefixes.keys())
                .kmerge()
                .dedup()
        };
        let bans = grants.iter().flat_map(|one| slots(one));
        let info = Info {
            prefixes_v4: count(prefixes().filter(|prefix| prefix.addr().is_ipv4())),
            prefixes_v6: count(prefixes().filter(|prefix| prefix.addr().is_ipv6())),
            bans: count(bans.filter(|(_, grant)| grant.roles & DENY_ALWAYS != 0)),
            ..before
        };
        if info == before {
            Ok(())
        } else {
            self.set_info(&info)
        }
    }
}

/// How many there are, for a map.
fn count(things: impl Iterator) -> u32 {
    u32::try_from(things.count()).unwrap_or(u32::MAX)
}

/// See [`Tables::apply`].
pub(in crate::datapath) fn apply(
    tables: &mut Tables,
    from: &Projection,
    to: &Projection,
) -> Result<Changes, Box<Incomplete>> {
    let mut change = Change {
        tables,
        from,
        done: Vec::new(),
        refused: Vec::new(),
    };
    let outcome = change.make(to);
    let done = change.count();
    if outcome.is_ok() && change.refused.is_empty() {
        return Ok(done);
    }
    let holds = change.holds();
    // What tells the judge where to look must cover all there is.
    let cause = match (outcome, change.tables.summarise([&holds])) {
        (Ok(()), Ok(())) => Cause::Full(full(&change.refused, &holds)),
        (_, Err(error)) | (Err(error), _) => Cause::Failed(error),
    };
    Err(Box::new(Incomplete { done, holds, cause }))
}

/// A change in the making.
struct Change<'a> {
    tables: &'a mut Tables,
    /// What the tables held before.
    from: &'a Projection,
    /// What was put or, where there is no grant, removed.
    done: Vec<(Slot, Option<Grant>)>,
    /// What full tables could not take.
    refused: Vec<(Slot, Grant)>,
}

impl Change<'_> {
    fn make(&mut self, to: &Projection) -> Result<(), Error> {
        // Before there is more to find: the judge looks only where these say that it may.
        self.tables.summarise([self.from, to])?;
        let (wanted, unwanted) = differences(self.from, to);
        self.put_all(wanted)?;
        for slot in unwanted {
            self.remove(slot)?;
        }
        // The removals may have made the room that was lacking.
        let refused = mem::take(&mut self.refused);
        self.put_all(refused)?;
        self.tables.summarise([to])
    }

    fn put_all(&mut self, grants: Vec<(Slot, Grant)>) -> Result<(), Error> {
        for (slot, grant) in grants {
            match self.tables.put(slot, &grant) {
                Ok(()) => self.done.push((slot, Some(grant))),
                Err(error) if is_full(&error) => self.refused.push((slot, grant)),
                Err(error) => return Err(Error::map(slot.map(), "write", error)),
            }
        }
        Ok(())
    }

    fn remove(&mut self, slot: Slot) -> Result<(), Error> {
        self.tables
            .remove(slot)
            .map_err(|source| Error::map(slot.map(), "write", source))?;
        self.done.push((slot, None));
        Ok(())
    }

    fn count(&self) -> Changes {
        let mut changes = Changes::default();
        for (slot, grant) in &self.done {
            *match (grant, has(self.from, *slot)) {
                (None, _) => &mut changes.removed,
                (Some(_), true) => &mut changes.changed,
                (Some(_), false) => &mut changes.added,
            } += 1;
        }
        changes
    }

    /// What the tables hold now.
    fn holds(&self) -> Projection {
        let mut holds = self.from.clone();
        for (slot, grant) in &self.done {
            set(&mut holds, *slot, *grant);
        }
        holds
    }
}

/// The grants of `to` that `from` lacks or has on other terms, and the places where only `from` has any.
fn differences(from: &Projection, to: &Projection) -> (Vec<(Slot, Grant)>, Vec<Slot>) {
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    for pair in slots(from).merge_join_by(slots(to), |(one, _), (other, _)| one.cmp(other)) {
        match pair {
            EitherOrBoth::Left((slot, _)) => unwanted.push(slot),
            EitherOrBoth::Right(put) => wanted.push(put),
            EitherOrBoth::Both(before, put) if before != put => wanted.push(put),
            EitherOrBoth::Both(..) => {}
        }
    }
    (wanted, unwanted)
}

/// Hash maps say E2BIG when they are full, tries ENOSPC.
fn is_full(error: &MapError) -> bool {
    matches!(errno(error), Some(E2BIG | ENOSPC))
}

/// Every grant, in the order of their places.
fn slots(projection: &Projection) -> impl Iterator<Item = (Slot, Grant)> {
    let addresses = projection
        .addresses
        .iter()
        .map(|(key, grant)| (Slot::Address(*key), *grant));
    let prefixes = projection
        .prefixes
        .iter()
        .map(|(key, grant)| (Slot::Prefix(*key), *grant));
    let endpoints = projection
        .endpoints
        .iter()
        .map(|(key, grant)| (Slot::Endpoint(*key), *grant));
    addresses.chain(prefixes).chain(endpoints)
}

fn has(projection: &Projection, slot: Slot) -> bool {
    match slot {
        Slot::Address(address) => projection.addresses.contains_key(&address),
        Slot::Prefix(prefix) => projection.prefixes.contains_key(&prefix),
        Slot::Endpoint(server) => projection.endpoints.contains_key(&server),
    }
}

/// Puts a grant in its place, or leaves the place empty.
fn set(projection: &mut Projection, slot: Slot, grant: Option<Grant>) {
    fn set<K: Ord>(grants: &mut BTreeMap<K, Grant>, key: K, grant: Option<Grant>) {
        match grant {
            Some(grant) => drop(grants.insert(key, grant)),
            None => drop(grants.remove(&key)),
        }
    }
    match slot {
        Slot::Address(address) => set(&mut projection.addresses, address, grant),
        Slot::Prefix(prefix) => set(&mut projection.prefixes, prefix, grant),
        Slot::Endpoint(server) => set(&mut projection.endpoints, server, grant),
    }
}

/// The full tables, each with what it could not take.
fn full(refused: &[(Slot, Grant)], holds: &Projection) -> Vec<Full> {
    let mut by_map: BTreeMap<&'static str, Full> = BTreeMap::new();
    for (slot, _) in refused {
        let map = slot.map();
        by_map
            .entry(map)
            .or_insert_with(|| Full {
                map,
                holds: slots(holds).filter(|(other, _)| other.map() == map).count(),
                left_out: 0,
                first: *slot,
            })
            .left_out += 1;
    }
    by_map.into_values().collect()
}
