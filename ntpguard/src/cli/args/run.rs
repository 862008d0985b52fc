//! The options of `run`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use ntpguard::{datapath::AttachMode, sources::Source, trust::Trust};

use super::{
    policy::{PolicyArgs, REPLIES, SERVING},
    values::parse_resolver,
};

const ATTACHING: &str = "Attaching";
const RESOURCES: &str = "Resources";

#[derive(Clone, Debug, Default, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct RunArgs {
    /// Interface to guard; repeatable [default: the interface of the default route].
    #[arg(short, long = "interface", value_name = "IF")]
    pub(crate) interfaces: Vec<String>,
    /// Time daemon configuration to read, FILE or DIALECT:FILE; repeatable [default: detected].
    ///
    /// By default, reads the configurations at their usual paths and those that running time daemons
    /// were started with.
    #[arg(short, long = "source", value_name = "FILE")]
    pub(crate) sources: Vec<Source>,
    /// Trust this systemd unit or cgroup instead of the detected time daemons; repeatable.
    ///
    /// Trusts all processes in it. A cgroup is named by its path, and need not exist yet.
    #[arg(long, value_name = "UNIT|CGROUP", help_heading = REPLIES)]
    pub(crate) trust: Vec<Trust>,
    /// Also trust the sockets of this user ID (not 0); repeatable.
    ///
    /// Processes in containers can have the same user ID, and are then trusted too.
    #[arg(
        long,
        value_name = "UID",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = REPLIES
    )]
    pub(crate) trust_uid: Vec<u32>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Validate, print the resulting grants, and exit.
    ///
    /// Reads the configuration and the sources; names are not resolved and nothing is attached. Exits
    /// with 2 if anything is wrong with them.
    #[arg(long)]
    pub(crate) check: bool,
    /// Configuration file [default: /etc/ntpguard/ntpguard.toml, if present].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where to attach the program [default: auto].
    #[arg(long, value_enum, value_name = "WHERE", help_heading = ATTACHING)]
    pub(crate) attach: Option<AttachMode>,
    /// Take over from the running daemon of this guard.
    #[arg(long, help_heading = ATTACHING)]
    pub(crate) replace: bool,
    /// Leave the guard attached on exit.
    #[arg(long, help_heading = ATTACHING)]
    pub(crate) persist: bool,
    /// Honour a default that serves the whole world (otherwise ignored).
    ///
    /// Without any `restrict` line, ntpd serves everyone; this grants it.
    #[arg(long, help_heading = SERVING)]
    pub(crate) serve: bool,
    /// DNS server to use instead of the system's; repeatable.
    #[arg(
        long = "resolver",
        value_name = "IP[:PORT]",
        value_parser = parse_resolver,
        help_heading = RESOURCES
    )]
    pub(crate) resolvers: Vec<SocketAddr>,
    /// Maximum number of entries in each allowlist map [default: 65536].
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=16_777_216),
        help_heading = RESOURCES
    )]
    pub(crate) table_size: Option<u32>,
}
