//! What is written down of servers, for people to look at.

use core::hint::black_box;

use aya_ebpf::bindings::BPF_NOEXIST;
use ntpguard_common::maps::{
    lookup::TablesOf as _,
    refusals::{Refusals, is_server},
    requests::{Server, UngrantedKey, UngrantedStats},
};

use super::{InMaps, KernelTables, REFUSALS, SERVERS, UNGRANTED};

/// A server before it has said anything; not on the stack, which has no room for it.
static UNHEARD: Server = Server {
    asked: 0,
    last: 0,
    count: 0,
    kissed: 0,
    kiss: [0; 4],
    refid: [0; 4],
    leap: 0,
    version: 0,
    stratum: 0,
    poll: 0,
    reserved: 0,
};

/// What a server last said, made where nothing is known of it yet.
#[inline(always)]
pub(crate) fn server(address: [u8; 16]) -> Option<*mut Server> {
    if let Some(entry) = SERVERS.get_ptr_mut(address) {
        return Some(entry);
    }
    // For display; the next reply makes up for a failure.
    #[expect(
        clippy::needless_borrows_for_generic_args,
        reason = "by value it would be copied to the stack"
    )]
    let _made = SERVERS.insert(address, &UNHEARD, BPF_NOEXIST.into());
    SERVERS.get_ptr_mut(address)
}

/// No refusals yet.
static NONE_REFUSED: Refusals = Refusals::NONE;

/// Whether a server was sent a request that was tracked. One look-up after the other, by times: of two
/// pointers the compiler would ask whether either is one, which the verifier refuses.
#[inline(always)]
pub(crate) fn was_asked<A: InMaps>(server: A) -> bool {
    // SAFETY: copied at once; this is for telling servers from others.
    let learned = unsafe { A::learned().get(server) }.map_or(0, |server| server.last);
    if black_box(learned) != 0 {
        return true;
    }
    // SAFETY: as for what is learned.
    let asked = unsafe { SERVERS.get(server.mapped()) }.map_or(0, |server| server.asked);
    black_box(asked) != 0
}

/// This CPU's refusals of a server; of any other address there are none, so that forged ones drive no
/// server's out.
#[inline(always)]
pub(super) fn refusals_of<A: InMaps>(server: A, interface: u32) -> Option<*mut Refusals> {
    let (key, none) = (&server.mapped(), &NONE_REFUSED);
    if let Some(refusals) = REFUSALS.get_ptr_mut(key) {
        return Some(refusals);
    }
    let grant = KernelTables.grant(server, interface);
    if !grant.is_some_and(|grant| is_server(&grant)) && !was_asked(server) {
        return None;
    }
    // As for what a server says.
    let _made = REFUSALS.insert(key, none, BPF_NOEXIST.into());
    REFUSALS.get_ptr_mut(key)
}

/// Remembers a request to a server that nobody granted.
#[inline(always)]
pub(crate) fn remember_ungranted(key: &UngrantedKey, now: u64, process: impl Fn() -> [u8; 16]) {
    if let Some(entry) = UNGRANTED.get_ptr_mut(key) {
        // SAFETY: as for what is learned.
        let entry: &mut UngrantedStats = unsafe { &mut *entry };
        entry.last = now;
        entry.count += 1;
        return;
    }
    let first = UngrantedStats {
        last: now,
        count: 1,
        process: process(),
    };
    // For display; the next request makes up for a failure.
    let _remembered = UNGRANTED.insert(key, first, BPF_NOEXIST.into());
}
