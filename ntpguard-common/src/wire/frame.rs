//! Bounds-checked reads of a packet.

/// A frame as it came from the link.
///
/// The kernel's frames read packet memory; a byte slice is a frame for everything else.
pub trait Frame {
    /// `N` bytes of the frame that are there.
    type Window<'a, const N: usize>: Window
    where
        Self: 'a;

    /// Looks whether `N` bytes are there from `offset` bytes into the frame, and reads none of them
    /// yet.
    fn window<const N: usize>(&self, offset: usize) -> Option<Self::Window<'_, N>>;

    /// Copies `N` bytes from `offset` bytes into the frame; `None` where they are not all there.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Copies `N` bytes of a header that was found to be all there; zeros where it is not. Without
    /// an [`Option`] around them, the compiler moves them by words.
    fn field<const N: usize>(&self, offset: usize) -> [u8; N];

    /// Gives a number back, which is within `mask`. The kernel's frames do it such that the verifier
    /// forgets all else about it, and checks what follows once instead of for each number.
    #[inline(always)]
    fn mask_opaque(&self, number: usize, mask: usize) -> usize {
        number & mask
    }

    /// The index of the interface that the frame is on. Asked only where it matters.
    fn interface(&self) -> u32;

    /// Whether this is several datagrams in one buffer, of which only the first can be read (generic
    /// segmentation offload). Only the network stack has those.
    #[inline(always)]
    fn is_coalesced(&self) -> bool {
        false
    }

    /// Reads a big-endian 16-bit number.
    #[inline(always)]
    fn load_u16(&self, offset: usize) -> Option<u16> {
        self.load(offset).map(u16::from_be_bytes)
    }

    /// Reads one byte.
    #[inline(always)]
    fn load_u8(&self, offset: usize) -> Option<u8> {
        self.load::<1>(offset).map(|[byte]| byte)
    }
}

/// Bytes that were found to be there, each to be read where it lies and as wide as it is.
pub trait Window {
    /// Copies `N` bytes from `offset` bytes into the window; zeros where that is not inside.
    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N];

    /// Reads one byte.
    #[inline(always)]
    fn byte(&self, offset: usize) -> u8 {
        let [byte] = self.bytes(offset);
        byte
    }

    /// Reads a big-endian 16-bit number.
    #[inline(always)]
    fn number(&self, offset: usize) -> u16 {
        u16::from_be_bytes(self.bytes(offset))
    }
}

impl<const SIZE: usize> Window for [u8; SIZE] {
    #[inline(always)]
    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        if let Some(found) = self.get(offset..offset + N) {
            bytes.copy_from_slice(found);
        }
        bytes
    }
}

impl<W: Window> Window for &W {
    #[inline(always)]
    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        (**self).bytes(offset)
    }
}

/// Bytes are on `lo`, as those are that the kernel runs a program on without an interface.
impl Frame for [u8] {
    type Window<'a, const N: usize> = &'a [u8; N];

    #[inline]
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.get(offset..)?.first_chunk()
    }

    #[inline]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.window(offset).copied()
    }

    #[inline]
    fn field<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.load(offset).unwrap_or([0; N])
    }

    #[inline]
    fn interface(&self) -> u32 {
        LOOPBACK
    }
}

/// The index of `lo` in every network namespace.
pub const LOOPBACK: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_end_where_the_frame_ends() {
        let frame: &[u8] = &[1, 2, 3, 4];
        assert_eq!(frame.load::<4>(0), Some([1, 2, 3, 4]));
        assert_eq!(frame.load::<4>(1), None);
        assert_eq!(frame.load::<1>(4), None);
        assert_eq!(frame.load::<1>(usize::MAX), None);
        assert_eq!(frame.load_u16(2), Some(0x0304));
        assert_eq!((frame.field(2), frame.field(3)), ([3, 4], [0, 0]));
    }
}
