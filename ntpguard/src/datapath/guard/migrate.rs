//! Whether the maps that are pinned can be kept, and new ones where they cannot.
//!
//! New maps are made beside the old and become the maps in use by renaming the directory, so
//! `maps` is always whole: either the old ones or the new. States that a killed process can leave:
//!
//! | directories | what they are |
//! | --- | --- |
//! | `maps`, `maps-next` | the maps in use, and new ones that nobody uses yet |
//! | `maps-old`, `maps-next` | the maps in use, and whole new ones |
//! | `maps-old`, `maps` | whole new maps; some links may still use the old |
//!
//! In each of them the links go on with the maps they have, pinned or not, and the next start
//! makes order.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::maps::{MapData, MapInfo, MapType};
use ntpguard_common::maps::tables::{ABI, Info, names};

use super::failpoint::{self, Failpoint};
use crate::datapath::{Error, PinDir, Settings, Tables, object::loader::Loader, pins};

/// The maps that each set of tables has for itself: what is granted and what tells of it, and events,
/// whose reader has the new ones.
const OWN: [&str; 9] = [
    names::ALLOW_V4,
    names::ALLOW_V6,
    names::ALLOW_NET_V4,
    names::ALLOW_NET_V6,
    names::ALLOW_ENDPOINT,
    names::PORT_BITS,
    names::GRANT_BITS,
    names::EVENTS,
    names::INFO,
];

/// The maps that programs are to be loaded over.
#[derive(Debug)]
pub(in crate::datapath) enum Maps {
    /// Those pinned already.
    Kept,
    /// New ones, in a directory beside.
    New,
}

impl Maps {
    /// Makes the maps of the object, and keeps the pinned ones if they are the same; if not, the
    /// new ones stay, empty and with their ABI number.
    pub(in crate::datapath) fn choose(
        pins: &PinDir,
        loader: &mut Loader<'_>,
        settings: Settings,
    ) -> Result<Self, Error> {
        pins::remove_dir(&pins.maps_next())?;
        pins::make_dir(&pins.maps_next())?;
        loader.load_over(settings, &pins.maps_next())?;
        failpoint::here(Failpoint::MapsMade);
        match difference(pins)? {
            None => {
                pins::remove_dir(&pins.maps_next())?;
                return Ok(Self::Kept);
            }
            Some(why) if pins.maps().exists() => tracing::info!("creating new maps: {why}"),
            Some(_) => {}
        }
        share(pins)?;
        let mut tables = Tables::open_maps(&pins.maps_next())?;
        let info = Info {
            abi: ABI,
            ..tables.info()?
        };
        tables.set_info(&info)?;
        Ok(Self::New)
    }

    /// The directory they are in.
    pub(in crate::datapath) fn dir(&self, pins: &PinDir) -> PathBuf {
        match self {
            Self::Kept => pins.maps(),
            Self::New => pins.maps_next(),
        }
    }

    /// Makes new maps the maps in use.
    pub(in crate::datapath) fn publish(&self, pins: &PinDir) -> Result<(), Error> {
        if matches!(self, Self::Kept) {
            return Ok(());
        }
        if pins.maps().exists() {
            pins::remove_dir(&pins.maps_old())?;
            rename(&pins.maps(), &pins.maps_old())?;
            failpoint::here(Failpoint::MapsSetAside);
        }
        rename(&pins.maps_next(), &pins.maps())
    }
}

/// Has the new maps share the old requests, servers and counters, where these are as they were: a
/// reply under way is not to be lost. What is granted is filled in anew, so that the old programs
/// go on with the old.
fn share(pins: &PinDir) -> Result<(), Error> {
    // Of another version, or half made.
    let Ok(old) = Tables::open_maps(&pins.maps()) else {
        return Ok(());
    };
    if old.info()?.abi != ABI {
        return Ok(());
    }
    for name in names::ALL.iter().filter(|name| !OWN.contains(name)) {
        let old = pins.maps().join(name);
        let new = pins.maps_next().join(name);
        if old.exists() && Shape::of(name, &old)? == Shape::of(name, &new)? {
            pins::remove_pin(&new)?;
            let map =
                MapData::from_pin(&old).map_err(|source| Error::map(*name, "open", source))?;
            map.pin(&new).map_err(|source| Error::pin(&new, source))?;
        }
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|source| {
        Error::system(
            format!("rename {} to {}", from.display(), to.display()),
            source,
        )
    })
}

/// What keeps the pinned maps from being used in place of the new ones, if anything does.
fn difference(pins: &PinDir) -> Result<Option<String>, Error> {
    for name in names::ALL {
        let path = pins.maps().join(name);
        if !path.exists() {
            return Ok(Some(format!("map {name} is missing")));
        }
        let old = Shape::of(name, &path)?;
        let new = Shape::of(name, &pins.maps_next().join(name))?;
        if old != new {
            return Ok(Some(format!("map {name} is {old:?}, not {new:?}")));
        }
    }
    let abi = Tables::open_maps(&pins.maps())?.info()?.abi;
    Ok((abi != ABI).then(|| format!("their layout is number {abi}, not {ABI}")))
}

/// Everything in which maps of one name can differ.
#[derive(Debug, PartialEq)]
struct Shape {
    kind: Option<MapType>,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

impl Shape {
    fn of(name: &str, path: &Path) -> Result<Self, Error> {
        let info = MapInfo::from_pin(path).map_err(|source| Error::map(name, "look at", source))?;
        Ok(Self {
            kind: info.map_type().ok(),
            key_size: info.key_size(),
            value_size: info.value_size(),
            max_entries: info.max_entries(),
            flags: info.map_flags(),
        })
    }
}
