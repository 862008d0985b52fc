//! A boot whose DNS or configuration is missing starts from what was known.

use std::sync::Arc;

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{
    dns::{Behaviour, DnsServer},
    lab::Lab,
    wait::eventually,
};
use serde_json::json;

use super::{LISTED, SOON, STRANGER, guarded, source, status};

#[test]
fn a_boot_without_dns_starts_from_what_was_known() -> Result<()> {
    let lab = Lab::new()?;
    let dns = DnsServer::start(&lab.outside.namespace, lab.outside.v4.into())?;
    dns.set_fixed("time.test", &[LISTED.parse()?]);
    let config = lab.write("ntp.conf", "server time.test\n")?;
    let mut guard = lab
        .guard()
        .source(&config)
        .resolver(dns.address())
        .ready()?;
    let home = Arc::clone(guard.home());
    lab.admits(&home, LISTED, Role::Server)?;
    guard.kill9()?;
    ensure!(
        lab.cli(&home, &["unload"])?.status.success(),
        "unload failed"
    );

    dns.set("time.test", Behaviour::Silent);
    let again = lab
        .guard()
        .home(&home)
        .source(&config)
        .resolver(dns.address())
        .start()?;
    eventually(SOON, "a guard that does not wait for DNS", || {
        let status = status(&lab, &home)?;
        ensure!(
            status["guarding"] == true && status["daemon"]["pid"] == again.id(),
            "{status}"
        );
        Ok(())
    })?;
    let listing = lab.json(&home, &["allowlist", "list", "--json"])?;
    ensure!(
        listing["rows"][0]["origins"] == json!(["saved"]),
        "{listing}"
    );
    ensure!(
        listing["rows"][0]["names"] == json!(["time.test"]),
        "{listing}"
    );
    lab.admits(&home, LISTED, Role::Server)?;
    lab.drops(&home, STRANGER, Role::Server)?;
    // As soon as DNS answers, it vouches itself.
    dns.set_fixed("time.test", &[LISTED.parse()?]);
    ensure!(
        lab.cli(&home, &["allowlist", "update"])?.status.success(),
        "no update"
    );
    let listing = lab.json(&home, &["allowlist", "list", "--json"])?;
    ensure!(listing["rows"][0]["origins"] == json!(["dns"]), "{listing}");
    Ok(())
}

#[test]
fn a_boot_without_its_configuration_starts_from_what_was_known() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    let config = source(&lab)?;
    guard.kill9()?;
    ensure!(
        lab.cli(&home, &["unload"])?.status.success(),
        "unload failed"
    );
    std::fs::remove_file(&config)?;
    let dialect = format!("ntp.conf:{}", config.display());
    let _guard = lab
        .guard()
        .home(&home)
        .args(["--source", &dialect])
        .ready()?;
    lab.admits(&home, LISTED, Role::Server)?;
    let listing = lab.json(&home, &["allowlist", "list", "--json"])?;
    ensure!(
        listing["rows"][0]["origins"] == json!(["saved"]),
        "{listing}"
    );
    Ok(())
}
