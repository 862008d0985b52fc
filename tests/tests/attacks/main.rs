//! Attacks that are known, each by its name and where it is told of: what is sent, what gets through,
//! and what it is counted for. Each is shown to arrive where there is no guard.

mod amplification;
mod coalesced;
mod fragments;
mod headers;
mod inner;
mod ipv6;
mod lengths;
mod loops;
mod reflection;
mod scene;
mod symmetric;
mod table;
mod zero_length;
