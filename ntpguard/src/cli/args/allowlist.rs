//! The commands of `allowlist`.

use clap::{Args, Subcommand};
use ipnet::IpNet;
use ntpguard::scope::Scoped;

use super::{
    JsonArgs, examples,
    values::{check_role, parse_prefix, parse_ttl},
};

#[derive(Debug, Subcommand)]
pub(crate) enum AllowlistCommand {
    /// List the grants with their roles and origins.
    #[command(after_help = examples::LIST)]
    List(JsonArgs),
    /// Grant roles to an address or prefix.
    ///
    /// A manual grant survives restarts. `--role none` denies the address or prefix, whatever else
    /// grants it.
    #[command(after_help = examples::ADD)]
    Add(AddArgs),
    /// Remove a manual grant.
    #[command(after_help = examples::REMOVE)]
    Remove(RemoveArgs),
    /// Reread the sources, resolve all names now, and show what changed.
    #[command(after_help = examples::UPDATE)]
    Update(JsonArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Address, such as 192.0.2.1 or `fe80::1%eth0`, or prefix such as 192.0.2.0/24.
    #[arg(value_name = "ADDR|PREFIX", value_parser = parse_prefix)]
    pub(crate) prefix: Scoped<IpNet>,
    /// server, peer, broadcast, client, control, or none to deny; repeatable.
    #[arg(long = "role", value_name = "ROLE", value_parser = check_role, default_value = "server")]
    pub(crate) roles: Vec<String>,
    /// Lifetime, such as 90s, 15min or 2h [default: until removed].
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub(crate) ttl: Option<u32>,
    /// Comment stored with the grant.
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// Admit replies up to 96 bytes longer than their requests.
    ///
    /// For servers that add a MAC or an extension field that the request did not have.
    #[arg(long)]
    pub(crate) allow_long_replies: bool,
    #[command(flatten)]
    pub(crate) output: JsonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Address or prefix, as it was added.
    #[arg(value_name = "ADDR|PREFIX", value_parser = parse_prefix)]
    pub(crate) prefix: Scoped<IpNet>,
    /// Remove only this role; repeatable [default: all].
    #[arg(long = "role", value_name = "ROLE", value_parser = check_role)]
    pub(crate) roles: Vec<String>,
    #[command(flatten)]
    pub(crate) output: JsonArgs,
}
