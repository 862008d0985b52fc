//! The object as libxdp takes it, for a program that is chained with those of others.

use ntpguard_common::maps::rates::Rates;
use object::{
    build::elf::{Builder, SectionData},
    elf::{SHT_REL, STV_HIDDEN},
};

use super::{
    btf,
    constants::constants,
    loader::OBJECT,
    settings::{Settings, random_key},
};
use crate::datapath::Error;

/// The section of functions that programs call.
const FUNCTIONS: &[u8] = b".text";

/// How the names of those begin that read frames in several buffers. They stay global, or the verifier
/// would go through them again for each way to them, of which there are too many; and before Linux 5.18,
/// where that matters, no program calls them.
const OF_WHOLE_FRAMES: &[u8] = b"ntpguard_whole";

/// The object with these settings in its constants, and every map to be pinned by its name.
pub fn chainable(settings: Settings) -> Result<Vec<u8>, Error> {
    let failed = |what: String| Error::Missing(format!("{what} as libxdp needs it"));
    let elf = |error: object::build::Error| failed(error.to_string());
    let mut builder = Builder::read(OBJECT).map_err(elf)?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        // What relocates BTF says where things were in it; libbpf finds them by their names.
        section.delete = section.sh_type == SHT_REL && name.starts_with(b".rel.BTF");
        if let (b".BTF", SectionData::Data(data)) = (name, &mut section.data) {
            let types = btf::with_pinned_maps(data);
            *data = types.ok_or_else(|| failed(".BTF".to_owned()))?.into();
        }
    }
    // The verifier looks at a global function by itself: it refuses those that return pointers, as
    // the compiler's `memset`, and on Linux 5.10 those of a replacing program that take the frame. libbpf
    // makes static what is hidden (`mark_btf_static`).
    for symbol in &mut builder.symbols {
        let section = symbol.section.map(|id| builder.sections.get(id));
        let is_function = section.is_some_and(|section| section.name.as_slice() == FUNCTIONS);
        if is_function && !symbol.name.as_slice().starts_with(OF_WHOLE_FRAMES) {
            symbol.st_other = STV_HIDDEN;
        }
    }
    let rates = Rates {
        key: random_key()?,
        ..settings.rates
    };
    // It may be loaded by another kernel than this one.
    let names_process = false;
    for (name, value) in constants(&settings, &rates, names_process) {
        set(&mut builder, name, &value.bytes())
            .ok_or_else(|| failed(format!("constant {name}")))?;
    }
    builder.delete_orphans();
    let mut object = Vec::new();
    builder.write(&mut object).map_err(elf)?;
    Ok(object)
}

/// Writes a constant.
fn set(builder: &mut Builder<'_>, name: &str, value: &[u8]) -> Option<()> {
    let mut symbols = builder.symbols.iter();
    let symbol = symbols.find(|symbol| symbol.name.as_slice() == name.as_bytes())?;
    let (section, place) = (symbol.section?, symbol.st_value as usize);
    let SectionData::Data(data) = &mut builder.sections.get_mut(section).data else {
        return None;
    };
    let end = place.checked_add(value.len())?;
    data.to_mut().get_mut(place..end)?.copy_from_slice(value);
    Some(())
}
