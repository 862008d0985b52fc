//! Runs the kernel program on single frames, attached to nothing (`BPF_PROG_TEST_RUN`).

use std::time::Duration;

use aya::programs::{ProgramError, SchedClassifier, TestRun, TestRunOptions, TestRunResult, Xdp};
use nix::libc::EINVAL;
use ntpguard_common::maps::{
    requests::Request,
    tables::{Info, names},
};

use super::{
    Error, Hook, Settings, Tables,
    object::{
        loader,
        programs::{Kind, Programs},
    },
};

/// A private copy of the program and its tables.
#[derive(Debug)]
pub struct Trial {
    programs: Programs,
    tables: Tables,
}

/// What came of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialResult {
    /// The XDP or tc action, or [`EXPLAIN_BASE`] and the reason from a program set to explain.
    ///
    /// [`EXPLAIN_BASE`]: ntpguard_common::maps::tables::EXPLAIN_BASE
    pub return_value: u32,
    /// The mean time of one run.
    pub duration: Duration,
}

impl Trial {
    /// Loads the program with empty tables.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let mut object = loader::load_private(settings)?;
        let tables = Tables::take(&mut object)?;
        let mut programs = Programs::new(object);
        programs.load_xdp()?;
        Ok(Self { programs, tables })
    }

    /// Sets the clock of a program that was loaded for [`Clock::Given`], and the end of the first
    /// seconds: nanoseconds of boot time.
    ///
    /// [`Clock::Given`]: ntpguard_common::clock::Clock::Given
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

    /// The XDP program itself, for whoever measures it.
    pub fn program(&mut self) -> Result<&Xdp, Error> {
        let kind = self.programs.preferred();
        self.programs.typed(kind).map(|program: &mut Xdp| &*program)
    }

    /// The program for a tc hook, likewise.
    pub fn tc_program(&mut self, hook: Hook) -> Result<&SchedClassifier, Error> {
        let program = self.programs.typed(Kind::on_tc(hook));
        program.map(|program: &mut SchedClassifier| &*program)
    }

    /// Runs the XDP program `repeat` times on `frame`, which starts as the settings' link type says.
    /// The kernel takes frames of 14 bytes and more, whatever the link type.
    pub fn run(&mut self, frame: &[u8], repeat: u32) -> Result<TrialResult, Error> {
        test(self.program()?, frame, None, repeat)
    }

    /// Runs the XDP program once on a frame whose first buffer has `first` bytes, and others the rest.
    /// `None` where the kernel does not let one choose: Linux before 6.18, or too small a number.
    pub fn run_split(&mut self, frame: &[u8], first: usize) -> Result<Option<TrialResult>, Error> {
        // A struct xdp_md, of which the rest is 0: where the data and the first buffer begin and end.
        let mut context = [0; 24];
        context[4..8].copy_from_slice(&(first as u32).to_ne_bytes());
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        match self.program()?.test_run(options) {
            Ok(result) => Ok(Some(TrialResult {
                return_value: result.return_value,
                duration: result.duration,
            })),
            Err(ProgramError::SyscallError(refused))
                if refused.io_error.raw_os_error() == Some(EINVAL) =>
            {
                Ok(None)
            }
            Err(source) => Err(Error::program("run the program on a frame", source)),
        }
    }

    /// Runs the program for a tc hook `repeat` times on `frame`. Its sender is this process. Frames
    /// need a byte behind what the kernel takes for their link header.
    pub fn run_tc(&mut self, hook: Hook, frame: &[u8], repeat: u32) -> Result<TrialResult, Error> {
        test(self.tc_program(hook)?, frame, None, repeat)
    }

    /// Runs the program for a tc hook once on the buffer of a frame that is said to hold others behind
    /// it.
    pub fn run_coalesced(&mut self, hook: Hook, frame: &[u8]) -> Result<TrialResult, Error> {
        const LENGTH: u32 = 48;
        let mut context = [0; CONTEXT_LEN];
        context[GSO_SIZE_AT..].copy_from_slice(&LENGTH.to_ne_bytes());
        test(self.tc_program(hook)?, frame, Some(&context), 1)
    }
}

/// Where in the kernel's `struct __sk_buff` the length of coalesced datagrams is, and where it ends.
const GSO_SIZE_AT: usize = 176;
const CONTEXT_LEN: usize = GSO_SIZE_AT + size_of::<u32>();

fn test<P>(
    program: &P,
    frame: &[u8],
    context: Option<&[u8]>,
    repeat: u32,
) -> Result<TrialResult, Error>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let options = TestRunOptions {
        data_in: Some(frame),
        ctx_in: context,
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
