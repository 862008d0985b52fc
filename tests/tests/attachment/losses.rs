//! Programs and pins that others take away from a guard that runs.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ntpguard_common::{maps::tables::Role, reason::Reason};
use ntpguard_tests::{
    config::ConfigFile,
    guard::Guard,
    lab::Lab,
    link::Port,
    packets::flood::Flood,
    process,
    switch::{Host, Switch},
    wait::eventually,
};
use serde_json::Value;

use super::asking::{Client, Server};

/// How soon a loss is repaired that is the first of its kind.
pub(super) const REPAIRED_WITHIN: Duration = Duration::from_secs(5);

const STRANGER: &str = "203.0.113.9";

/// Requests or packets a second.
const RATE: u64 = 200;

/// Detaches the link that is pinned for a hook, as an administrator may.
pub(super) fn detach(guard: &Guard, port: &Port, hook: &str) -> Result<()> {
    let pin = guard.home().pin_dir();
    let pin = pin.join(format!("links/{}-{hook}", port.index));
    let pin = pin.to_str().context("a path that is no text")?;
    process::run_program("bpftool", &["link", "detach", "pinned", pin]).map(drop)
}

pub(super) fn findings(guard: &Guard) -> Result<String> {
    let status = guard.json(&["status", "--json"])?;
    Ok(status["findings"].to_string())
}

pub(super) fn status_text(guard: &Guard) -> Result<String> {
    Ok(String::from_utf8(guard.cli(&["status"])?.stdout)?)
}

/// A client that asks a server through a guard that tracks requests.
pub(super) struct Asking {
    pub(super) client: Host,
    pub(super) server: Server,
    pub(super) guard: Guard,
    _config: ConfigFile,
    _hosts: (Switch, Host),
}

impl Asking {
    pub(super) fn new() -> Result<Self> {
        let switch = Switch::new()?;
        let (client, other) = (switch.host("client", 1)?, switch.host("server", 2)?);
        let config = ConfigFile::ntp(&format!("server {}\n", other.v4))?;
        let guard = Guard::builder(&client.namespace)
            .interface(&client.port.interface)
            .source(config.path())
            .ready()?;
        Ok(Self {
            server: Server::on(&other)?,
            client,
            guard,
            _config: config,
            _hosts: (switch, other),
        })
    }
}

/// How many replies were taken for unasked.
fn refused_by(guard: &Guard) -> Result<u64> {
    let counts = guard.counters()?;
    Ok(counts.enforced(Reason::Unsolicited) + counts.enforced(Reason::Origin))
}

#[test]
fn the_egress_program_is_attached_again_while_requests_flow() -> Result<()> {
    let asking = Asking::new()?;
    let (guard, port) = (&asking.guard, &asking.client.port);
    let client = Client::asks(&asking.client, asking.server.address, RATE)?;
    eventually(REPAIRED_WITHIN, "answers", || {
        ensure!(client.answered() > 20, "{client:?}");
        Ok(())
    })?;
    let refused = refused_by(guard)?;
    ensure!(refused == 0, "{refused} were refused before");

    // The kernel is done with it some time after the first request has passed unseen.
    let lost = Instant::now();
    detach(guard, port, "egress")?;
    eventually(
        REPAIRED_WITHIN,
        "a loss that is noticed by the client",
        || {
            let refused = refused_by(guard)?;
            ensure!(refused > 0, "nothing is refused");
            Ok(())
        },
    )?;
    eventually(REPAIRED_WITHIN, "the repair", || {
        ensure!(guard.stderr().contains("repaired: "), "{}", guard.stderr());
        Ok(())
    })?;
    let took = lost.elapsed();
    let answered = client.answered();
    eventually(REPAIRED_WITHIN, "answers again", || {
        ensure!(client.answered() > answered + 20, "{client:?}");
        Ok(())
    })?;
    let refused = refused_by(guard)?;
    println!("egress: repaired within {took:?}, {refused} replies refused in between");
    ensure!(took < REPAIRED_WITHIN, "it took {took:?}");
    ensure!(
        refused <= RATE * REPAIRED_WITHIN.as_secs(),
        "{refused} were refused"
    );
    let said = guard.stderr();
    let words = format!(
        "the egress program is no longer attached to {} (link detached)",
        port.interface
    );
    ensure!(said.contains(&words), "{said}");
    ensure!(findings(guard)? == "[]", "{}", findings(guard)?);
    Ok(())
}

#[test]
fn the_ingress_program_is_attached_again_under_a_flood() -> Result<()> {
    for attach in ["native", "tc"] {
        let lab = Lab::new()?;
        let source = lab.write("ntp.conf", "server 192.0.2.1\n")?;
        let guard = lab
            .guard()
            .source(&source)
            .args(["--attach", attach])
            .ready()?;
        let frame = lab.frame(STRANGER.parse()?, Role::Server)?;
        let longest = Duration::from_secs(60);
        let flood = Flood::start(&lab.outside.port, vec![frame], Some(1_000), longest)?;
        eventually(REPAIRED_WITHIN, "a flood that is dropped", || {
            let dropped = guard.counters()?.enforced(Reason::Unlisted);
            ensure!(dropped > 100, "{dropped}");
            Ok(())
        })?;
        ensure!(lab.sink.count() == 0, "{:?}", lab.sink.by_source());

        let lost = Instant::now();
        detach(&guard, &lab.inside.port, "ingress")?;
        lab.sink.wait_for(1, REPAIRED_WITHIN)?;
        eventually(REPAIRED_WITHIN, "the repair", || {
            ensure!(guard.stderr().contains("repaired: "), "{}", guard.stderr());
            Ok(())
        })?;
        let took = lost.elapsed();
        lab.flush()?;
        let passed = lab.sink.count();
        let dropped = guard.counters()?.enforced(Reason::Unlisted);
        eventually(REPAIRED_WITHIN, "a flood that is dropped again", || {
            let more = guard.counters()?.enforced(Reason::Unlisted);
            ensure!(more > dropped + 500, "{dropped}, {more}");
            Ok(())
        })?;
        flood.stop()?;
        lab.flush()?;
        ensure!(lab.sink.count() == passed, "more passed");
        println!("ingress, {attach}: repaired within {took:?}, {passed} packets passed in between");
        ensure!(
            took < REPAIRED_WITHIN && passed <= 1_000 * REPAIRED_WITHIN.as_secs(),
            "{took:?}, {passed}"
        );
        super::ensure_attached(&guard, &lab.inside.port, attach)?;
    }
    Ok(())
}

#[test]
fn pins_that_are_removed_are_made_again_and_nothing_passes() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", "server 192.0.2.1\n")?;
    let mut guard = lab.guard().source(&source).ready()?;
    let home = guard.home().clone();
    let link = lab.link(&home)?;
    fs::remove_dir_all(home.pin_dir())?;
    eventually(REPAIRED_WITHIN, "pins", || {
        ensure!(lab.link(&home)? == link, "another link");
        lab.drops(&home, STRANGER, Role::Server)?;
        lab.admits(&home, "192.0.2.1", Role::Server)
    })?;
    let said = guard.stderr();
    let words = format!("pins below {} are gone", home.pin_dir().display());
    ensure!(
        said.contains("repaired: ") && said.contains(&words),
        "{said}"
    );
    // Another is kept out as before, and this one is outlived by what it pinned.
    let refused = guard.cli(&["unload"])?;
    ensure!(!refused.status.success(), "unloaded under a daemon");
    guard.kill9()?;
    lab.drops(&home, STRANGER, Role::Server)?;
    ensure!(lab.link(&home)? == link, "another link");
    Ok(())
}

#[test]
fn one_pin_that_names_another_object_is_put_right() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", "server 192.0.2.1\n")?;
    let guard = lab.guard().source(&source).ready()?;
    let maps = guard.home().pin_dir().join("maps");
    let id = |name: &str| -> Result<Value> {
        Ok(ntpguard_tests::bpftool::map_show(&maps.join(name))?["id"].clone())
    };
    let before = id("COUNTERS")?;
    fs::remove_file(maps.join("COUNTERS"))?;
    fs::rename(maps.join("SERVERS"), maps.join("COUNTERS"))?;
    eventually(REPAIRED_WITHIN, "the right map", || {
        ensure!(id("COUNTERS")? == before, "another map");
        id("SERVERS").map(drop)
    })?;
    ensure!(guard.stderr().contains("2 of "), "{}", guard.stderr());
    Ok(())
}

#[test]
fn without_a_daemon_status_tells_what_the_kernel_has() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", "server 192.0.2.1\n")?;
    let mut guard = Guard::builder(&lab.inside.namespace)
        .interface(&lab.inside.port.interface)
        .source(&source)
        .ready()?;
    guard.kill9()?;
    let text = status_text(&guard)?;
    ensure!(
        text.starts_with("guarding") && text.contains("requests tracked by tcx"),
        "{text}"
    );
    let port = &lab.inside.port;
    detach(&guard, port, "egress")?;
    let text = status_text(&guard)?.replace("\n          ", " ");
    let words = format!(
        "requests NOT tracked (the egress program is no longer attached to {}",
        port.interface
    );
    ensure!(
        text.contains(&words) && !text.contains("tracked by tcx"),
        "{text}"
    );

    detach(&guard, port, "ingress")?;
    lab.arrives_unguarded(STRANGER, Role::Server)?;
    let status = guard.json(&["status", "--json"])?;
    let row = &status["interfaces"][0];
    let why = row["why_not_attached"].as_str().unwrap_or_default();
    ensure!(
        status["guarding"] == false && row["attached"].is_null() && why.contains("link detached"),
        "{status}"
    );
    // Without the pins, which other programs could be attached is still no matter.
    fs::remove_dir_all(guard.home().pin_dir().join("links"))?;
    let text = status_text(&guard)?;
    ensure!(
        text.starts_with("not guarding") && text.contains("its link is gone"),
        "{text}"
    );
    ensure!(!text.contains("another program"), "{text}");
    Ok(())
}
