//! The end of a daemon: what it writes down, says and takes away.

use super::{DaemonError, Options, event_loop::Daemon};
use crate::{clock::BootSeconds, datapath::Lock};

/// Why a daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is to.
    Stopped,
    /// Another process has the guard.
    Replaced,
}

impl Daemon<'_> {
    /// Writes down what the kernel has learned, and what is granted.
    pub(super) fn write_down(&mut self) {
        if let Err(error) = self.reconciler.learn(&self.guard.tables) {
            tracing::error!("{error}");
        }
        if let Err(error) = self.reconciler.save(BootSeconds::now()) {
            tracing::error!("{error}");
        }
    }

    /// Answers what was asked last, and detaches, unless the guard is to outlive this process or has
    /// another one already.
    pub(super) async fn end(
        mut self,
        options: &Options,
        end: End,
        lock: Lock,
    ) -> Result<(), DaemonError> {
        self.updates.clear();
        if end == End::Stopped {
            self.write_down();
        }
        // The socket goes before the pins, and with them the lock that keeps a successor from making
        // its own.
        self.serving.end().await;
        if end == End::Replaced {
            lock.leave();
            tracing::info!("exiting: another process has taken over");
            return Ok(());
        }
        if options.persist {
            tracing::info!("exiting; the guard stays attached");
        } else {
            self.guard.detach()?;
            tracing::info!("detached");
        }
        drop(lock);
        Ok(())
    }
}
