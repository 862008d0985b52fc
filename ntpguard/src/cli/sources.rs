//! `ntpguard sources`: compares configured time sources with those in use.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use ntpguard::{
    allowlist::{ClaimSet, state::StateFile},
    api::{
        inventory::{Inventory, Named, Used},
        protocol::{Reply, Request},
    },
    clock::BootSeconds,
    datapath, escape, processes, query,
    readers::Readers,
    reconciler::Reconciler,
    sources,
};
use ntpguard_common::wire::ntp;

use super::{
    args::{GuardArgs, JsonArgs},
    ask::{question, unexpected},
    config,
    output::{self, seconds},
};

/// How many addresses of a name are shown.
const SHOWN: usize = 4;

pub(crate) async fn run(guard: &GuardArgs, args: &JsonArgs, readers: &Readers) -> Result<ExitCode> {
    let inventory = look(guard, readers).await?;
    if args.json {
        output::json(&inventory)?;
    } else {
        output::print(&text(&inventory))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the daemon; where there is none, reads what a daemon would find, and resolves nothing.
async fn look(guard: &GuardArgs, readers: &Readers) -> Result<Inventory> {
    match question(guard, &Request::Sources).await? {
        Some(Reply::Sources(inventory)) => return Ok(*inventory),
        Some(other) => return unexpected(&other),
        None => {}
    }
    let now = BootSeconds::now();
    processes::add_accounts(config::accounts()?);
    // Which containers are trusted the last daemon knew.
    let known = Reconciler::reopen(StateFile::below(&guard.state_dir), now);
    let trusted = known.map_or_else(|_| Vec::new(), |known| known.origins.trust);
    let found = sources::discover(readers, Path::new("/"), &trusted);
    let mut book = ClaimSet::default();
    book.findings = found.problems;
    for source in &found.sources {
        book.read(
            &source.to_string(),
            &source.path,
            source.read(readers, false),
            now,
        );
    }
    let mut silent = Vec::new();
    for (daemon, answer) in query::ask(readers.clone(), book.channels(), query::running()).await {
        match answer {
            Ok(answer) => book.heard(daemon, answer, now),
            Err(error) => silent.push((daemon, error.to_string())),
        }
    }
    if book.has_scopes() {
        book.interfaces = datapath::interfaces()?;
    }
    let silent = silent.iter().map(|(daemon, why)| (*daemon, why.as_str()));
    Ok(Inventory::of(&book, &found.sources, silent, now))
}

fn text(inventory: &Inventory) -> String {
    let mut parts: Vec<String> = inventory
        .sources
        .iter()
        .map(|source| output::wrap(&output::source(source)) + "\n")
        .collect();
    if parts.is_empty() {
        parts.push("source    none: no time daemon configuration found\n".to_owned());
    }
    if !inventory.named.is_empty() {
        parts.push("\n".to_owned());
        parts.push(output::table(
            &["CONFIGURED", "FROM", "ADDRESSES", "REFRESH", "IN USE"],
            inventory.named.iter().map(named_row),
        ));
    }
    if !inventory.in_use.is_empty() {
        parts.push("\n".to_owned());
        parts.push(output::table(
            &["IN USE", "NAME", "DAEMON", "ROLES", "CONFIGURED"],
            inventory.in_use.iter().map(used_row),
        ));
    }
    parts.push("\n".to_owned());
    parts.push(differences(inventory));
    let silent = inventory.silent.iter();
    let silent = silent.map(|silent| format!("silent    {}: {}", silent.daemon, silent.why));
    let problems = inventory.problems.iter();
    let problems = problems.map(|problem| format!("problem   {problem}"));
    let findings = silent.chain(problems);
    parts.extend(findings.map(|finding| output::wrap(&escape::line(&finding)) + "\n"));
    parts.concat()
}

fn named_row(named: &Named) -> Vec<String> {
    let from = named.place.as_ref().map_or_else(
        || "a daemon".to_owned(),
        |place| format!("{}:{}", escape::path(&place.file), place.line),
    );
    let mut addresses: Vec<String> = named
        .addresses
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    if named.waits_for_interface {
        addresses.push("waits for the interface".to_owned());
    }
    if named.addresses.len() > SHOWN {
        addresses.push(format!("and {} more", named.addresses.len() - SHOWN));
    }
    let again = named.next_in.map(|next| seconds(next.into()));
    let in_use = match named.in_use {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    vec![
        at_port(escape::text(&named.host), Some(named.port)),
        from,
        or_dash(addresses.join("\n")),
        or_dash(again.unwrap_or_default()),
        in_use.to_owned(),
    ]
}

fn used_row(used: &Used) -> Vec<String> {
    let selected = if used.selected { ", selected" } else { "" };
    vec![
        at_port(used.address.to_string(), used.port),
        or_dash(escape::text(used.name.as_deref().unwrap_or_default())),
        used.daemon.clone(),
        format!("{}{selected}", used.roles.join(", ")),
        if used.named { "yes" } else { "no" }.to_owned(),
    ]
}

/// A host, with the port that it is asked at where that is another than NTP's.
fn at_port(host: String, port: Option<u16>) -> String {
    match port {
        None | Some(ntp::PORT) => host,
        Some(port) => format!("{host} port {port}"),
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// What is named and idle, and what is in use without a name.
fn differences(inventory: &Inventory) -> String {
    if inventory.daemons.is_empty() {
        return "differs   unknown: no running daemon reports its sources\n".to_owned();
    }
    let idle = inventory
        .named
        .iter()
        .filter(|named| named.in_use == Some(false));
    let mut lines: Vec<String> = idle
        .map(|named| escape::text(&named.host))
        .map(|host| format!("differs   {host} is configured but not in use\n"))
        .collect();
    let unnamed = inventory.in_use.iter().filter(|used| !used.named);
    lines.extend(unnamed.map(|used| {
        format!(
            "differs   {} is in use by {} but not configured\n",
            used.address, used.daemon
        )
    }));
    if lines.is_empty() {
        lines.push("differs   nothing\n".to_owned());
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory() -> Inventory {
        serde_json::from_value(serde_json::json!({
            "schema": 1,
            "sources": [{
                "dialect": "chrony", "path": "/etc/chrony/chrony.conf", "why": "chronyd is running, pid 7"
            }],
            "named": [
                {
                    "host": "2.debian.pool.ntp.org", "port": 123, "roles": ["server"],
                    "place": { "file": "/etc/chrony/chrony.conf", "line": 3, "column": 6 },
                    "addresses": ["192.0.2.1", "192.0.2.2", "2001:db8:1234:5678:9abc:def0:1234:5678",
                                  "192.0.2.4", "192.0.2.5"],
                    "next_in": 130, "in_use": true
                },
                { "host": "192.0.2.9", "port": 1123, "roles": ["server"], "place": null, "addresses": ["192.0.2.9"],
                  "next_in": null, "in_use": false }
            ],
            "daemons": ["chronyd"],
            "in_use": [{
                "daemon": "chronyd", "address": "198.51.100.1", "name": "time.example.net",
                "roles": ["server", "peer"], "selected": true, "named": false
            }],
            "silent": [{ "daemon": "OpenNTPD", "why": "only ntpctl can query it" }],
            "problems": []
        }))
        .unwrap()
    }

    #[test]
    fn the_text_fits_eighty_columns_and_shows_what_differs() {
        let text = text(&inventory());
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        for part in [
            "and 1 more",
            "192.0.2.9 port 1123",
            "differs   192.0.2.9 is configured but not in use",
            "silent    OpenNTPD: only ntpctl can query it",
            "differs   198.51.100.1 is in use by chronyd but not configured",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }

    #[test]
    fn without_a_daemon_that_reports_nothing_differs() {
        let mut inventory = inventory();
        inventory.daemons.clear();
        assert!(text(&inventory).contains("differs   unknown"));
    }
}
