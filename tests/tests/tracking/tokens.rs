//! What each daemon has its replies carry. The threat model says how hard that is to guess.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::{reason::Reason, wire::ntp};
use ntpguard_tests::{
    daemons::{
        Setup, chrony::Chronyd, ntpd_rs::NtpdRs, ntpdig, ntpsec::Ntpd, openntpd::OpenNtpd,
        timesyncd::Timesyncd,
    },
    packets::recorder::Recorder,
    process,
    wait::eventually,
};

use super::{Network, Sender};

/// How long a daemon may take for a request.
const SOON: Duration = Duration::from_secs(40);

/// From the epoch of NTP to that of Unix.
const EPOCH: u64 = 2_208_988_800;

/// The timestamps of a request.
#[derive(Clone, Copy, Debug)]
struct Stamps {
    origin: u64,
    receive: u64,
    transmit: u64,
}

impl Stamps {
    fn of(payload: &[u8]) -> Option<Self> {
        let at = |offset: usize| {
            let bytes = payload.get(offset..offset + 8)?;
            Some(u64::from_be_bytes(bytes.try_into().ok()?))
        };
        Some(Self {
            origin: at(ntp::ORIGIN)?,
            receive: at(ntp::RECEIVE)?,
            transmit: at(ntp::TRANSMIT)?,
        })
    }
}

/// Whether a timestamp is a time of day near now.
fn is_time(stamp: u64) -> Result<bool> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok((now.as_secs() + EPOCH).abs_diff(stamp >> 32) < 3_600)
}

/// So many requests of a daemon.
fn requests<D>(
    network: &Network,
    count: usize,
    start: impl FnOnce() -> Result<D>,
) -> Result<Vec<Stamps>> {
    let wire = Recorder::open(&network.client.port)?;
    let _daemon = start()?;
    (0..count)
        .map(|_| {
            let is_request = |payload: &[u8]| payload.first().is_some_and(|byte| byte & 7 == 3);
            let request = wire.next(SOON, |datagram| {
                datagram.to.port() == ntp::PORT && is_request(&datagram.payload)
            })?;
            Stamps::of(&request.payload).with_context(|| format!("too short: {request:?}"))
        })
        .collect()
}

/// 64 bits that no clock gives, each time others; and no other timestamps.
fn ensure_random(requests: &[Stamps]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for stamps in requests {
        let Stamps {
            origin,
            receive,
            transmit,
        } = *stamps;
        ensure!(origin == 0 && receive == 0, "{stamps:x?}");
        ensure!(!is_time(transmit)? && seen.insert(transmit), "{stamps:x?}");
    }
    // Of a few random numbers all bits are both.
    let (all, any) = requests.iter().fold((!0, 0), |(all, any), stamps| {
        (all & stamps.transmit, any | stamps.transmit)
    });
    let fixed = (all | !any).count_ones();
    ensure!(
        fixed < 16,
        "{fixed} bits of {requests:x?} are always the same"
    );
    Ok(())
}

#[test]
fn chronyd_sends_random_tokens_and_in_interleaved_mode_two() -> Result<()> {
    let network = Network::new(1, "")?;
    let space = &network.client.namespace;
    let start = |options| {
        let poll = "iburst minpoll 0 maxpoll 0";
        let config = network.lines(|server| format!("server {server} {poll} {options}\n"));
        Chronyd::start(space, &config, None)
    };
    ensure_random(&requests(&network, 8, || start(""))?)?;
    let interleaved = requests(&network, 12, || start("xleave"))?;
    let interleaved: Vec<_> = interleaved
        .iter()
        .filter(|stamps| stamps.origin != 0)
        .collect();
    ensure!(interleaved.len() > 4, "{interleaved:x?}");
    for stamps in interleaved {
        // The server's time.
        ensure!(is_time(stamps.origin)?, "{stamps:x?}");
        ensure!(!is_time(stamps.receive)?, "{stamps:x?}");
        ensure!(!is_time(stamps.transmit)?, "{stamps:x?}");
    }
    Ok(())
}

#[test]
fn ntpsec_ntpd_rs_openntpd_and_timesyncd_send_random_tokens() -> Result<()> {
    let network = Network::new(4, "")?;
    let space = &network.client.namespace;
    let lines = |options| network.lines(|server| format!("server {server}{options}\n"));
    let config = lines(" iburst minpoll 0 maxpoll 3");
    let start = || Ntpd::start_in(space, Setup::new(&config, None)?);
    ensure_random(&requests(&network, 8, start)?)?;
    let setup = NtpdRs::setup(&NtpdRs::servers(&network.addresses), None)?;
    ensure_random(&requests(&network, 8, || NtpdRs::start_in(space, setup))?)?;
    let config = lines("");
    let start = || OpenNtpd::start_in(space, Setup::new(&config, None)?);
    ensure_random(&requests(&network, 8, start)?)?;
    let config = format!("[Time]\nNTP={}\n", network.addresses[0]);
    let first = requests(&network, 1, || Timesyncd::start(space, &config, None))?;
    ensure!(!is_time(first[0].transmit)?, "{first:x?}");
    Ok(())
}

#[test]
fn ntpdig_sends_the_time_of_day() -> Result<()> {
    let network = Network::new(4, "")?;
    let servers: Vec<_> = network.addresses.iter().map(ToString::to_string).collect();
    let command = network
        .client
        .namespace
        .within(&ntpdig::command(&servers, 1)?);
    for stamps in requests(&network, 4, || process::run(command))? {
        ensure!(is_time(stamps.transmit)?, "{stamps:x?}");
    }
    Ok(())
}

/// It has seen no reply, so that it cannot know the first requests for interleaved ones.
#[test]
fn a_guard_that_comes_later_costs_an_interleaved_client_a_reply_a_server() -> Result<()> {
    const ENOUGH: u64 = 20;
    let network = Network::new(1, "")?;
    let config =
        network.lines(|server| format!("server {server} iburst minpoll -1 maxpoll -1 xleave\n"));
    let setup = Setup::new(&config, None)?.inside(network.cgroup());
    let mut chronyd = Chronyd::start_in(&network.client.namespace, setup)?;
    chronyd.wait_synchronised(SOON)?;
    let (_config, guard) = network.guard(Sender::Trusted)?;
    let counts = eventually(SOON, "enough exchanges", || {
        let counts = guard.counters()?;
        ensure!(counts.enforced(Reason::Server) >= ENOUGH, "{counts:?}");
        Ok(counts)
    })?;
    let dropped: u64 = Reason::ALL
        .iter()
        .filter(|reason| !reason.admits())
        .map(|reason| counts.enforced(*reason))
        .sum();
    // And what was under way when the guard came.
    ensure!(
        dropped <= 2 * network.addresses.len() as u64,
        "{dropped} of {counts:?}"
    );
    for address in &network.addresses {
        let exchanges = chronyd.exchanges(*address)?;
        ensure!(exchanges.interleaved, "{address}: {exchanges:?}");
    }
    Ok(())
}
