//! Few packets of many are told, and the others counted.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use ntpguard_common::{events, reason::Reason};
use ntpguard_tests::packets::{flood::Flood, ntp::Message};

use super::scene::{OTHER_PORT, SOON, STRANGERS, Scene, Viewer};

const PACKETS: u64 = 10_000;

#[test]
fn what_is_told_and_what_is_suppressed_is_what_was_counted() -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard(&[])?;
    let viewer = Viewer::of(&guard, &[])?;
    for stranger in STRANGERS {
        let frame = scene.frame(stranger, OTHER_PORT, &Message::request(1).to_vec())?;
        let began = Instant::now();
        for _ in 0..PACKETS {
            scene.send(&frame)?;
        }
        let counted = || Ok(guard.counters()?.enforced(Reason::Unlisted));
        let counted = viewer.accounts_for(&scene, &frame, Reason::Unlisted, counted)?;
        ensure!(counted > PACKETS, "{counted} of {PACKETS} were counted");
        let told = viewer.lines()?.len() as u64;
        let most = began.elapsed().as_nanos() as u64 / events::INTERVAL + 2;
        ensure!(told <= 2 * most, "{told} events, of at most {most}");
        ensure!(told < PACKETS / 2, "{told} of {counted} packets are told");
    }
    Ok(())
}

/// As where it is stopped by a debugger, or starved.
#[test]
fn a_daemon_that_does_not_read_loses_events_and_no_count() -> Result<()> {
    /// What the ring buffer has room for: each event has a header of eight bytes.
    const ROOM: usize = events::EVENTS_SIZE / (size_of::<events::Event>() + 8);
    const LONGEST: Duration = Duration::from_secs(60);
    let scene = Scene::new()?;
    let mut guard = scene.guard(&[])?;
    let viewer = Viewer::of(&guard, &[])?;
    let many = scene.of_many_reasons()?;
    guard.signal(Signal::SIGSTOP)?;
    let frames = many.iter().map(|(frame, _)| frame.clone()).collect();
    let flood = Flood::start(&scene.lab.outside.port, frames, Some(7_000), LONGEST)?;
    // Twice as long as it takes to fill the buffer.
    let full = events::INTERVAL * 2 * ROOM as u64 / many.len() as u64;
    thread::sleep(Duration::from_nanos(full * 2));
    let sent = flood.stop()?.frames;
    guard.signal(Signal::SIGCONT)?;

    ntpguard_tests::wait::eventually(SOON, "what the buffer holds", || {
        let told = viewer.lines()?.len();
        ensure!(told >= ROOM, "{told} of {ROOM}, {sent} frames sent");
        Ok(())
    })?;
    let told = viewer.lines()?.len();
    ensure!(told <= ROOM + many.len(), "{told} events of {ROOM}");
    for (frame, reason) in &many {
        let counted = || Ok(guard.counters()?.enforced(*reason));
        viewer.accounts_for(&scene, frame, *reason, counted)?;
    }
    Ok(())
}
