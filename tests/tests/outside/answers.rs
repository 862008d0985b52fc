//! How soon the daemon answers.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ntpguard_tests::guard::Guard;

/// How long an answer may take at most, so that a busy machine fails no test. What is aimed at is a
/// tenth of a second, and what it took is printed.
const LIMIT: Duration = Duration::from_secs(2);

/// The times that answers took.
#[derive(Default)]
pub(crate) struct Answers {
    took: Vec<Duration>,
}

impl Answers {
    /// Asks the daemon for its status, as `ntpguard status` does.
    pub(crate) fn ask(&mut self, guard: &Guard) -> Result<String> {
        let began = Instant::now();
        let mut stream = UnixStream::connect(guard.home().state_dir().join("control.sock"))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"{\"ask\":\"status\"}\n")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        ensure!(answer.contains("\"guarding\":true"), "{answer}");
        self.took.push(began.elapsed());
        Ok(answer)
    }

    /// Makes sure that all were soon enough, and prints what they took.
    pub(crate) fn are_soon(mut self, when: &str) -> Result<()> {
        self.took.sort_unstable();
        let (count, longest) = (self.took.len(), self.took.last().copied());
        let median = self.took.get(count / 2).copied().unwrap_or_default();
        let longest = longest.unwrap_or_default();
        eprintln!("{when}: {count} answers in {median:?} (median), {longest:?} at most");
        ensure!(count > 0 && longest < LIMIT, "{longest:?} at most");
        Ok(())
    }
}
