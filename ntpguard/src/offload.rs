//! Work that may block, such as reading files, off the event loop: where a file system hangs, it keeps a
//! thread of its own waiting and nothing else.

use std::{future::pending, io, thread, time::Duration};

use thiserror::Error;
use tokio::{
    sync::{
        Mutex,
        oneshot::{self, Receiver},
    },
    time::{Instant, sleep_until, timeout},
};

/// How long work takes at most where nothing hangs.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// What comes of work.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// Its result.
    Done(T),
    /// The deadline has passed, and it goes on. This comes once; the result may still follow.
    Overdue,
    /// Its thread ended without a result.
    Lost,
}

/// One kind of work, which is under way once at most: a thread that hangs is not joined by others.
#[derive(Debug)]
pub struct Offload<T> {
    /// The thread's name.
    name: &'static str,
    running: Option<Running<T>>,
    /// Whether there was no thread to be had the last time, as was logged.
    is_without_thread: bool,
}

#[derive(Debug)]
struct Running<T> {
    result: Receiver<T>,
    /// When it is overdue; `None` where that was said.
    deadline: Option<Instant>,
}

impl<T: Send + 'static> Offload<T> {
    /// Nothing yet, on threads of this name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            running: None,
            is_without_thread: false,
        }
    }

    /// Whether work is under way.
    pub const fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Whether work is under way past its deadline.
    pub fn is_overdue(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.deadline.is_none())
    }

    /// Begins `work`, unless other work is under way or no thread is to be had; says whether it did.
    pub fn start(&mut self, work: impl FnOnce() -> T + Send + 'static) -> bool {
        if self.is_busy() {
            return false;
        }
        let (done, result) = oneshot::channel();
        // Not one of tokio's threads: the runtime would wait for it at its end, hanging or not.
        let spawned = self.spawn(move || drop(done.send(work())));
        let was_without = std::mem::replace(&mut self.is_without_thread, spawned.is_err());
        match spawned {
            Err(error) if was_without => {
                tracing::debug!("cannot start {}: {error}", self.name);
                return false;
            }
            Err(error) => {
                tracing::error!("cannot start the thread {}: {error}", self.name);
                return false;
            }
            Ok(()) if was_without => {
                tracing::info!("the thread {} can be started again", self.name);
            }
            Ok(()) => {}
        }
        self.running = Some(Running {
            result,
            deadline: Some(Instant::now() + DEADLINE),
        });
        true
    }

    fn spawn(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let builder = thread::Builder::new().name(self.name.to_owned());
        builder.spawn(work).map(drop)
    }

    /// What comes next of the work under way; nothing ever while there is none. Nothing is lost where
    /// this is dropped before it is ready.
    pub async fn next(&mut self) -> Outcome<T> {
        let Some(running) = &mut self.running else {
            return pending().await;
        };
        let deadline = running.deadline;
        tokio::select! {
            biased;
            result = &mut running.result => {
                self.running = None;
                result.map_or(Outcome::Lost, Outcome::Done)
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                running.deadline = None;
                Outcome::Overdue
            }
        }
    }

    /// The result of the work under way, if it comes within `patience`.
    pub async fn within(&mut self, patience: Duration) -> Option<T> {
        match timeout(patience, self.next()).await {
            Ok(Outcome::Done(result)) => Some(result),
            _ => None,
        }
    }
}

/// One kind of work that several may want, done for one after the other: where it hangs, it keeps one
/// thread waiting, however many want it.
#[derive(Debug)]
pub struct Turns<T>(Mutex<Offload<T>>);

/// Work that was not done in time.
#[derive(Debug, Error)]
#[error("it takes too long: does a file system hang, or are there too many threads?")]
pub struct NotInTime;

impl<T: Send + 'static> Turns<T> {
    /// Nothing yet, on threads of this name.
    pub const fn new(name: &'static str) -> Self {
        Self(Mutex::const_new(Offload::new(name)))
    }

    /// The result of `work`, if its turn comes and it is done within `patience`.
    ///
    /// # Errors
    /// It is not, or there is no thread for it.
    pub async fn within(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotInTime> {
        let turn = async {
            let mut offload = self.0.lock().await;
            // What is under way still is what nobody waits for any more.
            while offload.is_busy() {
                offload.next().await;
            }
            if !offload.start(work) {
                return None;
            }
            loop {
                match offload.next().await {
                    Outcome::Done(result) => return Some(result),
                    Outcome::Lost => return None,
                    Outcome::Overdue => {}
                }
            }
        };
        timeout(patience, turn)
            .await
            .ok()
            .flatten()
            .ok_or(NotInTime)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_result_of_work_comes_as_soon_as_it_is_there() {
        let mut offload = Offload::new("test");
        assert!(offload.start(|| 7));
        assert_eq!(offload.next().await, Outcome::Done(7));
        assert!(!offload.is_busy());
        assert!(offload.within(Duration::from_millis(10)).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_is_overdue_once_and_is_not_begun_again() {
        let (release, held) = mpsc::channel::<()>();
        let mut offload = Offload::new("test");
        assert!(offload.start(move || held.recv().is_err()));
        assert_eq!(offload.next().await, Outcome::Overdue);
        assert!(offload.is_overdue());
        assert!(!offload.start(|| false), "a second thread");
        let more = timeout(Duration::from_secs(60), offload.next()).await;
        assert!(more.is_err(), "{more:?}");
        drop(release);
        assert_eq!(offload.next().await, Outcome::Done(true));
        assert!(offload.start(|| false));
    }

    #[tokio::test]
    async fn work_that_ends_without_a_result_is_lost() {
        let mut offload = Offload::<u8>::new("test");
        offload.start(|| std::panic::resume_unwind(Box::new(())));
        assert_eq!(offload.next().await, Outcome::Lost);
        assert!(!offload.is_busy());
    }

    #[tokio::test]
    async fn many_that_want_work_that_hangs_keep_one_thread_waiting() {
        let turns = Turns::new("test");
        let (release, held) = mpsc::channel::<()>();
        let patience = Duration::from_millis(50);
        let hanging = turns.within(patience, move || held.recv().is_err());
        assert!(hanging.await.is_err());
        let started = Instant::now();
        let others = (0..100).map(|_| turns.within(patience, || panic!("another thread")));
        let others = futures_util::future::join_all(others).await;
        assert!(others.iter().all(Result::is_err));
        assert!(started.elapsed() < 20 * patience, "one after the other");
        drop(release);
        assert!(turns.within(DEADLINE, || true).await.is_ok_and(|done| done));
    }
}
