//! A legitimate client: chronyd, which asks many times a second.

use std::{net::IpAddr, thread, time::Duration};

use anyhow::{Context as _, Result};
use ntpguard_tests::{
    daemons::{Setup, chrony::Chronyd},
    namespace::Namespace,
    wait::eventually,
};
use serde::Serialize;

use crate::SOON;

/// Requests a second: 2^4, as often as Debian's chronyd asks a near server over days.
const POLL: i8 = -4;

/// How long chronyd remembers samples at that rate: it keeps 64 at most.
pub(crate) const SAMPLES_TIME: Duration = Duration::from_secs(4);

/// How often to look whether a reply is still on its way, and how long it may be.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// chronyd in a namespace, its clock steered by one server.
pub(crate) struct Client {
    chronyd: Chronyd,
    server: IpAddr,
}

/// What passed between client and server so far.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Exchange {
    /// Requests sent.
    pub(crate) requests: u64,
    /// Replies received.
    pub(crate) replies: u64,
}

impl Exchange {
    /// What passed since an earlier moment.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            replies: self.replies - earlier.replies,
        }
    }

    /// Requests without a reply.
    pub(crate) const fn lost(self) -> u64 {
        self.requests.saturating_sub(self.replies)
    }
}

/// How well the client knows the server's time, over its last samples. Both run off one clock, so
/// every offset is an error.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Quality {
    /// The server's clock against the client's, microseconds.
    pub(crate) offset: f64,
    /// The samples' deviation, microseconds.
    pub(crate) jitter: f64,
    /// There and back, microseconds, of the last sample.
    pub(crate) delay: f64,
}

impl Client {
    /// What the client's configuration says of a server.
    pub(crate) fn setup(server: IpAddr) -> Result<Setup> {
        let config = format!("server {server} iburst minpoll {POLL} maxpoll {POLL}\n");
        Setup::new(&config, None)
    }

    /// Starts it and waits until it is synchronised.
    pub(crate) fn start(namespace: &Namespace, setup: Setup, server: IpAddr) -> Result<Self> {
        let mut chronyd = Chronyd::start_in(namespace, setup)?;
        chronyd.wait_synchronised(SOON)?;
        Ok(Self { chronyd, server })
    }

    /// Waits until another reply arrives, as after a change of filters.
    pub(crate) fn wait_reply(&self) -> Result<()> {
        let before = self.exchange()?;
        eventually(SOON, "a reply to a legitimate client", || {
            let passed = self.exchange()?.since(before);
            anyhow::ensure!(passed.replies > 0, "{passed:?}");
            Ok(())
        })
    }

    /// What passed so far, with nothing on its way if that can be had.
    pub(crate) fn settled(&self) -> Result<Exchange> {
        let mut best = self.exchange()?;
        for _ in 0..LOOKS {
            if best.lost() == 0 {
                break;
            }
            thread::sleep(BETWEEN_LOOKS);
            let next = self.exchange()?;
            if next.lost() < best.lost() {
                best = next;
            }
        }
        Ok(best)
    }

    fn exchange(&self) -> Result<Exchange> {
        let passed = self.chronyd.exchanges(self.server)?;
        Ok(Exchange {
            requests: passed.sent,
            replies: passed.received,
        })
    }

    /// How good the last samples are.
    pub(crate) fn quality(&self) -> Result<Quality> {
        let data = self.ask(&["ntpdata", &self.server.to_string()])?;
        let stats = self.ask(&["sourcestats"])?;
        let microseconds =
            |fields: &[String], at| -> Result<f64> { Ok(field(fields, at)?.parse::<f64>()? * 1e6) };
        Ok(Quality {
            offset: microseconds(&stats, 6)?,
            jitter: microseconds(&stats, 7)?,
            delay: microseconds(&data, 19)?,
        })
    }

    fn ask(&self, command: &[&str]) -> Result<Vec<String>> {
        let printed = self.chronyd.chronyc(command)?;
        Ok(printed.trim().split(',').map(str::to_owned).collect())
    }
}

fn field(fields: &[String], at: usize) -> Result<&str> {
    fields
        .get(at)
        .map(String::as_str)
        .with_context(|| format!("chronyc printed no field {at}: {fields:?}"))
}
