//! Runs the checks of a whole system, inside one that `cargo xtask vm --system` has booted. What it
//! prints last, the host waits for.

use std::process::ExitCode;

use ntpguard_tests::system::{self, Outcome};

fn main() -> ExitCode {
    // The console may be in the middle of a line.
    println!();
    let outcome = system::run();
    match &outcome {
        Ok(Outcome { passed, failed }) => println!("checks: {passed} passed, {failed} failed"),
        Err(error) => println!("checks: {error:#}"),
    }
    let good = outcome.is_ok_and(|outcome| outcome.failed == 0 && outcome.passed > 0);
    println!("ntpguard-vm: {}", if good { "passed" } else { "failed" });
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
