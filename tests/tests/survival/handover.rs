//! A guard that is to be replaced goes on until its successor has it, and where that fails.

use std::{
    fs,
    process::{Command, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ntpguard_common::{maps::tables::Role, reason::Reason};
use ntpguard_tests::{
    guard::{Guard, Home},
    lab::Lab,
    packets::flood::Flood,
    process,
    wait::eventually,
};

use super::{LISTED, LONG, SOON, STRANGER, guarded, in_charge, source, status, successor};

/// Replies a second: few enough that none is lost on the way.
const REPLIES: u64 = 500;

fn replies(lab: &Lab) -> Result<Flood> {
    let frame = lab.frame(LISTED.parse()?, Role::Server)?;
    Flood::start(&lab.outside.port, vec![frame], Some(REPLIES), LONG)
}

/// Runs a successor to its end, while replies come in of which none may be lost; gives how it ended and
/// what it said.
fn refused(lab: &Lab, guard: &mut Guard, more: &[&str]) -> Result<(ExitStatus, String)> {
    let before = (lab.link(guard.home())?, lab.sink.count());
    let flood = replies(lab)?;
    let mut second = lab
        .guard()
        .home(guard.home())
        .source(&source(lab)?)
        .args(["--replace"])
        .args(more)
        .start()?;
    let ended = second.wait_end()?;
    let flooded = flood.stop()?;
    lab.flush()?;
    ensure!(flooded.frames > 50, "no replies: {flooded:?}");
    let arrived = lab.sink.count() + lab.sink.lost()? - before.1;
    ensure!(
        arrived == flooded.frames,
        "{arrived} of {flooded:?} arrived"
    );
    ensure!(lab.link(guard.home())? == before.0, "another link");
    let status = status(lab, guard.home())?;
    ensure!(
        status["daemon"]["pid"] == guard.id() && status["guarding"] == true,
        "{status}"
    );
    lab.drops(guard.home(), STRANGER, Role::Server)?;
    Ok((ended, second.stderr()))
}

#[test]
fn a_successor_that_would_attach_otherwise_is_refused_before_it_asks_for_anything() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = lab
        .guard()
        .source(&source(&lab)?)
        .args(["--attach", "generic"])
        .ready()?;
    let (ended, said) = refused(&lab, &mut guard, &["--attach", "native"])?;
    ensure!(ended.code() == Some(1), "{ended}: {said}");
    ensure!(said.contains("already guarded by generic XDP"), "{said}");
    ensure!(
        !guard.stderr().contains("is taking over"),
        "{}",
        guard.stderr()
    );
    Ok(())
}

#[test]
fn a_successor_for_an_interface_that_is_not_there_is_refused_first() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let (ended, said) = refused(&lab, &mut guard, &["--interface", "nowhere0"])?;
    ensure!(
        ended.code() == Some(1) && said.contains("nowhere0"),
        "{ended}: {said}"
    );
    ensure!(
        !guard.stderr().contains("is taking over"),
        "{}",
        guard.stderr()
    );
    Ok(())
}

#[test]
fn a_successor_whose_configuration_is_wrong_is_refused_first() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let wrong = lab.write("ntpguard.toml", "modes = \"monitor\"\n")?;
    let wrong = wrong.to_str().context("a path")?;
    let (ended, said) = refused(&lab, &mut guard, &["--config", wrong])?;
    ensure!(
        ended.code() == Some(2) && said.contains("modes"),
        "{ended}: {said}"
    );
    ensure!(
        !guard.stderr().contains("is taking over"),
        "{}",
        guard.stderr()
    );
    Ok(())
}

#[test]
fn a_successor_that_may_load_nothing_is_refused_first() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    // Root still, who may connect, but without what loading takes.
    let mut second = lab
        .guard()
        .home(guard.home())
        .source(&source(&lab)?)
        .under(["setpriv", "--bounding-set", "-bpf,-sys_admin,-perfmon"])
        .args(["--replace"])
        .start()?;
    let ended = second.wait_end()?;
    let said = second.stderr();
    ensure!(
        ended.code() == Some(1) && said.contains("CAP_BPF"),
        "{ended}: {said}"
    );
    ensure!(
        !guard.stderr().contains("is taking over"),
        "{}",
        guard.stderr()
    );
    ensure!(status(&lab, guard.home())?["daemon"]["pid"] == guard.id());
    Ok(())
}

#[test]
fn a_guard_whose_successor_fails_after_it_yielded_goes_on_with_all_it_had() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    ensure!(
        guard
            .cli(&["allowlist", "add", "192.0.2.7"])?
            .status
            .success()
    );
    // Tables of another size are made in a directory of their own, where something else is pinned.
    let pins = guard.home().pin_dir();
    let in_the_way = pins.join("maps-next");
    let program = pins.join("programs/ingress");
    let mut pin = Command::new("bpftool");
    pin.args(["prog", "pin", "pinned"])
        .args([&program, &in_the_way]);
    process::run(pin)?;
    let (ended, said) = refused(&lab, &mut guard, &["--table-size", "2000"])?;
    ensure!(
        ended.code() == Some(1) && said.contains("maps-next"),
        "{ended}: {said}"
    );
    fs::remove_file(&in_the_way)?;
    eventually(SOON, "a guard again, once nothing is in the way", || {
        let before = guard.stderr();
        ensure!(before.contains("resumed guarding"), "{before}");
        Ok(())
    })?;
    for address in [LISTED, "192.0.2.7"] {
        lab.admits(guard.home(), address, Role::Server)?;
    }
    ensure!(
        guard
            .cli(&["allowlist", "add", "192.0.2.8"])?
            .status
            .success()
    );
    lab.admits(guard.home(), "192.0.2.8", Role::Server)?;
    // The next one that is fit has it.
    let home = Arc::clone(guard.home());
    let second = successor(&lab, &home, &["--replace"])?;
    ensure!(guard.wait_end()?.success(), "{}", guard.stderr());
    lab.admits(second.home(), "192.0.2.8", Role::Server)
}

#[test]
fn a_guard_whose_successor_is_killed_at_any_moment_goes_on_or_is_replaced() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    let link = lab.link(&home)?;
    for turn in 0..12_u64 {
        let mut second = lab
            .guard()
            .home(&home)
            .source(&source(&lab)?)
            .args(["--replace"])
            .start()?;
        thread::sleep(Duration::from_millis(60 * turn));
        second.kill9()?;
        lab.drops(&home, STRANGER, Role::Server)?;
        lab.admits(&home, LISTED, Role::Server)?;
        ensure!(lab.link(&home)? == link, "another link after {turn}");
        let is_replaced = second.stderr().contains("guarding; granted");
        if is_replaced {
            ensure!(guard.wait_end()?.success(), "{}", guard.stderr());
            guard = successor(&lab, &home, &[])?;
        } else {
            guard = in_charge(&lab, guard)?;
        }
    }
    Ok(())
}

#[test]
fn edits_during_restarts_are_all_done() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    let done = AtomicBool::new(false);
    let added = thread::scope(|scope| -> Result<Vec<String>> {
        let editing: Vec<_> = (0..4_u8)
            .map(|editor| {
                let (lab, home, done) = (&lab, &home, &done);
                scope.spawn(move || edit(lab, home, editor, done))
            })
            .collect();
        let restarted = restarts(&lab, &home, &mut guard);
        done.store(true, Ordering::Relaxed);
        let mut added = Vec::new();
        for thread in editing {
            added.extend(thread.join().map_err(|_| anyhow::anyhow!("a panic"))??);
        }
        restarted.map(|()| added)
    })?;
    ensure!(added.len() > 12, "too few to show anything: {added:?}");
    let listing = lab
        .json(&home, &["allowlist", "list", "--json"])?
        .to_string();
    for address in &added {
        ensure!(
            listing.contains(&format!("\"{address}/32\"")),
            "{address} is lost"
        );
    }
    Ok(())
}

/// Ends a guard and starts another, replaces it, and kills it, again and again.
fn restarts(lab: &Lab, home: &Arc<Home>, guard: &mut Guard) -> Result<()> {
    for turn in 0..6 {
        match turn % 3 {
            0 => {
                guard.terminate()?;
                *guard = successor(lab, home, &[])?;
            }
            1 => {
                let next = successor(lab, home, &["--replace"])?;
                let mut before = std::mem::replace(guard, next);
                ensure!(before.wait_end()?.success(), "{}", before.stderr());
            }
            _ => {
                guard.kill9()?;
                *guard = successor(lab, home, &["--table-size", &(1_000 + turn).to_string()])?;
            }
        }
    }
    Ok(())
}

/// Grants one address after the other until it is enough; each has to be granted.
fn edit(lab: &Lab, home: &Home, editor: u8, done: &AtomicBool) -> Result<Vec<String>> {
    let mut added = Vec::new();
    for number in 1..=250_u8 {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let address = format!("198.51.{}.{number}", 100 + editor);
        let output = lab.cli(home, &["allowlist", "add", &address])?;
        ensure!(
            output.status.success(),
            "{address}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        added.push(address);
    }
    Ok(added)
}

#[test]
fn who_waits_for_the_status_waits_through_a_change_of_tables() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    let done = AtomicBool::new(false);
    let looks = thread::scope(|scope| -> Result<usize> {
        let looking: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| -> Result<usize> {
                    let mut looks = 0;
                    while !done.load(Ordering::Relaxed) {
                        lab.json(&home, &["status", "--wait", "20", "--json"])?;
                        looks += 1;
                    }
                    Ok(looks)
                })
            })
            .collect();
        let replaced = (0..6).try_for_each(|turn| -> Result<()> {
            guard.kill9()?;
            guard = successor(&lab, &home, &["--table-size", &(1_000 + turn).to_string()])?;
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        let mut looks = 0;
        for thread in looking {
            looks += thread.join().map_err(|_| anyhow::anyhow!("a panic"))??;
        }
        replaced.map(|()| looks)
    })?;
    ensure!(looks > 6, "{looks} looks show nothing");
    ensure!(guard.counters()?.enforced(Reason::Unlisted) < 1_000);
    eventually(SOON, "the last one's being in charge", || {
        ensure!(status(&lab, &home)?["daemon"]["pid"] == guard.id());
        Ok(())
    })
}
