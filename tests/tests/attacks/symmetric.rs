//! Symmetric modes from those who are no peers, and from peers that were not asked.

use anyhow::Result;
use ntpguard_common::reason::Reason;
use ntpguard_tests::packets::ntp::Message;

use super::scene::{Arrives, Attack, FROM_NTP, PEERS, SERVERS, STRANGERS, Scene, all_for};

const EACH: usize = 50;

/// A symmetric packet whose MAC is a crypto-NAK: a key number of zero and nothing else.
fn crypto_nak(mode: u8) -> Vec<u8> {
    let message = Message {
        rest: vec![0; 4],
        ..Message::new(4, mode)
    };
    message.to_vec()
}

/// ntpd took such a packet of a stranger for a reason to make an association with it.
#[test]
fn crypto_naks() -> Result<()> {
    let scene = Scene::new()?;
    let mut frames = Vec::new();
    for (from, reason) in [(STRANGERS, Reason::Unlisted), (SERVERS, Reason::Role)] {
        for (from, mode) in from.iter().flat_map(|from| [1, 2].map(|mode| (from, mode))) {
            let frame = scene.frame(from, FROM_NTP, &crypto_nak(mode))?;
            frames.extend(all_for(vec![frame; EACH], reason));
        }
    }
    scene.withstands(&Attack {
        name: "crypto-NAK in symmetric mode",
        source: "CVE-2015-7871",
        frames,
        arrives: Arrives::All,
    })
}

/// Mode 2 answers mode 1: from a peer that was sent none, whatever it says is made up.
#[test]
fn symmetric_passive_packets_that_nobody_asked_for() -> Result<()> {
    let scene = Scene::new()?;
    let mut frames = Vec::new();
    for from in PEERS {
        let plain = scene.frame(from, FROM_NTP, &Message::new(4, 2).to_vec())?;
        let nak = scene.frame(from, FROM_NTP, &crypto_nak(2))?;
        frames.extend(vec![plain; EACH]);
        frames.extend(vec![nak; EACH]);
    }
    scene.withstands(&Attack {
        name: "forged symmetric passive packets",
        source: "CVE-2015-1799, CVE-2016-1548",
        frames: all_for(frames, Reason::Unsolicited),
        arrives: Arrives::All,
    })
}
