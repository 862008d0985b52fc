//! Servers that are asked at other ports than 123: their packets are judged, and nobody else's.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ntpguard_tests::{guard::Guard, wait::eventually};

mod by_hand;
mod live;

/// The other port.
const PORT: u16 = 1123;

/// How long a daemon has to reach its servers, and a guard that looks for daemons every 10 s to
/// hear of them.
const SOON: Duration = Duration::from_secs(40);

/// Waits until the guard has a server at this address and port with these origins; `None` for none.
fn wait_granted(guard: &Guard, server: SocketAddr, origins: Option<&[&str]>) -> Result<()> {
    eventually(SOON, "the grant", || {
        let found = origins_of(guard, server)?;
        let found: Option<Vec<&str>> = found
            .as_ref()
            .map(|origins| origins.iter().map(String::as_str).collect());
        ensure!(found.as_deref() == origins, "{server}: {found:?}");
        Ok(())
    })
}

/// Who vouches for a server at this address and port.
fn origins_of(guard: &Guard, server: SocketAddr) -> Result<Option<Vec<String>>> {
    let listing = guard.json(&["allowlist", "list", "--json"])?;
    let rows = listing["rows"].as_array().context("no rows")?;
    let row = rows.iter().find(|row| {
        let prefix = row["prefix"].as_str().unwrap_or_default();
        let port = row["port"].as_u64().unwrap_or(123);
        prefix.split('/').next() == Some(&server.ip().to_string())
            && port == u64::from(server.port())
            && row["role"] == "server"
    });
    Ok(row.map(|row| {
        let origins = row["origins"].as_array().into_iter().flatten();
        origins
            .filter_map(|origin| origin.as_str().map(str::to_owned))
            .collect()
    }))
}
