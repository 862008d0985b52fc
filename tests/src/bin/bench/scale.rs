//! What the size of the tables costs: a packet's way, loading, changing, memory.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::programs::Xdp;
use ipnet::IpNet;
use ntpguard::{
    allowlist::projection::Projection,
    datapath::{Settings, Tracking, Trial},
};
use ntpguard_common::maps::tables::DEFAULT_TABLE_SIZE;
use ntpguard_tests::bpftool;
use serde::Serialize;

use crate::{
    measure::{self, Series},
    options::Scale,
    packets::{self, XDP_DROP, XDP_PASS},
    per_packet::server,
    programs::{Program, Sources},
};

/// Entries that are replaced by others, or all where there are fewer.
const REPLACED: u32 = 1_000;

/// Addresses in a prefix of /24.
const IN_PREFIX: u32 = 256;

/// What the tables hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// IPv4 addresses.
    AddressesV4,
    /// IPv6 addresses.
    AddressesV6,
    /// IPv4 prefixes of 24 bits.
    PrefixesV4,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::AddressesV4, Self::AddressesV6, Self::PrefixesV4];

    /// Its name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AddressesV4 => "IPv4 addresses",
            Self::AddressesV6 => "IPv6 addresses",
            Self::PrefixesV4 => "IPv4 prefixes",
        }
    }

    /// The addresses that `entries` of these entries hold.
    fn held(self, entries: u32) -> Sources {
        let (first, count): (IpAddr, u32) = match self {
            Self::AddressesV4 => (packets::LISTED_V4.into(), entries),
            Self::AddressesV6 => (packets::LISTED_V6.into(), entries),
            Self::PrefixesV4 => (Ipv4Addr::new(16, 0, 0, 0).into(), entries * IN_PREFIX),
        };
        Sources { first, count }
    }

    /// As many addresses that no entry holds.
    fn missed(self, entries: u32) -> Sources {
        let first = match self {
            Self::AddressesV4 | Self::PrefixesV4 => Ipv4Addr::new(100, 64, 0, 0).into(),
            Self::AddressesV6 => Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 0).into(),
        };
        Sources {
            first,
            ..self.held(entries)
        }
    }

    /// Tables with the entries of these numbers.
    fn tables(self, numbers: std::ops::Range<u32>) -> Result<Projection> {
        let mut tables = Projection::default();
        let first = self.held(0).first;
        for number in numbers {
            match (self, first) {
                (Self::PrefixesV4, IpAddr::V4(first)) => {
                    let address = Ipv4Addr::from_bits(first.to_bits() + number * IN_PREFIX);
                    tables
                        .prefixes
                        .insert(IpNet::new(address.into(), 24)?, server());
                }
                (_, first) => {
                    tables.addresses.insert(later(first, number), server());
                }
            }
        }
        Ok(tables)
    }
}

/// The address that comes `number` after another.
fn later(first: IpAddr, number: u32) -> IpAddr {
    match first {
        IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() + number).into(),
        IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() + u128::from(number)).into(),
    }
}

/// What tables of one size cost. Nanoseconds are above the floor: a program that only passes, behind
/// the same change of sources; both at their best.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What they hold.
    pub(crate) kind: Kind,
    /// How many.
    pub(crate) entries: u32,
    /// An admitted packet, the same over and over, nanoseconds.
    pub(crate) repeated: f64,
    /// Admitted packets of any of the entries, nanoseconds.
    pub(crate) random: f64,
    /// Dropped packets of as many other addresses, nanoseconds.
    pub(crate) missed: f64,
    /// To fill empty tables, seconds.
    pub(crate) load: f64,
    /// To replace a thousand entries by others, seconds.
    pub(crate) replace: f64,
    /// The kernel's memory for the maps of grants, bytes.
    pub(crate) memory: u64,
}

/// Measures each size of each kind.
pub(crate) fn measure(scale: &Scale) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        let mut sizes = Vec::new();
        for &entries in scale.sizes {
            eprintln!("scale: {entries} {}", kind.name());
            sizes.push(Loaded::new(kind, entries)?);
        }
        for _ in 0..scale.size_rounds {
            for loaded in &mut sizes {
                measure::undisturbed(|| loaded.round(scale.repeat))?;
            }
        }
        for mut loaded in sizes {
            rows.push(loaded.row()?);
        }
    }
    Ok(rows)
}

/// Full tables under the program, and what was measured with them so far.
struct Loaded {
    kind: Kind,
    entries: u32,
    trial: Trial,
    load: f64,
    replace: f64,
    repeated: Compared,
    random: Compared,
    missed: Compared,
}

impl Loaded {
    fn new(kind: Kind, entries: u32) -> Result<Self> {
        let mut trial = Trial::new(Settings {
            // Replacing adds before it removes.
            table_size: DEFAULT_TABLE_SIZE.max(entries + REPLACED),
            // The tables of requests are of one size.
            tracking: Tracking::OFF,
            ..Settings::default()
        })?;
        let replaced = entries.min(REPLACED);
        let wanted = kind.tables(0..entries)?;
        let others = kind.tables(replaced..entries + replaced)?;
        let load = apply(&mut trial, &Projection::default(), &wanted)?;
        let replace = apply(&mut trial, &wanted, &others)?;
        apply(&mut trial, &others, &wanted)?;
        Ok(Self {
            kind,
            entries,
            load,
            replace,
            repeated: Compared::repeated(kind.held(entries).first)?,
            random: Compared::scattered(&mut trial, kind.held(entries))?,
            missed: Compared::scattered(&mut trial, kind.missed(entries))?,
            trial,
        })
    }

    fn round(&mut self, repeat: u32) -> Result<()> {
        let direct = self.trial.program()?;
        self.repeated.round(direct, XDP_PASS, repeat)?;
        self.random.round(direct, XDP_PASS, repeat)?;
        self.missed.round(direct, XDP_DROP, repeat)
    }

    fn row(&mut self) -> Result<Row> {
        Ok(Row {
            kind: self.kind,
            entries: self.entries,
            repeated: self.repeated.above()?,
            random: self.random.above()?,
            missed: self.missed.above()?,
            load: self.load,
            replace: self.replace,
            memory: memory(self.trial.program()?)?,
        })
    }
}

/// Makes the tables that hold `from` hold `to`; the seconds it took.
fn apply(trial: &mut Trial, from: &Projection, to: &Projection) -> Result<f64> {
    let began = Instant::now();
    let done = trial.tables().apply(from, to);
    done.map_err(|error| anyhow!("fill the tables: {error}"))?;
    Ok(began.elapsed().as_secs_f64())
}

/// The guard's program and one that only passes, over the same packets.
struct Compared {
    frame: Vec<u8>,
    /// A change of sources before the guard's program; without it packets go there directly.
    ours: Option<Program>,
    floor: Program,
    figures: [Vec<f64>; 2],
}

impl Compared {
    fn new(frame: Vec<u8>, ours: Option<Program>, floor: Program) -> Self {
        Self {
            frame,
            ours,
            floor,
            figures: Default::default(),
        }
    }

    /// One packet, over and over.
    fn repeated(source: IpAddr) -> Result<Self> {
        Ok(Self::new(
            packets::reply(source, &[])?,
            None,
            Program::pass()?,
        ))
    }

    /// Packets from these sources, in no order.
    fn scattered(trial: &mut Trial, sources: Sources) -> Result<Self> {
        let ours = Program::scatter(sources, trial.program()?)?;
        let floor = Program::scatter(sources, Program::pass()?.xdp()?)?;
        Ok(Self::new(
            packets::reply(sources.first, &[])?,
            Some(ours),
            floor,
        ))
    }

    fn round(&mut self, direct: &Xdp, action: u32, repeat: u32) -> Result<()> {
        let ours = self.ours.as_ref().map(Program::xdp).transpose()?;
        let [guard, floor] = &mut self.figures;
        let (answer, nanoseconds) = measure::run(ours.unwrap_or(direct), &self.frame, repeat)?;
        ensure!(answer == action, "the guard answers {answer}, not {action}");
        guard.push(nanoseconds);
        floor.push(measure::run(self.floor.xdp()?, &self.frame, repeat)?.1);
        Ok(())
    }

    fn above(&self) -> Result<f64> {
        let [guard, floor] = &self.figures;
        Ok(Series::of(guard)?.min - Series::of(floor)?.min)
    }
}

/// Bytes that the kernel has for the program's maps of grants.
fn memory(program: &Xdp) -> Result<u64> {
    let ids = program
        .info()?
        .map_ids()?
        .context("a program without maps")?;
    let maps = bpftool::maps()?;
    let sizes = maps.iter().filter_map(|map| {
        let ours = ids.contains(&map["id"].as_u64()?.try_into().ok()?);
        let grants = map["name"].as_str()?.starts_with("ALLOW");
        map["bytes_memlock"].as_u64().filter(|_| ours && grants)
    });
    Ok(sizes.sum())
}
