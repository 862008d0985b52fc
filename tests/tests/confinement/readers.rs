//! The processes that parse for a guard: what they hold, and what becomes of the guard without them.

use std::{
    fs,
    io::ErrorKind,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{
    dns::{Behaviour, DnsServer},
    guard::Guard,
    hanging::Hanging,
    lab::Lab,
    process::Process,
    wait::eventually,
};
use serde_json::Value;

use super::{ensure_confined, field, threads};

/// Longer than a guard waits for a reader, and until the next round.
pub(super) const SOON: Duration = Duration::from_secs(30);

/// How long an answer may take at most, so that a busy machine fails no test. What is aimed at is a
/// tenth of a second.
const LIMIT: Duration = Duration::from_secs(2);

const KNOWN: &str = "192.0.2.1";
const NEW: &str = "192.0.2.2";

/// A guard of one configuration, which lies in a directory of its own.
struct Scene {
    lab: Lab,
    guard: Guard,
    directory: PathBuf,
    starter: u32,
}

/// A reading that waits for the file system, and with it its reader.
struct Held {
    hanging: Hanging,
    reader: u32,
    _update: Process,
}

impl Scene {
    fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let directory = lab.file("etc");
        fs::create_dir(&directory)?;
        let path = directory.join("ntp.conf");
        fs::write(&path, format!("server {KNOWN}\n"))?;
        let guard = lab.guard().source(&path).ready()?;
        let starter = readers(&guard)?["starter"].as_u64();
        Ok(Self {
            starter: starter.context("no starter")? as u32,
            lab,
            guard,
            directory,
        })
    }

    fn names_another(&self) -> Result<()> {
        let path = self.directory.join("ntp.conf");
        let text = format!("server {KNOWN}\nserver {NEW}\n");
        Ok(fs::write(path, text)?)
    }

    fn hold_a_reader(&self) -> Result<Held> {
        let hanging = Hanging::over(&self.directory)?;
        let update = self.guard.spawn(&["allowlist", "update"])?;
        let reader = eventually(SOON, "a reader", || {
            let found = children(self.starter)?;
            let reader = found.first().copied().context("no reader")?;
            let held = threads(reader)?;
            // Not while it is about to confine itself.
            ensure!(field(&held[0], "Seccomp_filters")? == "2", "{held:?}");
            Ok(reader)
        })?;
        Ok(Held {
            hanging,
            reader,
            _update: update,
        })
    }

    fn status(&self) -> Result<Value> {
        let asked = Instant::now();
        let status = self.guard.json(&["status", "--json"])?;
        let took = asked.elapsed();
        ensure!(took < LIMIT, "status took {took:?}");
        Ok(status)
    }

    fn learns_what_changed(&self) -> Result<()> {
        eventually(SOON, "what changed", || {
            self.lab.admits(self.guard.home(), NEW, Role::Server)
        })?;
        eventually(SOON, "the end of the finding", || {
            let status = self.status()?;
            let text = status.to_string();
            ensure!(!text.contains("parser process"), "{status}");
            Ok(())
        })
    }
}

fn readers(guard: &Guard) -> Result<Value> {
    Ok(guard.json(&["status", "--json"])?["daemon"]["readers"].clone())
}

/// The processes that are children of this one and live.
fn children(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended.
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let is_its = field(&status, "PPid").is_ok_and(|parent| parent == pid.to_string());
        if is_its && lives(child) {
            found.push(child);
        }
    }
    Ok(found)
}

/// Whether a process is there and is more than a number that its parent has not asked for yet.
fn lives(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field(&status, "State").is_ok_and(|state| !state.starts_with('Z'))
}

pub(super) fn send(pid: u32, signal: Signal) -> Result<()> {
    Ok(kill(Pid::from_raw(pid.cast_signed()), signal)?)
}

/// Where the descriptors of a process lead.
pub(super) fn descriptors(pid: u32) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        match fs::read_link(entry?.path()) {
            Ok(target) => found.push(target.to_string_lossy().into_owned()),
            // It was closed since.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn ensure_holds_nothing(pid: u32, name: &str) -> Result<()> {
    ensure_confined(pid, 0)?;
    let threads = threads(pid)?;
    ensure!(threads.len() == 1, "{threads:?}");
    ensure!(field(&threads[0], "Name")? == name, "{threads:?}");
    let descriptors = descriptors(pid)?;
    let (null, others): (Vec<_>, Vec<_>) = descriptors
        .iter()
        .partition(|target| *target == "/dev/null");
    ensure!(
        null.len() == 3 && others.len() == 1 && others[0].starts_with("socket:"),
        "{name} has {descriptors:?}"
    );
    Ok(())
}

#[test]
fn what_parses_has_no_capability_and_no_file() -> Result<()> {
    let scene = Scene::new()?;
    let held = scene.hold_a_reader()?;
    ensure_holds_nothing(scene.starter, "ntpguard-forker")?;
    ensure_holds_nothing(held.reader, "ntpguard-reader")?;
    let limits = fs::read_to_string(format!("/proc/{}/limits", held.reader))?;
    for (limit, most) in [
        ("Max file size", "0"),
        ("Max core file size", "0"),
        ("Max open files", "64"),
        ("Max data size", "134217728"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(limit));
        let line = line.with_context(|| format!("no {limit} in {limits}"))?;
        let values: Vec<&str> = line[limit.len()..].split_whitespace().collect();
        ensure!(values[..2] == [most, most], "{line}");
    }
    let status = scene.status()?;
    let readers = &status["daemon"]["readers"];
    ensure!(
        readers["confinement"]["capabilities"] == serde_json::json!([])
            && readers["confinement"]["no_new_privileges"] == true
            && readers["confinement"]["system_calls_filtered"] == true
            && readers["failed"] == 0,
        "{readers}"
    );
    // What holds it back is said, whatever the kernel has of it.
    let has_landlock = fs::read_to_string("/sys/kernel/security/lsm")
        .is_ok_and(|modules| modules.split(',').any(|module| module.trim() == "landlock"));
    let missing = readers["missing"].as_array().context("a list")?;
    ensure!(readers["landlock"].is_u64() || !has_landlock, "{readers}");
    ensure!(
        readers["landlock"].is_u64() == missing.is_empty(),
        "{readers}"
    );
    let text = String::from_utf8(scene.guard.cli(&["status"])?.stdout)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    ensure!(
        words
            .join(" ")
            .contains("readers no capabilities; no new privileges"),
        "{text}"
    );
    Ok(())
}

/// A CPU's share of a process (proc(5)): the higher, the more it stands back.
fn niceness(pid: u32) -> Result<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let nice = fields.split_whitespace().nth(16).context("no niceness")?;
    Ok(nice.parse()?)
}

#[test]
fn what_asks_dns_has_seconds_of_a_cpu_and_stands_back() -> Result<()> {
    let lab = Lab::new()?;
    let dns = DnsServer::start(&lab.outside.namespace, lab.outside.v4.into())?;
    dns.set("time.test", Behaviour::Silent);
    let source = lab.write("ntp.conf", "server time.test\n")?;
    let guard = lab
        .guard()
        .source(&source)
        .resolver(dns.address())
        .start()?;
    let (starter, limits) = eventually(SOON, "a reader of names", || {
        let starter = readers(&guard)?["starter"].as_u64().context("none")? as u32;
        let reader = children(starter)?.first().copied().context("no reader")?;
        let limits = fs::read_to_string(format!("/proc/{reader}/limits"))?;
        ensure!(limits.contains("Max open files            64"), "{limits}");
        Ok((starter, limits))
    })?;
    let line = limits.lines().find(|line| line.starts_with("Max cpu time"));
    let line: Vec<&str> = line.context("no limit")?.split_whitespace().collect();
    ensure!(line[3..5] == ["3", "3"], "{line:?}");
    let (guards, starters) = (niceness(guard.id())?, niceness(starter)?);
    ensure!(starters == (guards + 10).min(19), "{guards} and {starters}");
    Ok(())
}

#[test]
fn a_reader_that_is_killed_takes_nothing_away_and_another_reads_again() -> Result<()> {
    let scene = Scene::new()?;
    scene.names_another()?;
    eventually(SOON, "what changed", || {
        scene.lab.admits(scene.guard.home(), NEW, Role::Server)
    })?;
    let held = scene.hold_a_reader()?;
    send(held.reader, Signal::SIGKILL)?;
    drop(held.hanging);
    eventually(SOON, "the failure", || {
        let status = scene.status()?;
        ensure!(status["daemon"]["readers"]["failed"] == 1, "{status}");
        Ok(())
    })?;
    scene.lab.admits(scene.guard.home(), KNOWN, Role::Server)?;
    scene.learns_what_changed()
}

#[test]
fn a_reader_that_hangs_is_ended_and_holds_up_nothing_else() -> Result<()> {
    let scene = Scene::new()?;
    let held = scene.hold_a_reader()?;
    send(held.reader, Signal::SIGSTOP)?;
    drop(held.hanging);
    scene.names_another()?;
    eventually(SOON, "the failure", || {
        let status = scene.status()?;
        ensure!(status["daemon"]["readers"]["failed"] == 1, "{status}");
        Ok(())
    })?;
    eventually(SOON, "the end of the reader", || {
        ensure!(!lives(held.reader), "{} lives", held.reader);
        Ok(())
    })?;
    ensure!(
        scene
            .guard
            .stderr()
            .contains("took too long and was killed"),
        "{}",
        scene.guard.stderr()
    );
    scene.lab.admits(scene.guard.home(), KNOWN, Role::Server)?;
    scene.learns_what_changed()
}

#[test]
fn without_a_starter_the_guard_goes_on_with_what_it_knows_and_says_so() -> Result<()> {
    let scene = Scene::new()?;
    send(scene.starter, Signal::SIGKILL)?;
    scene.names_another()?;
    eventually(SOON, "the finding", || {
        let status = scene.status()?;
        ensure!(status["daemon"]["readers"]["starter"].is_null(), "{status}");
        ensure!(
            status["problems"]
                .to_string()
                .contains("process that starts parsers has exited"),
            "{status}"
        );
        Ok(())
    })?;
    let text = String::from_utf8(scene.guard.cli(&["status"])?.stdout)?;
    ensure!(text.contains("has EXITED"), "{text}");
    let home = scene.guard.home();
    scene.lab.admits(home, KNOWN, Role::Server)?;
    scene.lab.drops(home, NEW, Role::Server)?;
    scene.guard.json(&["allowlist", "add", NEW, "--json"])?;
    scene.lab.admits(home, NEW, Role::Server)
}

#[test]
fn a_guard_that_ends_leaves_no_process_behind() -> Result<()> {
    let ends: [fn(&mut Guard) -> Result<()>; 2] =
        [|guard| guard.terminate().map(drop), Guard::kill9];
    for end in ends {
        let mut scene = Scene::new()?;
        let held = scene.hold_a_reader()?;
        send(held.reader, Signal::SIGSTOP)?;
        end(&mut scene.guard)?;
        eventually(SOON, "the end of all", || {
            for pid in [scene.starter, held.reader] {
                ensure!(!lives(pid), "{pid} lives");
            }
            Ok(())
        })?;
    }
    Ok(())
}
