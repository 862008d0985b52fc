//! Packet memory, seen through bounds checks that the verifier follows.

use aya_ebpf::programs::XdpContext;
use ntpguard_common::frame::Frame;

/// The first buffer of an XDP frame, which holds all the headers.
pub(crate) struct XdpFrame(pub(crate) XdpContext);

impl Frame for XdpFrame {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let start = self.0.data() + offset;
        if start + N > self.0.data_end() {
            return None;
        }
        let mut bytes = [0; N];
        // Of a byte array the compiler would load every byte alone, which makes the program a
        // quarter longer.
        if N.is_multiple_of(4) {
            copy::<u32, 4>(start, &mut bytes, u32::to_ne_bytes);
        } else if N.is_multiple_of(2) {
            copy::<u16, 2>(start, &mut bytes, u16::to_ne_bytes);
        } else {
            copy::<u8, 1>(start, &mut bytes, u8::to_ne_bytes);
        }
        Some(bytes)
    }
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
