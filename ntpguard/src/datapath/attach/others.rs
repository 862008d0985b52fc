//! Programs of others, by their names.
//!
//! To look at a program by its number takes `CAP_SYS_ADMIN`, which the daemon gives up; so the names of
//! those that are loaded are read before.

use std::{collections::BTreeMap, sync::OnceLock};

use aya::programs::loaded_programs;

static REMEMBERED: OnceLock<BTreeMap<u32, String>> = OnceLock::new();

/// Reads the names of all programs there are, for [`described`].
pub(in crate::datapath) fn remember() {
    REMEMBERED.get_or_init(named);
}

/// A program, for people.
pub(in crate::datapath) fn described(id: u32) -> String {
    let known = REMEMBERED
        .get()
        .and_then(|names| names.get(&id).cloned())
        .or_else(|| named().remove(&id));
    match known {
        Some(name) => format!("{name} (id {id})"),
        None => format!("a program (id {id})"),
    }
}

fn named() -> BTreeMap<u32, String> {
    loaded_programs()
        .flatten()
        .filter_map(|program| Some((program.id(), program.name_as_str()?.to_owned())))
        .filter(|(_, name)| !name.is_empty())
        .collect()
}
