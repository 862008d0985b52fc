//! The virtual machine's serial console: shown to the user, and read for how it went.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// So many fixtures passed, and none failed.
    Passed(u32),
    /// The fixtures say that one failed, or do not say how many passed.
    Failed,
    /// The machine went off before they were done.
    Stopped,
    /// They were not done in time.
    Late,
}

/// Starts a machine, shows its console until the closing line and switches it off.
pub(super) fn watch(qemu: &mut Command, limit: Duration) -> Result<Outcome> {
    let mut machine = qemu
        .stdout(Stdio::piped())
        .spawn()
        .context("`qemu-system-x86_64` does not start")?;
    let console = machine.stdout.take().context("no console")?;
    let outcome = follow(&lines(console), Instant::now() + limit);
    machine
        .kill()
        .and_then(|()| machine.wait())
        .context("the virtual machine cannot be stopped")?;
    Ok(outcome)
}

/// Reads lines on a thread of its own, so that waiting for one can have an end.
fn lines(console: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // A console can print anything, so bytes, not UTF-8.
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn follow(lines: &Receiver<String>, deadline: Instant) -> Outcome {
    let mut passed = None;
    loop {
        let line = match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Outcome::Late,
            Err(RecvTimeoutError::Disconnected) => return Outcome::Stopped,
        };
        println!("  | {line}");
        passed = summary(&line).or(passed);
        match line.as_str() {
            "ntpguard-vm: passed" => return passed.map_or(Outcome::Failed, Outcome::Passed),
            "ntpguard-vm: failed" => return Outcome::Failed,
            _ => {}
        }
    }
}

/// The number in `fixtures: 211 passed, 0 failed`, if it is not 0 and none failed.
fn summary(line: &str) -> Option<u32> {
    let count = line
        .strip_prefix("fixtures: ")?
        .strip_suffix(" passed, 0 failed")?;
    count.parse().ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(console: &'static str) -> Outcome {
        follow(
            &lines(console.as_bytes()),
            Instant::now() + Duration::from_secs(10),
        )
    }

    #[test]
    fn fixtures_that_all_passed_are_counted() {
        let console = "Linux\r\nfixtures: 211 passed, 0 failed\r\nntpguard-vm: passed\r\nmore\r\n";
        assert_eq!(outcome(console), Outcome::Passed(211));
    }

    #[test]
    fn a_failure_is_a_failure_however_many_passed() {
        assert_eq!(
            outcome("fixtures: 210 passed, 1 failed\nntpguard-vm: failed\n"),
            Outcome::Failed
        );
        assert_eq!(
            outcome("fixtures: 210 passed, 1 failed\nntpguard-vm: passed\n"),
            Outcome::Failed
        );
    }

    #[test]
    fn no_fixtures_at_all_is_a_failure() {
        assert_eq!(
            outcome("fixtures: 0 passed, 0 failed\nntpguard-vm: passed\n"),
            Outcome::Failed
        );
        assert_eq!(outcome("ntpguard-vm: passed\n"), Outcome::Failed);
    }

    #[test]
    fn a_machine_that_panics_stopped() {
        assert_eq!(
            outcome("fixtures: 211 passed, 0 failed\nKernel panic\n"),
            Outcome::Stopped
        );
        // The closing line is a line, not a part of one.
        assert_eq!(
            outcome("fixtures: 1 passed, 0 failed\nit said ntpguard-vm: passed\n"),
            Outcome::Stopped
        );
    }

    #[test]
    fn a_machine_that_hangs_is_late() {
        let (sender, receiver) = mpsc::channel();
        sender.send("booting".to_owned()).unwrap();
        assert_eq!(
            follow(&receiver, Instant::now() + Duration::from_millis(20)),
            Outcome::Late
        );
        drop(sender);
    }

    #[test]
    fn bytes_that_are_no_text_do_not_end_the_console() {
        let console: &[u8] = b"\xff\xfe\nfixtures: 1 passed, 0 failed\nntpguard-vm: passed\n";
        let outcome = follow(&lines(console), Instant::now() + Duration::from_secs(10));
        assert_eq!(outcome, Outcome::Passed(1));
    }

    #[test]
    fn a_machine_is_switched_off_after_its_closing_line() {
        let mut machine = Command::new("sh");
        machine.args([
            "-c",
            "echo fixtures: 3 passed, 0 failed; echo ntpguard-vm: passed; exec sleep 60",
        ]);
        let start = Instant::now();
        assert_eq!(
            watch(&mut machine, Duration::from_secs(30)).unwrap(),
            Outcome::Passed(3)
        );
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
