//! `ntpguard allowlist`: what it changes holds from the next packet on.

use std::{process::Output, sync::Arc};

use anyhow::{Result, ensure};
use ntpguard_tests::{
    bpftool,
    dns::DnsServer,
    guard::{Guard, Home},
    lab::Lab,
};
use serde_json::Value;

mod at_once;
mod edits;
mod json;
mod lifetimes;
mod refusals;
mod updates;

const ADDRESS: &str = "192.0.2.1";
const OTHER: &str = "192.0.2.2";

/// A guard with a source that names nobody, so that nothing of this machine is read.
fn empty_source(lab: &Lab) -> Result<std::path::PathBuf> {
    lab.write("ntp.conf", "# nobody\n")
}

fn guarded(lab: &Lab) -> Result<Guard> {
    lab.guard().source(&empty_source(lab)?).ready()
}

/// A lab whose guard was killed: the pins are left, and nobody looks after them.
fn orphaned(lab: &Lab) -> Result<Arc<Home>> {
    let mut guard = guarded(lab)?;
    guard.kill9()?;
    Ok(Arc::clone(guard.home()))
}

fn named(lab: &Lab) -> Result<(DnsServer, std::path::PathBuf, Guard)> {
    let dns = DnsServer::start(&lab.outside.namespace, lab.outside.v4.into())?;
    dns.set_fixed("time.test", &[OTHER.parse()?]);
    let source = lab.write("ntp.conf", &format!("server {ADDRESS}\nserver time.test\n"))?;
    let guard = lab
        .guard()
        .source(&source)
        .resolver(dns.address())
        .ready()?;
    Ok((dns, source, guard))
}

fn ok(output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// What a command that must fail says, after a look at its exit code.
fn refusal(output: &Output, code: i32) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(code), "{output:?}");
    ensure!(!said.is_empty(), "it does not say why");
    Ok(said)
}

fn prefixes(listing: &Value) -> Vec<String> {
    let rows = listing["rows"].as_array().cloned().unwrap_or_default();
    let prefix = |row: &Value| row["prefix"].as_str().map(str::to_owned);
    rows.iter().filter_map(prefix).collect()
}

fn listed(lab: &Lab, home: &Home) -> Result<Vec<String>> {
    Ok(prefixes(&lab.json(home, &["allowlist", "list", "--json"])?))
}

fn rows(lab: &Lab, home: &Home) -> Result<Value> {
    Ok(lab.json(home, &["allowlist", "list", "--json"])?["rows"].clone())
}

fn entries(home: &Home) -> Result<usize> {
    Ok(bpftool::map_dump(&home.pin_dir().join("maps/ALLOW_V4"))?.len())
}
