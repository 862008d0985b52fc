//! A daemon that is stopped, as a debugger or a job control does it: no command waits for it for ever.

use std::{
    fs,
    process::Output,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::Signal,
};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{
    guard::{Guard, Home},
    lab::Lab,
    process::Process,
    wait::eventually,
};

use super::{KNOWN, STRANGER, line, status, unhurt};

/// How long a command has for a daemon that does not answer: it waits 5 s, 10 s for a predecessor.
const DEADLINE: Duration = Duration::from_secs(12);

/// How soon a signal is heard.
const AT_ONCE: Duration = Duration::from_secs(1);

fn guarded(lab: &Lab) -> Result<Guard> {
    let source = lab.write("ntp.conf", &line(KNOWN))?;
    lab.guard().source(&source).ready()
}

fn text(output: &[u8]) -> String {
    // What is wrapped for a terminal reads as one line.
    let text = String::from_utf8_lossy(output);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Fails unless a command gave up in time, with the pid and what to do.
fn gave_up(guard: &Guard, arguments: &[&str], output: &Output, took: Duration) -> Result<()> {
    let said = text(&output.stderr);
    let pid = guard.id();
    ensure!(
        output.status.code() == Some(1)
            && said.contains(&format!("`ntpguard run` (pid {pid}) did not reply within "))
            && said.contains(&format!("kill -CONT {pid}")),
        "{arguments:?}: {}: {said}",
        output.status
    );
    ensure!(took < DEADLINE, "{arguments:?} took {took:?}");
    Ok(())
}

#[test]
fn every_command_gives_up_on_a_daemon_that_is_stopped() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    guard.signal(Signal::SIGSTOP)?;
    let source = lab.file("ntp.conf");
    let source = source.to_str().context("a path")?;
    let interface = &lab.inside.port.interface;
    let run = ["run", "-i", interface, "--source", source, "--track", "off"];
    let commands: Vec<Vec<&str>> = vec![
        vec!["sources"],
        vec!["top"],
        vec!["events"],
        vec!["allowlist", "list"],
        vec!["allowlist", "add", "192.0.2.7"],
        vec!["allowlist", "remove", "192.0.2.7"],
        vec!["allowlist", "update"],
        run.to_vec(),
        [&run[..], &["--replace"]].concat(),
    ];
    thread::scope(|scope| {
        let guard = &guard;
        let running: Vec<_> = commands
            .iter()
            .map(|arguments| {
                scope.spawn(move || {
                    let began = Instant::now();
                    gave_up(guard, arguments, &guard.cli(arguments)?, began.elapsed())
                })
            })
            .collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a panic"))?)
    })?;
    guard.signal(Signal::SIGCONT)?;
    unhurt(&lab, &guard)?;
    let listing = guard.json(&["allowlist", "list", "--json"])?;
    ensure!(!listing.to_string().contains("192.0.2.7"), "{listing}");
    Ok(())
}

#[test]
fn status_shows_what_the_kernel_does_where_the_daemon_is_stopped() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    guard.signal(Signal::SIGSTOP)?;
    let began = Instant::now();
    let shown = guard.cli(&["status"])?;
    let said = text(&shown.stdout);
    ensure!(
        shown.status.success() && said.starts_with("guarding"),
        "{said}"
    );
    ensure!(
        said.contains(&format!("(pid {}) did not reply", guard.id())),
        "{said}"
    );
    ensure!(said.contains("from the kernel alone"), "{said}");
    let json = guard.json(&["status", "--json"])?;
    ensure!(
        json["guarding"] == true && json["daemon"].is_null(),
        "{json}"
    );
    ensure!(
        json["unanswered"]
            .as_str()
            .is_some_and(|why| why.contains("kill -CONT")),
        "{json}"
    );
    ensure!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    // Less than it would wait else.
    let began = Instant::now();
    let waited = guard.cli(&["status", "--wait", "2"])?;
    ensure!(waited.status.code() == Some(1), "{}", text(&waited.stdout));
    ensure!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    let unload = guard.cli(&["unload"])?;
    let said = text(&unload.stderr);
    ensure!(said.contains(&format!("pid {}", guard.id())), "{said}");
    lab.drops(guard.home(), STRANGER, Role::Server)?;
    guard.signal(Signal::SIGCONT)?;
    ensure!(status(&guard)?["unanswered"].is_null());
    Ok(())
}

#[test]
fn who_follows_events_hears_that_the_daemon_is_stopped() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let mut events = guard.spawn(&["-v", "events"])?;
    eventually(AT_ONCE * 5, "a viewer", || {
        ensure!(events.stderr().contains("following"), "{}", events.story());
        Ok(())
    })?;
    // It says that it lives: silence alone does not end this.
    thread::sleep(Duration::from_secs(6));
    events.ensure_running()?;
    guard.signal(Signal::SIGSTOP)?;
    ensure!(
        events.wait(DEADLINE)?.code() == Some(1),
        "{}",
        events.story()
    );
    ensure!(
        text(events.stderr().as_bytes()).contains(&format!("(pid {}) did not reply", guard.id())),
        "{}",
        events.story()
    );
    guard.signal(Signal::SIGCONT)
}

/// Fails unless SIGTERM ends a start at once, in which nothing was guarded yet.
fn ends_at_once(mut start: Guard) -> Result<()> {
    thread::sleep(Duration::from_millis(700));
    let began = Instant::now();
    let ended = start.terminate()?;
    ensure!(
        ended.success() && began.elapsed() < AT_ONCE,
        "{ended} after {:?}: {}",
        began.elapsed(),
        start.stderr()
    );
    ensure!(
        start
            .stderr()
            .contains("stopped before anything was guarded"),
        "{}",
        start.stderr()
    );
    Ok(())
}

#[test]
fn a_start_that_waits_for_its_predecessor_hears_signals() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    guard.signal(Signal::SIGSTOP)?;
    let source = lab.file("ntp.conf");
    let successor = lab.guard().home(guard.home()).source(&source);
    ends_at_once(successor.args(["--replace"]).start()?)?;
    guard.signal(Signal::SIGCONT)?;
    unhurt(&lab, &guard)
}

#[test]
fn a_start_that_waits_for_the_lock_hears_signals() -> Result<()> {
    let lab = Lab::new()?;
    let home = Home::new()?;
    fs::create_dir(home.pin_dir())?;
    let held = Flock::lock(fs::File::open(home.pin_dir())?, FlockArg::LockExclusive);
    let _held = held.map_err(|(_, errno)| errno)?;
    let source = lab.write("ntp.conf", &line(KNOWN))?;
    ends_at_once(lab.guard().home(&home).source(&source).start()?)
}

#[test]
fn a_start_that_waits_for_dns_hears_signals() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", "server time.example\n")?;
    // It does not answer.
    let resolver = lab.outside.v4.into();
    let guard = lab.guard().source(&source).resolver(resolver).start()?;
    let home = Arc::clone(guard.home());
    ends_at_once(guard)?;
    ensure!(!home.pin_dir().exists(), "something was left");
    Ok(())
}

/// Whenever it comes, the kernel has a guard afterwards or has not, and nothing is left half done.
#[test]
fn a_signal_at_any_moment_of_a_start_ends_it_and_leaves_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", &line(KNOWN))?;
    for moment in (0..12).map(|turn| Duration::from_millis(50 * turn)) {
        let mut guard = lab.guard().source(&source).start()?;
        let home = Arc::clone(guard.home());
        thread::sleep(moment);
        let story = |guard: &Guard| format!("after {moment:?}: {}", guard.stderr());
        let ended = guard.terminate()?;
        // Before it listens for signals there is nothing to undo.
        ensure!(ended.success() || moment.is_zero(), "{}", story(&guard));
        ensure!(!home.pin_dir().exists(), "{}", story(&guard));
        lab.arrives_unguarded(STRANGER, Role::Server)?;
    }
    Ok(())
}

#[test]
fn a_successor_that_stops_is_named_and_its_predecessor_goes_on_when_it_is_ended() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    // While it waits for DNS, its predecessor waits for it.
    let source = lab.write(
        "other.conf",
        &format!("server time.example\n{}", line(KNOWN)),
    )?;
    let successor = lab.guard().home(guard.home()).source(&source);
    let mut successor = successor
        .resolver(lab.outside.v4.into())
        .args(["--replace"])
        .start()?;
    eventually(Duration::from_secs(5), "the predecessor's yielding", || {
        ensure!(
            guard.stderr().contains("is taking over"),
            "{}",
            guard.stderr()
        );
        Ok(())
    })?;
    successor.signal(Signal::SIGSTOP)?;
    // It answers, and keeps what would change anything.
    ensure!(status(&guard)?["daemon"]["pid"] == guard.id());
    let mut addition: Process = guard.spawn(&["allowlist", "add", "192.0.2.7"])?;
    let ended = addition.wait(Duration::from_secs(25))?;
    let said = text(addition.stderr().as_bytes());
    ensure!(
        ended.code() == Some(1) && said.contains(&format!("(pid {})", successor.id())),
        "{said}"
    );
    successor.kill9()?;
    eventually(Duration::from_secs(5), "the predecessor's going on", || {
        let said = guard.stderr();
        ensure!(said.contains("resumed guarding"), "{said}");
        Ok(())
    })?;
    ensure!(
        guard
            .cli(&["allowlist", "add", "192.0.2.7"])?
            .status
            .success()
    );
    lab.admits(guard.home(), "192.0.2.7", Role::Server)?;
    unhurt(&lab, &guard)
}
