//! The kernel tables, as `ntpguard_common::maps::tables` documents them.

use core::{arch::asm, ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::{
        Array, HashMap, LpmTrie, LruHashMap, LruPerCpuHashMap, PerCpuArray, RingBuf, lpm_trie::Key,
    },
    helpers::bpf_map_lookup_elem,
    macros::btf_map,
};
use ntpguard_common::{
    clock::Clocks,
    events::EVENTS_SIZE,
    maps::{
        endpoint::{CustomPorts, Endpoint, Ports},
        lookup::{Sender, TablesOf, TrackerOf},
        prefilter::{AskedMarks, GrantBits},
        rates::{Bucket, Moment, Moments, RATES_SIZE, Rates},
        received::{LastReceived, PLACES, Received},
        refusals::{Cause, REFUSALS_SIZE, Refusals},
        requests::{Learned, Request, Requests, Sent, Server, UngrantedKey, UngrantedStats},
        tables::{
            ALLOW_ENDPOINT_SIZE, DEFAULT_TABLE_SIZE, Grant, Info, REQUESTS_SIZE, SERVERS_SIZE,
            TRUSTED_CGROUPS_SIZE, UNGRANTED_SIZE,
        },
        trusted::{TrustedCgroup, TrustedUid},
    },
    reason::Counters,
    wire::{address::Address, link_local},
};

use self::servers::refusals_of;
pub(crate) use self::servers::{remember_ungranted, server, was_asked};
use crate::settings;

mod servers;
pub(crate) mod trusted;

const SIZE: usize = DEFAULT_TABLE_SIZE as usize;
const ELSEWHERE_KNOWN: usize = ALLOW_ENDPOINT_SIZE as usize;
const REQUESTS_OPEN: usize = REQUESTS_SIZE as usize;
const SERVERS_KNOWN: usize = SERVERS_SIZE as usize;
const REFUSALS_KEPT: usize = REFUSALS_SIZE as usize;
const RECEIVED_KEPT: usize = PLACES as usize;
const TRUSTED_CGROUPS_KNOWN: usize = TRUSTED_CGROUPS_SIZE as usize;
const UNGRANTED_KNOWN: usize = UNGRANTED_SIZE as usize;
const BUCKETS: usize = RATES_SIZE as usize;
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
static ALLOW_ENDPOINT: HashMap<Endpoint, Grant, ELSEWHERE_KNOWN, NO_PREALLOC> = HashMap::new();
#[btf_map]
static PORT_BITS: Array<Ports, 1> = Array::new();
#[btf_map]
static GRANT_BITS: Array<GrantBits, 1> = Array::new();
#[btf_map]
static ASKED_MARKS: Array<AskedMarks, 1> = Array::new();
#[btf_map]
static TRUSTED_V4: LruHashMap<Request<[u8; 4]>, Sent, REQUESTS_OPEN> = LruHashMap::new();
#[btf_map]
static TRUSTED_V6: LruHashMap<Request<[u8; 16]>, Sent, REQUESTS_OPEN> = LruHashMap::new();
#[btf_map]
static ASKED_V4: LruHashMap<Request<[u8; 4]>, Sent, REQUESTS_OPEN> = LruHashMap::new();
#[btf_map]
static ASKED_V6: LruHashMap<Request<[u8; 16]>, Sent, REQUESTS_OPEN> = LruHashMap::new();
#[btf_map]
static LEARNED_V4: LruHashMap<[u8; 4], Learned, SERVERS_KNOWN> = LruHashMap::new();
#[btf_map]
static LEARNED_V6: LruHashMap<[u8; 16], Learned, SERVERS_KNOWN> = LruHashMap::new();
#[btf_map]
static SERVERS: LruHashMap<[u8; 16], Server, SERVERS_KNOWN> = LruHashMap::new();
#[btf_map]
static REFUSALS: LruPerCpuHashMap<[u8; 16], Refusals, REFUSALS_KEPT> = LruPerCpuHashMap::new();
#[btf_map]
static RECEIVED: Array<LastReceived, RECEIVED_KEPT> = Array::new();
#[btf_map]
static TRUSTED_CGROUPS: HashMap<u64, TrustedCgroup, TRUSTED_CGROUPS_KNOWN, NO_PREALLOC> =
    HashMap::new();
#[btf_map]
static TRUSTED_UIDS: HashMap<u32, TrustedUid, TRUSTED_CGROUPS_KNOWN, NO_PREALLOC> = HashMap::new();
#[btf_map]
static REQUESTS: PerCpuArray<Requests, 1> = PerCpuArray::new();
#[btf_map]
static UNGRANTED: LruHashMap<UngrantedKey, UngrantedStats, UNGRANTED_KNOWN> = LruHashMap::new();
#[btf_map]
static RATES: Array<Bucket, BUCKETS> = Array::new();
#[btf_map]
static COUNTERS: PerCpuArray<Counters, 2> = PerCpuArray::new();
/// Of [`Event`](ntpguard_common::events::Event)s: libbpf refuses a ring buffer of a type that has a size.
#[btf_map]
pub(crate) static EVENTS: RingBuf<(), EVENTS_SIZE> = RingBuf::new();
#[btf_map]
static INFO: Array<Info, 1> = Array::new();

/// The judge's view of the maps.
pub(crate) struct KernelTables;

/// An address, and the maps of its family.
pub(crate) trait InMaps: Address + 'static {
    /// Bits in the address.
    const BITS: u32;

    fn grants() -> &'static HashMap<Self, Grant, SIZE, NO_PREALLOC>;
    fn prefixes() -> &'static LpmTrie<Self, Grant, SIZE>;
    fn prefix_count(info: &Info) -> u32;
    fn requests(sender: Sender) -> &'static LruHashMap<Request<Self>, Sent, REQUESTS_OPEN>;
    fn learned() -> &'static LruHashMap<Self, Learned, SERVERS_KNOWN>;
}

impl InMaps for [u8; 4] {
    const BITS: u32 = 32;

    #[inline(always)]
    fn grants() -> &'static HashMap<Self, Grant, SIZE, NO_PREALLOC> {
        &ALLOW_V4
    }

    #[inline(always)]
    fn prefixes() -> &'static LpmTrie<Self, Grant, SIZE> {
        &ALLOW_NET_V4
    }

    #[inline(always)]
    fn prefix_count(info: &Info) -> u32 {
        info.prefixes_v4
    }

    #[inline(always)]
    fn requests(sender: Sender) -> &'static LruHashMap<Request<Self>, Sent, REQUESTS_OPEN> {
        match sender {
            Sender::Trusted => &TRUSTED_V4,
            Sender::Other => &ASKED_V4,
        }
    }

    #[inline(always)]
    fn learned() -> &'static LruHashMap<Self, Learned, SERVERS_KNOWN> {
        &LEARNED_V4
    }
}

impl InMaps for [u8; 16] {
    const BITS: u32 = 128;

    #[inline(always)]
    fn grants() -> &'static HashMap<Self, Grant, SIZE, NO_PREALLOC> {
        &ALLOW_V6
    }

    #[inline(always)]
    fn prefixes() -> &'static LpmTrie<Self, Grant, SIZE> {
        &ALLOW_NET_V6
    }

    #[inline(always)]
    fn prefix_count(info: &Info) -> u32 {
        info.prefixes_v6
    }

    #[inline(always)]
    fn requests(sender: Sender) -> &'static LruHashMap<Request<Self>, Sent, REQUESTS_OPEN> {
        match sender {
            Sender::Trusted => &TRUSTED_V6,
            Sender::Other => &ASKED_V6,
        }
    }

    #[inline(always)]
    fn learned() -> &'static LruHashMap<Self, Learned, SERVERS_KNOWN> {
        &LEARNED_V6
    }
}

impl CustomPorts for KernelTables {
    #[inline(always)]
    fn has_custom_ports(&self) -> bool {
        settings::looks_at_other_ports()
    }

    #[inline(always)]
    fn may_be_asked_at(&self, port: u16) -> bool {
        self.has_custom_ports() && only(&PORT_BITS).is_none_or(|ports| ports.has(port))
    }

    #[inline(always)]
    fn grant_at(&self, server: Endpoint, interface: u32) -> Option<Grant> {
        let look = |key: &Endpoint| {
            // SAFETY: as for the grant of an address.
            unsafe { ALLOW_ENDPOINT.get(key) }
        };
        link_local::look_up(server, interface, look).copied()
    }
}

impl<A: InMaps> TablesOf<A> for KernelTables {
    #[inline(always)]
    fn may_grant(&self, address: A) -> bool {
        only(&GRANT_BITS).is_none_or(|bits| bits.may_hold(address))
    }

    #[inline(always)]
    fn may_trust(&self, server: A) -> bool {
        only(&ASKED_MARKS).is_none_or(|marks| marks.has(server))
    }

    #[inline(always)]
    fn has_always_denied(&self) -> bool {
        only(&INFO).is_none_or(|info| info.bans != 0)
    }

    #[inline(always)]
    fn grant(&self, address: A, interface: u32) -> Option<Grant> {
        let look = |key: &A| {
            // SAFETY: copied at once, and nothing here inserts; entries are freed only after this
            // program's RCU section, because the map is not preallocated.
            unsafe { A::grants().get(key) }
        };
        link_local::look_up(address, interface, look).copied()
    }

    #[inline(always)]
    fn prefix(&self, address: A) -> Option<Grant> {
        if A::prefix_count(only(&INFO)?) == 0 {
            return None;
        }
        A::prefixes().get(&Key::new(A::BITS, address)).copied()
    }

    #[inline(always)]
    fn request(&self, sender: Sender, request: &Request<A>) -> Option<Sent> {
        // SAFETY: copied at once. The entry may be recycled for another request while it is;
        // taking it decides, and that goes by the key.
        unsafe { A::requests(sender).get(request) }.copied()
    }

    #[inline(always)]
    fn take(&self, sender: Sender, request: &Request<A>) -> bool {
        A::requests(sender).remove(request).is_ok()
    }

    #[inline(always)]
    fn last_asked(&self, server: A) -> Option<u64> {
        // SAFETY: copied at once; this is for telling reasons apart.
        let learned = unsafe { A::learned().get(server) }.map(|server| server.last);
        // SAFETY: as for what is learned.
        let asked = unsafe { SERVERS.get(server.mapped()) }.map(|server| server.asked);
        learned.max(asked)
    }

    #[inline(always)]
    fn keep(&self, received: Received) {
        if let Some(kept) = RECEIVED.get_ptr_mut(received.place()) {
            // SAFETY: the element is the map's for good. Of two CPUs that write it one may be lost, as
            // if it had been driven out.
            unsafe { &mut *kept }.add(received);
        }
    }

    #[inline(always)]
    fn was_given(&self, received: Received) -> bool {
        RECEIVED
            .get(received.place())
            .is_some_and(|kept| kept.has(received))
    }

    #[inline(always)]
    fn warm_until(&self) -> u64 {
        only(&INFO).map_or(0, |info| info.warm_until)
    }

    #[inline(always)]
    fn count_refused(&self, server: A, interface: u32, cause: Cause) {
        let Some(refusals) = refusals_of(server, interface) else {
            return;
        };
        let slot = cause as usize % Refusals::SLOTS;
        // SAFETY: Refusals is SLOTS u64 in a row, checked where it is defined, and `slot` is below that.
        // No other CPU writes this CPU's copy, and programs on one CPU do not interleave.
        unsafe { *refusals.cast::<u64>().add(slot) += 1 };
    }

    #[inline(always)]
    fn charge<C: Clocks>(&self, client: A, clocks: &C, rates: &Rates) -> bool {
        rates.admit(client.client(), clocks, |number| {
            let bucket = RATES.get_ptr_mut(number)?;
            Some(Moments {
                // SAFETY: the element is the map's for good.
                full_at: Shared(unsafe { &raw mut (*bucket).full_at }),
                // SAFETY: as for the former.
                beyond_full_at: Shared(unsafe { &raw mut (*bucket).beyond_full_at }),
            })
        })
    }
}

/// A moment in the value of a map, which every CPU may change.
struct Shared(*mut u64);

impl Moment for Shared {
    #[inline(always)]
    fn get(&self) -> u64 {
        // SAFETY: it is aligned, and of a map whose elements stay; a word is read whole.
        unsafe { self.0.read_volatile() }
    }

    #[inline(always)]
    fn set(&self, to: u64) {
        // SAFETY: as for reading.
        unsafe { self.0.write_volatile(to) };
    }

    #[inline(always)]
    fn advance(&self, by: u64) {
        // SAFETY: as for reading. This is BPF_XADD, which every kernel has; the target's own atomics
        // are those that give back what was there before (Linux 5.12).
        unsafe {
            asm!(
                "lock *(u64 *)({to} + 0) += {by}",
                to = in(reg) self.0,
                by = in(reg) by,
                options(nostack),
            );
        }
    }
}

impl<A: InMaps> TrackerOf<A> for KernelTables {
    #[inline(always)]
    fn track(&self, sender: Sender, request: &Request<A>, sent: &Sent) {
        // An LRU map has room for every request, and there is nothing to do about another failure:
        // the reply is dropped, and the daemon asks again.
        let _noted = A::requests(sender).insert(request, sent, BPF_ANY.into());
    }

    #[inline(always)]
    fn learn(&self, server: A, now: u64) {
        mark(server);
        if let Some(learned) = A::learned().get_ptr_mut(server) {
            // SAFETY: the entry is the map's until the program ends; of two CPUs that write it the
            // last one stands.
            let learned: &mut Learned = unsafe { &mut *learned };
            learned.last = now;
            learned.count += 1;
            return;
        }
        let first = Learned {
            first: now,
            last: now,
            count: 1,
        };
        // For display; the next request makes up for a failure.
        let _learned = A::learned().insert(server, first, BPF_NOEXIST.into());
    }

    #[inline(always)]
    fn asked(&self, server: A, now: u64) {
        let server = server.mapped();
        if let Some(entry) = SERVERS.get_ptr_mut(server) {
            // SAFETY: as for what is learned.
            unsafe { (*entry).asked = now };
            return;
        }
        let asked = Server {
            asked: now,
            ..Server::default()
        };
        // As for what is learned.
        let _asked = SERVERS.insert(server, asked, BPF_NOEXIST.into());
    }
}

/// This CPU's counters of the mode in force.
#[inline(always)]
pub(crate) fn counters() -> Option<*mut Counters> {
    let counters: *mut Counters = lookup(ptr::from_ref(&COUNTERS).cast(), settings::mode_key());
    (!counters.is_null()).then_some(counters)
}

/// The time that whoever runs the program says it is.
#[inline(always)]
pub(crate) fn given_clock() -> u64 {
    only(&INFO).map_or(0, |info| info.clock)
}

/// The one element of an array.
#[inline(always)]
fn only<T>(array: &Array<T, 1>) -> Option<&T> {
    static FIRST: u32 = 0;
    // SAFETY: an element of this array is a T, and there as long as the program.
    unsafe { lookup::<T>(ptr::from_ref(array).cast(), &FIRST).as_ref() }
}

/// Looks up by a key that nothing writes. Any other would have to be put on the stack first, and packets
/// of a flood have little else to do.
#[inline(always)]
fn lookup<T>(array: *const c_void, key: &'static u32) -> *mut T {
    // SAFETY: the callers' arrays are maps with such keys.
    unsafe { bpf_map_lookup_elem(array.cast_mut(), ptr::from_ref(key).cast()) }.cast()
}

#[inline(always)]
fn mark<A: Address>(server: A) {
    let Some(marks) = ASKED_MARKS.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the value is the map's, as large as its type, and a byte is written whole.
    let mark = unsafe { &mut (*marks).marks[AskedMarks::of(server) % AskedMarks::COUNT] };
    // Written once, so that CPUs do not take the line from each other.
    if *mark == 0 {
        *mark = 1;
    }
}

/// Counts an outbound request.
#[inline(always)]
pub(crate) fn count_request(count: impl Fn(&mut Requests)) {
    if let Some(requests) = REQUESTS.get_ptr_mut(0) {
        // SAFETY: no other CPU writes this CPU's copy. A packet that leaves in an interrupt may
        // come in between, and then one of the two is not counted.
        count(unsafe { &mut *requests });
    }
}
