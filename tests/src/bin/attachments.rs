//! Runs the checks of attachments on a kernel that `cargo xtask vm --kernel` has booted.

use std::process::ExitCode;

use ntpguard_tests::{attachments, checks};

fn main() -> ExitCode {
    checks::conclude("attachments", attachments::run())
}
