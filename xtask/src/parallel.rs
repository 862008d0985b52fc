//! Work on several things at once.

use std::thread;

use anyhow::{Result, anyhow};

/// Works on each, all at once, and returns the first failure when all have ended.
pub(crate) fn each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let outcomes: Vec<_> = thread::scope(|scope| {
        let work = &work;
        let start = |item| scope.spawn(move || work(item));
        let threads: Vec<_> = items.iter().map(start).collect();
        threads
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect()
    });
    let panicked = || anyhow!("a part of it ended as shown above");
    outcomes
        .into_iter()
        .try_for_each(|outcome| outcome.unwrap_or_else(|_| Err(panicked())))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, mpsc},
        time::Duration,
    };

    use anyhow::bail;

    use super::*;

    #[test]
    fn all_run_at_once_and_the_failure_of_one_is_returned() {
        let (sender, receiver) = mpsc::channel();
        let receiver = Mutex::new(receiver);
        // The one before waits for the one behind it.
        let work = |is_second: &bool| {
            if *is_second {
                return Ok(sender.send(())?);
            }
            let limit = Duration::from_secs(10);
            receiver.lock().unwrap().recv_timeout(limit)?;
            bail!("no space left")
        };
        let error = each(&[false, true], work).unwrap_err();
        assert_eq!(error.to_string(), "no space left");
    }
}
