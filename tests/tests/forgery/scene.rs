//! A client that asks its server all the time, and an attacker who forges the server's replies.

use std::{net::IpAddr, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use ntpguard_common::{reason::Reason, wire::ntp};
use ntpguard_tests::{
    config::ConfigFile,
    daemons::chrony::Chronyd,
    guard::Guard,
    link::Veth,
    namespace::Namespace,
    packets::{
        flood::Flood,
        frame::{self, Ethernet},
        ntp::Message,
        recorder::Recorder,
    },
    switch::{Host, Switch},
    wait::eventually,
};

/// How long a client has to find its server, and the last packets to arrive.
const SOON: Duration = Duration::from_secs(20);

/// Forged frames a second.
const RATE: u64 = 100_000;

/// How long a count that stands still may be of a machine that is busy.
const STILL: Duration = Duration::from_millis(300);

/// Which of the server's addresses the client asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

/// The three hosts, of which the client is guarded and synchronised.
///
/// The attacker has a cable of its own to the client, so that what a flood is too fast for is
/// its own frames, and none of the server's.
pub(crate) struct Scene {
    _switch: Switch,
    pub(crate) attack: Veth,
    client_host: Host,
    server_host: Host,
    server: Chronyd,
    client: Chronyd,
    _config: ConfigFile,
    guard: Guard,
    family: Family,
}

impl Scene {
    pub(crate) fn new(family: Family) -> Result<Self> {
        let switch = Switch::new()?;
        let (server_host, client_host) = (switch.host("server", 1)?, switch.host("client", 2)?);
        let attacker = Namespace::new("attacker")?;
        let attack = Veth::between(&attacker, &[], &client_host.namespace, &[])?;
        let server = Chronyd::serve(&server_host.namespace)?;
        let address = of(&server_host, family);
        let config = ConfigFile::chrony(&format!("server {address}\n"))?;
        let guard = Guard::builder(&client_host.namespace)
            .interface(&client_host.port.interface)
            .interface(&attack.right.interface)
            .source(config.path())
            .ready()?;
        // From port 123, which the attacker need not guess: 64 requests a second.
        let sources = format!(
            "server {address} iburst minpoll -6 maxpoll -6\nacquisitionport {}\n",
            ntp::PORT
        );
        let mut client = Chronyd::start(&client_host.namespace, &sources, None)?;
        client.wait_synchronised(SOON)?;
        Ok(Self {
            _switch: switch,
            attack,
            client_host,
            server_host,
            server,
            client,
            _config: config,
            guard,
            family,
        })
    }

    /// A frame with a reply that claims to be the server's.
    pub(crate) fn forged(&self, reply: &Message) -> Result<Vec<u8>> {
        let from = (of(&self.server_host, self.family), ntp::PORT).into();
        let to = (of(&self.client_host, self.family), ntp::PORT).into();
        Ok(self.wrap(&frame::udp(from, to, &reply.to_vec())?))
    }

    /// The same packet, from the attacker's interface.
    pub(crate) fn resent(&self, frame: &[u8]) -> Result<Vec<u8>> {
        let packet = frame
            .get(ETHERNET_LEN..)
            .context("a frame without a packet")?;
        Ok(self.wrap(packet))
    }

    /// Listens where the server's replies leave.
    pub(crate) fn recorder(&self) -> Result<Recorder> {
        Recorder::open(&self.server_host.port)
    }

    /// Sends `count` forged replies, each of which `change` has made another, while the client
    /// asks. Each must be dropped for `reason`, and no other packet; nothing may happen to the
    /// client.
    pub(crate) fn withstands(
        &self,
        reply: &Message,
        count: u64,
        change: impl FnMut(&mut [u8]) + Clone + Send + 'static,
        reason: Reason,
    ) -> Result<()> {
        let frame = self.forged(reply)?;
        let mut missing = count;
        // A cable loses frames that come faster than they are taken: as many are sent again.
        while missing > 0 {
            let change = change.clone();
            let flood = Flood::changing(&self.attack.left, frame.clone(), RATE, missing, change);
            flood?.wait()?;
            missing = count - self.settled(reason)?;
        }
        self.dropped(reason, count)?;
        self.client_is_unharmed()
    }

    /// What is counted for `reason` once all that was sent is counted or lost.
    fn settled(&self, reason: Reason) -> Result<u64> {
        let mut counted = self.guard.counters()?.enforced(reason);
        loop {
            thread::sleep(STILL);
            let now = self.guard.counters()?.enforced(reason);
            if now == counted {
                return Ok(now);
            }
            counted = now;
        }
    }

    /// Waits until `count` packets were dropped for `reason`, and none for another.
    pub(crate) fn dropped(&self, reason: Reason, count: u64) -> Result<()> {
        eventually(SOON, "each forged packet's being counted", || {
            let counts = self.guard.counters()?;
            let drops: Vec<_> = Reason::ALL
                .iter()
                .filter(|reason| !reason.admits())
                .map(|reason| (*reason, counts.enforced(*reason)))
                .filter(|(_, count)| *count > 0)
                .collect();
            ensure!(drops == [(reason, count)], "{drops:?} of {counts:?}");
            Ok(())
        })
    }

    /// The client has got every reply of the server and no other, is synchronised, and goes on.
    pub(crate) fn client_is_unharmed(&self) -> Result<()> {
        let sources = self.client.sources()?;
        let well = |source: &ntpguard_tests::daemons::chrony::Source| {
            source.state == '*' && source.reach == 0o377
        };
        ensure!(
            sources.len() == 1 && sources.iter().all(well),
            "{sources:?}"
        );
        eventually(SOON, "each request's reply", || {
            let exchanges = self.client.exchanges(of(&self.server_host, self.family))?;
            // One request may be under way, on a busy machine for a moment a second one as well; a
            // reply that is lost stays missing, and no reply comes that none asked for.
            let received = exchanges.received;
            ensure!(
                (received..=received + 1).contains(&exchanges.sent),
                "{exchanges:?}"
            );
            // On a busy machine the next request leaves before the reply to the last is there, and
            // the daemon takes that for stale.
            ensure!(exchanges.valid * 10 >= received * 9, "{exchanges:?}");
            Ok(())
        })?;
        eventually(SOON, "as many replies admitted as sent", || {
            let admitted = self.guard.counters()?.enforced(Reason::Server);
            let sent = self.server.answered()?;
            // The client goes on between the two looks.
            ensure!(sent.abs_diff(admitted) <= 1, "{admitted} of {sent}");
            Ok(())
        })
    }

    fn wrap(&self, packet: &[u8]) -> Vec<u8> {
        let link = Ethernet {
            from: self.attack.left.mac,
            to: self.attack.right.mac,
            tags: &[],
        };
        link.wrap(packet)
    }
}

const ETHERNET_LEN: usize = 14;

fn of(host: &Host, family: Family) -> IpAddr {
    match family {
        Family::V4 => host.v4.into(),
        Family::V6 => host.v6.into(),
    }
}
