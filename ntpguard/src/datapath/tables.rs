//! The kernel's tables, read and written from here.

use std::{io, net::IpAddr, path::Path, thread, time::Duration};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, lpm_trie::Key},
};
use ipnet::IpNet;
use nix::libc::{ENOENT, ENOMEM};
use ntpguard_common::{
    reason::Counters,
    tables::{ABI, Grant, Info, names},
};

pub use super::change::{Changes, Incomplete};
use super::{
    Error, Mode, PinDir,
    change::{self, Slot},
    error::source_io,
};
use crate::allowlist::projection::Projection;

/// The waits before an insertion is tried again for which the kernel had no memory at once: maps
/// that are not preallocated take theirs from per-CPU caches, refilled soon.
const MEMORY_WAITS: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(4),
    Duration::from_millis(16),
    Duration::from_millis(64),
];

/// The maps of one guard.
pub struct Tables {
    allow_v4: HashMap<MapData, [u8; 4], Grant>,
    allow_v6: HashMap<MapData, [u8; 16], Grant>,
    allow_net_v4: LpmTrie<MapData, [u8; 4], Grant>,
    allow_net_v6: LpmTrie<MapData, [u8; 16], Grant>,
    counters: PerCpuArray<MapData, Counters>,
    info: Array<MapData, Info>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

impl Tables {
    /// Opens the tables pinned under `pin_dir`; `None` where there are none. Tables that this
    /// program cannot use, of another version or left half made, are an error.
    pub fn open(pin_dir: &Path) -> Result<Option<Self>, Error> {
        let pins = PinDir::new(pin_dir);
        let unusable = |why: String| Error::Unusable {
            pin_dir: pin_dir.to_owned(),
            why,
        };
        if !pins.maps().exists() {
            return if pins.maps_old().exists() {
                Err(unusable(
                    "a start was interrupted while it replaced them".to_owned(),
                ))
            } else {
                Ok(None)
            };
        }
        let tables = Self::open_maps(&pins.maps()).map_err(|error| match error {
            error @ Error::Privilege { .. } => error,
            other => unusable(other.to_string()),
        })?;
        match tables.info()?.abi {
            ABI => Ok(Some(tables)),
            other => Err(unusable(format!(
                "their layout is number {other}, not {ABI}"
            ))),
        }
    }

    /// Opens the maps pinned in `dir`, whatever `INFO` says of them.
    pub(super) fn open_maps(dir: &Path) -> Result<Self, Error> {
        Self::gather(|name| {
            let failed = |source| Error::map(name, "open", source);
            MapData::from_pin(dir.join(name))
                .and_then(Map::from_map_data)
                .map_err(failed)
        })
    }

    /// Takes the maps out of a loaded object. Its programs can be loaded while the value lives.
    pub fn take(object: &mut Ebpf) -> Result<Self, Error> {
        Self::gather(|name| {
            object
                .take_map(name)
                .ok_or_else(|| Error::Missing(format!("map {name}")))
        })
    }

    fn gather(mut map: impl FnMut(&str) -> Result<Map, Error>) -> Result<Self, Error> {
        fn typed<T: TryFrom<Map, Error = MapError>>(name: &str, map: Map) -> Result<T, Error> {
            T::try_from(map).map_err(|source| Error::map(name, "open", source))
        }
        Ok(Self {
            allow_v4: typed(names::ALLOW_V4, map(names::ALLOW_V4)?)?,
            allow_v6: typed(names::ALLOW_V6, map(names::ALLOW_V6)?)?,
            allow_net_v4: typed(names::ALLOW_NET_V4, map(names::ALLOW_NET_V4)?)?,
            allow_net_v6: typed(names::ALLOW_NET_V6, map(names::ALLOW_NET_V6)?)?,
            counters: typed(names::COUNTERS, map(names::COUNTERS)?)?,
            info: typed(names::INFO, map(names::INFO)?)?,
        })
    }

    /// Every grant in the tables. The lock must be held, or the tables be private: a walk over
    /// maps that somebody else changes can start over and see some entries twice, none too few.
    pub fn read(&self) -> Result<Projection, Error> {
        let mut all = Projection::default();
        for entry in &self.allow_v4 {
            let (address, grant) = entry.map_err(|e| Error::map(names::ALLOW_V4, "read", e))?;
            all.addresses.insert(IpAddr::from(address), grant);
        }
        for entry in &self.allow_v6 {
            let (address, grant) = entry.map_err(|e| Error::map(names::ALLOW_V6, "read", e))?;
            all.addresses.insert(IpAddr::from(address), grant);
        }
        read_prefixes(&self.allow_net_v4, names::ALLOW_NET_V4, &mut all)?;
        read_prefixes(&self.allow_net_v6, names::ALLOW_NET_V6, &mut all)?;
        Ok(all)
    }

    /// Turns tables that hold `from` into ones that hold `to`: insertions and updates first, then
    /// removals, and nothing else is touched. Where a table is full the rest is done all the same,
    /// and the error says what was, and what the tables hold now.
    pub fn apply(
        &mut self,
        from: &Projection,
        to: &Projection,
    ) -> Result<Changes, Box<Incomplete>> {
        change::apply(self, from, to)
    }

    /// Packets counted since the maps were made, over all CPUs, while `mode` was in force.
    pub fn counters(&self, mode: Mode) -> Result<Counters, Error> {
        let per_cpu = self
            .counters
            .get(&mode.number(), 0)
            .map_err(|source| Error::map(names::COUNTERS, "read", source))?;
        let mut sum = Counters::default();
        per_cpu.iter().for_each(|counters| sum.add(counters));
        Ok(sum)
    }

    /// How the guard was loaded.
    pub fn info(&self) -> Result<Info, Error> {
        self.info
            .get(&0, 0)
            .map_err(|source| Error::map(names::INFO, "read", source))
    }

    /// Says how the guard was loaded. The prefix counts in it are the judge's: take them from
    /// [`Self::info`].
    pub fn set_info(&mut self, info: &Info) -> Result<(), Error> {
        self.info
            .set(0, info, 0)
            .map_err(|source| Error::map(names::INFO, "write", source))
    }

    /// Inserts or updates one grant, trying again while the kernel lacks memory.
    pub(super) fn put(&mut self, slot: Slot, grant: &Grant) -> Result<(), MapError> {
        let mut waits = MEMORY_WAITS.iter();
        loop {
            let done = match slot {
                Slot::Address(IpAddr::V4(address)) => {
                    self.allow_v4.insert(address.octets(), grant, 0)
                }
                Slot::Address(IpAddr::V6(address)) => {
                    self.allow_v6.insert(address.octets(), grant, 0)
                }
                Slot::Prefix(IpNet::V4(net)) => {
                    let key = Key::new(net.prefix_len().into(), net.network().octets());
                    self.allow_net_v4.insert(&key, grant, 0)
                }
                Slot::Prefix(IpNet::V6(net)) => {
                    let key = Key::new(net.prefix_len().into(), net.network().octets());
                    self.allow_net_v6.insert(&key, grant, 0)
                }
            };
            match (done, waits.next()) {
                (Err(error), Some(wait)) if errno(&error) == Some(ENOMEM) => thread::sleep(*wait),
                (done, _) => return done,
            }
        }
    }

    /// Removes one grant; one that is not there is as good as removed.
    pub(super) fn remove(&mut self, slot: Slot) -> Result<(), MapError> {
        let done = match slot {
            Slot::Address(IpAddr::V4(address)) => self.allow_v4.remove(&address.octets()),
            Slot::Address(IpAddr::V6(address)) => self.allow_v6.remove(&address.octets()),
            Slot::Prefix(IpNet::V4(net)) => self
                .allow_net_v4
                .remove(&Key::new(net.prefix_len().into(), net.network().octets())),
            Slot::Prefix(IpNet::V6(net)) => self
                .allow_net_v6
                .remove(&Key::new(net.prefix_len().into(), net.network().octets())),
        };
        match done {
            Err(error) if errno(&error) == Some(ENOENT) => Ok(()),
            done => done,
        }
    }
}

/// Reads a trie's entries into `all`.
fn read_prefixes<K>(
    trie: &LpmTrie<MapData, K, Grant>,
    name: &'static str,
    all: &mut Projection,
) -> Result<(), Error>
where
    K: Pod + Into<IpAddr>,
{
    for entry in trie {
        let (key, grant) = entry.map_err(|source| Error::map(name, "read", source))?;
        let length = u8::try_from(key.prefix_len()).unwrap_or(u8::MAX);
        let prefix = IpNet::new(key.data().into(), length).map_err(|error| {
            let source = MapError::IoError(io::Error::new(io::ErrorKind::InvalidData, error));
            Error::map(name, "read", source)
        })?;
        all.prefixes.insert(prefix, grant);
    }
    Ok(())
}

/// What the kernel answered, where it did.
pub(super) fn errno(error: &MapError) -> Option<i32> {
    source_io(error).and_then(io::Error::raw_os_error)
}
