//! Time on one CPU, and what many rounds of it say.

use std::{panic, thread};

use anyhow::{Context as _, Result};
use aya::programs::{TestRun, TestRunOptions, TestRunResult};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::{Pid, SysconfVar, sysconf},
};
use ntpguard_tests::process;
use serde::Serialize;

/// What one thing measured in several rounds came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Series {
    /// The least: what the thing itself takes, where others disturb.
    pub(crate) min: f64,
    /// The one in the middle.
    pub(crate) median: f64,
    /// The most.
    pub(crate) max: f64,
    /// How many rounds there were.
    pub(crate) rounds: usize,
}

impl Series {
    /// Of at least one figure.
    pub(crate) fn of(figures: &[f64]) -> Result<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let of = |at: usize| sorted.get(at).copied().context("nothing was measured");
        Ok(Self {
            min: of(0)?,
            median: of(sorted.len() / 2)?,
            max: of(sorted.len().saturating_sub(1))?,
            rounds: sorted.len(),
        })
    }
}

/// How many CPUs there are; how many this process may use changes with [`stay_away`].
pub(crate) fn cpus() -> i64 {
    sysconf(SysconfVar::_NPROCESSORS_ONLN)
        .ok()
        .flatten()
        .unwrap_or(1)
}

/// The CPU that measurements run on: the last, as the first gets most interrupts.
pub(crate) fn cpu() -> usize {
    usize::try_from(cpus() - 1).unwrap_or(0)
}

/// Keeps the calling thread, and those it starts, on one CPU.
fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
        .with_context(|| format!("cannot keep a thread on CPU {cpu}"))
}

/// What the program does with a frame, and the nanoseconds it takes in the mean of `repeat` runs: the
/// kernel gives whole ones.
pub(crate) fn run<P>(program: &P, frame: &[u8], repeat: u32) -> Result<(u32, f64)>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let options = TestRunOptions {
        data_in: Some(frame),
        repeat,
        ..TestRunOptions::new()
    };
    let result = program.test_run(options).context("cannot run a program")?;
    Ok((result.return_value, result.duration.as_secs_f64() * 1e9))
}

/// Keeps the calling thread on one CPU, before everybody else there.
pub(crate) fn alone_on(cpu: usize) -> Result<()> {
    pin(cpu)?;
    let thread = nix::unistd::gettid().to_string();
    process::run_program("renice", &["-n", "-20", "-p", &thread]).map(drop)
}

/// Does `work` on a thread that is alone on the measuring CPU.
pub(crate) fn undisturbed<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let joined = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            alone_on(cpu())?;
            work()
        });
        thread.join()
    });
    joined.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Leaves the measuring CPU to whoever measures, where there is another.
pub(crate) fn stay_away() -> Result<()> {
    let mut set = CpuSet::new();
    for other in (0..cpu()).chain((cpu() == 0).then_some(0)) {
        set.set(other)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).context("cannot leave a CPU to the measuring")
}
