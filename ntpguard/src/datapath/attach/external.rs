//! The program that others attach over our tables, such as libxdp.

use aya::{
    maps::MapInfo,
    programs::{ProgramType, loaded_programs},
};
use ntpguard_common::maps::tables::names;

use crate::datapath::{Error, PinDir};

/// The program that somebody else has attached over our tables, by name and number, if one is.
pub(in crate::datapath) fn find(pins: &PinDir) -> Result<Option<String>, Error> {
    let counters = pins.maps().join(names::COUNTERS);
    let map = MapInfo::from_pin(counters)
        .map_err(|source| Error::map(names::COUNTERS, "look at", source))?;
    let is_ours = |program: &aya::programs::ProgramInfo| {
        let kinds = [ProgramType::Xdp, ProgramType::Extension];
        let judges = kinds.map(|kind| program.program_type() == kind.into());
        let maps = program.map_ids().ok().flatten().unwrap_or_default();
        judges.contains(&true) && maps.contains(&map.id())
    };
    Ok(loaded_programs().flatten().find(is_ours).map(|program| {
        let name = program.name_as_str().unwrap_or("a program");
        format!("{name} (id {})", program.id())
    }))
}
