//! A user whose file a chronyd includes writes as much into it as files can hold.

use std::{
    fmt::Write as _,
    fs,
    net::IpAddr,
    os::unix::fs::chown,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ntpguard::datapath::Tables;
use ntpguard_tests::{
    daemons::{Setup, chrony::Chronyd},
    guard::Guard,
    wait::eventually,
};

use super::{NOTICED, PERSON, Scene};

/// Fewer entries than the user's budget of servers: there is not room for all.
const TABLE_SIZE: &str = "200";
/// What root has from the start, adds to its file, and grants by hand.
const FIRST: &str = "192.0.2.6";
const ADDED: &str = "192.0.2.7";
const BY_HAND: &str = "203.0.113.9";

/// The most memory of its own that the guard may need for what the user writes.
const MEMORY: u64 = 20 << 20;
/// How long `status` may take, with a program for debugging on a busy machine.
const PROMPT: Duration = Duration::from_secs(1);
/// Lines of the log, and bytes of the state file, that are enough for all of this.
const LOG_LINES: usize = 100;
const STATE: u64 = 1 << 20;

/// So many servers in the network 10.`second`.0.0/16, which come before root's in every order of numbers.
fn servers(second: u8, count: u32) -> Result<String> {
    let mut text = String::new();
    for number in 0..count {
        let (high, low) = (number >> 8, number & 0xff);
        writeln!(text, "server 10.{second}.{high}.{low}")?;
    }
    Ok(text)
}

fn write_as_user(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(chown(path, Some(PERSON), None)?)
}

/// Whether the kernel has all of these.
fn are_in_kernel(guard: &Guard, addresses: &[&str]) -> Result<()> {
    let tables = Tables::open(&guard.home().pin_dir())?.context("no tables")?;
    let held = tables.read()?.addresses;
    for address in addresses {
        let address: IpAddr = address.parse()?;
        ensure!(held.contains_key(&address), "{address} is not granted");
    }
    Ok(())
}

fn wait_in_kernel(guard: &Guard, addresses: &[&str]) -> Result<()> {
    eventually(NOTICED, "the grants", || are_in_kernel(guard, addresses))
}

/// The guard is small, prompt and quiet, and says what it left out.
fn is_well(guard: &Guard) -> Result<()> {
    let began = Instant::now();
    let status = guard.json(&["status", "--json"])?;
    let took = began.elapsed();
    ensure!(took < PROMPT, "status took {took:?}");
    let memory = guard.anonymous()?;
    ensure!(memory < MEMORY, "{memory} bytes of memory");
    let problems = status["problems"].to_string();
    ensure!(
        problems.contains("has used up its budget of 256 servers"),
        "{problems}"
    );
    let trouble = status["trouble"].to_string();
    ensure!(trouble.contains("ALLOW_V4 is full"), "{trouble}");
    let list = guard.json(&["allowlist", "list", "--json"])?;
    let rows = list["rows"].as_array().context("no rows")?.len();
    ensure!(rows < 1_000, "{rows} rows");
    let log = guard.stderr();
    ensure!(log.lines().count() < LOG_LINES, "{log}");
    let state = fs::metadata(guard.home().state_dir().join("state.json"))?.len();
    ensure!(state < STATE, "{state} bytes of state");
    Ok(())
}

#[test]
fn a_user_who_writes_a_hundred_thousand_servers_takes_no_room_of_roots() -> Result<()> {
    let scene = Scene::new()?;
    let setup = Setup::new("", None)?;
    chown(setup.config(), Some(PERSON), None)?;
    let theirs = setup.config();
    let more = theirs.with_file_name("y.conf");
    let main = theirs.with_file_name("chrony.conf");
    let chronyd = Chronyd::start_in(&scene.host.namespace, setup)?;
    let builder = || scene.guard().args(["--table-size", TABLE_SIZE]);
    let mut guard = builder().ready()?;

    write_as_user(&more, &servers(200, 50_000)?)?;
    let text = format!("{}include {}\n", servers(1, 54_000)?, more.display());
    write_as_user(&theirs, &text)?;
    eventually(NOTICED, "the user's servers", || is_well(&guard))?;

    let settings = fs::read_to_string(&main)?;
    fs::write(&main, format!("{settings}server {FIRST}\n"))?;
    wait_in_kernel(&guard, &[FIRST])?;
    let output = guard.cli(&["allowlist", "add", BY_HAND, "--role", "client"])?;
    ensure!(output.status.success(), "{output:?}");
    are_in_kernel(&guard, &[BY_HAND, FIRST])?;
    is_well(&guard)?;

    let home = guard.home().clone();
    guard.interrupt()?;
    fs::write(&main, format!("{settings}server {FIRST}\nserver {ADDED}\n"))?;
    let guard = builder().home(&home).ready()?;
    wait_in_kernel(&guard, &[BY_HAND, FIRST, ADDED])?;
    is_well(&guard)?;
    drop(chronyd);
    Ok(())
}

#[test]
fn a_user_who_includes_files_that_are_not_there_again_and_again_fills_no_log() -> Result<()> {
    let scene = Scene::new()?;
    let setup = Setup::new("", None)?;
    chown(setup.config(), Some(PERSON), None)?;
    let theirs = setup.config();
    let _chronyd = Chronyd::start_in(&scene.host.namespace, setup)?;
    let guard = scene.guard().ready()?;
    for round in 0..10 {
        let mut text = String::new();
        for number in 0..995 {
            writeln!(text, "include /nowhere/{round}/n{number}")?;
        }
        let server = format!("10.0.0.{}", round + 1);
        write_as_user(&theirs, &format!("{text}server {server}\n"))?;
        wait_in_kernel(&guard, &[&server])?;
    }
    let problems = super::problems(&guard)?;
    ensure!(problems.contains("more times in this file"), "{problems}");
    let log = guard.stderr();
    ensure!(log.lines().count() < LOG_LINES, "{log}");
    Ok(())
}
