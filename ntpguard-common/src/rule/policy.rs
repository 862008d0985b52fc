//! What is fixed of the rule while a program is loaded.

use crate::{maps::rates::Rates, wire::packet::Link};

/// What is fixed while a program is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What stands at the start of each frame.
    pub link: Link,
    /// Whether a reply must answer a request.
    pub track: bool,
    /// How long after its request a reply is admitted, in nanoseconds.
    pub window: u64,
    /// Whose requests admit replies whatever is granted.
    pub learn: Learn,
    /// Whether a request without a transmit timestamp may be answered (RFC 4330 section 5).
    pub zero_transmit: bool,
    /// How often clients may ask.
    pub rates: Rates,
}

/// Whose requests admit replies whatever is granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Learn {
    /// Nobody's.
    Off = 0,
    /// Those of trusted senders.
    #[default]
    Trusted = 1,
    /// Everybody's, those forwarded for others included.
    Any = 2,
}
