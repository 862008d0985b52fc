//! What bpftool says, read from its JSON.

use std::{collections::BTreeMap, ffi::OsStr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::{namespace::Namespace, process, wait::eventually};

/// How long a list that changes while it is made is asked for again.
const LIST_LIMIT: Duration = Duration::from_secs(5);

/// One entry of a map as its BTF formats it: struct fields by name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Entry {
    /// The key.
    pub key: Value,
    /// The value; absent in per-CPU maps.
    pub value: Option<Value>,
    /// The value on each CPU; empty in other maps.
    #[serde(default)]
    pub values: Vec<CpuValue>,
}

/// A per-CPU map's value on one CPU.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct CpuValue {
    /// The CPU's number.
    pub cpu: u32,
    /// The value.
    pub value: Value,
}

/// Every entry of the map pinned at `path`.
///
/// # Errors
///
/// When there is none, or it has no BTF, without which bpftool prints bytes only.
pub fn map_dump(path: &Path) -> Result<Vec<Entry>> {
    #[derive(Deserialize)]
    struct Dumped {
        formatted: Option<Entry>,
    }
    let dumped = bpftool([
        OsStr::new("map"),
        "dump".as_ref(),
        "pinned".as_ref(),
        path.as_ref(),
    ])?;
    let dumped: Vec<Dumped> = serde_json::from_value(dumped)?;
    dumped
        .into_iter()
        .map(|entry| entry.formatted)
        .collect::<Option<_>>()
        .with_context(|| format!("the map {} has no BTF", path.display()))
}

/// What bpftool shows of the map pinned at `path`.
///
/// # Errors
///
/// When there is none.
pub fn map_show(path: &Path) -> Result<Value> {
    bpftool([
        OsStr::new("map"),
        "show".as_ref(),
        "pinned".as_ref(),
        path.as_ref(),
    ])
}

/// Every map of the machine.
///
/// # Errors
///
/// When bpftool fails.
pub fn maps() -> Result<Vec<Value>> {
    // As for links.
    let maps = eventually(LIST_LIMIT, "a list of maps", || {
        bpftool(["map", "list"].map(OsStr::new))
    })?;
    Ok(serde_json::from_value(maps)?)
}

/// What bpftool shows of the program pinned at `path`.
///
/// # Errors
///
/// When there is none.
pub fn prog_show(path: &Path) -> Result<Value> {
    bpftool([
        OsStr::new("prog"),
        "show".as_ref(),
        "pinned".as_ref(),
        path.as_ref(),
    ])
}

/// Every BPF link of the machine, with the paths it is pinned at.
///
/// # Errors
///
/// When bpftool fails.
pub fn link_list() -> Result<Vec<Value>> {
    // bpftool gives up where a link that it has just seen is gone: another test's, mostly.
    let links = eventually(LIST_LIMIT, "a list of links", || {
        bpftool(["-f", "link", "list"].map(OsStr::new))
    })?;
    Ok(serde_json::from_value(links)?)
}

/// Programs attached to the interfaces of a namespace, by hook: `xdp`, `tc`, `flow_dissector`…
///
/// # Errors
///
/// When bpftool fails.
pub fn net(namespace: &Namespace) -> Result<BTreeMap<String, Vec<Value>>> {
    let printed = eventually(LIST_LIMIT, "a list of attached programs", || {
        namespace.run(&["bpftool", "-j", "net", "show"])
    })?;
    let hooks: Vec<BTreeMap<String, Vec<Value>>> =
        serde_json::from_str(&printed).with_context(|| format!("not JSON: {printed}"))?;
    Ok(hooks.into_iter().flatten().collect())
}

fn bpftool<const N: usize>(arguments: [&OsStr; N]) -> Result<Value> {
    let mut command = Command::new("bpftool");
    command.arg("-j").args(arguments);
    let printed = process::run(command)?;
    serde_json::from_str(&printed).with_context(|| format!("not JSON: {printed}"))
}
