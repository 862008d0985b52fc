//! Packets behind a routing header, which the end of the route takes out and receives where the whole
//! arrived.

use anyhow::Result;
use ntpguard_common::{reason::Reason, wire::ntp};
use ntpguard_tests::packets::ntp::Message;

use super::ipv6::{ROUTING, V6_LEN, V6_NEXT, V6_PAYLOAD_LEN};
use super::scene::{
    Arrives, Attack, CLIENTS, FROM_NTP, SERVERS, STRANGERS, Scene, TO_NTP, all_for,
};

/// A segment routing header whose route ends here (RFC 8754), and the same of RPL (RFC 6554).
const SEGMENTS: u8 = 4;
const RPL: u8 = 3;

/// Puts a packet behind a routing header into another to the same host.
fn routed(scene: &Scene, routing: u8, packet: &[u8]) -> Result<Vec<u8>> {
    let [_, stranger] = STRANGERS;
    let outer = scene.packet(stranger, FROM_NTP, &[])?;
    let inside = if packet[0] >> 4 == 4 { 4 } else { 41 };
    let mut header = outer[..V6_LEN].to_vec();
    header[V6_NEXT] = ROUTING;
    let destination = header[24..V6_LEN].to_vec();
    header.extend([inside, 2, routing, 0, 0, 0, 0, 0]);
    header.extend(destination);
    let length = (header.len() - V6_LEN + packet.len()) as u16;
    header[V6_PAYLOAD_LEN..][..2].copy_from_slice(&length.to_be_bytes());
    Ok([&header, packet].concat())
}

/// A host at the end of such routes.
fn end_of_routes() -> Result<Scene> {
    let scene = Scene::new()?;
    let inside = &scene.lab.inside;
    for interface in ["all", &inside.port.interface] {
        for setting in ["seg6_enabled", "rpl_seg_enabled"] {
            let setting = format!("net/ipv6/conf/{interface}/{setting}");
            inside.namespace.set(&setting, "1")?;
        }
    }
    Ok(scene)
}

fn packets(scene: &Scene, families: std::ops::Range<usize>) -> Result<Vec<Vec<u8>>> {
    let mut packets = Vec::new();
    for family in families {
        for from in [STRANGERS[family], SERVERS[family], CLIENTS[family]] {
            for (ports, message) in [
                (FROM_NTP, Message::new(4, 4)),
                (TO_NTP, Message::request(1)),
                (TO_NTP, Message::new(2, 7)),
            ] {
                packets.push(scene.packet(from, ports, &message.to_vec())?);
            }
        }
    }
    Ok(packets)
}

#[test]
fn packets_behind_a_segment_routing_header() -> Result<()> {
    let scene = end_of_routes()?;
    let mut frames = Vec::new();
    for packet in packets(&scene, 0..2)? {
        let once = routed(&scene, SEGMENTS, &packet)?;
        let twice = routed(&scene, SEGMENTS, &once)?;
        frames.extend([scene.wrap(&once), scene.wrap(&twice)]);
    }
    scene.withstands_everywhere(&Attack {
        name: "packets behind a segment routing header",
        source: "RFC 8754, section 4.3.1.2; ipv6_srh_rcv in Linux",
        frames: all_for(frames, Reason::HeaderChain),
        arrives: Arrives::All,
    })
}

#[test]
fn packets_behind_a_header_of_rpl() -> Result<()> {
    let scene = end_of_routes()?;
    let frames = packets(&scene, 1..2)?
        .iter()
        .map(|packet| Ok(scene.wrap(&routed(&scene, RPL, packet)?)))
        .collect::<Result<Vec<_>>>()?;
    scene.withstands_everywhere(&Attack {
        name: "packets behind a routing header of RPL",
        source: "RFC 6554; ipv6_rpl_srh_rcv in Linux",
        frames: all_for(frames, Reason::HeaderChain),
        arrives: Arrives::All,
    })
}

/// The guard drops what is NTP's inside, and nothing else.
#[test]
fn other_packets_behind_a_routing_header_arrive() -> Result<()> {
    let scene = end_of_routes()?;
    let _guard = scene.guard()?;
    let sink = ntpguard_tests::packets::sink::Sink::on(&scene.lab.inside.namespace, 40_000)?;
    let mut sent = 0;
    for from in STRANGERS {
        let packet = scene.packet(from, (53, 40_000), b"not NTP")?;
        let once = routed(&scene, SEGMENTS, &packet)?;
        let twice = routed(&scene, SEGMENTS, &once)?;
        for packet in [once, twice] {
            scene.send_frame(&scene.wrap(&packet))?;
            sent += 1;
        }
    }
    assert_ne!(40_000, ntp::PORT);
    sink.wait_for(sent, std::time::Duration::from_secs(10))
}
