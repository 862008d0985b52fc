//! How big and how slow the guard may be. The bounds allow for a program built for debugging on a
//! busy machine; the figures are printed, and the ones that count are those of a release build:
//! `NTPGUARD_BIN=target/release/ntpguard cargo test --test size -- --nocapture`.

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{bpftool, guard::Home, lab::Lab, wait::eventually};

const MANY: u16 = 10_000;
const MIB: u64 = 1 << 20;

/// A configuration that names so many servers, all of them below `net`.0.0/16.
fn servers(net: &str) -> String {
    (0..MANY).fold(String::new(), |mut text, number| {
        let [high, low] = number.to_be_bytes();
        // Writing to a string does not fail.
        let _ = writeln!(text, "server {net}.{high}.{low}");
        text
    })
}

/// Of number 9,999.
const LAST: &str = "39.15";

fn entries(home: &Home) -> Result<usize> {
    Ok(bpftool::map_dump(&home.pin_dir().join("maps/ALLOW_V4"))?.len())
}

#[test]
fn ten_thousand_addresses_are_applied_at_once() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", "server 192.0.2.1\n")?;
    let guard = lab.guard().source(&source).ready()?;
    for (what, net, rest) in [
        ("added", "10.1", 0),
        ("replaced", "10.2", 0),
        ("added beside", "10.3", 1),
    ] {
        let text = if rest == 0 {
            servers(net)
        } else {
            servers("10.2") + &servers(net)
        };
        std::fs::write(&source, text)?;
        let began = Instant::now();
        ensure!(
            guard.cli(&["allowlist", "update"])?.status.success(),
            "no update"
        );
        let took = began.elapsed();
        eprintln!("10,000 addresses {what} in {took:?}");
        ensure!(took < Duration::from_secs(10), "{what} in {took:?}");
        lab.admits(guard.home(), &format!("{net}.{LAST}"), Role::Server)?;
        ensure!(
            entries(guard.home())? == usize::from(MANY) * (1 + rest),
            "{} entries",
            entries(guard.home())?
        );
    }
    let (now, most) = guard.resident()?;
    eprintln!(
        "resident with 20,000 addresses: {} KiB, at most {} KiB",
        now / 1024,
        most / 1024
    );
    ensure!(most < 120 * MIB, "{most} bytes at most");
    Ok(())
}

#[test]
fn an_idle_guard_is_small() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", "server 192.0.2.1\nserver 2001:db8::1\n")?;
    let guard = lab.guard().source(&source).ready()?;
    // It may need a little more for each question, and gives that back.
    for _ in 0..20 {
        guard.json(&["status", "--json"])?;
    }
    thread::sleep(Duration::from_millis(500));
    let ((now, most), own) = (guard.resident()?, guard.anonymous()?);
    eprintln!(
        "resident when idle: {} KiB, of which {} KiB are no file's, at most {} KiB",
        now / 1024,
        own / 1024,
        most / 1024
    );
    // 2.2 MiB and 11 MiB in a release build; of one with all that is for debuggers, 30 MiB are its program.
    ensure!(own < 8 * MIB, "{own} bytes of its own");
    ensure!(now < 38 * MIB, "{now} bytes resident");
    Ok(())
}

#[test]
fn a_guard_of_literal_addresses_starts_at_once() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", "server 192.0.2.1\nserver 2001:db8::1\n")?;
    for _ in 0..3 {
        let began = Instant::now();
        let guard = lab.guard().source(&source).start()?;
        let link = guard
            .home()
            .pin_dir()
            .join(format!("links/{}-ingress", lab.inside.port.index));
        eventually(Duration::from_secs(10), "a link", || {
            ensure!(link.exists(), "{}", guard.stderr());
            Ok(())
        })?;
        eprintln!(
            "attached within {:?} of its start, looked at every 20 ms",
            began.elapsed()
        );
        ensure!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }
    Ok(())
}
