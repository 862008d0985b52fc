//! Why a question got no addresses.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use thiserror::Error;

/// What to do about a resolv.conf that cannot be read.
pub(super) const UNREADABLE_CURE: &str = "run as root, or name a DNS server with --resolver";

/// Why a question got no addresses. None of these takes known addresses away.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// What stands in the configuration file cannot be a name in DNS.
    #[error("not a valid DNS name: {message}")]
    BadName {
        /// What is wrong with it.
        message: String,
    },
    /// DNS says that the name does not exist.
    #[error("no such name (NXDOMAIN): check its spelling in the configuration file")]
    NoSuchName,
    /// The name exists, without an address of the family asked for.
    #[error("the name has no address of this family")]
    NoAddresses,
    /// No server answered in time.
    #[error("no DNS server answered in time: check that they are reachable")]
    Timeout,
    /// The last server asked could not answer.
    #[error("DNS server {server} failed: {message}")]
    ServerFailed {
        /// The server.
        server: SocketAddr,
        /// What it said, or what was wrong with what it said.
        message: String,
    },
    /// Every address in the answer is one that no server can have.
    #[error("all addresses in the answer were rejected: {}", first_few(.refused))]
    OnlyRefused {
        /// The addresses, and what each is.
        refused: Vec<(IpAddr, &'static str)>,
    },
    /// The system names no DNS server that can be asked.
    #[error("{}: {message}; name a DNS server there or with --resolver", .file.display())]
    NoServers {
        /// The file that should name them.
        file: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The file that should name them is not this process's to read.
    #[error("cannot read {}: {message}; {UNREADABLE_CURE}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        message: String,
    },
    /// No process asked.
    #[error("{message}")]
    NotAsked {
        /// Why not.
        message: String,
    },
}

/// An answer can hold thousands, and a message is a line.
fn first_few(refused: &[(IpAddr, &'static str)]) -> impl fmt::Display {
    const FEW: usize = 3;
    let named: Vec<String> = refused
        .iter()
        .take(FEW)
        .map(|(address, why)| format!("{address} is {why}"))
        .collect();
    let more = refused.len().saturating_sub(FEW);
    let rest = if more == 0 {
        String::new()
    } else {
        format!(", and {more} more")
    };
    named.join(", ") + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_refused_addresses_is_told_in_one_line() {
        let refused = vec![(IpAddr::from([127, 0, 0, 1]), "loopback"); 5];
        let message = Failure::OnlyRefused { refused }.to_string();
        assert!(
            message.ends_with("127.0.0.1 is loopback, and 2 more"),
            "{message}"
        );
    }
}
