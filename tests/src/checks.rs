//! Checks that run in a virtual machine and report on its console, one line each.

use std::{process::ExitCode, time::Instant};

use anyhow::Result;

/// How many checks there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Those that found what is expected.
    pub passed: u32,
    /// The others.
    pub failed: u32,
}

impl Outcome {
    /// Runs a check, counts it and prints how it went. Returns whether it passed.
    pub fn run(&mut self, what: &str, check: impl FnOnce() -> Result<()>) -> bool {
        let start = Instant::now();
        let result = check();
        let seconds = start.elapsed().as_secs();
        match &result {
            Ok(()) => {
                self.passed += 1;
                println!("check: {what}: ok ({seconds} s)");
            }
            Err(error) => {
                self.failed += 1;
                println!("check: {what}: FAILED ({seconds} s)\n{error:#}");
            }
        }
        result.is_ok()
    }

    /// Whether there were any, and all passed.
    pub fn is_good(self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

/// Prints the summary that the host waits for, `checks: 9 passed, 0 failed`, where `title` is what
/// was counted. Returns what the program ends with.
pub fn conclude(title: &str, outcome: Result<Outcome>) -> ExitCode {
    match &outcome {
        Ok(Outcome { passed, failed }) => println!("{title}: {passed} passed, {failed} failed"),
        Err(error) => println!("{title}: {error:#}"),
    }
    if outcome.is_ok_and(Outcome::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn one_failure_is_enough_and_so_is_no_check_at_all() {
        let mut outcome = Outcome::default();
        assert!(!outcome.is_good());
        assert!(outcome.run("one", || Ok(())));
        assert!(outcome.is_good());
        assert!(!outcome.run("two", || bail!("no")));
        assert!(!outcome.is_good());
        assert_eq!((outcome.passed, outcome.failed), (1, 1));
    }
}
