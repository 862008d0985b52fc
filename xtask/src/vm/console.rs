//! The virtual machine's serial console: shown to the user, and read for how it went.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read},
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// None failed; with how many passed of what.
    Passed(String),
    /// A summary says that one failed, or does not say how many passed.
    Failed,
    /// The machine went off before they were done.
    Stopped,
    /// They were not done in time.
    Late,
}

/// Starts a machine, shows its console until the closing line and switches it off. Each thing that is
/// counted has a summary, whose line it begins. Lines are shown behind the machine's `name`.
pub(super) fn watch(
    qemu: &mut Command,
    name: &str,
    limit: Duration,
    counted: &[&str],
) -> Result<Outcome> {
    let mut machine = qemu
        .stdout(Stdio::piped())
        .spawn()
        .context("`qemu-system-x86_64` does not start")?;
    let console = machine.stdout.take().context("no console")?;
    let shown = lines(console, name.to_owned());
    let outcome = follow(&shown, Instant::now() + limit, counted);
    machine
        .kill()
        .and_then(|()| machine.wait())
        .context("the virtual machine cannot be stopped")?;
    Ok(outcome)
}

/// Says how it went on which `machine`.
///
/// # Errors
/// It did not go well.
pub(super) fn judge(outcome: &Outcome, machine: &str, limit: Duration) -> Result<()> {
    match outcome {
        Outcome::Passed(counts) => println!("{machine}: {counts} passed"),
        Outcome::Failed => bail!("{machine}: not all passed, see above"),
        Outcome::Stopped => bail!("{machine}: the machine stopped before all was done"),
        Outcome::Late => bail!("{machine}: not done within {} s", limit.as_secs()),
    }
    Ok(())
}

/// Reads lines on a thread of its own, so that waiting for one can have an end.
fn lines(console: impl Read + Send + 'static, name: String) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // A console can print anything, so bytes, not UTF-8.
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            println!("  {name} | {line}");
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn follow(lines: &Receiver<String>, deadline: Instant, counted: &[&str]) -> Outcome {
    let mut passed = BTreeMap::new();
    loop {
        let line = match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Outcome::Late,
            Err(RecvTimeoutError::Disconnected) => return Outcome::Stopped,
        };
        for what in counted {
            passed.extend(summary(&line, what).map(|count| (*what, count)));
        }
        match line.as_str() {
            "ntpguard-vm: passed" if passed.len() == counted.len() => {
                let counts = passed.iter().map(|(what, count)| format!("{count} {what}"));
                return Outcome::Passed(counts.collect::<Vec<_>>().join(" and "));
            }
            "ntpguard-vm: passed" | "ntpguard-vm: failed" => return Outcome::Failed,
            _ => {}
        }
    }
}

/// The number in `fixtures: 211 passed, 0 failed`, if it is not 0 and none failed.
fn summary(line: &str, what: &str) -> Option<u32> {
    let count = line
        .strip_prefix(what)?
        .strip_prefix(": ")?
        .strip_suffix(" passed, 0 failed")?;
    count.parse().ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(console: &'static str) -> Outcome {
        follow(
            &lines(console.as_bytes(), "test".to_owned()),
            Instant::now() + Duration::from_secs(10),
            &["fixtures"],
        )
    }

    fn passed(counts: &str) -> Outcome {
        Outcome::Passed(counts.to_owned())
    }

    #[test]
    fn all_that_is_counted_has_to_have_a_summary() {
        let both = |console: &'static str| {
            let deadline = Instant::now() + Duration::from_secs(10);
            follow(
                &lines(console.as_bytes(), "test".to_owned()),
                deadline,
                &["fixtures", "checks"],
            )
        };
        let one = "fixtures: 2 passed, 0 failed\n";
        let console =
            "fixtures: 2 passed, 0 failed\nchecks: 3 passed, 0 failed\nntpguard-vm: passed\n";
        assert_eq!(both(console), passed("3 checks and 2 fixtures"));
        assert_eq!(both(one), Outcome::Stopped);
        let console = "fixtures: 2 passed, 0 failed\nntpguard-vm: passed\n";
        assert_eq!(both(console), Outcome::Failed);
    }

    #[test]
    fn only_what_was_asked_for_is_counted() {
        let line = "checks: 9 passed, 0 failed";
        assert_eq!(summary(line, "checks"), Some(9));
        assert_eq!(summary(line, "fixtures"), None);
        assert_eq!(summary("checks: 8 passed, 1 failed", "checks"), None);
    }

    #[test]
    fn fixtures_that_all_passed_are_counted() {
        let console = "Linux\r\nfixtures: 211 passed, 0 failed\r\nntpguard-vm: passed\r\nmore\r\n";
        assert_eq!(outcome(console), passed("211 fixtures"));
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
            follow(
                &receiver,
                Instant::now() + Duration::from_millis(20),
                &["fixtures"]
            ),
            Outcome::Late
        );
        drop(sender);
    }

    #[test]
    fn bytes_that_are_no_text_do_not_end_the_console() {
        let console: &[u8] = b"\xff\xfe\nfixtures: 1 passed, 0 failed\nntpguard-vm: passed\n";
        let deadline = Instant::now() + Duration::from_secs(10);
        let outcome = follow(&lines(console, "test".to_owned()), deadline, &["fixtures"]);
        assert_eq!(outcome, passed("1 fixtures"));
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
            watch(&mut machine, "test", Duration::from_secs(30), &["fixtures"]).unwrap(),
            passed("3 fixtures")
        );
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
