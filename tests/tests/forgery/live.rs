//! Forged replies while real ones come.

use std::time::Duration;

use anyhow::{Context, Result};
use ntpguard_common::{reason::Reason, wire::ntp::HEADER_LEN};
use ntpguard_tests::packets::{ntp::Message, raw::RawSocket};

use super::scene::{Family, Scene};

/// Where the origin timestamp is in the header.
const ORIGIN: std::ops::Range<usize> = 24..32;

const SOON: Duration = Duration::from_secs(5);

/// Gives a frame that ends with an NTP header another origin timestamp.
fn set_origin(frame: &mut [u8], origin: u64) {
    let header = frame.len() - HEADER_LEN;
    frame[header..][ORIGIN].copy_from_slice(&origin.to_be_bytes());
}

/// Gives each frame an origin timestamp that is not zero, and else any.
fn random_origins(seed: u64) -> impl FnMut(&mut [u8]) + Clone + Send + 'static {
    let mut random = fastrand::Rng::with_seed(seed);
    move |frame| set_origin(frame, random.u64(1..))
}

/// A kiss of death (RFC 5905 section 7.4).
fn kiss(code: [u8; 4]) -> Message {
    Message {
        leap: 3,
        stratum: 0,
        reference_id: code,
        ..Message::new(4, 4)
    }
}

fn a_million_random_origins(family: Family) -> Result<()> {
    let scene = Scene::new(family)?;
    let reply = Message::new(4, 4);
    scene.withstands(&reply, 1_000_000, random_origins(1), Reason::Origin)
}

#[test]
fn of_a_million_replies_with_random_origins_none_passes() -> Result<()> {
    a_million_random_origins(Family::V4)
}

#[test]
fn of_a_million_replies_with_random_origins_none_passes_over_ipv6() -> Result<()> {
    a_million_random_origins(Family::V6)
}

#[test]
fn no_reply_without_an_origin_passes() -> Result<()> {
    let scene = Scene::new(Family::V4)?;
    let reply = Message::new(4, 4);
    let no_origin = |frame: &mut [u8]| set_origin(frame, 0);
    scene.withstands(&reply, 100_000, no_origin, Reason::ZeroOrigin)
}

#[test]
fn no_kiss_of_death_passes_that_answers_nothing() -> Result<()> {
    for (seed, code) in [(2, *b"DENY"), (3, *b"RATE")] {
        let scene = Scene::new(Family::V4)?;
        scene.withstands(&kiss(code), 50_000, random_origins(seed), Reason::Origin)?;
    }
    Ok(())
}

#[test]
fn no_copy_of_a_reply_that_was_just_taken_passes() -> Result<()> {
    const REPLIES: u64 = 200;
    const COPIES: u64 = 25;
    let scene = Scene::new(Family::V4)?;
    let wire = RawSocket::open(&scene.attack.left)?;
    let recorder = scene.recorder()?;
    for _ in 0..REPLIES {
        let reply = recorder.next(SOON, |datagram| {
            datagram.from.port() == 123 && datagram.payload.first().is_some_and(|b| b & 7 == 4)
        });
        let copy = scene.resent(&reply.context("a reply of the server")?.frame)?;
        for _ in 0..COPIES {
            wire.send(&copy)?;
        }
    }
    scene.dropped(Reason::Origin, REPLIES * COPIES)?;
    scene.client_is_unharmed()
}
