//! Floods of answers to questions that somebody else asked in our name.

use anyhow::Result;
use ntpguard_common::reason::Reason;
use ntpguard_tests::packets::ntp::{Message, control_response};

use super::scene::{Arrives, Attack, FROM_NTP, OTHER_PORT, SERVERS, STRANGERS, Scene, all_for};

const EACH: usize = 20;

/// Of replies as servers send them: bare, with a crypto-NAK, MACs, extension fields, NTS; and as
/// long as a frame can be.
const SIZES: [usize; 10] = [48, 52, 68, 72, 76, 120, 228, 468, 956, 1_400];

fn reply(size: usize) -> Vec<u8> {
    let mut reply = Message::new(4, 4).to_vec();
    reply.resize(size, 0);
    reply
}

#[test]
fn replies_of_many_sizes() -> Result<()> {
    let scene = Scene::new()?;
    let mut frames = Vec::new();
    for (from, reason) in [
        (STRANGERS, Reason::Unlisted),
        (SERVERS, Reason::Unsolicited),
    ] {
        for (from, size) in from.iter().flat_map(|from| SIZES.map(|size| (from, size))) {
            let frame = scene.frame(from, FROM_NTP, &reply(size))?;
            frames.extend(all_for(vec![frame; EACH], reason));
        }
    }
    scene.withstands(&Attack {
        name: "reflected replies, mode 4",
        source: "RFC 8633, section 3.5",
        frames,
        arrives: Arrives::All,
    })
}

/// A reply to any port of ours is judged, not only one to port 123.
#[test]
fn replies_to_other_ports_are_judged_too() -> Result<()> {
    let scene = Scene::new()?;
    let mut frames = Vec::new();
    for from in STRANGERS {
        let to_other = scene.frame(from, (123, OTHER_PORT), &reply(48))?;
        let to_ntp = scene.frame(from, FROM_NTP, &reply(48))?;
        frames.extend(all_for(vec![to_other, to_ntp], Reason::Unlisted));
    }
    scene.withstands(&Attack {
        name: "reflected replies to other ports",
        source: "RFC 8633, section 3.5",
        frames,
        // The others find no socket.
        arrives: Arrives::Some(STRANGERS.len() as u64),
    })
}

/// 100 datagrams with six addresses each, as `ntpd` answered one request.
#[test]
fn monlist_replies() -> Result<()> {
    const REPLY: usize = 8 + 6 * 72;
    let scene = Scene::new()?;
    let mut payload = vec![0xd7, 0, 3, 42];
    payload.resize(REPLY, 0x55);
    let mut frames = Vec::new();
    for from in [STRANGERS, SERVERS].concat() {
        frames.extend(vec![scene.frame(from, FROM_NTP, &payload)?; 100]);
    }
    scene.withstands(&Attack {
        name: "reflected monlist replies, mode 7",
        source: "CVE-2013-5211",
        frames: all_for(frames, Reason::Private),
        arrives: Arrives::All,
    })
}

#[test]
fn mode_6_replies() -> Result<()> {
    let scene = Scene::new()?;
    let mut frames = Vec::new();
    for (from, reason) in [(STRANGERS, Reason::Unlisted), (SERVERS, Reason::Role)] {
        for (from, size) in from
            .iter()
            .flat_map(|from| [0, 12, 100, 468].map(|size| (from, size)))
        {
            let payload = control_response(&vec![b'x'; size]);
            let frame = scene.frame(from, FROM_NTP, &payload)?;
            frames.extend(all_for(vec![frame; EACH], reason));
        }
    }
    scene.withstands(&Attack {
        name: "reflected control responses, mode 6",
        source: "RFC 8633, section 3.4",
        frames,
        arrives: Arrives::All,
    })
}

/// Mode 5 to one host is nobody's broadcast.
#[test]
fn broadcasts_to_one_host() -> Result<()> {
    let scene = Scene::new()?;
    let mut frames = Vec::new();
    for from in [STRANGERS, SERVERS].concat() {
        let frame = scene.frame(from, FROM_NTP, &Message::new(4, 5).to_vec())?;
        frames.extend(vec![frame; EACH]);
    }
    scene.withstands(&Attack {
        name: "broadcasts to one host, mode 5",
        source: "CVE-2015-7973, CVE-2015-7979",
        frames: all_for(frames, Reason::Mode),
        arrives: Arrives::All,
    })
}
