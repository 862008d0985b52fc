//! Packet memory, seen through bounds checks that the verifier follows.

use core::hint::black_box;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, bpf_hdr_start_off::BPF_HDR_START_MAC, xdp_md},
    helpers::generated::{bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use ntpguard_common::wire::{
    frame::{Frame, Window},
    packet::Link,
};

use crate::settings;

/// A frame as a program is handed it.
pub(crate) trait KernelFrame: Frame {
    /// What the kernel hands over.
    type Context;

    /// The frame of a context.
    fn of(context: *mut Self::Context) -> Self;

    /// The context again.
    fn context(&self) -> *mut Self::Context;
}

/// The first buffer of an XDP frame. Drivers that know no frames in several put all of it there.
pub(crate) struct XdpFrame(pub(crate) XdpContext);

impl KernelFrame for XdpFrame {
    type Context = xdp_md;

    #[inline(always)]
    fn of(context: *mut xdp_md) -> Self {
        Self(XdpContext::new(context))
    }

    #[inline(always)]
    fn context(&self) -> *mut xdp_md {
        self.0.as_ptr().cast()
    }
}

impl Frame for XdpFrame {
    type Window<'a, const N: usize> = Linear<N>;

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<Linear<N>> {
        Linear::of(self.0.data(), self.0.data_end(), offset)
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        linear(self.0.data(), self.0.data_end(), offset)
    }

    #[inline(always)]
    fn field<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        read(self.0.data(), self.0.data_end(), offset, &mut bytes);
        bytes
    }

    #[inline(always)]
    fn mask_opaque(&self, number: usize, mask: usize) -> usize {
        // SAFETY: the context is the kernel's.
        let queue = unsafe { (*self.0.ctx).rx_queue_index };
        mixed_with(queue, number) & mask
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.0.ctx).ingress_ifindex }
    }
}

/// An XDP frame in any number of buffers, of which the first may be short or empty: mlx5 puts all of a
/// frame into the others where the MTU is large, and other drivers split it where they please.
pub(crate) struct WholeFrame(XdpFrame);

impl KernelFrame for WholeFrame {
    type Context = xdp_md;

    #[inline(always)]
    fn of(context: *mut xdp_md) -> Self {
        Self(XdpFrame::of(context))
    }

    #[inline(always)]
    fn context(&self) -> *mut xdp_md {
        self.0.context()
    }
}

impl Frame for WholeFrame {
    type Window<'a, const N: usize> = [u8; N];

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.load(offset)
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.gather(offset, &mut bytes).then_some(bytes)
    }

    #[inline(always)]
    fn field<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.gather(offset, &mut bytes);
        bytes
    }

    #[inline(always)]
    fn mask_opaque(&self, number: usize, mask: usize) -> usize {
        self.0.mask_opaque(number, mask)
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.0.interface()
    }
}

impl WholeFrame {
    /// Reads from whatever buffers the bytes are in, and says whether they are there.
    #[inline(always)]
    fn gather<const N: usize>(&self, offset: usize, bytes: &mut [u8; N]) -> bool {
        // SAFETY: the context is the kernel's, and the helper writes N bytes, or none if it fails.
        let status = unsafe {
            bpf_xdp_load_bytes(
                self.context(),
                offset as u32,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        };
        status == 0
    }
}

/// The linear part of a frame of the network stack: what is outside it is not there.
pub(crate) struct LinearFrame(pub(crate) TcContext);

impl Frame for LinearFrame {
    type Window<'a, const N: usize> = Linear<N>;

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<Linear<N>> {
        Linear::of(self.0.data(), self.0.data_end(), offset)
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        linear(self.0.data(), self.0.data_end(), offset)
    }

    #[inline(always)]
    fn field<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.load(offset).unwrap_or([0; N])
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.0.skb.skb).ifindex }
    }
}

/// A frame of the network stack, of which any part may be outside the linear one.
pub(crate) struct SkbFrame(pub(crate) TcContext);

impl Frame for SkbFrame {
    type Window<'a, const N: usize> = [u8; N];

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.load(offset)
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        linear(self.0.data(), self.0.data_end(), offset).or_else(|| {
            let mut bytes = [0; N];
            self.gather(offset, &mut bytes).then_some(bytes)
        })
    }

    #[inline(always)]
    fn field<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        if !read(self.0.data(), self.0.data_end(), offset, &mut bytes) {
            self.gather(offset, &mut bytes);
        }
        bytes
    }

    #[inline(always)]
    fn mask_opaque(&self, number: usize, mask: usize) -> usize {
        mixed_with(self.0.len(), number) & mask
    }

    /// Readable since Linux 5.7 (commit cf62089b0edd).
    #[inline(always)]
    fn is_coalesced(&self) -> bool {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.0.skb.skb).gso_size != 0 }
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.0.skb.skb).ifindex }
    }
}

impl SkbFrame {
    /// Reads what may lie in several places, and says whether it is there. Sent frames can have as
    /// little as the link header in the linear part.
    #[inline(always)]
    fn gather<const N: usize>(&self, offset: usize, bytes: &mut [u8; N]) -> bool {
        // SAFETY: the context is the kernel's, and the helper writes N bytes, zeros if it fails.
        let status = unsafe {
            bpf_skb_load_bytes(
                self.0.as_ptr(),
                offset as u32,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        };
        status == 0
    }
}

/// A frame that has just arrived in the network stack.
///
/// Behind generic XDP its data may begin after the link header: that program got a copy of the frame,
/// without the length of the header by which the kernel goes back to its start (seen with Linux
/// 6.18). So offsets count from where the kernel knows the header to be.
pub(crate) struct ArrivedFrame(pub(crate) SkbFrame);

impl Frame for ArrivedFrame {
    type Window<'a, const N: usize> = [u8; N];

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.load(offset)
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if settings::link() == Link::RawIp {
            return self.0.load(offset);
        }
        let mut bytes = [0; N];
        self.read(offset, &mut bytes).then_some(bytes)
    }

    #[inline(always)]
    fn field<const N: usize>(&self, offset: usize) -> [u8; N] {
        if settings::link() == Link::RawIp {
            return self.0.field(offset);
        }
        let mut bytes = [0; N];
        self.read(offset, &mut bytes);
        bytes
    }

    #[inline(always)]
    fn mask_opaque(&self, number: usize, mask: usize) -> usize {
        self.0.mask_opaque(number, mask)
    }

    #[inline(always)]
    fn is_coalesced(&self) -> bool {
        self.0.is_coalesced()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.0.interface()
    }
}

impl KernelFrame for ArrivedFrame {
    type Context = __sk_buff;

    #[inline(always)]
    fn of(context: *mut __sk_buff) -> Self {
        Self(SkbFrame(TcContext::new(context)))
    }

    #[inline(always)]
    fn context(&self) -> *mut __sk_buff {
        self.0.0.as_ptr().cast()
    }
}

impl ArrivedFrame {
    /// Reads `offset` bytes after the start of the link header, and says whether that is there.
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize, bytes: &mut [u8; N]) -> bool {
        // SAFETY: the context is the kernel's, and the helper writes N bytes, zeros if it fails.
        let status = unsafe {
            bpf_skb_load_bytes_relative(
                self.0.0.as_ptr(),
                offset as u32,
                bytes.as_mut_ptr().cast(),
                N as u32,
                BPF_HDR_START_MAC,
            )
        };
        // It finds the linear part alone.
        status == 0 || self.0.gather(offset, bytes)
    }
}

/// Changes a number by one that the verifier cannot know and back, so that nothing is known of it any
/// more. Not by the compiler either, which would mask the parts of the sum, and older verifiers know no
/// bounds of those together.
#[inline(always)]
fn mixed_with(unknown: u32, number: usize) -> usize {
    let unknown = unknown as usize;
    black_box(number ^ unknown) ^ unknown
}

/// Bytes in one piece of packet memory, which were found to be before its end.
pub(crate) struct Linear<const N: usize> {
    start: usize,
}

impl<const N: usize> Linear<N> {
    /// Looks `offset` bytes from the start of memory between two addresses.
    #[inline(always)]
    fn of(data: usize, data_end: usize, offset: usize) -> Option<Self> {
        let start = data + offset;
        // Of one byte LLVM makes `start >= end`, which tells the verifier nothing where `start` is all
        // that it has seen of the packet (find_good_pkt_pointers in kernel/bpf/verifier.c).
        let end = if N == 1 {
            black_box(start + N)
        } else {
            start + N
        };
        if end > data_end {
            return None;
        }
        Some(Self { start })
    }
}

impl<const N: usize> Window for Linear<N> {
    #[inline(always)]
    fn bytes<const SIZE: usize>(&self, offset: usize) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        if offset + SIZE > N {
            return bytes;
        }
        let start = self.start + offset;
        // Of a byte array the compiler would load every byte alone, which makes the program a
        // quarter longer.
        if SIZE.is_multiple_of(4) {
            copy::<u32, 4>(start, &mut bytes, u32::to_ne_bytes);
        } else if SIZE.is_multiple_of(2) {
            copy::<u16, 2>(start, &mut bytes, u16::to_ne_bytes);
        } else {
            copy::<u8, 1>(start, &mut bytes, u8::to_ne_bytes);
        }
        bytes
    }
}

/// As [`read`], for callers that do not know whether the bytes are there.
#[inline(always)]
fn linear<const N: usize>(data: usize, data_end: usize, offset: usize) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if read(data, data_end, offset, &mut bytes) {
        Some(bytes)
    } else {
        None
    }
}

/// Reads from memory between two addresses, `offset` bytes from the first, and says whether it is
/// there.
#[inline(always)]
fn read<const N: usize>(data: usize, data_end: usize, offset: usize, bytes: &mut [u8; N]) -> bool {
    let Some(window) = Linear::<N>::of(data, data_end, offset) else {
        return false;
    };
    *bytes = window.bytes(0);
    true
}

/// Copies packet memory from `start` word by word. It must hold as many bytes as `bytes`.
#[inline(always)]
fn copy<Word: Copy, const SIZE: usize>(
    start: usize,
    bytes: &mut [u8],
    to_ne_bytes: impl Fn(Word) -> [u8; SIZE],
) {
    for at in (0..bytes.len()).step_by(SIZE) {
        // SAFETY: the caller checked that the bytes lie before the end of the packet. Drivers
        // place frames so that the IP header is aligned (NET_IP_ALIGN) or the CPU does not mind,
        // and the verifier refuses the load where neither holds.
        let word = unsafe { *((start + at) as *const Word) };
        bytes[at..at + SIZE].copy_from_slice(&to_ne_bytes(word));
    }
}
