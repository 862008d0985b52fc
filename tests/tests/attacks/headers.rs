//! Ports behind more headers than a filter steps over.

use anyhow::{Result, ensure};
use etherparse::Ipv4Header;
use ntpguard_common::{
    reason::Reason,
    wire::packet::{MAX_EXTENSION_HEADERS, MAX_TAGS},
};
use ntpguard_tests::packets::ntp::Message;

use super::ipv6::{DESTINATION_OPTIONS, FRAGMENT, V6_LEN, V6_NEXT, V6_PAYLOAD_LEN};
use super::scene::{Arrives, Attack, CLIENTS, FROM_NTP, STRANGERS, Scene, TO_NTP};

const EACH: usize = 20;

/// Linux takes off any number of priority tags, those of VLAN 0.
#[test]
fn tags_in_tags() -> Result<()> {
    let scene = Scene::new()?;
    let mut frames = Vec::new();
    for from in STRANGERS {
        let packet = scene.packet(from, FROM_NTP, &Message::new(4, 4).to_vec())?;
        for count in 1..=MAX_TAGS + 2 {
            let tags: Vec<(u16, u16)> = [(0x88a8, 0), (0x8100, 0)]
                .into_iter()
                .cycle()
                .take(count)
                .collect();
            let reason = if count > MAX_TAGS {
                Reason::HeaderChain
            } else {
                Reason::Unlisted
            };
            let frame = scene.wrap_tagged(&packet, &tags);
            frames.extend(vec![(frame, Some(reason)); EACH]);
        }
    }
    scene.withstands(&Attack {
        name: "tags in tags",
        source: "the way past XDP-Firewall, which knows no tag",
        frames,
        arrives: Arrives::All,
    })
}

/// Options of IPv4 that do nothing.
fn with_options(packet: &[u8], bytes: usize) -> Result<Vec<u8>> {
    const NO_OPERATION: u8 = 1;
    let (mut header, rest) = Ipv4Header::from_slice(packet)?;
    header.options = vec![NO_OPERATION; bytes].as_slice().try_into()?;
    header.set_payload_len(rest.len())?;
    header.header_checksum = header.calc_header_checksum();
    let mut longer = Vec::new();
    header.write(&mut longer)?;
    longer.extend(rest);
    Ok(longer)
}

#[test]
fn ipv4_options() -> Result<()> {
    let scene = Scene::new()?;
    let [stranger, _] = STRANGERS;
    let packet = scene.packet(stranger, FROM_NTP, &Message::new(4, 4).to_vec())?;
    let mut frames = Vec::new();
    for bytes in (4..=40).step_by(4) {
        let frame = scene.wrap(&with_options(&packet, bytes)?);
        frames.extend(vec![(frame, Some(Reason::Unlisted)); EACH]);
    }
    scene.withstands(&Attack {
        name: "IPv4 options",
        source: "the way past filters that expect a header of 20 bytes",
        frames,
        arrives: Arrives::All,
    })
}

/// Puts headers after that of an IPv6 packet: each its kind, and all but its first byte.
pub(super) fn with_headers<R: AsRef<[u8]>>(packet: &[u8], headers: &[(u8, R)]) -> Vec<u8> {
    let (before, after) = packet.split_at(V6_LEN);
    let mut longer = before.to_vec();
    let mut next_at = V6_NEXT;
    for (kind, rest) in headers {
        longer[next_at] = *kind;
        next_at = longer.len();
        longer.push(packet[V6_NEXT]);
        longer.extend(rest.as_ref());
    }
    let length = (longer.len() - V6_LEN + after.len()) as u16;
    longer[V6_PAYLOAD_LEN..][..2].copy_from_slice(&length.to_be_bytes());
    longer.extend(after);
    longer
}

/// One option of padding (RFC 8200 section 4.2).
const PADDING: (u8, [u8; 7]) = (DESTINATION_OPTIONS, [0, 1, 4, 0, 0, 0, 0]);
/// A fragment that is all of its packet (RFC 6946).
const ATOMIC: (u8, [u8; 7]) = (FRAGMENT, [0, 0, 0, 0, 0, 0, 7]);

#[test]
fn chains_of_extension_headers() -> Result<()> {
    let scene = Scene::new()?;
    let [_, stranger] = STRANGERS;
    let packet = scene.packet(stranger, FROM_NTP, &Message::new(4, 4).to_vec())?;
    let mut frames = Vec::new();
    for count in 1..=MAX_EXTENSION_HEADERS + 2 {
        let reason = if count > MAX_EXTENSION_HEADERS {
            Reason::HeaderChain
        } else {
            Reason::Unlisted
        };
        let frame = scene.wrap(&with_headers(&packet, &vec![PADDING; count]));
        frames.extend(vec![(frame, Some(reason)); EACH]);
    }
    let arriving = frames.len() as u64;
    // A header that says it is longer than the packet: hosts drop it, and it hides what it is.
    let endless = (DESTINATION_OPTIONS, [200, 1, 4, 0, 0, 0, 0]);
    let cut_off = scene.wrap(&with_headers(&packet, &[endless]));
    frames.extend(vec![(cut_off, Some(Reason::HeaderChain)); EACH]);
    scene.withstands(&Attack {
        name: "chains of extension headers",
        source: "RFC 7045, RFC 9098",
        frames,
        arrives: Arrives::Some(arriving),
    })
}

#[test]
fn atomic_fragments() -> Result<()> {
    let scene = Scene::new()?;
    let mut frames = Vec::new();
    let [_, stranger] = STRANGERS;
    let packet = scene.packet(stranger, FROM_NTP, &Message::new(4, 4).to_vec())?;
    // Linux takes one of them and not two.
    let double = vec![ATOMIC, ATOMIC];
    for headers in [
        vec![ATOMIC],
        vec![PADDING, ATOMIC],
        vec![ATOMIC, PADDING],
        double,
    ] {
        let frame = scene.wrap(&with_headers(&packet, &headers));
        frames.extend(vec![(frame, Some(Reason::Unlisted)); EACH]);
    }
    scene.withstands(&Attack {
        name: "atomic fragments",
        source: "RFC 6946, RFC 8021",
        arrives: Arrives::Some((frames.len() - EACH) as u64),
        frames,
    })
}

/// What hides a stranger hides no client either.
#[test]
fn a_client_may_use_all_of_them() -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard()?;
    let request = Message::request(1).to_vec();
    let [v4, v6] = CLIENTS;
    let v4 = scene.packet(v4, TO_NTP, &request)?;
    let v6 = scene.packet(v6, TO_NTP, &request)?;
    for frame in [
        scene.wrap_tagged(&v4, &[(0x8100, 0); MAX_TAGS]),
        scene.wrap_tagged(&v6, &[(0x8100, 0); MAX_TAGS]),
        scene.wrap(&with_options(&v4, 40)?),
        scene.wrap(&with_headers(&v6, &[PADDING; MAX_EXTENSION_HEADERS])),
        scene.wrap(&with_headers(&v6, &[ATOMIC])),
    ] {
        let fate = scene.lab.fate_of(guard.home(), &frame)?;
        ensure!(fate.arrived && fate.reason == Reason::Client, "{fate:?}");
    }
    Ok(())
}
