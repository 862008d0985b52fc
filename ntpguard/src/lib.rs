//! The user-space half of ntpguard: it finds out which addresses this host's time service uses,
//! and keeps the kernel's tables holding just those.
//!
//! - [`sources`] reads the time daemons' configuration files into what they ask for;
//! - [`processes`] finds those that run;
//! - [`live`] asks the running daemons which sources they use;
//! - [`resolve`] looks up the names among them, in time;
//! - [`scope`] knows which interface an address is meant on;
//! - [`allowlist`] makes one set of grants of everything that vouches for an address;
//! - [`senders`] finds the processes whose requests are trusted;
//! - [`datapath`] loads the kernel programs, attaches them, and writes the tables;
//! - [`telemetry`] reads what they tell of single packets;
//! - [`confine`] gives up what guarding does not take;
//! - [`readers`] has words from outside parsed in processes that have nothing else;
//! - [`offload`] has what may block done on threads of its own;
//! - [`escape`] shows text from outside so that it does no harm;
//! - [`daemon`] ties these together while the guard runs.

pub mod allowlist;
pub mod causes;
pub mod clock;
pub mod confine;
pub mod daemon;
pub mod datapath;
pub mod escape;
pub mod inventory;
pub mod keeper;
pub mod live;
pub mod lookup;
pub mod offload;
pub mod processes;
pub mod reader;
pub mod readers;
pub mod report;
pub mod resolve;
pub mod scope;
pub mod senders;
pub mod sources;
pub mod telemetry;
