//! Any number may follow, and none of them is waited for.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    guard,
    packets::{flood::Flood, ntp::Message},
    wait::eventually,
};
use serde_json::Value;

use super::scene::{OTHER_PORT, SOON, STRANGERS, Scene, Viewer, packets};

#[test]
fn who_does_not_read_loses_events_and_holds_nobody_up() -> Result<()> {
    // More than wait for a viewer, and fit into a socket.
    const MANY: usize = 3_000;
    let scene = Scene::new()?;
    let guard = scene.guard(&[])?;
    let mut lazy = UnixStream::connect(guard.home().state_dir().join("control.sock"))?;
    lazy.write_all(b"{\"ask\":\"events\"}\n")?;
    let mut lazy = BufReader::new(lazy);
    let mut line = String::new();
    lazy.read_line(&mut line)?;
    ensure!(line == "\"following\"\n", "{line}");
    let viewer = Viewer::of(&guard, &[])?;

    let many = scene.of_many_reasons()?;
    let frames = many.iter().map(|(frame, _)| frame.clone()).collect();
    let longest = Duration::from_secs(60);
    let flood = Flood::start(&scene.lab.outside.port, frames, Some(7_000), longest)?;
    eventually(Duration::from_secs(40), "very many events", || {
        let told = viewer.lines()?.len();
        ensure!(told > MANY, "{told}");
        Ok(())
    })?;
    flood.stop()?;
    guard.json(&["status", "--json"])?;
    for (frame, reason) in &many {
        let counted = || Ok(guard.counters()?.enforced(*reason));
        viewer.accounts_for(&scene, frame, *reason, counted)?;
    }
    let all = viewer.lines()?.len() as u64;
    ensure!(
        viewer.lines()?.iter().all(|line| line["missed"].is_null()),
        "the viewer reads"
    );

    lazy.get_ref()
        .set_read_timeout(Some(Duration::from_secs(1)))?;
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < all {
        line.clear();
        lazy.read_line(&mut line)
            .with_context(|| format!("{seen} seen, {missed} missed, of {all}"))?;
        let reply: Value = serde_json::from_str(&line)?;
        seen += u64::from(reply["event"].is_object());
        missed += reply["missed"].as_u64().unwrap_or(0);
    }
    ensure!(
        seen + missed == all && missed > 0 && seen >= 1024,
        "{seen} seen, {missed} missed, of {all}"
    );
    Ok(())
}

#[test]
fn several_see_the_same_and_each_what_he_asks_for() -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard(&[])?;
    let (one, other) = (Viewer::of(&guard, &[])?, Viewer::of(&guard, &[])?);
    let mut few = Viewer::of(
        &guard,
        &["--reason", "private", "--reason", "mode", "--count", "4"],
    )?;
    let many = scene.of_many_reasons()?;
    eventually(SOON, "enough for the third viewer", || {
        many.iter().try_for_each(|(frame, _)| scene.send(frame))?;
        ensure!(few.lines()?.len() == 4, "{:?}", few.lines());
        Ok(())
    })?;
    ensure!(few.process.wait(SOON)?.success(), "{}", few.process.story());
    let seen = packets(&few.lines()?)?;
    let reasons: Vec<&str> = seen.keys().map(String::as_str).collect();
    ensure!(reasons == ["mode", "private"], "{seen:?}");
    for (frame, reason) in &many {
        let counted = || Ok(guard.counters()?.enforced(*reason));
        one.accounts_for(&scene, frame, *reason, counted)?;
    }
    eventually(SOON, "the same events", || {
        ensure!(one.lines()? == other.lines()?, "they differ");
        Ok(())
    })
}

#[test]
fn events_end_when_asked_to_when_nobody_reads_and_with_the_daemon() -> Result<()> {
    let scene = Scene::new()?;
    let mut guard = scene.guard(&[])?;
    let [stranger, _] = STRANGERS;
    let frame = scene.frame(stranger, OTHER_PORT, &Message::request(1).to_vec())?;

    let mut asked = Viewer::of(&guard, &[])?;
    asked.process.signal(Signal::SIGINT)?;
    ensure!(
        asked.process.wait(SOON)?.success(),
        "{}",
        asked.process.story()
    );

    // For people, and read by a program that has enough after one line.
    let mut pipe = scene.lab.inside.namespace.command("sh");
    pipe.args(["-c", "\"$0\" events | head -n 1"])
        .arg(guard::program()?)
        .env("NTPGUARD_PIN_DIR", guard.home().pin_dir())
        .env("NTPGUARD_STATE_DIR", guard.home().state_dir());
    let mut pipe = ntpguard_tests::process::Process::spawn(pipe)?;
    eventually(SOON, "the end of a pipe", || {
        scene.send(&frame)?;
        let ended = pipe.ended()?.context("still running")?;
        ensure!(ended.success(), "{}", pipe.story());
        Ok(())
    })?;
    let line = pipe.stdout();
    let to = scene.lab.inside.v4;
    let told = format!(" dropped unlisted {stranger}:{OTHER_PORT} > {to}:123 mode 3 v4 48 B ");
    ensure!(
        line.contains(&told) && pipe.stderr().is_empty(),
        "{}",
        pipe.story()
    );

    let mut bereft = Viewer::of(&guard, &[])?;
    guard.terminate()?;
    let ended = bereft.process.wait(SOON)?;
    ensure!(
        ended.code() == Some(1) && bereft.process.stderr().contains("the daemon has stopped"),
        "{}",
        bereft.process.story()
    );
    for command in ["events", "top"] {
        let output = guard.cli(&[command])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.code() == Some(1) && said.contains("ntpguard run"),
            "{command}: {said}"
        );
    }
    let wrong = guard.cli(&["events", "--reason", "bogus"])?;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    ensure!(
        wrong.status.code() == Some(2) && said.contains("unlisted"),
        "{said}"
    );
    Ok(())
}

/// A successor tells, and what was in the buffer before is not told again.
#[test]
fn the_guard_that_takes_over_tells() -> Result<()> {
    let scene = Scene::new()?;
    let mut first = scene.guard(&[])?;
    let [stranger, _] = STRANGERS;
    let frame = scene.frame(stranger, OTHER_PORT, &Message::request(1).to_vec())?;
    let viewer = Viewer::of(&first, &[])?;
    viewer.sees(&scene, &frame, |event| event["reason"] == "unlisted")?;
    let source = scene.lab.file("ntp.conf");
    let second = scene.lab.guard().source(&source).home(first.home());
    let mut second = second.args(["--replace"]).start()?;
    ensure!(first.wait_end()?.success(), "{}", first.stderr());
    second.wait_ready()?;
    let before = second.counters()?.enforced(Reason::Unlisted);
    let viewer = Viewer::of(&second, &[])?;
    let counted = || Ok(second.counters()?.enforced(Reason::Unlisted) - before);
    viewer.accounts_for(&scene, &frame, Reason::Unlisted, counted)?;
    Ok(())
}
