//! Edits by hand beside what DNS and files vouch for: neither undoes the other.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{dns::DnsServer, guard::Guard, lab::Lab, wait::eventually};
use serde_json::json;

use super::{NAMED, edit, may_be};

/// A guard of `server time.test`, which is `NAMED`.
fn with_name(lab: &Lab) -> Result<(DnsServer, PathBuf, Guard)> {
    let dns = DnsServer::start(&lab.outside.namespace, lab.outside.v4.into())?;
    dns.set_fixed("time.test", &[NAMED.parse()?]);
    let source = lab.write("ntp.conf", "server time.test\n")?;
    let guard = lab
        .guard()
        .source(&source)
        .resolver(dns.address())
        .ready()?;
    Ok((dns, source, guard))
}

fn restart(
    lab: &Lab,
    mut guard: Guard,
    dns: &DnsServer,
    source: &Path,
    kill: bool,
) -> Result<Guard> {
    if kill {
        guard.kill9()?;
    } else {
        ensure!(guard.terminate()?.success(), "{}", guard.stderr());
    }
    lab.guard()
        .home(guard.home())
        .source(source)
        .resolver(dns.address())
        .ready()
}

#[test]
fn a_denial_by_hand_cuts_off_an_address_that_dns_names() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, source, guard) = with_name(&lab)?;
    let home = Arc::clone(guard.home());
    lab.admits(&home, NAMED, Role::Server)?;
    edit(&lab, &home, &["add", NAMED, "--role", "none"])?;
    lab.drops(&home, NAMED, Role::Server)?;
    edit(&lab, &home, &["update"])?;
    lab.drops(&home, NAMED, Role::Server)?;
    let guard = restart(&lab, guard, &dns, &source, true)?;
    lab.drops(&home, NAMED, Role::Server)?;
    let _guard = restart(&lab, guard, &dns, &source, false)?;
    lab.drops(&home, NAMED, Role::Server)?;
    edit(&lab, &home, &["remove", NAMED])?;
    lab.admits(&home, NAMED, Role::Server)
}

#[test]
fn an_edit_by_hand_survives_whatever_the_daemon_does_next() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, source, guard) = with_name(&lab)?;
    let home = Arc::clone(guard.home());
    edit(&lab, &home, &["add", "192.0.2.9"])?;
    // The same address by hand and by DNS: either may let go of it.
    edit(&lab, &home, &["add", "192.0.2.2", "--role", "client"])?;
    let stands = |what: &str| -> Result<()> {
        may_be(&lab, &home, "192.0.2.9", &[Role::Server])
            .and_then(|()| lab.admits(&home, "192.0.2.2", Role::Client))
            .map_err(|error| error.context(format!("after {what}")))
    };
    dns.set_fixed("time.test", &["192.0.2.2".parse()?]);
    edit(&lab, &home, &["update"])?;
    stands("an answer of DNS")?;
    may_be(&lab, &home, "192.0.2.2", &[Role::Server, Role::Client])?;
    fs::write(&source, "server time.test\nserver 192.0.2.4\n")?;
    eventually(Duration::from_secs(3), "a change of the source", || {
        lab.admits(&home, "192.0.2.4", Role::Server)
    })?;
    stands("a change of the source")?;
    fs::write(&source, "server 192.0.2.4\n")?;
    eventually(Duration::from_secs(3), "a change of the source", || {
        lab.drops(&home, "192.0.2.2", Role::Server)
    })?;
    stands("the end of the name")?;
    let guard = restart(&lab, guard, &dns, &source, false)?;
    stands("a restart")?;
    let _guard = restart(&lab, guard, &dns, &source, true)?;
    stands("a crash")
}

#[test]
fn an_edit_by_hand_leaves_alone_what_others_vouch_for() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, source, mut guard) = with_name(&lab)?;
    let home = Arc::clone(guard.home());
    for with_daemon in [true, false] {
        if !with_daemon {
            guard.kill9()?;
        }
        edit(
            &lab,
            &home,
            &["add", NAMED, "--role", "server", "--role", "client"],
        )?;
        may_be(&lab, &home, NAMED, &[Role::Server, Role::Client])?;
        edit(&lab, &home, &["add", "192.0.2.9"])?;
        lab.admits(&home, NAMED, Role::Server)?;
        edit(&lab, &home, &["remove", NAMED])?;
        may_be(&lab, &home, NAMED, &[Role::Server])?;
        edit(&lab, &home, &["remove", "192.0.2.9"])?;
        may_be(&lab, &home, NAMED, &[Role::Server])?;
        let listing = lab.json(&home, &["allowlist", "list", "--json"])?;
        ensure!(
            listing["rows"][0]["names"] == json!(["time.test"]),
            "{listing}"
        );
    }
    // The row that a command without a daemon left alone is still DNS's: it stays with DNS away.
    dns.set("time.test", ntpguard_tests::dns::Behaviour::ServFail);
    let _guard = lab
        .guard()
        .home(&home)
        .source(&source)
        .resolver(dns.address())
        .ready()?;
    may_be(&lab, &home, NAMED, &[Role::Server])
}
