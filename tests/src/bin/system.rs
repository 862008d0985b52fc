//! Runs the checks of a whole system, inside one that `cargo xtask vm --system` has booted. What it
//! prints last, the host waits for.

use std::process::ExitCode;

use ntpguard_tests::{checks, system};

fn main() -> ExitCode {
    // The console may be in the middle of a line.
    println!();
    let code = checks::conclude("checks", system::run());
    let good = code == ExitCode::SUCCESS;
    println!("ntpguard-vm: {}", if good { "passed" } else { "failed" });
    code
}
