//! Whatever is not NTP crosses a guarded interface as if there were no guard.
//!
//! Each test runs with native and with generic XDP, under a guard that enforces and grants nobody
//! anything. In the end nothing may have been counted, and a packet that is NTP must be dropped:
//! the guard was there all the time.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    config::ConfigFile,
    guard::{Counts, Guard},
    packets::{self, ntp::Message},
    switch::{Host, Switch},
    wait::eventually,
};

mod datagrams;
mod links;
mod streams;

const SOON: Duration = Duration::from_secs(5);

/// A guarded host, and another on the same switch.
struct Pair {
    _switch: Switch,
    guarded: Host,
    other: Host,
    guard: Guard,
    _nothing: ConfigFile,
}

impl Pair {
    fn new(attach: &str) -> Result<Self> {
        let switch = Switch::new()?;
        let (guarded, other) = (switch.host("guarded", 1)?, switch.host("other", 2)?);
        let nothing = ConfigFile::ntp("")?;
        let guard = Guard::builder(&guarded.namespace)
            .untracked()
            .interface(&guarded.port.interface)
            .source(nothing.path())
            .args(["--attach", attach])
            .ready()?;
        Ok(Self {
            _switch: switch,
            guarded,
            other,
            guard,
            _nothing: nothing,
        })
    }

    /// The addresses of both hosts, a pair for each family: guarded, other.
    fn routes(&self) -> [(IpAddr, IpAddr); 2] {
        let ([a4, a6], [b4, b6]) = (self.guarded.addresses(), self.other.addresses());
        [(a4, b4), (a6, b6)]
    }

    /// Both directions of the link: who sends, from where, who receives, where.
    fn directions(&self) -> Vec<(&Host, IpAddr, &Host, IpAddr)> {
        let mut directions = Vec::new();
        for (guarded, other) in self.routes() {
            directions.push((&self.guarded, guarded, &self.other, other));
            directions.push((&self.other, other, &self.guarded, guarded));
        }
        directions
    }

    /// Nothing was counted, and the guard did guard.
    fn ensure_untouched(&self) -> Result<()> {
        let counts = self.guard.counters()?;
        let all = |counts: &Counts| -> u64 {
            counts
                .enforced
                .values()
                .chain(counts.monitored.values())
                .sum()
        };
        ensure!(all(&counts) == 0, "{counts:?}");
        let request = Message::request(1).to_vec();
        for (guarded, other) in self.routes() {
            let (from, to) = (SocketAddr::new(other, 123), SocketAddr::new(guarded, 123));
            packets::send(&self.other.namespace, from, to, &request)?;
        }
        eventually(SOON, "NTP requests that are dropped", || {
            let counts = self.guard.counters()?;
            ensure!(
                counts.enforced(Reason::Unlisted) == 2 && all(&counts) == 2,
                "{counts:?}"
            );
            Ok(())
        })
    }
}

/// Runs a test with each kind of attachment.
fn guarded_in_every_way(test: impl Fn(&Pair) -> Result<()>) -> Result<()> {
    for attach in ["native", "generic", "tc"] {
        let pair = Pair::new(attach)?;
        test(&pair)
            .and_then(|()| pair.ensure_untouched())
            .with_context(|| format!("attached {attach}"))?;
    }
    Ok(())
}
