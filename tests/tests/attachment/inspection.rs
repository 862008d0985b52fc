//! What bpftool shows of a guard: tables that people and other programs can read.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use ntpguard_common::maps::tables::{Origin, Role, names};
use ntpguard_tests::{
    bpftool::{self, Entry},
    config::ConfigFile,
    guard::Guard,
    link::Veth,
    namespace::Namespace,
};
use serde_json::{Value, json};

use super::{config, guard, xdp_on};

/// A guard on a cable to nowhere.
fn guarded() -> Result<(Veth, ConfigFile, Guard)> {
    let (host, other) = (Namespace::new("host")?, Namespace::new("other")?);
    let cable = Veth::between(&host, &[], &other, &[])?;
    let config = config()?;
    let guard = guard(&host, &[&cable.left.interface], &config).ready()?;
    Ok((cable, config, guard))
}

fn dump(guard: &Guard, map: &str) -> Result<Vec<Entry>> {
    bpftool::map_dump(&guard.home().pin_dir().join("maps").join(map))
}

#[test]
fn every_map_is_pinned_by_its_name_with_its_types() -> Result<()> {
    let (_cable, _config, guard) = guarded()?;
    let maps = guard.home().pin_dir().join("maps");
    let mut pinned = BTreeSet::new();
    for entry in fs::read_dir(&maps)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let shown = bpftool::map_show(&entry.path())?;
        ensure!(shown["name"] == name.as_str(), "{name}: {shown}");
        // The kernel takes no types for ring buffers.
        ensure!(
            name == names::EVENTS || shown["btf_id"].as_u64().is_some_and(|id| id > 0),
            "{name} has no BTF: {shown}"
        );
        pinned.insert(name);
    }
    let expected: BTreeSet<String> = names::ALL.iter().map(|name| (*name).to_owned()).collect();
    ensure!(pinned == expected, "{pinned:?}");
    Ok(())
}

#[test]
fn grants_are_shown_with_the_names_of_their_fields() -> Result<()> {
    let (_cable, _config, guard) = guarded()?;
    let forever = json!({"server": 0, "peer": 0, "broadcast": 0, "client": 0, "control": 0});
    let [v4, v6] = [
        dump(&guard, names::ALLOW_V4)?,
        dump(&guard, names::ALLOW_V6)?,
    ];
    for entries in [&v4, &v6] {
        ensure!(entries.len() == 1, "{entries:?}");
        let grant = entries[0].value.as_ref().context("no value")?;
        let expected = json!({
            "roles": Role::Server.bit(), "origins": Origin::Config.bit(), "expires": forever,
        });
        ensure!(*grant == expected, "{grant}");
    }
    ensure!(v4[0].key == json!([198, 51, 100, 1]), "{}", v4[0].key);

    let add = [
        "allowlist",
        "add",
        "192.0.2.0/24",
        "--role",
        "client",
        "--ttl",
        "1h",
        "--json",
    ];
    guard.json(&add)?;
    let prefixes = dump(&guard, names::ALLOW_NET_V4)?;
    ensure!(prefixes.len() == 1, "{prefixes:?}");
    let grant = prefixes[0].value.as_ref().context("no value")?;
    let ends = grant["expires"]["client"].as_u64().context("no end")?;
    ensure!(
        grant["roles"] == Role::Client.bit()
            && grant["origins"] == Origin::Manual.bit()
            && ends > 0,
        "{grant}"
    );
    Ok(())
}

#[test]
fn info_tells_how_the_guard_was_loaded() -> Result<()> {
    let (cable, _config, guard) = guarded()?;
    let info = dump(&guard, names::INFO)?;
    let info = info
        .first()
        .and_then(|entry| entry.value.as_ref())
        .context("no INFO")?;
    ensure!(
        info["abi"] == ntpguard_common::maps::tables::ABI && info["mode"] == 0,
        "{info}"
    );
    ensure!(info["interfaces"][0] == cable.left.index, "{info}");
    ensure!(
        info["loaded"].as_u64().is_some_and(|loaded| loaded > 0),
        "{info}"
    );
    Ok(())
}

#[test]
fn the_pinned_program_is_the_one_that_is_attached() -> Result<()> {
    let (cable, _config, guard) = guarded()?;
    let program = bpftool::prog_show(&guard.home().pin_dir().join("programs/ingress"))?;
    ensure!(
        program["type"] == "xdp" && program["name"] == "ingress",
        "{program}"
    );
    let maps: Vec<u64> = program["map_ids"].as_array().map_or_else(Vec::new, |maps| {
        maps.iter().filter_map(Value::as_u64).collect()
    });
    for name in [names::ALLOW_V4, names::ALLOW_NET_V6, names::COUNTERS] {
        let map = bpftool::map_show(&guard.home().pin_dir().join("maps").join(name))?;
        ensure!(
            map["id"].as_u64().is_some_and(|id| maps.contains(&id)),
            "{name}: {map}, {program}"
        );
    }
    let attached = xdp_on(&cable.left.namespace, &cable.left.interface)?;
    let attached: Value = attached.context("bpftool net shows no XDP")?;
    ensure!(attached["id"] == program["id"], "{attached}, {program}");
    Ok(())
}
