//! The clocks by which packets are judged.

/// The clocks by which packets are judged. Both are read only where the time matters, because the
/// precise one costs as much as everything else.
pub trait Clocks {
    /// Nanoseconds of boot time (`CLOCK_BOOTTIME`): grants end by it, asleep or not.
    fn boot(&self) -> u64;

    /// Nanoseconds of monotonic time (`CLOCK_MONOTONIC`), as of the last tick: requests live by it.
    fn tick(&self) -> u64;
}

/// Whose clocks a program judges by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Clock {
    /// The kernel's.
    #[default]
    Kernel = 0,
    /// Whoever runs the program says what time it is, in `INFO`. For trials only.
    Given = 1,
}

/// In a second.
pub(crate) const NANOSECONDS: u64 = 1_000_000_000;
