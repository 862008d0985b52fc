//! The guard against the network stack it stands before: whatever the stack delivers to port 123 is
//! something the guard admitted.
//!
//! Random packets, most of them malformed in one way or two, are sent to a host without a guard and to
//! one with. The stack decides what a packet is; the guard may only be stricter.

mod pass;
mod shapes;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use ntpguard_common::{
    fixtures::{ModelTables, NOW, StoppedClocks, untracked},
    maps::tables::{Grant, Role},
    reason::Verdict,
    rule::judge::judge,
    wire::packet::Link,
};
use ntpguard_tests::{guard::Guard, lab::Lab};

use self::{
    pass::{Arrivals, Wire},
    shapes::{GROUPS, Shape, Shapes},
};

/// Packets of each run.
const SHAPES: u32 = 100_000;

/// Repeats a run: its seed is printed.
const SEED: &str = "NTPGUARD_SEED";

/// The most that are printed of what went wrong.
const SHOWN: usize = 10;

/// How often a packet that did not arrive is sent again, alone: a full queue is no verdict.
const AGAIN: usize = 3;

#[test]
fn what_the_stack_delivers_was_admitted() -> Result<()> {
    let seed = seed()?;
    eprintln!("{SEED}={seed}");
    let lab = Lab::on_a_cable()?;
    let wire = Wire::new(&lab)?;
    let shapes: Vec<Shape> = Shapes::new(&lab, seed).take(SHAPES as usize).collect();
    let unguarded = wire.pass(&shapes).context("without a guard")?;
    eprintln!(
        "{} of {} arrive without a guard",
        unguarded.len(),
        shapes.len()
    );
    // Else the shapes would test nothing.
    ensure!(unguarded.len() > shapes.len() / 10, "hardly any arrive");

    for (attach, sees) in [
        ("native", Sees::Frame),
        ("generic", Sees::Frame),
        ("tc", Sees::Untagged),
    ] {
        let verdicts = verdicts(&shapes, sees)?;
        let guard = guard(&lab, attach)?;
        let guarded = wire.pass(&shapes).context(attach)?;
        let counted = counted(&guard)?;
        drop(guard);
        let past = past(&shapes, &verdicts, &guarded);
        ensure!(
            past.is_empty(),
            "{attach}, {SEED}={seed}: {} packets came past the guard:\n{}",
            past.len(),
            shown(&past)
        );
        let lost = lost(&shapes, &verdicts, &unguarded, &guarded);
        let lost = still_lost(&lab, &wire, attach, lost)?;
        ensure!(
            lost.is_empty(),
            "{attach}, {SEED}={seed}: admitted, delivered without a guard, and not with it:\n{}",
            shown(&lost)
        );
        let expected = tally(&verdicts);
        ensure!(
            counted == expected,
            "{attach}, {SEED}={seed}: the kernel judged {counted:?}, the model {expected:?}"
        );
        eprintln!("{attach}: {} arrive; judged: {counted:?}", guarded.len());
    }
    Ok(())
}

fn seed() -> Result<u64> {
    match std::env::var(SEED) {
        Ok(seed) => seed.parse().with_context(|| format!("{SEED}={seed}")),
        Err(_) => Ok(fastrand::u64(..)),
    }
}

/// A guard that takes a reply's address for proof enough, with a prefix for each group.
fn guard(lab: &Lab, attach: &str) -> Result<Guard> {
    let source = lab.write("ntp.conf", "")?;
    let guard = lab
        .guard()
        .source(&source)
        .args([
            "--attach",
            attach,
            "--client-rate",
            "off",
            "--total-rate",
            "off",
        ])
        .ready()?;
    for group in GROUPS {
        for prefix in group.prefixes {
            for role in group.roles {
                let line = ["allowlist", "add", prefix, "--role", role.name()];
                let added = guard.cli(&line)?;
                ensure!(added.status.success(), "{line:?}: {added:?}");
            }
        }
    }
    Ok(guard)
}

/// What a hook has of a frame.
#[derive(Clone, Copy)]
enum Sees {
    /// All of it.
    Frame,
    /// All but the outermost tag, which the stack has taken off (`skb_vlan_untag`).
    Untagged,
}

impl Sees {
    fn of(self, frame: &[u8]) -> Vec<u8> {
        match (self, frame.get(TYPE..TYPE + 2)) {
            (Self::Untagged, Some([0x81, 0x00] | [0x88, 0xa8])) if frame.len() >= TYPE + TAG => {
                [&frame[..TYPE], &frame[TYPE + TAG..]].concat()
            }
            _ => frame.to_vec(),
        }
    }
}

/// Where a frame has its EtherType or first tag, and how long a tag is.
const TYPE: usize = 12;
const TAG: usize = 4;

/// What the judge says of each frame of each shape, over tables with the same grants.
fn verdicts(shapes: &[Shape], sees: Sees) -> Result<Vec<Vec<Verdict>>> {
    let tables = tables()?;
    let clocks = StoppedClocks(NOW);
    let of = |frame: &Vec<u8>| {
        judge(
            sees.of(frame).as_slice(),
            &clocks,
            untracked(Link::Ethernet),
            &tables,
        )
    };
    let shapes = shapes.iter();
    Ok(shapes
        .map(|shape| shape.frames.iter().map(of).collect())
        .collect())
}

fn tables() -> Result<ModelTables> {
    let mut granted = Vec::new();
    for group in GROUPS.iter().filter(|group| !group.roles.is_empty()) {
        let roles = group.roles.iter();
        let grant = Grant {
            roles: roles.fold(0, |roles, role: &Role| roles | role.bit()),
            ..Grant::default()
        };
        for prefix in group.prefixes {
            let prefix: IpNet = prefix.parse()?;
            granted.push((prefix.addr(), prefix.prefix_len(), grant));
        }
    }
    Ok(granted.into_iter().collect())
}

fn admits(verdicts: &[Verdict]) -> bool {
    verdicts
        .iter()
        .any(|verdict| matches!(verdict, Verdict::Judged(reason) if reason.admits()))
}

/// What arrived and was not admitted.
fn past<'a>(shapes: &'a [Shape], verdicts: &[Vec<Verdict>], guarded: &Arrivals) -> Vec<&'a Shape> {
    shapes
        .iter()
        .zip(verdicts)
        .filter(|(shape, verdicts)| guarded.contains(&shape.from) && !admits(verdicts))
        .map(|(shape, _)| shape)
        .collect()
}

/// What was admitted and arrives without a guard, and did not with it.
fn lost<'a>(
    shapes: &'a [Shape],
    verdicts: &[Vec<Verdict>],
    unguarded: &Arrivals,
    guarded: &Arrivals,
) -> Vec<&'a Shape> {
    shapes
        .iter()
        .zip(verdicts)
        .filter(|(shape, verdicts)| {
            admits(verdicts) && unguarded.contains(&shape.from) && !guarded.contains(&shape.from)
        })
        .map(|(shape, _)| shape)
        .collect()
}

/// Those that do not arrive when they are sent alone, either.
fn still_lost<'a>(
    lab: &Lab,
    wire: &Wire<'_>,
    attach: &str,
    mut lost: Vec<&'a Shape>,
) -> Result<Vec<&'a Shape>> {
    if lost.is_empty() {
        return Ok(lost);
    }
    let guard = guard(lab, attach)?;
    for _ in 0..AGAIN {
        let again: Vec<Shape> = lost.iter().map(|shape| (*shape).clone()).collect();
        let arrived = wire.pass(&again)?;
        lost.retain(|shape| !arrived.contains(&shape.from));
    }
    drop(guard);
    Ok(lost)
}

/// How many frames there are for each reason.
type Tally = BTreeMap<String, u64>;

fn tally(verdicts: &[Vec<Verdict>]) -> Tally {
    let mut tally = Tally::new();
    for verdict in verdicts.iter().flatten() {
        if let Verdict::Judged(reason) = verdict {
            *tally.entry(reason.name().to_owned()).or_default() += 1;
        }
    }
    tally
}

fn counted(guard: &Guard) -> Result<Tally> {
    let counts = guard.counters()?.enforced;
    Ok(counts.into_iter().filter(|(_, count)| *count > 0).collect())
}

fn shown(shapes: &[&Shape]) -> String {
    let lines = shapes.iter().take(SHOWN).map(|shape| {
        let frames: Vec<String> = shape.frames.iter().map(|frame| hex(frame)).collect();
        format!("{} from {}: {}", shape.what, shape.from, frames.join(" | "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn hex(frame: &[u8]) -> String {
    use std::fmt::Write as _;
    frame.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}
