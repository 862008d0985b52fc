//! The kernel's tables, read and written from here.

use std::{
    borrow::BorrowMut,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::Path,
    thread,
    time::Duration,
};

use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, lpm_trie::Key,
    },
};
use ipnet::IpNet;
use nix::libc::{ENOENT, ENOMEM};
use ntpguard_common::{
    maps::{
        endpoint::{Endpoint, Ports},
        prefilter::GrantBits,
        refusals::Refusals,
        requests::{Learned, Requests, Server, UngrantedKey, UngrantedStats},
        tables::{ABI, Grant, Info, names},
        trusted::{Depths, TrustedCgroup, TrustedUid},
    },
    reason::Counters,
};

mod traffic;

pub use super::apply::{Changes, Incomplete};
use super::{
    apply::{self, Slot},
    prefilter::{ports, prefilter},
};
use crate::{
    allowlist::{projection::Projection, room::Room},
    clock::boot_nanoseconds,
    datapath::{Error, Mode, PinDir, error::source_io},
    lookup::Lookup,
};

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
    endpoints: HashMap<MapData, Endpoint, Grant>,
    port_bits: Array<MapData, Ports>,
    grant_bits: Array<MapData, GrantBits>,
    learned_v4: HashMap<MapData, [u8; 4], Learned>,
    learned_v6: HashMap<MapData, [u8; 16], Learned>,
    servers: HashMap<MapData, [u8; 16], Server>,
    refusals: PerCpuHashMap<MapData, [u8; 16], Refusals>,
    trusted_cgroups: HashMap<MapData, u64, TrustedCgroup>,
    trusted_uids: HashMap<MapData, u32, TrustedUid>,
    requests: PerCpuArray<MapData, Requests>,
    ungranted: HashMap<MapData, UngrantedKey, UngrantedStats>,
    counters: PerCpuArray<MapData, Counters>,
    info: Array<MapData, Info>,
    room: Room,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

/// Whether a directory is there, as far as this process may know.
fn is_there(directory: &Path) -> Result<bool, Error> {
    match Lookup::of(fs::metadata(directory)) {
        Lookup::Found(_) => Ok(true),
        Lookup::Absent => Ok(false),
        Lookup::Refused(error) => {
            let doing = format!("look at {}", directory.display());
            Err(Error::system(doing, error))
        }
    }
}

/// The room of tables that are as large as `map`, as all are that hold grants at NTP's port.
fn room_of(map: &Map) -> Result<Room, Error> {
    match map {
        Map::HashMap(data) => {
            let info = data.info();
            let info = info.map_err(|source| Error::map(names::ALLOW_V4, "look at", source))?;
            Ok(Room::of(info.max_entries()))
        }
        _ => Err(Error::Missing(format!("hash map {}", names::ALLOW_V4))),
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
        if !is_there(&pins.maps())? {
            return if is_there(&pins.maps_old())? {
                Err(unusable(
                    "a start was interrupted while it replaced them".to_owned(),
                ))
            } else {
                Ok(None)
            };
        }
        let failed = |error| match error {
            error @ Error::Privilege { .. } => error,
            other => unusable(other.to_string()),
        };
        match Self::info_in(&pins.maps()).map_err(failed)?.abi {
            ABI => Self::open_maps(&pins.maps()).map(Some).map_err(failed),
            other => Err(unusable(format!(
                "their layout is number {other}, not {ABI}"
            ))),
        }
    }

    /// What the `INFO` pinned in `dir` says, whatever the layout of the other maps.
    pub(in crate::datapath) fn info_in(dir: &Path) -> Result<Info, Error> {
        let map = MapData::from_pin(dir.join(names::INFO)).and_then(Map::from_map_data);
        let info = map.and_then(Array::<MapData, Info>::try_from);
        info.and_then(|info| info.get(&0, 0))
            .map_err(|source| Error::map(names::INFO, "read", source))
    }

    /// Opens the maps pinned in `dir`, whatever `INFO` says of them.
    pub(in crate::datapath) fn open_maps(dir: &Path) -> Result<Self, Error> {
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
        let allow_v4 = map(names::ALLOW_V4)?;
        Ok(Self {
            room: room_of(&allow_v4)?,
            allow_v4: typed(names::ALLOW_V4, allow_v4)?,
            allow_v6: typed(names::ALLOW_V6, map(names::ALLOW_V6)?)?,
            allow_net_v4: typed(names::ALLOW_NET_V4, map(names::ALLOW_NET_V4)?)?,
            allow_net_v6: typed(names::ALLOW_NET_V6, map(names::ALLOW_NET_V6)?)?,
            endpoints: typed(names::ALLOW_ENDPOINT, map(names::ALLOW_ENDPOINT)?)?,
            port_bits: typed(names::PORT_BITS, map(names::PORT_BITS)?)?,
            grant_bits: typed(names::GRANT_BITS, map(names::GRANT_BITS)?)?,
            learned_v4: typed(names::LEARNED_V4, map(names::LEARNED_V4)?)?,
            learned_v6: typed(names::LEARNED_V6, map(names::LEARNED_V6)?)?,
            servers: typed(names::SERVERS, map(names::SERVERS)?)?,
            refusals: typed(names::REFUSALS, map(names::REFUSALS)?)?,
            trusted_cgroups: typed(names::TRUSTED_CGROUPS, map(names::TRUSTED_CGROUPS)?)?,
            trusted_uids: typed(names::TRUSTED_UIDS, map(names::TRUSTED_UIDS)?)?,
            requests: typed(names::REQUESTS, map(names::REQUESTS)?)?,
            ungranted: typed(names::UNGRANTED, map(names::UNGRANTED)?)?,
            counters: typed(names::COUNTERS, map(names::COUNTERS)?)?,
            info: typed(names::INFO, map(names::INFO)?)?,
        })
    }

    /// How many grants they have room for.
    pub const fn room(&self) -> Room {
        self.room
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
        for entry in &self.endpoints {
            let (server, grant) =
                entry.map_err(|e| Error::map(names::ALLOW_ENDPOINT, "read", e))?;
            all.endpoints.insert(server.into(), grant);
        }
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
        apply::apply(self, from, to)
    }

    /// Packets counted since the maps were made, over all CPUs, while `mode` was in force.
    pub fn counters(&self, mode: Mode) -> Result<Counters, Error> {
        sum(&self.counters, mode)
    }

    /// Makes the cgroups of these numbers the trusted ones, and no others. When each was found is
    /// written here.
    pub fn set_trusted_cgroups(
        &mut self,
        wanted: &BTreeMap<u64, TrustedCgroup>,
    ) -> Result<(), Error> {
        let failed = |source| Error::map(names::TRUSTED_CGROUPS, "write", source);
        let now = boot_nanoseconds();
        let held = self.trusted_cgroups()?;
        for (cgroup, cgroup_entry) in wanted {
            let since = held.get(cgroup).map_or(now, |held| held.since);
            let cgroup_entry = TrustedCgroup {
                since,
                ..*cgroup_entry
            };
            if held.get(cgroup) != Some(&cgroup_entry) {
                self.trusted_cgroups
                    .insert(cgroup, cgroup_entry, 0)
                    .map_err(failed)?;
            }
        }
        let info = Info {
            depths: Depths::of(wanted.values().copied()).0,
            ..self.info()?
        };
        self.set_info(&info)?;
        for cgroup in held.keys().filter(|cgroup| !wanted.contains_key(cgroup)) {
            self.trusted_cgroups.remove(cgroup).map_err(failed)?;
        }
        Ok(())
    }

    /// The trusted cgroups.
    pub(in crate::datapath) fn trusted_cgroups(
        &self,
    ) -> Result<BTreeMap<u64, TrustedCgroup>, Error> {
        let all = read_all(&self.trusted_cgroups, names::TRUSTED_CGROUPS)?;
        Ok(all.into_iter().collect())
    }

    /// Makes these uids the trusted ones, and no others.
    pub fn set_trusted_uids(&mut self, wanted: &BTreeSet<u32>) -> Result<(), Error> {
        set_keys(&mut self.trusted_uids, wanted)
            .map_err(|source| Error::map(names::TRUSTED_UIDS, "write", source))
    }

    /// How the guard was loaded.
    pub fn info(&self) -> Result<Info, Error> {
        self.info
            .get(&0, 0)
            .map_err(|source| Error::map(names::INFO, "read", source))
    }

    /// Says how the guard was loaded. The counts of prefixes and bans in it and the depths of trusted
    /// cgroups are the programs': take them from [`Self::info`].
    pub fn set_info(&mut self, info: &Info) -> Result<(), Error> {
        self.info
            .set(0, info, 0)
            .map_err(|source| Error::map(names::INFO, "write", source))
    }

    /// Makes the sieve and the ports those of these grants.
    pub(in crate::datapath) fn set_prefilter<const N: usize>(
        &mut self,
        grants: [&Projection; N],
    ) -> Result<(), Error> {
        update(&mut self.port_bits, names::PORT_BITS, ports(grants))?;
        update(&mut self.grant_bits, names::GRANT_BITS, prefilter(grants))
    }

    /// Inserts or updates one grant, trying again while the kernel lacks memory.
    pub(in crate::datapath) fn put(&mut self, slot: Slot, grant: &Grant) -> Result<(), MapError> {
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
                Slot::Endpoint(server) => self.endpoints.insert(Endpoint::from(server), grant, 0),
            };
            match (done, waits.next()) {
                (Err(error), Some(wait)) if errno(&error) == Some(ENOMEM) => thread::sleep(*wait),
                (done, _) => return done,
            }
        }
    }

    /// Removes one grant; one that is not there is as good as removed.
    pub(in crate::datapath) fn remove(&mut self, slot: Slot) -> Result<(), MapError> {
        let done = match slot {
            Slot::Address(IpAddr::V4(address)) => self.allow_v4.remove(&address.octets()),
            Slot::Address(IpAddr::V6(address)) => self.allow_v6.remove(&address.octets()),
            Slot::Prefix(IpNet::V4(net)) => self
                .allow_net_v4
                .remove(&Key::new(net.prefix_len().into(), net.network().octets())),
            Slot::Prefix(IpNet::V6(net)) => self
                .allow_net_v6
                .remove(&Key::new(net.prefix_len().into(), net.network().octets())),
            Slot::Endpoint(server) => self.endpoints.remove(&Endpoint::from(server)),
        };
        match done {
            Err(error) if errno(&error) == Some(ENOENT) => Ok(()),
            done => done,
        }
    }
}

/// What all CPUs have counted while `mode` was in force.
pub(in crate::datapath) fn sum(
    map: &PerCpuArray<MapData, Counters>,
    mode: Mode,
) -> Result<Counters, Error> {
    let per_cpu = map
        .get(&mode.number(), 0)
        .map_err(|source| Error::map(names::COUNTERS, "read", source))?;
    let mut sum = Counters::default();
    per_cpu.iter().for_each(|counters| sum.add(counters));
    Ok(sum)
}

/// Removes all entries of a map that nobody else has.
pub(in crate::datapath) fn clear<T: BorrowMut<MapData>, K: Pod, V: Pod>(
    map: &mut HashMap<T, K, V>,
    name: &'static str,
) -> Result<(), Error> {
    let failed = |source| Error::map(name, "clear", source);
    let keys: Vec<K> = map.keys().collect::<Result<_, _>>().map_err(failed)?;
    keys.iter()
        .try_for_each(|key| map.remove(key))
        .map_err(failed)
}

/// Reads all entries. Where the kernel changes them meanwhile, some may be missing or come twice.
fn read_all<K: Pod, V: Pod>(
    map: &HashMap<MapData, K, V>,
    name: &'static str,
) -> Result<Vec<(K, V)>, Error> {
    let entries: Result<_, MapError> = map.iter().collect();
    entries.map_err(|source| Error::map(name, "read", source))
}

/// Writes the one element of a map, unless it is this already.
fn update<T: Pod + PartialEq>(
    map: &mut Array<MapData, T>,
    name: &'static str,
    value: T,
) -> Result<(), Error> {
    let held = map
        .get(&0, 0)
        .map_err(|source| Error::map(name, "read", source))?;
    if held == value {
        return Ok(());
    }
    map.set(0, value, 0)
        .map_err(|source| Error::map(name, "write", source))
}

/// Gives a table these keys and no others: new ones first.
fn set_keys(
    map: &mut HashMap<MapData, u32, TrustedUid>,
    wanted: &BTreeSet<u32>,
) -> Result<(), MapError> {
    let since = boot_nanoseconds();
    let held: BTreeSet<u32> = map.keys().collect::<Result<_, _>>()?;
    for key in wanted.difference(&held) {
        map.insert(key, TrustedUid { since }, 0)?;
    }
    for key in held.difference(wanted) {
        map.remove(key)?;
    }
    Ok(())
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
pub(in crate::datapath) fn errno(error: &MapError) -> Option<i32> {
    source_io(error).and_then(io::Error::raw_os_error)
}
