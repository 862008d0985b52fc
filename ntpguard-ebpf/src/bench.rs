//! What the guard is measured with and against: programs that judge nothing, one that sends, and
//! some that hand each packet on with another source or token. No part of the guard itself.

#![no_std]
#![no_main]
#![expect(
    clippy::needless_pass_by_value,
    reason = "aya's macros hand a context over"
)]

use aya_ebpf::{
    Global,
    bindings::{
        BPF_ANY, TC_ACT_SHOT, TC_ACT_UNSPEC,
        xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX},
    },
    btf_maps::{Array, LruHashMap, PerCpuArray, ProgramArray},
    helpers::bpf_get_prandom_u32,
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};
use ntpguard_common::{
    maps::{
        prefilter::GrantBits,
        requests::{Request, Sent},
        tables::REQUESTS_SIZE,
    },
    wire::ntp,
};

/// How many sources there are; 0 leaves the frame's own.
#[unsafe(no_mangle)]
static SOURCES: Global<u32> = Global::new(0);

/// Where the last 32 bits of the source address are, in bytes from the start of the frame.
#[unsafe(no_mangle)]
static ADDRESS_AT: Global<u32> = Global::new(0);

/// Where the checksum over them is: IPv4's own, or UDP's over IPv6.
#[unsafe(no_mangle)]
static CHECKSUM_AT: Global<u32> = Global::new(0);

/// Those 32 bits of the first source, in host order; the others follow it.
#[unsafe(no_mangle)]
static FIRST_SOURCE: Global<u32> = Global::new(0);

/// Where the last 32 bits of the token are by which request and reply know each other.
#[unsafe(no_mangle)]
static TOKEN_AT: Global<u32> = Global::new(0);

/// The number that the next packet's token gets.
#[btf_map]
static NUMBER: Array<u32, 1> = Array::new();

/// What one bit is looked up in, and where packets are counted: as the guard's own.
#[btf_map]
static KNOWN: Array<GrantBits, 1> = Array::new();
#[btf_map]
static COUNTED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Tables like the guard's own of open requests.
#[btf_map]
static OPEN_V4: Open<[u8; 4]> = Open::new();
#[btf_map]
static OPEN_V6: Open<[u8; 16]> = Open::new();

type Open<A> = LruHashMap<Request<A>, Sent, { REQUESTS_SIZE as usize }>;

/// The program under test, in slot 0.
#[btf_map]
static NEXT: ProgramArray<1> = ProgramArray::new();

/// The floor: what a packet costs without any work.
#[xdp(frags)]
fn pass(_context: XdpContext) -> u32 {
    XDP_PASS
}

/// The ceiling: no filter can take more.
#[xdp(frags)]
fn refuse(_context: XdpContext) -> u32 {
    XDP_DROP
}

/// The least that a filter of NTP can do: it finds the ports of UDP over IPv4, without tags or
/// options, and drops by them.
#[xdp(frags)]
fn ports(context: XdpContext) -> u32 {
    match stranger(&context) {
        Some(_) => XDP_DROP,
        None => XDP_PASS,
    }
}

/// The least that one can do which knows addresses and counts: it looks at one bit beside that, and adds
/// to one counter.
#[xdp(frags)]
fn known(context: XdpContext) -> u32 {
    let Some(source) = stranger(&context) else {
        return XDP_PASS;
    };
    let Some(known) = KNOWN.get(0) else {
        return XDP_ABORTED;
    };
    if known.may_hold(source) {
        return XDP_PASS;
    }
    let Some(counted) = COUNTED.get_ptr_mut(0) else {
        return XDP_ABORTED;
    };
    // SAFETY: no other CPU writes this CPU's copy.
    unsafe { *counted += 1 };
    XDP_DROP
}

/// The source of a packet that has port 123 on both sides.
#[inline(always)]
fn stranger(context: &XdpContext) -> Option<[u8; 4]> {
    const IPV4: u16 = 0x0800_u16.to_be();
    const UDP: u8 = 17;
    const PORT: u16 = ntp::PORT.to_be();
    let header = context.data() as *const Headers;
    if context.data() + size_of::<Headers>() > context.data_end() {
        return None;
    }
    // SAFETY: it lies within the frame, as checked, which is aligned as its type wants it.
    let header = unsafe { &*header };
    let is_udp =
        header.ether_type == IPV4 && header.version_and_length == 0x45 && header.protocol == UDP;
    (is_udp && header.source_port == PORT && header.destination_port == PORT)
        .then_some(header.source)
}

/// The fields in network order.
#[repr(C, packed(2))]
struct Headers {
    macs: [u8; 12],
    ether_type: u16,
    version_and_length: u8,
    before: [u8; 8],
    protocol: u8,
    checksum: u16,
    source: [u8; 4],
    destination: [u8; 4],
    source_port: u16,
    destination_port: u16,
}

/// Sends the frame out of the interface it is said to have come from, each from another source.
#[xdp]
fn transmit(context: XdpContext) -> u32 {
    match change_source(&context) {
        Some(()) => XDP_TX,
        None => XDP_ABORTED,
    }
}

/// Hands the frame to the program under test, each from another source.
#[xdp(frags)]
fn scatter(context: XdpContext) -> u32 {
    if change_source(&context).is_some() {
        // SAFETY: nothing here is left to be dropped.
        unsafe { NEXT.tail_call(&context, 0) };
    }
    XDP_ABORTED
}

/// What a packet that leaves costs without any work.
#[classifier]
fn pass_out(_context: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Hands the frame to the program under test, each with another token.
#[xdp(frags)]
fn number(context: XdpContext) -> u32 {
    if change_token(context.data(), context.data_end()).is_some() {
        // SAFETY: nothing here is left to be dropped.
        unsafe { NEXT.tail_call(&context, 0) };
    }
    XDP_ABORTED
}

/// The same with a frame that leaves.
#[classifier]
fn number_out(context: TcContext) -> i32 {
    if change_token(context.data(), context.data_end()).is_some() {
        // SAFETY: nothing here is left to be dropped.
        unsafe { NEXT.tail_call(&context, 0) };
    }
    TC_ACT_SHOT
}

/// The kernel's own part of tracking a request: an insertion.
#[classifier]
fn insert_v4(context: TcContext) -> i32 {
    insert(&context, &OPEN_V4, [1; 4])
}

/// The same of a request over IPv6.
#[classifier]
fn insert_v6(context: TcContext) -> i32 {
    insert(&context, &OPEN_V6, [1; 16])
}

/// The kernel's own part of admitting a reply: a look-up and a deletion.
#[xdp(frags)]
fn take_v4(context: XdpContext) -> u32 {
    take(&context, &OPEN_V4, [1; 4])
}

/// The same of a reply over IPv6.
#[xdp(frags)]
fn take_v6(context: XdpContext) -> u32 {
    take(&context, &OPEN_V6, [1; 16])
}

#[inline(always)]
fn insert<A: Copy>(context: &TcContext, open: &Open<A>, host: A) -> i32 {
    if let Some(request) = request(context.data(), context.data_end(), host) {
        let _inserted = open.insert(request, Sent::default(), BPF_ANY.into());
    }
    TC_ACT_UNSPEC
}

#[inline(always)]
fn take<A: Copy>(context: &XdpContext, open: &Open<A>, host: A) -> u32 {
    if let Some(request) = request(context.data(), context.data_end(), host)
        && open.get_ptr(request).is_some()
        && open.remove(request).is_ok()
    {
        return XDP_PASS;
    }
    XDP_ABORTED
}

/// The request that the frame's token stands for.
#[inline(always)]
fn request<A: Copy>(start: usize, end: usize, host: A) -> Option<Request<A>> {
    let token = bytes_at(start, end, TOKEN_AT.load())?;
    // SAFETY: it lies within the frame, as checked, and a byte array needs no alignment.
    let [a, b, c, d] = unsafe { *token };
    Some(Request {
        server: host,
        local: host,
        server_port: ntp::PORT,
        local_port: ntp::PORT,
        token: [0, 0, 0, 0, a, b, c, d],
    })
}

/// Gives the frame the next token. No checksum is mended: the guard leaves that to the stack.
#[inline(always)]
fn change_token(start: usize, end: usize) -> Option<()> {
    let token = bytes_at(start, end, TOKEN_AT.load())?;
    let number = NUMBER.get_ptr_mut(0)?;
    // SAFETY: the token lies within the frame, as checked, and a byte array needs no alignment; the
    // number is the map's, and one packet at a time is measured.
    unsafe {
        *token = (*number).to_be_bytes();
        *number += 1;
    }
    Some(())
}

/// Gives the frame one of the sources at random and mends the checksum, as the frame may carry any
/// of them from its last round.
#[inline(always)]
fn change_source(context: &XdpContext) -> Option<()> {
    let sources = SOURCES.load();
    if sources == 0 {
        return Some(());
    }
    let (start, end) = (context.data(), context.data_end());
    let address = bytes_at(start, end, ADDRESS_AT.load())?;
    let checksum = bytes_at(start, end, CHECKSUM_AT.load())?;
    // SAFETY: the helper takes nothing.
    let random = u64::from(unsafe { bpf_get_prandom_u32() });
    let number = ((random * u64::from(sources)) >> 32) as u32;
    let new = FIRST_SOURCE.load().wrapping_add(number).to_be_bytes();
    // SAFETY: both lie within the frame, as checked, and a byte array needs no alignment.
    unsafe {
        let sum = mended(*checksum.cast(), *address, new);
        *checksum.cast() = sum;
        *address = new;
    }
    Some(())
}

/// Four bytes of the frame. Of a checksum only the first two are used; its header goes on.
#[inline(always)]
fn bytes_at(start: usize, end: usize, at: u32) -> Option<*mut [u8; 4]> {
    let at = start + at as usize;
    if at + 4 > end {
        return None;
    }
    Some(at as *mut [u8; 4])
}

/// RFC 1624, equation 3: HC' = ~(~HC + ~m + m').
#[inline(always)]
fn mended(checksum: [u8; 2], old: [u8; 4], new: [u8; 4]) -> [u8; 2] {
    let mut sum = u32::from(!u16::from_be_bytes(checksum));
    for at in [0, 2] {
        sum += u32::from(!u16::from_be_bytes([old[at], old[at + 1]]));
        sum += u32::from(u16::from_be_bytes([new[at], new[at + 1]]));
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_be_bytes()
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// As the guard's own.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
