//! The guard outlives its daemon, and a new daemon takes it over with no packet unguarded.

use std::{
    net::IpAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ntpguard_common::{reason::Reason, tables::Role};
use ntpguard_tests::{
    dns::{Behaviour, DnsServer},
    guard::{Counts, Guard, Home},
    lab::Lab,
    packets::flood::Flood,
    wait::eventually,
};
use serde_json::{Value, json};

const LISTED: &str = "192.0.2.1";
const STRANGER: &str = "203.0.113.9";
const SOON: Duration = Duration::from_secs(5);

/// Longer than any test here takes.
const LONG: Duration = Duration::from_secs(60);

/// Packets a second of the floods: many between any two steps of a swap, and few enough that the
/// machine still has time for the swap.
const RATE: u64 = 20_000;

fn source(lab: &Lab) -> Result<std::path::PathBuf> {
    lab.write("ntp.conf", &format!("server {LISTED}\n"))
}

fn guarded(lab: &Lab) -> Result<Guard> {
    lab.guard().source(&source(lab)?).ready()
}

/// Another daemon over the same pins and state.
fn successor(lab: &Lab, home: &Arc<Home>, more: &[&str]) -> Result<Guard> {
    let guard = lab
        .guard()
        .home(home)
        .source(&source(lab)?)
        .args(more)
        .start()?;
    in_charge(lab, guard)
}

/// Waits until it is `guard` itself that answers, and not its predecessor.
fn in_charge(lab: &Lab, mut guard: Guard) -> Result<Guard> {
    eventually(SOON, "the successor's being in charge", || {
        let status = guard.wait_ready()?;
        ensure!(status["daemon"]["pid"] == guard.id(), "{status}");
        Ok(())
    })?;
    lab.flush()?;
    Ok(guard)
}

fn status(lab: &Lab, home: &Home) -> Result<Value> {
    lab.json(home, &["status", "--json"])
}

fn flood(lab: &Lab) -> Result<Flood> {
    let from: IpAddr = STRANGER.parse()?;
    let frame = lab.frame(from, Role::Server)?;
    Flood::start(&lab.outside.port, vec![frame], Some(RATE), LONG)
}

/// Fails unless the flood went on while the guard was exchanged, and nothing of it arrived.
fn nothing_leaked(lab: &Lab, flood: Flood, home: &Home) -> Result<()> {
    let flooded = flood.stop()?;
    lab.flush()?;
    let leaked = lab.sink.count() + lab.sink.lost()?;
    ensure!(
        leaked == 0,
        "{leaked} of {flooded:?} leaked: {:?}",
        lab.sink.by_source()
    );
    // A busy machine loses some on the cable, and the counters live through it all.
    let dropped = Counts::in_kernel(home)?.enforced(Reason::Unlisted);
    let range = flooded.frames / 2..=flooded.frames;
    ensure!(
        flooded.frames > 1_000 && range.contains(&dropped),
        "{dropped} counted of {flooded:?}"
    );
    Ok(())
}

/// Shows that, in this lab, the flood arrives where there is no guard.
fn flood_arrives_unguarded() -> Result<()> {
    let lab = Lab::new()?;
    let flood = flood(&lab)?;
    lab.sink.wait_for(1_000, SOON)?;
    flood.stop().map(drop)
}

#[test]
fn a_killed_guard_goes_on_filtering() -> Result<()> {
    let lab = Lab::new()?;
    lab.arrives_unguarded(STRANGER, Role::Server)?;
    let mut guard = guarded(&lab)?;
    guard.kill9()?;
    lab.drops(guard.home(), STRANGER, Role::Server)?;
    lab.admits(guard.home(), LISTED, Role::Server)?;
    let status = status(&lab, guard.home())?;
    ensure!(
        status["guarding"] == true && status["daemon"].is_null(),
        "{status}"
    );
    ensure!(
        status["mode"] == "enforce" && status["grants"]["addresses"] == 1,
        "{status}"
    );
    Ok(())
}

#[test]
fn a_restart_adopts_what_a_killed_guard_left() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    lab.drops(&home, STRANGER, Role::Server)?;
    lab.admits(&home, LISTED, Role::Server)?;
    let (link, counts) = (lab.link(&home)?, guard.counters()?);
    guard.kill9()?;
    let guard = successor(&lab, &home, &[])?;
    ensure!(guard.stderr().contains("adopted"), "{}", guard.stderr());
    ensure!(lab.link(&home)? == link, "another link");
    ensure!(guard.counters()? == counts, "the counters began anew");
    ensure!(guard.reported()? == counts, "status counts otherwise");
    lab.drops(&home, STRANGER, Role::Server)?;
    lab.admits(&home, LISTED, Role::Server)
}

#[test]
fn a_first_start_adopts_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    ensure!(!guard.stderr().contains("adopted"), "{}", guard.stderr());
    Ok(())
}

#[test]
fn no_packet_is_unguarded_while_guards_replace_each_other() -> Result<()> {
    flood_arrives_unguarded()?;
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    let (link, flood) = (lab.link(&home)?, flood(&lab)?);
    for _ in 0..5 {
        let mut before = guard;
        guard = successor(&lab, &home, &["--replace"])?;
        ensure!(before.wait_end()?.success(), "{}", before.stderr());
    }
    nothing_leaked(&lab, flood, &home)?;
    ensure!(lab.link(&home)? == link, "another link");
    Ok(())
}

#[test]
fn no_packet_is_unguarded_while_guards_are_killed_and_started() -> Result<()> {
    flood_arrives_unguarded()?;
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    let flood = flood(&lab)?;
    for _ in 0..5 {
        guard.kill9()?;
        guard = successor(&lab, &home, &[])?;
    }
    nothing_leaked(&lab, flood, &home)
}

#[test]
fn no_packet_is_unguarded_while_tables_of_another_size_take_over() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    let flood = flood(&lab)?;
    for size in ["100", "1000", "200"] {
        guard.kill9()?;
        guard = successor(&lab, &home, &["--table-size", size])?;
    }
    let flooded = flood.stop()?;
    lab.flush()?;
    ensure!(flooded.frames > 1_000, "no flood: {flooded:?}");
    ensure!(lab.sink.count() == 0, "{:?} leaked", lab.sink.by_source());
    lab.admits(&home, LISTED, Role::Server)
}

/// Fails unless monitoring passed the flood, and nothing more passes once `enforcing` is done.
fn from_monitor_to_enforce(lab: &Lab, mut monitor: Guard, kill: bool) -> Result<()> {
    let home = Arc::clone(monitor.home());
    let (link, flood) = (lab.link(&home)?, flood(lab)?);
    lab.sink.wait_for(100, SOON)?;
    ensure!(
        monitor.counters()?.monitored(Reason::Unlisted) > 0,
        "nothing was monitored"
    );
    if kill {
        monitor.kill9()?;
    }
    let more: &[&str] = if kill { &[] } else { &["--replace"] };
    let guard = successor(lab, &home, more)?;
    // What was let pass before the swap may be on its way still.
    let mut passed = 0;
    eventually(SOON, "an end of what passes", || {
        let before = std::mem::replace(&mut passed, lab.sink.count());
        ensure!(passed == before, "still {passed}");
        Ok(())
    })?;
    let sent = flood.sent();
    eventually(SOON, "more of the flood", || {
        ensure!(flood.sent() > sent + 5_000, "{} sent", flood.sent());
        Ok(())
    })?;
    let flooded = flood.stop()?;
    lab.flush()?;
    ensure!(
        lab.sink.count() == passed,
        "{} more passed",
        lab.sink.count() - passed
    );
    // Each packet was counted by the one mode or by the other.
    let counts = guard.counters()?;
    let (enforced, monitored) = (
        counts.enforced(Reason::Unlisted),
        counts.monitored(Reason::Unlisted),
    );
    ensure!(
        enforced + monitored <= flooded.frames,
        "{enforced} + {monitored} of {flooded:?}"
    );
    ensure!(enforced >= 1_000, "{enforced} enforced of {flooded:?}");
    ensure!(
        monitored == passed + lab.sink.lost()?,
        "{monitored} monitored, {passed} passed"
    );
    ensure!(lab.link(&home)? == link, "another link");
    ensure!(
        status(lab, &home)?["mode"] == "enforce",
        "the mode is not told"
    );
    Ok(())
}

#[test]
fn replacing_a_monitor_enforces_from_one_packet_to_the_next() -> Result<()> {
    let lab = Lab::new()?;
    let monitor = lab.guard().source(&source(&lab)?).mode("monitor").ready()?;
    from_monitor_to_enforce(&lab, monitor, false)
}

#[test]
fn starting_after_a_killed_monitor_enforces_from_one_packet_to_the_next() -> Result<()> {
    let lab = Lab::new()?;
    let monitor = lab.guard().source(&source(&lab)?).mode("monitor").ready()?;
    from_monitor_to_enforce(&lab, monitor, true)
}

#[test]
fn a_second_run_is_refused_while_the_first_lives() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    let began = Instant::now();
    let mut second = lab
        .guard()
        .home(guard.home())
        .source(&source(&lab)?)
        .start()?;
    ensure!(second.wait_end()?.code() == Some(1), "{}", second.stderr());
    let said = second.stderr();
    ensure!(
        said.contains(&format!("pid {}", guard.id())) && said.contains("--replace"),
        "{said}"
    );
    ensure!(
        began.elapsed() < Duration::from_secs(3),
        "refused after {:?}",
        began.elapsed()
    );
    // The first is as it was.
    let status = status(&lab, guard.home())?;
    ensure!(
        status["daemon"]["pid"] == guard.id() && status["guarding"] == true,
        "{status}"
    );
    lab.drops(guard.home(), STRANGER, Role::Server)?;
    lab.admits(guard.home(), LISTED, Role::Server)
}

#[test]
fn a_living_daemon_is_not_unloaded_from_under_its_feet() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    let output = guard.cli(&["unload"])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    lab.drops(guard.home(), STRANGER, Role::Server)
}

#[test]
fn replace_without_a_daemon_is_a_plain_start() -> Result<()> {
    let lab = Lab::new()?;
    let guard = lab
        .guard()
        .source(&source(&lab)?)
        .args(["--replace"])
        .ready()?;
    lab.drops(guard.home(), STRANGER, Role::Server)
}

fn ends_with(lab: &Lab, mut guard: Guard, interrupt: bool, stays: bool) -> Result<()> {
    let ended = if interrupt {
        guard.interrupt()?
    } else {
        guard.terminate()?
    };
    ensure!(ended.code() == Some(0), "{ended}: {}", guard.stderr());
    let status = status(lab, guard.home())?;
    ensure!(
        status["guarding"] == stays && status["daemon"].is_null(),
        "{status}"
    );
    if stays {
        lab.drops(guard.home(), STRANGER, Role::Server)?;
        lab.admits(guard.home(), LISTED, Role::Server)
    } else {
        let hooks = ntpguard_tests::bpftool::net(&lab.inside.namespace)?;
        ensure!(hooks.get("xdp").is_none_or(Vec::is_empty), "{hooks:?}");
        lab.arrives_unguarded(STRANGER, Role::Server)
    }
}

#[test]
fn sigterm_and_sigint_detach() -> Result<()> {
    for interrupt in [false, true] {
        let lab = Lab::new()?;
        let guard = guarded(&lab)?;
        ends_with(&lab, guard, interrupt, false)?;
    }
    Ok(())
}

#[test]
fn sigterm_and_sigint_leave_a_persistent_guard() -> Result<()> {
    for interrupt in [false, true] {
        let lab = Lab::new()?;
        let guard = lab
            .guard()
            .source(&source(&lab)?)
            .args(["--persist"])
            .ready()?;
        ends_with(&lab, guard, interrupt, true)?;
    }
    Ok(())
}

#[test]
fn unload_removes_what_a_killed_guard_left_and_keeps_the_state() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    guard.kill9()?;
    ensure!(guard.cli(&["unload"])?.status.success(), "unload failed");
    lab.arrives_unguarded(STRANGER, Role::Server)?;
    ensure!(
        !guard.home().pin_dir().join("maps").exists(),
        "the maps are still there"
    );
    ensure!(
        guard.home().state_dir().join("state.json").is_file(),
        "the state file is gone"
    );
    let again = guard.cli(&["unload"])?;
    ensure!(again.status.success(), "{again:?}");
    Ok(())
}

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

/// Moments from 1 to 300 ms after a start, close together where most happens.
fn moments() -> impl Iterator<Item = Duration> {
    (0..20_u64).map(|turn| Duration::from_millis(1 + turn * turn * 299 / 361))
}

#[test]
fn a_first_start_stopped_at_any_moment_can_be_started_again() -> Result<()> {
    let lab = Lab::new()?;
    for moment in moments() {
        let home = Home::new()?;
        let mut guard = lab.guard().home(&home).source(&source(&lab)?).start()?;
        thread::sleep(moment);
        guard.kill9()?;
        let guard = lab.guard().home(&home).source(&source(&lab)?).ready()?;
        lab.drops(&home, STRANGER, Role::Server)?;
        lab.admits(&home, LISTED, Role::Server)?;
        drop(guard);
        ensure!(
            lab.cli(&home, &["unload"])?.status.success(),
            "unload failed after {moment:?}"
        );
    }
    Ok(())
}

#[test]
fn a_restart_stopped_at_any_moment_leaves_the_interface_guarded() -> Result<()> {
    flood_arrives_unguarded()?;
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    guard.kill9()?;
    let flood = flood(&lab)?;
    for (turn, moment) in moments().enumerate() {
        // Every other start also replaces the tables.
        let size = if turn % 2 == 0 { "1000" } else { "2000" };
        let mut guard = lab
            .guard()
            .home(&home)
            .source(&source(&lab)?)
            .args(["--table-size", size])
            .start()?;
        thread::sleep(moment);
        guard.kill9()?;
        lab.flush()?;
        ensure!(lab.sink.count() == 0, "leaked after {moment:?}");
    }
    let _guard = successor(&lab, &home, &[])?;
    let flooded = flood.stop()?;
    lab.flush()?;
    ensure!(flooded.frames > 1_000, "no flood: {flooded:?}");
    let leaked = lab.sink.count() + lab.sink.lost()?;
    ensure!(leaked == 0, "{leaked} of {flooded:?} leaked");
    lab.admits(&home, LISTED, Role::Server)
}
