//! What the teller knows, for the rest of the daemon.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use super::{astray::Pairs, top_talkers::Senders};
use crate::{
    api::{
        astray::Answer,
        events::{Event, Top},
    },
    clock::{BootSeconds, monotonic_nanoseconds},
};

/// Events that wait for a viewer who is slower than they come. Of more he loses the oldest.
const WAITING: usize = 1024;

/// Events for viewers, and who sends most.
#[derive(Debug)]
pub struct EventHub {
    /// Or why there are none.
    events: Mutex<Result<broadcast::Sender<Arc<Event>>, String>>,
    senders: Mutex<Senders>,
    pairs: Mutex<Pairs>,
}

impl EventHub {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            events: Mutex::new(Ok(broadcast::Sender::new(WAITING))),
            senders: Mutex::new(Senders::new(monotonic_nanoseconds())),
            pairs: Mutex::default(),
        }
    }

    /// The events from now on, which end where there are no more; or why there are none.
    pub fn follow(&self) -> Result<broadcast::Receiver<Arc<Event>>, String> {
        match &*locked(&self.events) {
            Ok(events) => Ok(events.subscribe()),
            Err(why) => Err(why.clone()),
        }
    }

    /// Who sends most of what is not admitted, or why that is not known.
    pub fn top(&self) -> Result<Top, String> {
        if let Err(why) = &*locked(&self.events) {
            return Err(why.clone());
        }
        let now = monotonic_nanoseconds();
        Ok(Top::of(&self.senders().top(now), now))
    }

    /// Answers that went astray, the last first.
    pub fn astray(&self) -> Vec<Answer> {
        let now = BootSeconds::now();
        let pairs = self.pairs();
        pairs.pairs().map(|pair| Answer::of(pair, now)).collect()
    }

    pub(super) fn pairs(&self) -> MutexGuard<'_, Pairs> {
        locked(&self.pairs)
    }

    pub(super) fn is_followed(&self) -> bool {
        let events = locked(&self.events);
        events
            .as_ref()
            .is_ok_and(|events| events.receiver_count() > 0)
    }

    pub(super) fn tell(&self, event: Event) {
        if let Ok(events) = &*locked(&self.events) {
            // Nobody may be there to hear it.
            drop(events.send(Arc::new(event)));
        }
    }

    pub(super) fn senders(&self) -> MutexGuard<'_, Senders> {
        locked(&self.senders)
    }

    /// Ends the events, and says why from now on.
    pub fn fail(&self, why: String) {
        *locked(&self.events) = Err(why);
    }
}

impl Default for EventHub {
    fn default() -> Self {
        Self::new()
    }
}

/// Whoever panicked with the lock left nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use ntpguard_common::{events, reason::Reason};
    use tokio::sync::broadcast::error::RecvError;

    use super::*;

    fn event() -> Event {
        Event::of(&events::Event::default(), Reason::Unlisted, 0)
    }

    #[tokio::test]
    async fn a_slow_viewer_is_told_what_it_missed_and_has_the_newest() {
        let hub = EventHub::new();
        assert!(!hub.is_followed());
        let mut viewer = hub.follow().unwrap();
        assert!(hub.is_followed());
        (0..WAITING + 7).for_each(|_| hub.tell(event()));
        assert_eq!(viewer.recv().await, Err(RecvError::Lagged(7)));
        for _ in 0..WAITING {
            viewer.recv().await.unwrap();
        }
        assert!(viewer.try_recv().is_err());
    }

    #[tokio::test]
    async fn where_there_is_no_more_news_everybody_hears_why() {
        let hub = EventHub::new();
        let mut viewer = hub.follow().unwrap();
        hub.fail("the map is gone".to_owned());
        assert_eq!(viewer.recv().await, Err(RecvError::Closed));
        assert_eq!(hub.follow().unwrap_err(), "the map is gone");
        assert_eq!(hub.top().unwrap_err(), "the map is gone");
    }
}
