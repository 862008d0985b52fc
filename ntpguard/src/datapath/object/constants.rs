//! The constants of the programs: one list, for the loader and for the object that libxdp takes.

use std::sync::LazyLock;

use ntpguard_common::maps::rates::Rates;

use super::settings::{LONGEST_WINDOW, Mode, Settings};
use crate::clock;

/// The value of a constant, which lives as long as a loader does: it borrows what it overrides.
#[derive(Clone, Copy, Debug)]
pub(in crate::datapath) enum Value<'a> {
    Byte(&'static u8),
    Word(&'static u32),
    Long(&'a u64),
}

impl Value<'_> {
    /// As it stands in the object.
    pub(in crate::datapath) fn bytes(self) -> Vec<u8> {
        match self {
            Self::Byte(value) => value.to_le_bytes().to_vec(),
            Self::Word(value) => value.to_le_bytes().to_vec(),
            Self::Long(value) => value.to_le_bytes().to_vec(),
        }
    }
}

/// Each constant of the programs by its name in the object, with its value. `names_process` is whether
/// the kernel that loads them has the helper for the name of a sending process.
pub(in crate::datapath) fn constants<'a>(
    settings: &Settings,
    rates: &'a Rates,
    names_process: bool,
) -> [(&'static str, Value<'a>); 19] {
    use Value::{Byte, Long, Word};
    let tracking = &settings.tracking;
    [
        ("LINK", Byte(byte(settings.link as u8))),
        ("MODE", Word(mode(settings.mode))),
        ("OUTCOME", Byte(byte(outcome(settings)))),
        ("TRACK", Byte(byte(tracking.track.into()))),
        ("REPLY_WINDOW", Long(nanoseconds(tracking.window))),
        ("LEARN", Byte(byte(tracking.learn as u8))),
        ("ZERO_TRANSMIT", Byte(byte(tracking.zero_transmit.into()))),
        ("TRUST_UIDS", Byte(byte(tracking.trust_uids.into()))),
        ("OTHER_PORTS", Byte(byte(settings.other_ports.into()))),
        ("CLOCK", Byte(byte(settings.clock as u8))),
        ("TICK", Word(tick())),
        ("FIRST_TICK", Long(first_tick())),
        ("NAME_PROCESS", Byte(byte(names_process.into()))),
        ("CLIENT_INTERVAL", Long(&rates.client.interval)),
        ("CLIENT_WINDOW", Long(&rates.client.window)),
        ("TOTAL_INTERVAL", Long(&rates.total.interval)),
        ("TOTAL_WINDOW", Long(&rates.total.window)),
        ("RATE_KEY_1", Long(&rates.key[0])),
        ("RATE_KEY_2", Long(&rates.key[1])),
    ]
}

/// What a program returns of a judged packet: its verdict, that it passes, or the reason.
const fn outcome(settings: &Settings) -> u8 {
    match (settings.explain, settings.mode) {
        (true, _) => 2,
        (false, Mode::Monitor) => 1,
        (false, Mode::Enforce) => 0,
    }
}

const fn mode(mode: Mode) -> &'static u32 {
    match mode {
        Mode::Enforce => &const { Mode::Enforce.number() },
        Mode::Monitor => &const { Mode::Monitor.number() },
    }
}

/// A number of an enumeration or a flag: none has more than three values.
fn byte(value: u8) -> &'static u8 {
    static NUMBERS: [u8; 3] = [0, 1, 2];
    NUMBERS
        .get(usize::from(value))
        .unwrap_or(&NUMBERS[NUMBERS.len() - 1])
}

/// Seconds, [`LONGEST_WINDOW`] at most, in nanoseconds.
fn nanoseconds(seconds: u32) -> &'static u64 {
    static NANOSECONDS: [u64; LONGEST_WINDOW as usize + 1] = {
        let mut all = [0; LONGEST_WINDOW as usize + 1];
        let mut second = 0;
        while second < all.len() {
            all[second] = second as u64 * 1_000_000_000;
            second += 1;
        }
        all
    };
    let seconds = seconds.min(LONGEST_WINDOW) as usize;
    &NANOSECONDS[seconds]
}

/// The time from one tick of the kernel to the next, nanoseconds.
fn tick() -> &'static u32 {
    static TICK: LazyLock<u32> = LazyLock::new(clock::tick_nanoseconds);
    &TICK
}

/// The kernel's count of ticks at boot: that of five minutes before an overflow of 32 bits
/// (`INITIAL_JIFFIES` in include/linux/jiffies.h).
fn first_tick() -> &'static u64 {
    static FIRST: LazyLock<u64> = LazyLock::new(|| {
        let five_minutes = 300 * 1_000_000_000 / u64::from(*tick());
        (1 << 32) - five_minutes
    });
    &FIRST
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ::object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

    use super::{super::loader::OBJECT, *};

    /// The constants that the object has, with their sizes. The kernel's are in `.rodata`.
    fn in_object() -> BTreeMap<String, u64> {
        let object = ::object::File::parse(OBJECT).unwrap();
        let is_constant = |symbol: &::object::Symbol<'_, '_>| {
            let section = symbol
                .section_index()
                .and_then(|index| object.section_by_index(index).ok());
            symbol.kind() == SymbolKind::Data
                && symbol.is_global()
                && section.is_some_and(|section| {
                    section.name().is_ok_and(|name| name.starts_with(".rodata"))
                })
        };
        object
            .symbols()
            .filter(is_constant)
            .map(|symbol| (symbol.name().unwrap().to_owned(), symbol.size()))
            .collect()
    }

    #[test]
    fn the_list_is_that_of_the_object() {
        let rates = Rates::default();
        let listed = constants(&Settings::default(), &rates, true);
        let listed: BTreeMap<String, u64> = listed
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.bytes().len() as u64))
            .collect();
        assert_eq!(listed, in_object());
    }
}
