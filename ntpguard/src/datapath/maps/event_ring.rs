//! The sampled verdicts of the programs, read from the ring buffer that they share.

use std::{fmt, ptr};

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use ntpguard_common::{events::Event, maps::tables::names, reason::Counters};

use super::tables;
use crate::datapath::{Error, Mode, PinDir};

/// What the kernel tells of single packets. There must be one reader only.
pub struct Verdicts {
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, Counters>,
}

impl Verdicts {
    /// Opens the maps in use.
    pub fn open(pins: &PinDir) -> Result<Self, Error> {
        let map = |name| {
            MapData::from_pin(pins.maps().join(name))
                .and_then(Map::from_map_data)
                .map_err(|source| Error::map(name, "open", source))
        };
        let ring = RingBuf::try_from(map(names::EVENTS)?)
            .map_err(|source| Error::map(names::EVENTS, "open", source))?;
        let counters = PerCpuArray::try_from(map(names::COUNTERS)?)
            .map_err(|source| Error::map(names::COUNTERS, "open", source))?;
        Ok(Self { ring, counters })
    }

    /// Forgets what is there already.
    pub fn forget(&mut self) {
        while self.ring.next().is_some() {}
    }

    /// Takes what is there, the oldest first, `most` of them at most.
    pub fn take(&mut self, most: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < most
            && let Some(item) = self.ring.next()
        {
            events.extend(item.first_chunk().map(read));
        }
        events
    }

    /// Packets counted by now, enforced and monitored.
    pub fn counted(&self) -> Result<[Counters; 2], Error> {
        Ok([
            tables::sum(&self.counters, Mode::Enforce)?,
            tables::sum(&self.counters, Mode::Monitor)?,
        ])
    }
}

impl fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdicts").finish_non_exhaustive()
    }
}

fn read(bytes: &[u8; size_of::<Event>()]) -> Event {
    // SAFETY: an event is made of integers alone, without padding, and valid whatever their bits are;
    // it may lie anywhere.
    unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) }
}
