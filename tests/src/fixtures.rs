//! The judge's fixtures through the loaded kernel programs (`BPF_PROG_TEST_RUN`): the one for the XDP
//! hook and the one for the tc hook.
//!
//! They are loaded without pins and attached to nothing, so this disturbs no guard, and
//! runs wherever a kernel takes the program: also as the only process of a virtual machine.

mod exchanges;
mod ingress;

pub use exchanges::every_cgroup;

use std::cell::RefCell;

use anyhow::{Context as _, Result, anyhow, ensure};
use ipnet::IpNet;
use ntpguard::{
    allowlist::projection::Projection,
    clock::boot_nanoseconds,
    datapath::{Mode, Settings, Tracking, Trial},
};
use ntpguard_common::{
    fixtures::{self, Fixture, ModelTables, StoppedClocks, untracked},
    maps::rates::Rates,
    reason::{Counters, Reason, Verdict},
    rule::judge::judge,
    wire::packet::Link,
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};

use self::ingress::Ingress;

/// What `BPF_PROG_TEST_RUN` takes at least.
const SHORTEST_FRAME: usize = 14;
/// What fits one page with all that the kernel puts around a frame.
const LONGEST_FRAME: usize = 3_000;

/// After so many failures it ends: a program that a kernel refuses is tried again for each fixture, and
/// that takes a second each time.
const ENOUGH: usize = 10;

/// What came of running the fixtures.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many fixtures got what they must get, from every program.
    pub passed: usize,
    /// A line for each fixture that did not: its name, and what was wrong.
    pub failed: Vec<String>,
}

/// Runs every fixture through the program as it explains, enforces and monitors, and compares
/// actions, reasons and counters with what must be, and reasons with the judge's in this process.
pub fn run() -> Result<Outcome> {
    let tables = fixtures::tables();
    let mut links = [Link::Ethernet, Link::RawIp]
        .into_iter()
        .map(Programs::load)
        .collect::<Result<Vec<_>>>()?;
    let mut outcome = Outcome::default();
    for fixture in fixtures::all() {
        let programs = &mut links[fixture.link as usize];
        outcome.add(&fixture.name, programs.check(&fixture, &tables));
        if outcome.failed.len() >= ENOUGH {
            return Ok(outcome);
        }
    }
    // Tables of its own for each, since nobody can make the kernel forget what clients asked for.
    for ingress in Ingress::ALL {
        let mut tracking = Vec::new();
        for exchange in fixtures::exchanges() {
            let program = exchanges::program(&mut tracking, exchange.policy)?;
            outcome.add(&exchange.name, program.check(&exchange, ingress));
            if outcome.failed.len() >= ENOUGH {
                return Ok(outcome);
            }
        }
    }
    Ok(outcome)
}

/// How many runs [`split`] made on each side of what the kernel lets one choose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Splits {
    /// With a first buffer of some size.
    pub run: usize,
    /// With one that the kernel refuses.
    pub refused: usize,
    /// The smallest first buffer that it takes.
    pub least: Option<usize>,
}

/// The largest first buffer of which a frame is run with.
const LARGEST_FIRST: usize = 100;

/// Runs every fixture through the XDP program with a first buffer of any size up to a hundred bytes, and
/// the rest in others: the verdict is that of the whole. Kernels before 6.18 refuse all of it, and
/// these the smallest sizes.
///
/// # Errors
///
/// A verdict is another.
pub fn split() -> Result<Splits> {
    let mut links = [Link::Ethernet, Link::RawIp]
        .map(|link| Program::load(link, Mode::Enforce, true))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let mut splits = Splits::default();
    for fixture in fixtures::all() {
        let trial = &mut links[fixture.link as usize].trial;
        for first in 0..=fixture.frame.len().min(LARGEST_FIRST) {
            let Some(result) = trial.run_split(&fixture.frame, first)? else {
                splits.refused += 1;
                continue;
            };
            let verdict = Ingress::Xdp.verdict(result.return_value)?;
            ensure!(
                verdict == fixture.expected,
                "{}, of which the first buffer has {first} bytes: {verdict:?}, not {:?}",
                fixture.name,
                fixture.expected
            );
            splits.run += 1;
            splits.least = Some(splits.least.map_or(first, |least| least.min(first)));
        }
    }
    Ok(splits)
}

impl Outcome {
    fn add(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(wrong) => self.failed.push(format!("{name}: {wrong:#}")),
        }
    }
}

/// Sends `packets` fixtures with some of their bytes changed through the kernel's program and the
/// judge in this process. An error holds the smallest frame found on which they differ.
pub fn fuzz(packets: u32, seed: u64) -> Result<()> {
    let tables = fixtures::tables();
    let explain =
        |link| Ok::<_, anyhow::Error>(RefCell::new(Program::load(link, Mode::Enforce, true)?));
    let links = [explain(Link::Ethernet)?, explain(Link::RawIp)?];
    let config = Config {
        cases: packets,
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(config, random)
        .run(&mutated(fixtures::all()), |(link, frame)| {
            let judged = pure(&frame, link, &tables);
            let program = &mut links[link as usize].borrow_mut();
            for ingress in Ingress::of(&frame) {
                let kernel = ingress.explain(&mut program.trial, &frame);
                let kernel = kernel.map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
                prop_assert_eq!(kernel, judged, "{:?}'s verdict and the judge's", ingress);
            }
            Ok(())
        })
        .map_err(|error| match error {
            TestError::Abort(why) => anyhow!("fuzzing stopped: {why}"),
            TestError::Fail(why, (link, frame)) => {
                anyhow!("{link:?} frame {}: {why}", hex(&frame))
            }
        })
}

/// The judge's answer in this process, at the kernel's time.
fn pure(frame: &[u8], link: Link, tables: &ModelTables) -> Verdict {
    judge(
        frame,
        &StoppedClocks(boot_nanoseconds()),
        untracked(link),
        tables,
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// One change to a frame.
#[derive(Clone, Debug)]
enum Change {
    /// A bit of a header.
    Flip { at: usize, bit: u8 },
    /// A byte of a header that becomes one that means something somewhere.
    Set { at: usize, value: u8 },
    /// Any byte.
    Anywhere { at: Index, value: u8 },
    /// The frame ends here.
    Cut(Index),
    /// More behind its end.
    Pad(Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    // Versions and lengths, protocols, ports, flags, first bytes of NTP.
    let meaningful = select(
        &[
            0, 1, 4, 6, 8, 17, 20, 43, 44, 48, 50, 51, 56, 59, 60, 76, 123, 0x1c, 0x20, 0x23, 0x24,
            0x45, 0x46, 0x4f, 0x60, 0x81, 0x86, 0x88, 0xa8, 0xdd, 0xff,
        ][..],
    );
    prop_oneof![
        6 => (0..80_usize, 0..8_u8).prop_map(|(at, bit)| Change::Flip { at, bit }),
        6 => (0..80_usize, meaningful).prop_map(|(at, value)| Change::Set { at, value }),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Change::Anywhere { at, value }),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => vec(any::<u8>(), 1..64).prop_map(Change::Pad),
    ]
}

fn mutated(fixtures: Vec<Fixture>) -> impl Strategy<Value = (Link, Vec<u8>)> {
    (select(fixtures), vec(change(), 1..6)).prop_map(|(fixture, changes)| {
        let mut frame = fixture.frame;
        for change in changes {
            apply(&change, &mut frame);
        }
        frame.resize(frame.len().clamp(SHORTEST_FRAME, LONGEST_FRAME), 0);
        (fixture.link, frame)
    })
}

fn apply(change: &Change, frame: &mut Vec<u8>) {
    match change {
        Change::Flip { at, bit } => {
            if let Some(byte) = frame.get_mut(*at) {
                *byte ^= 1 << bit;
            }
        }
        Change::Set { at, value } => {
            if let Some(byte) = frame.get_mut(*at) {
                *byte = *value;
            }
        }
        Change::Anywhere { at, value } if !frame.is_empty() => {
            *at.get_mut(frame.as_mut_slice()) = *value;
        }
        Change::Cut(at) if !frame.is_empty() => frame.truncate(at.index(frame.len())),
        Change::Anywhere { .. } | Change::Cut(_) => {}
        Change::Pad(padding) => frame.extend(padding),
    }
}

/// The programs of one link type, loaded for each use.
struct Programs {
    explaining: Program,
    enforcing: Program,
    monitoring: Program,
}

impl Programs {
    fn load(link: Link) -> Result<Self> {
        Ok(Self {
            explaining: Program::load(link, Mode::Enforce, true)?,
            enforcing: Program::load(link, Mode::Enforce, false)?,
            monitoring: Program::load(link, Mode::Monitor, false)?,
        })
    }

    fn check(&mut self, fixture: &Fixture, tables: &ModelTables) -> Result<()> {
        let judged = pure(&fixture.frame, fixture.link, tables);
        ensure!(
            judged == fixture.expected,
            "the judge says {judged:?}, not {:?}",
            fixture.expected
        );
        for ingress in Ingress::of(&fixture.frame) {
            self.check_on(ingress, fixture)
                .with_context(|| format!("{ingress:?}"))?;
            if ingress == Ingress::Tc {
                self.check_coalesced(fixture)?;
            }
        }
        Ok(())
    }

    fn check_coalesced(&mut self, fixture: &Fixture) -> Result<()> {
        let trial = &mut self.explaining.trial;
        let kernel = Ingress::explain_coalesced(trial, &fixture.frame)?;
        let expected = fixtures::coalesced(fixture.expected);
        ensure!(
            expected.contains(&kernel),
            "with others behind it the kernel says {kernel:?}, not {expected:?}"
        );
        Ok(())
    }

    fn check_on(&mut self, ingress: Ingress, fixture: &Fixture) -> Result<()> {
        let kernel = ingress.explain(&mut self.explaining.trial, &fixture.frame)?;
        ensure!(
            kernel == fixture.expected,
            "the kernel says {kernel:?}, not {:?}",
            fixture.expected
        );
        let (reason, action) = match fixture.expected {
            Verdict::Foreign => (None, ingress.pass()),
            Verdict::Judged(reason) if reason.admits() => (Some(reason), ingress.pass()),
            Verdict::Judged(reason) => (Some(reason), ingress.drop()),
        };
        self.enforcing
            .check(ingress, &fixture.frame, action, reason)
            .context("enforcing")?;
        self.monitoring
            .check(ingress, &fixture.frame, ingress.pass(), reason)
            .context("monitoring")
    }
}

/// The loaded programs of one kind, and the counters of their mode when one last ran.
struct Program {
    trial: Trial,
    mode: Mode,
    counted: Counters,
}

impl Program {
    /// Loads them over tables that hold the fixtures' grants.
    fn load(link: Link, mode: Mode, explain: bool) -> Result<Self> {
        let mut trial = Trial::new(Settings {
            mode,
            link,
            explain,
            tracking: Tracking::OFF,
            other_ports: true,
            rates: Rates::OFF,
            ..Settings::default()
        })
        .with_context(|| format!("load the programs for {link:?} frames"))?;
        trial
            .tables()
            .apply(&Projection::default(), &projection()?)
            .map_err(|error| anyhow!("fill the tables: {error}"))?;
        Ok(Self {
            trial,
            mode,
            counted: Counters::default(),
        })
    }

    /// Runs one of them once: its action must be `action`, and it must count `reason` once, in
    /// the row of its mode, and nothing else anywhere.
    fn check(
        &mut self,
        ingress: Ingress,
        frame: &[u8],
        action: u32,
        reason: Option<Reason>,
    ) -> Result<()> {
        let returned = ingress.run(&mut self.trial, frame)?;
        ensure!(returned == action, "the action is {returned}, not {action}");
        let before = self.counted;
        self.counted = self.trial.tables().counters(self.mode)?;
        for other in Reason::ALL {
            let counted = self.counted.get(*other) - before.get(*other);
            let expected = u64::from(reason == Some(*other));
            ensure!(
                counted == expected,
                "{other} was counted {counted} times, not {expected}"
            );
        }
        let other_mode = match self.mode {
            Mode::Enforce => Mode::Monitor,
            Mode::Monitor => Mode::Enforce,
        };
        ensure!(
            self.counted.reserved == before.reserved,
            "a reserved counter went up"
        );
        ensure!(
            self.trial.tables().counters(other_mode)? == Counters::default(),
            "the other mode's counters went up"
        );
        Ok(())
    }
}

/// The fixtures' grants, as the tables take them.
fn projection() -> Result<Projection> {
    let fixtures::Grants {
        addresses,
        prefixes,
        custom_port,
    } = fixtures::grants();
    let prefixes = prefixes
        .into_iter()
        .map(|(address, length, grant)| Ok((IpNet::new(address, length)?, grant)))
        .collect::<Result<_>>()?;
    Ok(Projection {
        addresses: addresses.into_iter().collect(),
        prefixes,
        endpoints: custom_port.into_iter().collect(),
    })
}
