//! Tests on the real kernel. They need root, bpftool and iproute2.

mod attaching;
mod costing;
mod filtering;
mod handing_over;
mod harness;
mod locking;
mod refusing;
mod restarting;
mod stopping;
mod trusting;
mod writing;
