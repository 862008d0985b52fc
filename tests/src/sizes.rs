//! How large the programs are: what a slowdown shows in when no clock is steady enough.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};
use aya::programs::ProgramInfo;
use ntpguard::datapath::{Hook, Settings, Trial};
use ntpguard_common::wire::packet::Link;
use serde::{Deserialize, Serialize};

/// Where sizes are recorded.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sizes.json");

/// Bytes in an instruction of BPF.
const INSTRUCTION: u32 = 8;

/// The size of one program, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Instructions after the verifier has taken out what cannot be reached.
    pub instructions: u32,
    /// Bytes of machine code.
    pub machine_code: u32,
    /// Instructions that the verifier walked through on all paths (Linux 5.16).
    pub verified: Option<u32>,
}

impl Size {
    fn of(program: &ProgramInfo) -> Result<Self> {
        let bytes = program
            .size_translated()
            .context("the kernel hides the program's size")?;
        Ok(Self {
            instructions: bytes / INSTRUCTION,
            machine_code: program.size_jitted(),
            verified: program.verified_instruction_count(),
        })
    }

    /// What of this is more than `slack` percent above `recorded`, in words; nothing if all is well.
    pub fn excess(&self, recorded: &Self, slack: u32) -> Vec<String> {
        let figures = [
            ("instructions", self.instructions, recorded.instructions),
            (
                "bytes of machine code",
                self.machine_code,
                recorded.machine_code,
            ),
            (
                "instructions verified",
                self.verified.unwrap_or(0),
                recorded.verified.unwrap_or(u32::MAX),
            ),
        ];
        let above =
            |now: u32, then: u32| u64::from(now) * 100 > u64::from(then) * u64::from(100 + slack);
        figures
            .into_iter()
            .filter(|(_, now, then)| above(*now, *then))
            .map(|(what, now, then)| format!("{now} {what}, recorded are {then}"))
            .collect()
    }
}

/// The sizes by the names of programs.
pub type Sizes = BTreeMap<String, Size>;

/// The sizes that were recorded, to be compared with.
///
/// # Errors
///
/// When the record cannot be read.
pub fn recorded() -> Result<Sizes> {
    let text = fs::read_to_string(RECORD).with_context(|| format!("cannot read {RECORD}"))?;
    serde_json::from_str(&text).with_context(|| format!("cannot read {RECORD}"))
}

/// Records sizes, to be compared with from now on.
///
/// # Errors
///
/// When the record cannot be written.
pub fn record(sizes: &Sizes) -> Result<()> {
    let text = serde_json::to_string_pretty(sizes)? + "\n";
    fs::write(RECORD, text).with_context(|| format!("cannot write {RECORD}"))
}

/// The size of each program, by its name under the pin directory (`tc-` before that of the one that
/// has the place of another).
///
/// # Errors
///
/// When a program does not load.
pub fn measure() -> Result<Sizes> {
    let mut sizes = Sizes::new();
    for (suffix, link) in [("", Link::Ethernet), ("-raw", Link::RawIp)] {
        let mut trial = Trial::new(Settings {
            link,
            ..Settings::default()
        })?;
        sizes.insert(
            format!("ingress{suffix}"),
            Size::of(&trial.program()?.info()?)?,
        );
        for (name, hook) in [("tc-ingress", Hook::Ingress), ("egress", Hook::Egress)] {
            let program = trial.tc_program(hook)?.info()?;
            sizes.insert(format!("{name}{suffix}"), Size::of(&program)?);
        }
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        instructions: 1_000,
        machine_code: 5_000,
        verified: Some(90_000),
    };

    #[test]
    fn what_grew_beyond_the_slack_is_told_and_nothing_else() {
        let grown = Size {
            instructions: 1_151,
            machine_code: 5_750,
            ..SIZE
        };
        let excess = grown.excess(&SIZE, 15);
        assert_eq!(excess, ["1151 instructions, recorded are 1000"]);
    }

    #[test]
    fn what_an_older_kernel_does_not_tell_is_no_excess() {
        let untold = Size {
            verified: None,
            ..SIZE
        };
        assert!(untold.excess(&SIZE, 0).is_empty() && SIZE.excess(&untold, 0).is_empty());
    }
}
