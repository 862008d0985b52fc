//! Runs the kernel program on single frames, attached to nothing (`BPF_PROG_TEST_RUN`).

use std::time::Duration;

use aya::programs::{SchedClassifier, TestRun, TestRunOptions, TestRunResult, Xdp};
use ntpguard_common::{
    requests::Request,
    tables::{Info, names},
};

use super::{
    Error, Settings, Tables, object,
    programs::{Kind, Programs},
};

/// A private copy of the program and its tables.
#[derive(Debug)]
pub struct Trial {
    programs: Programs,
    kind: Kind,
    tables: Tables,
}

/// What came of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialResult {
    /// The XDP action, or [`EXPLAIN_BASE`] and the reason from a program set to explain.
    ///
    /// [`EXPLAIN_BASE`]: ntpguard_common::tables::EXPLAIN_BASE
    pub return_value: u32,
    /// The mean time of one run.
    pub duration: Duration,
}

impl Trial {
    /// Loads the program with empty tables.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let mut object = object::load_private(settings)?;
        let tables = Tables::take(&mut object)?;
        let programs = Programs::load(object)?;
        let kind = programs.preferred();
        Ok(Self {
            programs,
            kind,
            tables,
        })
    }

    /// Sets the clock of a program that was loaded for [`Clock::Given`], and the end of the first
    /// seconds: nanoseconds of boot time.
    ///
    /// [`Clock::Given`]: ntpguard_common::judge::Clock::Given
    pub fn set_time(&mut self, now: u64, warm_until: u64) -> Result<(), Error> {
        let info = self.tables.info()?;
        self.tables.set_info(&Info {
            clock: now,
            warm_until,
            ..info
        })
    }

    /// Forgets every request, and when servers were asked.
    pub fn forget_requests(&mut self) -> Result<(), Error> {
        self.tables.forget_servers()?;
        self.programs.clear::<Request<[u8; 4]>>(names::TRUSTED_V4)?;
        self.programs.clear::<Request<[u8; 4]>>(names::ASKED_V4)?;
        self.programs
            .clear::<Request<[u8; 16]>>(names::TRUSTED_V6)?;
        self.programs.clear::<Request<[u8; 16]>>(names::ASKED_V6)
    }

    /// The tables the program looks into.
    pub const fn tables(&mut self) -> &mut Tables {
        &mut self.tables
    }

    /// The program itself, for whoever measures it.
    pub fn program(&mut self) -> Result<&Xdp, Error> {
        self.programs.get(self.kind).map(|program| &*program)
    }

    /// The program for what leaves, likewise.
    pub fn egress_program(&mut self) -> Result<&SchedClassifier, Error> {
        self.programs.egress().map(|program| &*program)
    }

    /// Runs the program `repeat` times on `frame`, which starts as the settings' link type says.
    /// The kernel takes frames of 14 bytes and more, whatever the link type.
    pub fn run(&mut self, frame: &[u8], repeat: u32) -> Result<TrialResult, Error> {
        test(self.program()?, frame, repeat)
    }

    /// Runs the program for what leaves `repeat` times on `frame`. Its sender is this process.
    pub fn run_egress(&mut self, frame: &[u8], repeat: u32) -> Result<TrialResult, Error> {
        test(self.egress_program()?, frame, repeat)
    }
}

fn test<P>(program: &P, frame: &[u8], repeat: u32) -> Result<TrialResult, Error>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let options = TestRunOptions {
        data_in: Some(frame),
        repeat,
        ..TestRunOptions::new()
    };
    let result = program
        .test_run(options)
        .map_err(|source| Error::program("run the program on a frame", source))?;
    Ok(TrialResult {
        return_value: result.return_value,
        duration: result.duration,
    })
}
