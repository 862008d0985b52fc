//! Packets too short for what they say they are, and lengths that are not true.

use anyhow::Result;
use ntpguard_common::{reason::Reason, wire::ntp};
use ntpguard_tests::packets::ntp::Message;

use super::scene::{Arrives, Attack, CLIENTS, FROM_NTP, SERVERS, STRANGERS, Scene, TO_NTP};

/// Where IPv4 tells its length, and UDP behind it its own and its checksum.
const TOTAL_LEN: usize = 2;
const V4_CHECKSUM: usize = 10;
const UDP_LEN: usize = 20 + 4;
const UDP_CHECKSUM: usize = 20 + 6;

#[test]
fn short_packets_of_every_mode() -> Result<()> {
    let scene = Scene::new()?;
    let mut frames = Vec::new();
    for from in [STRANGERS, SERVERS, CLIENTS].concat() {
        for mode in 0..8 {
            let whole = Message::new(4, mode).to_vec();
            for length in 0..ntp::HEADER_LEN {
                let reason = match (mode, length) {
                    (_, 0) | (6, 1..ntp::CONTROL_HEADER_LEN) => Reason::Length,
                    (7, _) => Reason::Private,
                    // Mode 0 has no place in version 4, nor has mode 5 to one host.
                    (0 | 5, _) => Reason::Mode,
                    (6, _) if STRANGERS.contains(&from) => Reason::Unlisted,
                    (6, _) => Reason::Role,
                    _ => Reason::Length,
                };
                let frame = scene.frame(from, FROM_NTP, &whole[..length])?;
                frames.push((frame, Some(reason)));
            }
        }
    }
    scene.withstands(&Attack {
        name: "short packets of every mode",
        source: "RFC 5905, section 7.3; RFC 9327, section 2",
        frames,
        arrives: Arrives::All,
    })
}

fn set(packet: &mut [u8], at: usize, value: usize) {
    packet[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
}

/// Gives an IPv4 packet another length of UDP, and no checksum over it (RFC 768).
fn with_udp_length(packet: &[u8], length: usize) -> Vec<u8> {
    let mut packet = packet.to_vec();
    set(&mut packet, UDP_LEN, length);
    set(&mut packet, UDP_CHECKSUM, 0);
    packet
}

/// Gives an IPv4 packet another length or header length, and the checksum of that.
fn with_ip_header(packet: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut packet = packet.to_vec();
    change(&mut packet);
    set(&mut packet, V4_CHECKSUM, 0);
    let words = packet[..20].chunks(2);
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    set(&mut packet, V4_CHECKSUM, usize::from(!(sum as u16)));
    packet
}

/// A client's own requests, so that nothing but the lie is wrong. Linux takes a datagram that ends
/// before its packet does; what is wrong in the other ones it drops itself.
#[test]
fn lying_lengths() -> Result<()> {
    let scene = Scene::new()?;
    let [client, _] = CLIENTS;
    let mut payload = Message::request(1).to_vec();
    payload.resize(100, 0);
    let packet = scene.packet(client, TO_NTP, &payload)?;
    let whole = 8 + payload.len();
    let mut frames = Vec::new();
    for length in [8, 8 + 47, 8 + 48, whole - 1] {
        let frame = scene.wrap(&with_udp_length(&packet, length));
        frames.push((frame, Some(Reason::Length)));
    }
    let arriving = frames.len() as u64;
    for length in [0, 7, whole + 1, usize::from(u16::MAX)] {
        let frame = scene.wrap(&with_udp_length(&packet, length));
        frames.push((frame, Some(Reason::Length)));
    }
    let ip = |change: &dyn Fn(&mut [u8]), reason| {
        (scene.wrap(&with_ip_header(&packet, change)), Some(reason))
    };
    frames.extend([
        ip(&|packet| packet[0] = 0x44, Reason::Malformed),
        ip(&|packet| packet[0] = 0x55, Reason::Malformed),
        ip(&|packet| set(packet, TOTAL_LEN, 19), Reason::Malformed),
        ip(&|packet| set(packet, TOTAL_LEN, 27), Reason::Malformed),
        ip(&|packet| set(packet, TOTAL_LEN, 28), Reason::Length),
        ip(&|packet| set(packet, TOTAL_LEN, 1_400), Reason::Length),
    ]);
    scene.withstands(&Attack {
        name: "lying lengths",
        source: "RFC 791, RFC 768",
        frames,
        arrives: Arrives::Some(arriving),
    })
}
