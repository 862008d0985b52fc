//! Whom the guard would serve, by the file of a daemon: its parsers, its allowlist, and the kernel's
//! program.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Result, anyhow, bail};
use ntpguard::{
    allowlist::{ClaimSet, projection::Projection},
    clock::BootSeconds,
    datapath::{Settings, Trial},
    sources::Kind,
};
use ntpguard_common::{
    maps::{rates::Rates, tables::EXPLAIN_BASE},
    reason::Reason,
    wire::ntp,
};
use ntpguard_tests::packets::{
    frame::{self, Ethernet},
    ntp::Message,
};

/// The guard's opinion of who is a client.
pub(super) struct Opinion {
    trial: Trial,
    held: Projection,
}

impl Opinion {
    /// One that serves nobody.
    pub(super) fn new() -> Result<Self> {
        let settings = Settings {
            explain: true,
            rates: Rates::OFF,
            ..Settings::default()
        };
        Ok(Self {
            trial: Trial::new(settings)?,
            held: Projection::default(),
        })
    }

    /// Makes it the one that follows from a file, where everybody is served who is not refused.
    pub(super) fn read(&mut self, kind: Kind, path: &Path) -> Result<()> {
        let mut book = ClaimSet::default();
        let now = BootSeconds::now();
        book.read("under test", path, kind.dialect(true).read(path), now);
        let wanted = book.projection(now);
        self.trial
            .tables()
            .apply(&self.held, &wanted)
            .map_err(|error| anyhow!("fill the tables: {error}"))?;
        self.held = wanted;
        Ok(())
    }

    /// Whether a request of this client would be admitted.
    pub(super) fn serves(&mut self, client: IpAddr) -> Result<bool> {
        let us: IpAddr = match client {
            IpAddr::V4(_) => [10, 99, 0, 1].into(),
            IpAddr::V6(_) => [0xfd00, 0x99, 0, 0, 0, 0, 0, 1].into(),
        };
        let packet = frame::udp(
            SocketAddr::new(client, 40_123),
            SocketAddr::new(us, ntp::PORT),
            &Message::request(1).to_vec(),
        )?;
        let ethernet = Ethernet {
            from: [2, 0, 0, 0, 0, 2],
            to: [2, 0, 0, 0, 0, 1],
            tags: &[],
        };
        let returned = self.trial.run(&ethernet.wrap(&packet), 1)?.return_value;
        match Reason::ALL
            .iter()
            .find(|reason| EXPLAIN_BASE + **reason as u32 == returned)
        {
            Some(Reason::Client) => Ok(true),
            Some(Reason::Unlisted | Reason::Role) => Ok(false),
            other => bail!("a request of {client}: {other:?} ({returned:#x})"),
        }
    }
}
