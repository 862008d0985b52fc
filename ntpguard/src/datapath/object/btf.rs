//! The types of an eBPF object (BTF, the kernel's `Documentation/bpf/btf.rst`), as far as one member has
//! to be added to some of them.

/// Words of a record before what its kind adds.
const COMMON: usize = 3;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;

/// The place of the number of elements in an array's record.
const ELEMENTS: usize = COMMON + 2;

/// libbpf's `LIBBPF_PIN_BY_NAME`.
const PIN_BY_NAME: u32 = 1;

/// Adds to the definition of every map that it is to be pinned by its name, and found again there.
/// `None` where this is no BTF of maps. Numbers of types and offsets of strings stay as they are.
pub(in crate::datapath) fn with_pinned_maps(btf: &[u8]) -> Option<Vec<u8>> {
    let header = words(btf.get(..24)?);
    let [_, header_len, type_off, type_len, str_off, str_len] = header[..] else {
        return None;
    };
    let part = |offset: u32, length: u32| {
        let start = header_len.checked_add(offset)? as usize;
        btf.get(start..start.checked_add(length as usize)?)
    };
    let mut records = records(&words(part(type_off, type_len)?))?;
    let mut strings = part(str_off, str_len)?.to_vec();

    let name = u32::try_from(strings.len()).ok()?;
    strings.extend(b"pinning\0");
    let by_name = pointer_to_array(&records, PIN_BY_NAME)?;
    for map in maps(&records, &strings)? {
        add_member(records.get_mut(map)?, name, by_name)?;
    }

    let types = records.concat();
    let type_len = u32::try_from(types.len() * 4).ok()?;
    let str_len = u32::try_from(strings.len()).ok()?;
    let header = [header[0], 24, 0, type_len, type_len, str_len];
    let mut bytes: Vec<u8> = header
        .iter()
        .chain(&types)
        .flat_map(|word| word.to_le_bytes())
        .collect();
    bytes.extend(strings);
    Some(bytes)
}

/// Little-endian, as every object that is made for this kind of machine.
fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word))
        .collect()
}

/// The types, each in words. Number 0 is no type, and has no words.
fn records(words: &[u32]) -> Option<Vec<Vec<u32>>> {
    let mut records = vec![Vec::new()];
    let mut rest = words;
    while !rest.is_empty() {
        let (kind, count) = shape(*rest.get(1)?);
        let more = match kind {
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 1,
            KIND_ARRAY => 3,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 3 * count,
            KIND_ENUM | KIND_FUNC_PROTO => 2 * count,
            _ => 0,
        };
        let (record, after) = rest.split_at_checked(COMMON + more)?;
        records.push(record.to_vec());
        rest = after;
    }
    Some(records)
}

/// The kind of a type, and how many members and the like it has.
const fn shape(info: u32) -> (u32, usize) {
    ((info >> 24) & 0x1f, (info & 0xffff) as usize)
}

fn kind(record: &[u32]) -> Option<u32> {
    record.get(1).map(|info| shape(*info).0)
}

/// A pointer to an array of so many elements: how libbpf writes a number into a type.
fn pointer_to_array(records: &[Vec<u32>], elements: u32) -> Option<u32> {
    let is_array = |number: u32| {
        let record = records.get(number as usize)?;
        Some(kind(record)? == KIND_ARRAY && *record.get(ELEMENTS)? == elements)
    };
    let place = records.iter().position(|record| {
        kind(record) == Some(KIND_PTR) && is_array(record[COMMON - 1]) == Some(true)
    })?;
    u32::try_from(place).ok()
}

/// The numbers of the types of maps: those of the variables in `.maps`, each once.
fn maps(records: &[Vec<u32>], strings: &[u8]) -> Option<Vec<usize>> {
    let section = records.iter().find(|record| {
        kind(record) == Some(KIND_DATASEC) && strings[record[0] as usize..].starts_with(b".maps\0")
    })?;
    let mut found = Vec::new();
    for variable in section[COMMON..].chunks(3) {
        let variable = records.get(variable[0] as usize)?;
        let map = *variable.get(COMMON - 1)? as usize;
        if kind(records.get(map)?)? != KIND_STRUCT {
            return None;
        }
        if !found.contains(&map) {
            found.push(map);
        }
    }
    Some(found)
}

/// Adds a member to a structure in the place of its last one, so that it grows no longer: only names
/// and types of members mean anything here.
fn add_member(structure: &mut Vec<u32>, name: u32, member: u32) -> Option<()> {
    let offset = *structure.get(COMMON..)?.last()?;
    *structure.get_mut(1)? += 1;
    structure.extend([name, member, offset]);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kind: u32, count: u32) -> u32 {
        kind << 24 | count
    }

    /// An int, an array of one, a pointer to it, a map of one member, its variable, and `.maps`.
    fn btf() -> Vec<u8> {
        let strings = b"\0type\0M\0.maps\0";
        let types = [
            vec![0, info(KIND_INT, 0), 4, 32],
            vec![0, info(KIND_ARRAY, 0), 0, 1, 1, 1],
            vec![0, info(KIND_PTR, 0), 2],
            vec![0, info(KIND_STRUCT, 1), 8, 1, 3, 0],
            vec![6, info(KIND_VAR, 0), 4, 1],
            vec![8, info(KIND_DATASEC, 1), 8, 5, 0, 8],
        ]
        .concat();
        let length = u32::try_from(types.len() * 4).unwrap();
        let header = [0x0001_eb9f, 24, 0, length, length, 14];
        let mut bytes: Vec<u8> = header
            .iter()
            .chain(&types)
            .flat_map(|word| word.to_le_bytes())
            .collect();
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn each_map_gets_a_member_and_nothing_else_changes() {
        let pinned = with_pinned_maps(&btf()).unwrap();
        let before = records(&words(&btf()[24..24 + 29 * 4])).unwrap();
        let after = records(&words(&pinned[24..24 + 32 * 4])).unwrap();
        assert_eq!(after[4], [0, info(KIND_STRUCT, 2), 8, 1, 3, 0, 14, 3, 0]);
        for number in [1, 2, 3, 5, 6] {
            assert_eq!(before[number], after[number], "{number}");
        }
        assert!(pinned.ends_with(b"\0type\0M\0.maps\0pinning\0"));
    }

    #[test]
    fn what_is_cut_off_is_no_btf() {
        let whole = btf();
        for length in 0..whole.len() {
            let cut = with_pinned_maps(&whole[..length]);
            assert!(cut.is_none(), "{length} bytes");
        }
    }
}
