//! The user-space half of ntpguard: it finds out which addresses this host's time service uses, and keeps
//! the kernel's tables holding just those.
//!
//! At the centre is the [`reconciler`]: it owns the claims, the names and the sources, computes what the
//! kernel should hold, and makes it so. What it learns comes from
//!
//! - [`processes`], the time daemons that run, and [`sources`], what their configurations ask for;
//! - [`query`], which asks the running daemons, and [`resolve`], which asks DNS;
//! - [`trust`], the processes whose requests are trusted, and [`scope`], which interface an address is
//!   meant on.
//!
//! It turns that into grants with [`allowlist`], and has [`datapath`] write them into the kernel. Around it:
//!
//! - [`daemon`] runs it while the guard runs, [`api`] is what commands and daemon say to each other;
//! - [`telemetry`] reads the sampled verdicts;
//! - [`readers`] parse text from outside in processes that can do nothing else, [`confine`] gives up
//!   privileges, [`escape`] makes text from outside safe to show;
//! - [`offload`] runs blocking work on threads of its own, [`clock`] reads the kernel's clocks, [`lookup`] is
//!   the answer of what may be hidden, [`mounts`] looks through the mounts of a process, [`causes`] prints
//!   the chain of an error, [`flags`] are the values that commands and the configuration file share.

pub mod allowlist;
pub mod api;
pub mod causes;
pub mod clock;
pub mod confine;
pub mod daemon;
pub mod datapath;
pub mod escape;
mod extack;
pub mod flags;
pub mod lookup;
pub mod mounts;
pub mod offload;
pub mod problem;
pub mod processes;
pub mod query;
pub mod readers;
pub mod reconciler;
pub mod resolve;
pub mod scope;
pub mod sources;
pub mod telemetry;
pub mod trust;
pub mod work;
