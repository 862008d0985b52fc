//! CPUs that charge one bucket at the same time.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use ntpguard::{
    allowlist::projection::Projection,
    datapath::{Mode, Settings, Trial},
};
use ntpguard_common::{
    maps::{
        rates::Rates,
        tables::{Grant, Origin, Role},
    },
    reason::{Counters, Reason},
    wire::ntp,
};
use ntpguard_tests::{
    packets::{
        frame::{self, Ethernet},
        ntp::Message,
    },
    programs::{Program, Sources},
};

/// Requests a second that are admitted of all clients.
const ALL: u32 = 100_000;

/// How long the CPUs race, and how many packets they judge at a time.
const RACE: Duration = Duration::from_secs(4);
const PORTION: u32 = 100_000;

/// Whole networks ask, of whose addresses none is beyond its own rate for long; and one address.
#[test]
fn cpus_that_race_admit_no_more_than_is_allowed() -> Result<()> {
    let network = Sources {
        first: [100, 64, 0, 0].into(),
        count: 1 << 20,
    };
    let whole = race(Rates::per_second(64, ALL, [1, 2]), network)?;
    whole.print("a network");
    ensure!(
        whole.admitted >= whole.allowed(ALL.into()) * 0.9
            && whole.admitted <= whole.allowed(ALL.into()),
        "the rate of all does not hold"
    );
    let one = race(
        Rates::per_second(64, ALL, [1, 2]),
        Sources {
            count: 1,
            ..network
        },
    )?;
    one.print("one address");
    // Its bucket, sixteen times its rate, and each with what may come at once.
    let most = one.seconds * 64.0 * 17.0 + 2.0 * 1_024.0;
    ensure!(one.admitted <= most * 1.02, "at most {most}");
    Ok(())
}

/// What came of a race.
struct Raced {
    cpus: usize,
    seconds: f64,
    judged: f64,
    admitted: f64,
}

impl Raced {
    /// What a rate allows, with a second's worth at once, a tick that is read before the race and the
    /// token that each CPU may take too many.
    #[expect(clippy::cast_precision_loss, reason = "a few CPUs")]
    fn allowed(&self, rate: f64) -> f64 {
        rate * (self.seconds + 1.0 + 0.01) + self.cpus as f64
    }

    fn print(&self, what: &str) {
        eprintln!(
            "{what}: {} CPUs judged {:.2} million a second; {:.0} admitted in {:.2} s, {:.0} a second",
            self.cpus,
            self.judged / self.seconds / 1e6,
            self.admitted,
            self.seconds,
            self.admitted / self.seconds
        );
    }
}

/// Has every CPU judge requests from these sources as fast as it can.
#[expect(clippy::cast_precision_loss, reason = "rates for people")]
fn race(rates: Rates, sources: Sources) -> Result<Raced> {
    let mut trial = Trial::new(Settings {
        rates,
        ..Settings::default()
    })?;
    let client = Grant {
        roles: Role::Client.bit(),
        origins: Origin::Config.bit(),
        ..Grant::default()
    };
    let granted = Projection {
        prefixes: [("100.64.0.0/10".parse()?, client)].into(),
        ..Projection::default()
    };
    trial
        .tables()
        .apply(&Projection::default(), &granted)
        .map_err(|error| anyhow!("fill the tables: {error}"))?;
    let frame = request(sources.first)?;
    let program = Program::scatter(sources, trial.program()?)?;
    let cpus = thread::available_parallelism()?.get();
    let began = Instant::now();
    thread::scope(|scope| {
        let racers: Vec<_> = (0..cpus)
            .map(|cpu| {
                let (program, frame) = (&program, &frame);
                scope.spawn(move || -> Result<()> {
                    let mut set = CpuSet::new();
                    set.set(cpu)?;
                    sched_setaffinity(Pid::from_raw(0), &set).context("cannot choose a CPU")?;
                    while began.elapsed() < RACE {
                        program.judge(frame, PORTION)?;
                    }
                    Ok(())
                })
            })
            .collect();
        racers
            .into_iter()
            .try_for_each(|racer| racer.join().map_err(|_| anyhow!("a racer panicked"))?)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let counters: Counters = trial.tables().counters(Mode::Enforce)?;
    let (admitted, refused) = (counters.get(Reason::Client), counters.get(Reason::Rate));
    Ok(Raced {
        cpus,
        seconds,
        judged: (admitted + refused) as f64,
        admitted: admitted as f64,
    })
}

fn request(from: IpAddr) -> Result<Vec<u8>> {
    let packet = frame::udp(
        (from, 40_123).into(),
        ([10, 98, 0, 1], ntp::PORT).into(),
        &Message::request(1).to_vec(),
    )?;
    let link = Ethernet {
        from: [2; 6],
        to: [4; 6],
        tags: &[],
    };
    Ok(link.wrap(&packet))
}
