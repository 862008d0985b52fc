//! The user-space half of ntpguard.

pub mod allowlist;
pub mod clock;
pub mod datapath;
pub mod resolve;
pub mod sources;
