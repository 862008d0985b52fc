//! The connections that wait for a question, so that where there are too many the idlest goes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Those that wait, in the order in which they began to.
#[derive(Clone, Debug, Default)]
pub(super) struct Idle(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    connections: BTreeMap<u64, Arc<Notify>>,
}

impl Idle {
    /// Counts a connection as idle while the value returned lives.
    pub(super) fn begin(&self) -> Turn {
        let end = Arc::new(Notify::new());
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.connections.insert(number, Arc::clone(&end));
        Turn {
            number,
            end,
            idle: self.clone(),
        }
    }

    /// Has the one end that has been idle longest, if any is.
    pub(super) fn turn_out(&self) {
        if let Some((_, end)) = self.waiting().connections.pop_first() {
            end.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is idle.
#[derive(Debug)]
pub(super) struct Turn {
    number: u64,
    end: Arc<Notify>,
    idle: Idle,
}

impl Turn {
    /// Waits until this one has to go.
    pub(super) async fn turned_out(&self) {
        self.end.notified().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.idle.waiting().connections.remove(&self.number);
    }
}
