//! Tells when an interface comes, goes or changes.

use std::fmt;

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream::BoxStream};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::task::JoinHandle;

use crate::datapath::Error;

/// What the kernel tells of the interfaces in the network namespace of the thread that subscribed.
pub struct InterfaceEvents {
    messages: BoxStream<'static, ()>,
    task: JoinHandle<()>,
}

impl InterfaceEvents {
    /// Subscribes, on the current tokio runtime.
    pub fn subscribe() -> Result<Self, Error> {
        let (connection, _, messages) = new_multicast_connection(&[MulticastGroup::Link])
            .map_err(|source| Error::system("subscribe to changes of interfaces", source))?;
        Ok(Self {
            messages: unit(messages).boxed(),
            task: tokio::spawn(connection),
        })
    }

    /// Waits for a change. Several at once are one, and so is a queue that overflowed: whoever hears
    /// of it looks at everything. `None` is the end.
    pub async fn next(&mut self) -> Option<()> {
        let change = self.messages.next().await;
        while let Some(Some(())) = self.messages.next().now_or_never() {}
        change
    }
}

fn unit<T>(messages: impl Stream<Item = T>) -> impl Stream<Item = ()> {
    messages.map(drop)
}

impl fmt::Debug for InterfaceEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterfaceEvents").finish_non_exhaustive()
    }
}

impl Drop for InterfaceEvents {
    fn drop(&mut self) {
        self.task.abort();
    }
}
