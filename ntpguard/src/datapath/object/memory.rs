//! Memory that loading took, and that nothing needs any more.

/// Gives free memory back to the kernel when it is dropped.
///
/// aya parses the kernel's own types, several megabytes, for each load. Freeing one block of such a size
/// has glibc keep twice as much free memory from then on (`M_TRIM_THRESHOLD` in mallopt(3)), which for a
/// guard that is idle is more than it uses.
pub(in crate::datapath) struct GiveMemoryBack;

impl Drop for GiveMemoryBack {
    fn drop(&mut self) {
        #[cfg(target_env = "gnu")]
        // SAFETY: it touches free memory alone, takes the allocator's locks, and has no other precondition.
        unsafe {
            nix::libc::malloc_trim(0);
        }
    }
}
