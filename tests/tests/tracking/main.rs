//! Every reply to a time daemon's own request is admitted, whichever daemon and however it asks.
//!
//! Each daemon runs twice: as anybody, against servers that are granted, and as a trusted sender,
//! against servers that nobody granted.

mod chrony;
mod network;
mod others;
mod tokens;

use network::{EXCHANGES, Network, Sender};
