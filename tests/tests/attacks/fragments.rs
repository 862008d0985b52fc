//! Datagrams in pieces: what matters of a packet in one that a filter does not look at.

use anyhow::Result;
use ntpguard_common::reason::Reason;
use ntpguard_tests::packets::{frame, ntp::Message};

use super::ipv6::{DESTINATION_OPTIONS, FRAGMENT, V6_LEN, V6_NEXT, V6_PAYLOAD_LEN};
use super::scene::{
    Arrives, Attack, CLIENTS, FROM_NTP, SERVERS, STRANGERS, Scene, TO_NTP, all_for,
};

/// Forged fragments displace those of a granted server's reply, so its pieces are dropped as well:
/// without the first the others come to nothing.
#[test]
fn fragmented_replies() -> Result<()> {
    let scene = Scene::new()?;
    let mut reply = Message::new(4, 4).to_vec();
    reply.resize(228, 0);
    let (frames, datagrams) = in_pieces(&scene, [STRANGERS, SERVERS], FROM_NTP, &reply)?;
    scene.withstands(&Attack {
        name: "fragmented replies",
        source: "Malhotra et al., NDSS 2016",
        frames,
        arrives: Arrives::Some(datagrams),
    })
}

#[test]
fn fragmented_requests() -> Result<()> {
    let scene = Scene::new()?;
    let request = Message::request(1).to_vec();
    let (frames, datagrams) = in_pieces(&scene, [STRANGERS, CLIENTS], TO_NTP, &request)?;
    scene.withstands(&Attack {
        name: "fragmented requests",
        source: "RFC 8633, section 5.1; Malhotra et al., NDSS 2016",
        frames,
        arrives: Arrives::Some(datagrams),
    })
}

/// A datagram of each source in pieces of each size, and how many these are. A first piece carries
/// the ports, and is counted; later ones pass uncounted.
type Pieces = (Vec<(Vec<u8>, Option<Reason>)>, u64);

fn in_pieces(
    scene: &Scene,
    from: [[&str; 2]; 2],
    ports: (u16, u16),
    payload: &[u8],
) -> Result<Pieces> {
    let (mut frames, mut datagrams) = (Vec::new(), 0);
    for from in from.concat() {
        for size in [8, 16, 24, 40] {
            let [source, destination] = scene.ends(from, ports)?;
            let pieces = frame::udp_fragments(source, destination, payload, size)?;
            for (number, piece) in pieces.iter().enumerate() {
                let reason = (number == 0).then_some(Reason::Fragment);
                frames.push((scene.wrap(piece), reason));
            }
            datagrams += 1;
        }
    }
    Ok((frames, datagrams))
}

/// The first piece has an extension header and no ports (RFC 7112 forbids it). Linux reassembles
/// none of these, so that a datagram in common pieces shows that pieces arrive.
#[test]
fn first_fragments_without_ports() -> Result<()> {
    let scene = Scene::new()?;
    let [_, stranger] = STRANGERS;
    let packet = scene.packet(stranger, FROM_NTP, &Message::new(4, 4).to_vec())?;
    let (header, rest) = packet.split_at(V6_LEN);
    let piece = |next, place: u16, part: &[u8]| {
        let fragment = [&[next, 0][..], &place.to_be_bytes(), &[0, 0, 0, 7]].concat();
        let mut piece = [header, &fragment, part].concat();
        piece[V6_NEXT] = FRAGMENT;
        let length = (fragment.len() + part.len()) as u16;
        piece[V6_PAYLOAD_LEN..][..2].copy_from_slice(&length.to_be_bytes());
        scene.wrap(&piece)
    };
    let udp = header[V6_NEXT];
    let options = [udp, 0, 1, 4, 0, 0, 0, 0];
    let mut frames = Vec::new();
    for _ in 0..20 {
        frames.extend(all_for(
            vec![piece(DESTINATION_OPTIONS, 1, &options)],
            Reason::Fragment,
        ));
        frames.push((piece(DESTINATION_OPTIONS, 8, rest), None));
    }
    let message = Message::new(4, 4).to_vec();
    let (common, datagrams) = in_pieces(&scene, [STRANGERS, SERVERS], FROM_NTP, &message)?;
    frames.extend(common);
    scene.withstands(&Attack {
        name: "first fragments without ports",
        source: "RFC 7112",
        frames,
        arrives: Arrives::Some(datagrams),
    })
}
