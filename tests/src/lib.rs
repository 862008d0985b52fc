//! The harness of the tests: real daemons and DNS servers on a real kernel, in network
//! namespaces of the tests' own.
//!
//! A suite is a file in `tests/`. Its tests build a small network, start the guard and whatever
//! it guards, and ask the parts themselves what happened:
//!
//! ```no_run
//! use ntpguard_common::reason::Reason;
//! use ntpguard_tests::{
//!     daemons::{Setup, chrony::Chronyd},
//!     guard::Guard,
//!     switch::Switch,
//! };
//! # use std::time::Duration;
//!
//! # fn main() -> anyhow::Result<()> {
//! let switch = Switch::new()?;
//! let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
//! let _server = Chronyd::serve(&server.namespace)?;
//! let config = format!("server {} iburst minpoll 0 maxpoll 0\n", server.v4);
//! // The guard is there first: a client that synchronised before it would prove nothing.
//! let setup = Setup::new(&config, None)?;
//! let guard = Guard::builder(&client.namespace)
//!     .interface(&client.port.interface)
//!     .source(&setup.config())
//!     .ready()?;
//! let mut chronyd = Chronyd::start_in(&client.namespace, setup)?;
//! chronyd.wait_synchronised(Duration::from_secs(20))?;
//! anyhow::ensure!(guard.counters()?.enforced(Reason::Server) > 0, "no reply was counted");
//! # Ok(())
//! # }
//! ```
//!
//! - Tests return `anyhow::Result<()>`, run as root, and wait with [`wait::eventually`], never by
//!   sleeping for as long as a slow machine might need.
//! - Everything is undone on drop, also after a panic; what a killed run left is swept up by the
//!   next. Bind guards (`let _server`), as a plain `_` drops at once.
//! - A test that expects no packet shows in the same set-up that packets arrive without a guard.
//! - A missing program is a failure that names it, never a skipped test.
//! - Daemons come from `NTPGUARD_DAEMONS`, the product from `NTPGUARD_BIN`; without these, from
//!   where `cargo xtask setup` and `cargo build` put them.

pub mod attachments;
pub mod bpffs;
pub mod bpftool;
pub mod bus;
pub mod cgroup;
pub mod chained;
pub mod checks;
pub mod config;
pub mod container;
pub mod daemons;
pub mod dns;
pub mod dnsmasq;
pub mod fixtures;
pub mod gateway;
pub mod guard;
pub mod hanging;
pub mod lab;
pub mod link;
pub mod locked_memory;
mod loopback;
mod names;
pub mod namespace;
pub mod packets;
pub mod process;
pub mod programs;
pub mod sizes;
mod sweep;
pub mod switch;
pub mod system;
pub mod tc_hooks;
pub mod tun;
pub mod wait;
pub mod xdp_loader;
