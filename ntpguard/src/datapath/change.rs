//! Turning what the tables hold into what they are to hold, by their differences alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
};

use aya::maps::MapError;
use ipnet::IpNet;
use nix::libc::{E2BIG, ENOSPC};
use ntpguard_common::tables::{BAN, Grant, Info, names};

use super::{Error, Tables, tables::errno};
use crate::allowlist::projection::Projection;

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

impl std::error::Error for Incomplete {}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Full(tables) => {
                let mut wanted = 0;
                for table in tables {
                    if table.map != names::ELSEWHERE {
                        wanted = wanted.max(table.holds + table.left_out);
                    }
                    write!(
                        f,
                        "map {} is full: it holds {} entries, and {} more are wanted, the first \
                         {}; ",
                        table.map, table.holds, table.left_out, table.first
                    )?;
                }
                f.write_str("nothing was evicted: ")?;
                if wanted == 0 {
                    return f.write_str("have fewer servers asked at other ports than 123");
                }
                write!(f, "start again with --table-size {wanted} or more")
            }
            Cause::Failed(error) => {
                let Changes {
                    added,
                    changed,
                    removed,
                } = self.done;
                write!(
                    f,
                    "{error}; of the changes before it, {added} were added, {changed} changed and \
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
    Elsewhere(SocketAddr),
}

impl Slot {
    /// The map it is in.
    pub const fn map(self) -> &'static str {
        match self {
            Self::Address(IpAddr::V4(_)) => names::ALLOW_V4,
            Self::Address(IpAddr::V6(_)) => names::ALLOW_V6,
            Self::Prefix(IpNet::V4(_)) => names::ALLOW_NET_V4,
            Self::Prefix(IpNet::V6(_)) => names::ALLOW_NET_V6,
            Self::Elsewhere(_) => names::ELSEWHERE,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Elsewhere(server) => server.fmt(f),
        }
    }
}

impl Tables {
    /// Tells the judge where it has to look for these grants: in the sieve, and in the counts that
    /// `INFO` has.
    fn summarise<const N: usize>(&mut self, grants: [&Projection; N]) -> Result<(), Error> {
        self.sift(grants)?;
        let before = self.info()?;
        let prefixes: BTreeSet<&IpNet> =
            grants.iter().flat_map(|one| one.prefixes.keys()).collect();
        let v4 = prefixes.iter().filter(|prefix| prefix.addr().is_ipv4());
        let bans = grants.iter().flat_map(|one| slots(one));
        let info = Info {
            prefixes_v4: count(v4.clone()),
            prefixes_v6: count(prefixes.iter()) - count(v4),
            bans: count(bans.filter(|(_, grant)| grant.roles & BAN != 0)),
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
pub(super) fn apply(
    tables: &mut Tables,
    from: &Projection,
    to: &Projection,
) -> Result<Changes, Box<Incomplete>> {
    let mut change = Change {
        tables,
        holds: from.clone(),
        done: Changes::default(),
        refused: Vec::new(),
    };
    let outcome = change.make(from, to);
    let Change {
        holds,
        done,
        refused,
        tables,
    } = change;
    let cause = match outcome {
        Ok(()) if refused.is_empty() => return Ok(done),
        Ok(()) => Cause::Full(full(&refused, &holds)),
        Err(error) => {
            // What tells the judge where to look must cover all there is.
            match tables.summarise([&holds]) {
                Ok(()) => Cause::Failed(error),
                Err(worse) => Cause::Failed(worse),
            }
        }
    };
    Err(Box::new(Incomplete { done, holds, cause }))
}

/// A change in the making.
struct Change<'a> {
    tables: &'a mut Tables,
    /// What the tables hold so far.
    holds: Projection,
    done: Changes,
    /// What full tables could not take.
    refused: Vec<(Slot, Grant)>,
}

impl Change<'_> {
    fn make(&mut self, from: &Projection, to: &Projection) -> Result<(), Error> {
        // Before there is more to find: the judge looks only where these say that it may.
        self.tables.summarise([&self.holds, to])?;
        let puts = slots(to).filter(|(slot, grant)| get(from, *slot) != Some(*grant));
        self.put_all(puts.collect())?;
        for (slot, _) in slots(from).filter(|(slot, _)| get(to, *slot).is_none()) {
            self.remove(slot)?;
        }
        // The removals may have made the room that was lacking.
        let refused = std::mem::take(&mut self.refused);
        self.put_all(refused)?;
        self.tables.summarise([&self.holds])
    }

    fn put_all(&mut self, grants: Vec<(Slot, Grant)>) -> Result<(), Error> {
        for (slot, grant) in grants {
            match self.tables.put(slot, &grant) {
                Ok(()) => {
                    let before = set(&mut self.holds, slot, grant);
                    *(if before {
                        &mut self.done.changed
                    } else {
                        &mut self.done.added
                    }) += 1;
                }
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
        match slot {
            Slot::Address(address) => self.holds.addresses.remove(&address),
            Slot::Prefix(prefix) => self.holds.prefixes.remove(&prefix),
            Slot::Elsewhere(server) => self.holds.elsewhere.remove(&server),
        };
        self.done.removed += 1;
        Ok(())
    }
}

/// Hash maps say E2BIG when they are full, tries ENOSPC.
fn is_full(error: &MapError) -> bool {
    matches!(errno(error), Some(E2BIG | ENOSPC))
}

fn slots(projection: &Projection) -> impl Iterator<Item = (Slot, Grant)> {
    let addresses = projection
        .addresses
        .iter()
        .map(|(key, grant)| (Slot::Address(*key), *grant));
    let prefixes = projection
        .prefixes
        .iter()
        .map(|(key, grant)| (Slot::Prefix(*key), *grant));
    let elsewhere = projection
        .elsewhere
        .iter()
        .map(|(key, grant)| (Slot::Elsewhere(*key), *grant));
    addresses.chain(prefixes).chain(elsewhere)
}

fn get(projection: &Projection, slot: Slot) -> Option<Grant> {
    match slot {
        Slot::Address(address) => projection.addresses.get(&address).copied(),
        Slot::Prefix(prefix) => projection.prefixes.get(&prefix).copied(),
        Slot::Elsewhere(server) => projection.elsewhere.get(&server).copied(),
    }
}

/// Puts a grant in its place, and says whether there was one.
fn set(projection: &mut Projection, slot: Slot, grant: Grant) -> bool {
    let before = match slot {
        Slot::Address(address) => projection.addresses.insert(address, grant),
        Slot::Prefix(prefix) => projection.prefixes.insert(prefix, grant),
        Slot::Elsewhere(server) => projection.elsewhere.insert(server, grant),
    };
    before.is_some()
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
