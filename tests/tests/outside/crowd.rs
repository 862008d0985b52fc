//! A user who starts thousands of processes that have the names of time daemons.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ntpguard_tests::{daemons::stand_in::StandIns, lab::Lab};

use super::{USER, answers::Answers};

const NAMES: [&str; 2] = ["chronyd", "ntpd"];

const PROCESSES: usize = 2_000;

/// Bytes of each command line. The kernel takes twice as much for one argument.
const PADDING: usize = 60_000;

/// For more than one look at what runs.
const TIME: Duration = Duration::from_secs(12);

const MIB: u64 = 1 << 20;

/// What a guard may need more while the crowd is there.
const GROWTH: u64 = 8 * MIB;

/// What a program built for release may have at most, and one for debugging.
const LIMITS: (u64, u64) = (20 * MIB, 60 * MIB);

#[test]
fn a_crowd_of_a_users_processes_costs_neither_memory_nor_time() -> Result<()> {
    let lab = Lab::new()?;
    // Without a source, time daemons are looked for.
    let guard = lab.guard().ready()?;
    for _ in 0..5 {
        // It fails where the machine's own configuration has names: there is no DNS here.
        guard.cli(&["allowlist", "update"])?;
    }
    guard.forget_peak()?;
    let (before, _) = guard.resident()?;
    let stand_ins = StandIns::new()?;
    let began = Instant::now();
    let crowd = stand_ins.crowd(&lab.inside.namespace, USER, &NAMES, PROCESSES, PADDING)?;
    eprintln!("{PROCESSES} processes within {:?}", began.elapsed());
    let mut answers = Answers::default();
    let began = Instant::now();
    while began.elapsed() < TIME {
        let update = guard.spawn(&["allowlist", "update"])?;
        for _ in 0..10 {
            let status = answers.ask(&guard)?;
            ensure!(!status.contains("takes too long"), "{status}");
            thread::sleep(Duration::from_millis(50));
        }
        drop(update);
    }
    let (now, most) = guard.resident()?;
    drop(crowd);
    eprintln!(
        "resident: {} KiB before, {} KiB with the crowd, {} KiB at most",
        before / 1024,
        now / 1024,
        most / 1024
    );
    ensure!(
        most < before + GROWTH,
        "{most} bytes at most, {before} before"
    );
    let limit = if guard.is_built_for_release()? {
        LIMITS.0
    } else {
        LIMITS.1
    };
    ensure!(most < limit, "{most} bytes at most");
    ensure!(!guard.stderr().contains("ntpd"), "{}", guard.stderr());
    answers.are_soon("with the crowd")
}
