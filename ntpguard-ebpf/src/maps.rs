//! The kernel tables, as `ntpguard_common::tables` documents them.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, lpm_trie::Key},
    macros::btf_map,
};
use ntpguard_common::{
    judge::Tables,
    reason::Counters,
    tables::{DEFAULT_TABLE_SIZE, Grant, Info},
};

const SIZE: usize = DEFAULT_TABLE_SIZE as usize;
const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
static ALLOW_V4: HashMap<[u8; 4], Grant, SIZE, NO_PREALLOC> = HashMap::new();
#[btf_map]
static ALLOW_V6: HashMap<[u8; 16], Grant, SIZE, NO_PREALLOC> = HashMap::new();
#[btf_map]
static ALLOW_NET_V4: LpmTrie<[u8; 4], Grant, SIZE> = LpmTrie::new();
#[btf_map]
static ALLOW_NET_V6: LpmTrie<[u8; 16], Grant, SIZE> = LpmTrie::new();
#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<Counters, 2> = PerCpuArray::new();
#[btf_map]
static INFO: Array<Info, 1> = Array::new();

/// The judge's view of the maps.
pub(crate) struct KernelTables;

impl Tables for KernelTables {
    #[inline(always)]
    fn grant_v4(&self, address: [u8; 4]) -> Option<Grant> {
        // SAFETY: copied at once, and nothing here inserts; entries are freed only after this
        // program's RCU section, because the map is not preallocated.
        unsafe { ALLOW_V4.get(address) }.copied()
    }

    #[inline(always)]
    fn grant_v6(&self, address: [u8; 16]) -> Option<Grant> {
        // SAFETY: as for ALLOW_V4.
        unsafe { ALLOW_V6.get(address) }.copied()
    }

    #[inline(always)]
    fn prefix_v4(&self, address: [u8; 4]) -> Option<Grant> {
        if INFO.get(0)?.prefixes_v4 == 0 {
            return None;
        }
        ALLOW_NET_V4.get(&Key::new(32, address)).copied()
    }

    #[inline(always)]
    fn prefix_v6(&self, address: [u8; 16]) -> Option<Grant> {
        if INFO.get(0)?.prefixes_v6 == 0 {
            return None;
        }
        ALLOW_NET_V6.get(&Key::new(128, address)).copied()
    }
}
