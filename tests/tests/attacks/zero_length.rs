//! IPv6 packets whose length is 0, behind hop-by-hop options that have nothing to do with that.

use std::slice;

use anyhow::Result;
use ntpguard_common::reason::Reason;
use ntpguard_tests::packets::ntp::{Message, control_request};

use super::headers::with_headers;
use super::ipv6::{DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, V6_PAYLOAD_LEN};
use super::scene::{
    Arrives, Attack, CLIENTS, FROM_NTP, SERVERS, STRANGERS, Scene, TO_NTP, all_for,
};

/// So many 8-byte units of one option that hosts skip if they do not know it: of padding Linux takes seven
/// bytes at most.
fn options(kind: u8, units: u8) -> (u8, Vec<u8>) {
    let mut rest = vec![0; usize::from(units) * 8 - 1];
    rest[..3].copy_from_slice(&[units - 1, 0x1e, units * 8 - 4]);
    (kind, rest)
}

/// A fragment that is all of its packet.
fn atomic() -> (u8, Vec<u8>) {
    (FRAGMENT, vec![0, 0, 0, 0, 0, 0, 7])
}

fn without_length(packet: &[u8], headers: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut packet = with_headers(packet, headers);
    packet[V6_PAYLOAD_LEN..][..2].copy_from_slice(&[0, 0]);
    packet
}

#[test]
fn a_length_of_zero_behind_hop_by_hop_options() -> Result<()> {
    let scene = Scene::new()?;
    let [_, stranger] = STRANGERS;
    let mut packets = Vec::new();
    for from in [stranger, SERVERS[1], CLIENTS[1]] {
        for (ports, payload) in [
            (FROM_NTP, Message::new(4, 4).to_vec()),
            (TO_NTP, Message::request(1).to_vec()),
            (TO_NTP, Message::new(2, 7).to_vec()),
            (TO_NTP, control_request()),
        ] {
            packets.push(scene.packet(from, ports, &payload)?);
        }
    }
    let mut frames = Vec::new();
    let mut refused = Vec::new();
    for packet in &packets {
        for units in [1, 2, 4, 15] {
            let first = options(HOP_BY_HOP, units);
            let more = options(DESTINATION_OPTIONS, 2);
            frames.push(without_length(packet, slice::from_ref(&first)));
            frames.push(without_length(packet, &[first.clone(), more]));
            // Linux takes no fragment of a jumbogram.
            refused.push(without_length(packet, &[first, atomic()]));
        }
    }
    let arriving = frames.len() as u64;
    frames.extend(refused);
    let frames = frames.iter().map(|packet| scene.wrap(packet)).collect();
    scene.withstands_everywhere(&Attack {
        name: "a length of 0 behind hop-by-hop options",
        source: "ip6_rcv_core in Linux, which leaves the length to the jumbo payload option; RFC 2675",
        frames: all_for(frames, Reason::Length),
        arrives: Arrives::Some(arriving),
    })
}
