//! Hashes that cost one or two multiplications.

/// Scatters 64 bits: the upper ones depend on all (Knuth, The Art of Computer Programming, volume 3,
/// section 6.4).
#[inline(always)]
pub(crate) const fn scatter(bits: u64) -> u64 {
    bits.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The same of 128 bits.
#[inline(always)]
pub(crate) const fn scatter_wide(bits: u128) -> u64 {
    let (high, low) = ((bits >> 64) as u64, bits as u64);
    scatter(high.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ low)
}
