//! `ntpguard allowlist`: lists and edits the allowlist.

use std::{net::SocketAddr, process::ExitCode};

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use ipnet::IpNet;
use ntpguard::{
    allowlist::{claim::is_address, state::StateFile},
    api::{
        allowlist::{Edited, Granted, ListRow, Listing, Updated},
        protocol::{Addition, Removal, Reply, Request},
    },
    clock::BootSeconds,
    datapath::Tables,
    escape, processes,
    readers::Readers,
    reconciler::{Reconciler, ReconcilerError},
    scope::Scoped,
    sources::Severity,
};

use super::{
    WRONG_USAGE,
    args::{AddArgs, AllowlistCommand, GuardArgs, RemoveArgs},
    ask::{Executor, ask, question, unexpected},
    config, output,
};

pub(crate) async fn run(
    guard: &GuardArgs,
    command: AllowlistCommand,
    readers: &Readers,
) -> Result<ExitCode> {
    match command {
        AllowlistCommand::List(output) => list(guard, output.json).await,
        AllowlistCommand::Add(args) => add(guard, args).await,
        AllowlistCommand::Remove(RemoveArgs {
            prefix,
            roles,
            output,
        }) => {
            let removal = Removal { prefix, roles };
            edit(guard, Request::Remove(removal), output.json).await
        }
        AllowlistCommand::Update(output) => update(guard, output.json, readers).await,
    }
}

async fn add(guard: &GuardArgs, args: AddArgs) -> Result<ExitCode> {
    let has = |name: &str| args.roles.iter().any(|role| role == name);
    if args.allow_long_replies && !has("server") {
        output::complain(&ReconcilerError::NoServer);
        return Ok(ExitCode::from(WRONG_USAGE));
    }
    if args.roles.len() > 1 && has("none") {
        output::complain(&ReconcilerError::NoneAndMore);
        return Ok(ExitCode::from(WRONG_USAGE));
    }
    let addition = Addition {
        prefix: args.prefix,
        roles: args.roles,
        ttl: args.ttl,
        comment: args.comment,
        long_replies: args.allow_long_replies,
    };
    edit(guard, Request::Add(addition), args.output.json).await
}

fn state(guard: &GuardArgs) -> StateFile {
    StateFile::below(&guard.state_dir)
}

async fn list(guard: &GuardArgs, json: bool) -> Result<ExitCode> {
    // Reading needs no lock: the state file is replaced in one step.
    let listing = match question(guard, &Request::List).await? {
        Some(Reply::List(listing)) => listing,
        Some(other) => return unexpected(&other),
        None => list_offline(guard)?,
    };
    if json {
        output::json(&listing)?;
    } else {
        output::print(&list_table(&listing))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the state file and the kernel hold, where no daemon runs.
fn list_offline(guard: &GuardArgs) -> Result<Listing> {
    let now = BootSeconds::now();
    let mut reconciler = Reconciler::reopen(state(guard), now)?;
    reconciler.see_interfaces();
    if let Some(tables) = Tables::open(&guard.pin_dir)? {
        reconciler.learn(&tables)?;
    }
    Ok(reconciler.list(now))
}

fn list_table(listing: &Listing) -> String {
    if listing.rows.is_empty() {
        return "the allowlist is empty\n".to_owned();
    }
    let rows = listing.rows.iter().map(|row| {
        vec![
            shown_at(row),
            shown_role(row),
            row.origins.join(", "),
            why(row),
            ends(row),
        ]
    });
    output::table(&["ADDRESS", "ROLE", "ORIGIN", "FROM", "ENDS"], rows)
}

fn shown_role(row: &ListRow) -> String {
    if row.long_replies {
        format!("{}, long replies", row.role)
    } else {
        row.role.clone()
    }
}

fn shown_at(row: &ListRow) -> String {
    with_port(shown(&row.prefix), row.port)
}

fn shown_granted(granted: &Granted) -> String {
    match granted {
        Granted::Prefix(prefix) => shown(prefix),
        Granted::Server(server) => with_port(shown_host(server), Some(server.port())),
    }
}

/// The host of a server, on the interface of an index where it is on one alone.
fn shown_host(server: &SocketAddr) -> String {
    match server {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        _ => server.ip().to_string(),
    }
}

/// With the port where it is another than NTP's.
fn with_port(address: String, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("{address} port {port}"),
        None => address,
    }
}

/// A single address is shown as one.
fn shown(prefix: &Scoped<IpNet>) -> String {
    if !is_address(&prefix.address) {
        return prefix.to_string();
    }
    let host = Scoped {
        address: prefix.address.addr(),
        scope: prefix.scope.clone(),
    };
    host.to_string()
}

fn why(row: &ListRow) -> String {
    let all = [&row.names, &row.places, &row.comments];
    let waits = row
        .prefix
        .scope
        .as_ref()
        .filter(|_| row.waits_for_interface);
    let waits = waits.map(|scope| format!("waits for interface {scope}"));
    let texts = all.into_iter().flatten().map(|text| escape::text(text));
    texts.chain(waits).collect::<Vec<_>>().join(", ")
}

fn ends(row: &ListRow) -> String {
    row.ends_in
        .map_or_else(|| "-".to_owned(), |left| output::seconds(left.into()))
}

async fn edit(guard: &GuardArgs, request: Request, json: bool) -> Result<ExitCode> {
    let edited = match ask(guard, &request).await? {
        Executor::Daemon(Reply::Edited(edited)) => edited,
        Executor::Daemon(other) => return unexpected(&other),
        Executor::Offline(_lock) => edit_offline(guard, &request)?,
    };
    if json {
        output::json(&edited)?;
    } else {
        output::print(&edit_text(&edited, matches!(request, Request::Add(_))))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn edit_offline(guard: &GuardArgs, request: &Request) -> Result<Edited> {
    let now = BootSeconds::now();
    let mut reconciler = Reconciler::reopen(state(guard), now)?;
    let mut tables = open(guard, &mut reconciler)?;
    let mut edited = match request {
        Request::Add(addition) => reconciler.add(addition, tables.as_mut(), now)?,
        Request::Remove(removal) => reconciler.remove(removal, tables.as_mut(), now)?,
        other => anyhow::bail!("{other:?} is no edit"),
    };
    edited.in_kernel = tables.is_some();
    Ok(edited)
}

/// Opens the maps, where any are pinned, for the reconciler to adopt what they hold.
fn open(guard: &GuardArgs, reconciler: &mut Reconciler) -> Result<Option<Tables>> {
    let tables = Tables::open(&guard.pin_dir)?;
    if let Some(tables) = &tables {
        reconciler.adopt(tables.read()?);
    }
    Ok(tables)
}

fn edit_text(edited: &Edited, added: bool) -> String {
    let (prefix, roles) = (shown(&edited.prefix), edited.roles.join(", "));
    let done = match (added, edited.changed) {
        (true, true) => format!("granted {prefix}: {roles}\n"),
        (true, false) => format!("{prefix} is already granted: {roles}\n"),
        (false, _) => format!("removed from {prefix}: {roles}\n"),
    };
    done + unless_in_kernel(edited.in_kernel)
}

const fn unless_in_kernel(in_kernel: bool) -> &'static str {
    if in_kernel {
        ""
    } else {
        "no guard is loaded: this takes effect with the next `ntpguard run`\n"
    }
}

async fn update(guard: &GuardArgs, json: bool, readers: &Readers) -> Result<ExitCode> {
    let updated = match ask(guard, &Request::Update).await? {
        Executor::Daemon(Reply::Updated(updated)) => updated,
        Executor::Daemon(other) => return unexpected(&other),
        Executor::Offline(_lock) => update_offline(guard, readers).await?,
    };
    if json {
        output::json(&updated)?;
    } else {
        output::print(&update_text(&updated))?;
    }
    let failed = !updated.failed.is_empty();
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Reads the sources that the last daemon read, or those that are found, and resolves every name.
async fn update_offline(guard: &GuardArgs, readers: &Readers) -> Result<Updated> {
    processes::add_accounts(config::accounts()?);
    let now = BootSeconds::now();
    let (mut reconciler, granted) = Reconciler::restart(state(guard), now)?;
    reconciler.origins.discover |= reconciler.origins.sources.is_empty();
    let read = reconciler.reader(readers, true).read(now);
    reconciler.take(read, now);
    let mut tables = open(guard, &mut reconciler)?;
    if tables.is_none() {
        reconciler.adopt(granted);
    }
    let before = reconciler.projected().clone();
    let resolver = reconciler.origins.resolver(readers.clone());
    let asked = reconciler
        .book
        .names
        .due(now)
        .into_iter()
        .map(|question| resolver.look_up(question));
    for (question, result) in join_all(asked).await {
        reconciler.resolved(&question, result);
    }
    reconciler
        .commit(tables.as_mut(), now)
        .context("the update failed")?;
    Ok(reconciler.updated(&before, tables.is_some(), now))
}

fn update_text(updated: &Updated) -> String {
    let added = updated
        .added
        .iter()
        .map(|granted| format!("+ {}", shown_granted(granted)));
    let removed = updated
        .removed
        .iter()
        .map(|granted| format!("- {}", shown_granted(granted)));
    let failed = updated
        .failed
        .iter()
        .map(|(name, why)| format!("! {name}: {why}; its addresses are kept"))
        .map(|line| escape::line(&line));
    let problems = updated
        .problems
        .iter()
        .filter(|problem| problem.severity != Severity::Note)
        .map(|problem| escape::line(&format!("! {problem}")));
    let summary = format!(
        "{} added, {} kept, {} removed",
        updated.added.len(),
        updated.kept.len(),
        updated.removed.len()
    );
    let lines: Vec<String> = added
        .chain(removed)
        .chain(failed)
        .chain(problems)
        .chain([summary])
        .collect();
    output::wrap(&lines.join("\n")) + "\n" + unless_in_kernel(updated.in_kernel)
}
