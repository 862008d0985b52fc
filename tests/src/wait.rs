//! Waiting for something to become so, with an end.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Repeats `attempt` until it succeeds, and gives what it gave.
///
/// # Errors
///
/// When `limit` is over: `what` was awaited, and the error of the last attempt, which should
/// tell the state of things.
pub fn eventually<T>(
    limit: Duration,
    what: &str,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(last) if Instant::now() >= end => {
                return Err(last).with_context(|| format!("not within {limit:?}: {what}"));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[test]
    fn attempts_go_on_until_one_succeeds() {
        let mut attempts = 0;
        let seen = eventually(Duration::from_secs(5), "the third attempt", || {
            attempts += 1;
            ensure!(attempts == 3, "this is attempt {attempts}");
            Ok(attempts)
        });
        assert_eq!(seen.unwrap(), 3);
    }

    #[test]
    fn the_error_tells_what_was_awaited_and_the_last_state() {
        let limit = Duration::from_millis(50);
        let error = eventually::<()>(limit, "a miracle", || anyhow::bail!("none yet"));
        let text = format!("{:#}", error.unwrap_err());
        assert!(
            text.contains("a miracle") && text.contains("none yet"),
            "{text}"
        );
    }
}
