//! UDP beside NTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::packets::{self, ntp::Message};

use super::{Pair, SOON, guarded_in_every_way};

/// Beside 123; chrony's commands; NTS key exchange, and with it QUIC; DNS; many.
const PORTS: [u16; 6] = [122, 124, 323, 4460, 53, 50123];

fn receive(socket: &UdpSocket, room: usize) -> Result<(Vec<u8>, SocketAddr)> {
    socket.set_read_timeout(Some(SOON))?;
    let mut buffer = vec![0; room];
    let (len, from) = socket.recv_from(&mut buffer).context("no datagram came")?;
    buffer.truncate(len);
    Ok((buffer, from))
}

/// Sends `payload` and has it sent back.
fn echo(here: &UdpSocket, there: &UdpSocket, payload: &[u8]) -> Result<()> {
    here.send_to(payload, there.local_addr()?)
        .context("cannot send")?;
    let (received, from) = receive(there, payload.len() + 1)?;
    ensure!(
        received == payload,
        "{} bytes arrived, not what was sent",
        received.len()
    );
    there.send_to(&received, from).context("cannot answer")?;
    let (returned, _) = receive(here, payload.len() + 1)?;
    ensure!(
        returned == payload,
        "{} bytes came back, not what was sent",
        returned.len()
    );
    Ok(())
}

#[test]
fn ports_beside_123_are_open_even_to_what_looks_like_ntp() -> Result<()> {
    let messages = [3, 4, 6, 7].map(|mode| Message::new(4, mode).to_vec());
    guarded_in_every_way(|pair| {
        for (from, from_address, to, to_address) in pair.directions() {
            for port in PORTS {
                let here = packets::udp(&from.namespace, SocketAddr::new(from_address, port))?;
                let there = packets::udp(&to.namespace, SocketAddr::new(to_address, port))?;
                for message in &messages {
                    echo(&here, &there, message).with_context(|| format!("port {port}"))?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn datagrams_of_many_fragments_arrive_whole() -> Result<()> {
    const PORT: u16 = 5000;
    // Whatever a later fragment begins with looks like ports: these would be NTP's.
    let payload = [0, 123].repeat(10_000);
    guarded_in_every_way(|pair| {
        for (from, from_address, to, to_address) in pair.directions() {
            let here = packets::udp(&from.namespace, SocketAddr::new(from_address, PORT))?;
            let there = packets::udp(&to.namespace, SocketAddr::new(to_address, PORT))?;
            for _ in 0..5 {
                echo(&here, &there, &payload)?;
            }
        }
        Ok(())
    })
}

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x1, 0x23);
const GROUP_PORT: u16 = 5353;

/// A socket in the guarded host that has joined the group of this family.
fn member(pair: &Pair, family: IpAddr) -> Result<UdpSocket> {
    let port = &pair.guarded.port;
    match family {
        IpAddr::V4(_) => {
            let socket = packets::udp(&port.namespace, (Ipv4Addr::UNSPECIFIED, GROUP_PORT).into())?;
            socket.join_multicast_v4(&GROUP_V4, &pair.guarded.v4)?;
            Ok(socket)
        }
        IpAddr::V6(_) => {
            let socket = packets::udp(&port.namespace, (Ipv6Addr::UNSPECIFIED, GROUP_PORT).into())?;
            socket.join_multicast_v6(&GROUP_V6, port.index)?;
            Ok(socket)
        }
    }
}

#[test]
fn multicast_reaches_its_members() -> Result<()> {
    guarded_in_every_way(|pair| {
        let other = &pair.other.port;
        let route = ["route", "add", "224.0.0.0/4", "dev", &other.interface];
        other.namespace.ip(&route)?;
        for (_, from) in pair.routes() {
            let socket = member(pair, from)?;
            let group: SocketAddr = match from {
                IpAddr::V4(_) => (GROUP_V4, GROUP_PORT).into(),
                IpAddr::V6(_) => SocketAddrV6::new(GROUP_V6, GROUP_PORT, 0, other.index).into(),
            };
            for _ in 0..10 {
                packets::send(&other.namespace, SocketAddr::new(from, 0), group, b"to all")?;
            }
            for _ in 0..10 {
                let (received, sender) = receive(&socket, 100)?;
                ensure!(
                    received == b"to all" && sender.ip() == from,
                    "{sender}: {received:?}"
                );
            }
        }
        Ok(())
    })
}

#[test]
fn broadcast_reaches_everybody() -> Result<()> {
    const PORT: u16 = 5000;
    guarded_in_every_way(|pair| {
        let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let here = packets::udp(&pair.guarded.namespace, every)?;
        let there = packets::udp(&pair.other.namespace, (pair.other.v4, PORT).into())?;
        there.set_broadcast(true)?;
        let [a, b, c, _] = pair.other.v4.octets();
        there.send_to(b"to all", (Ipv4Addr::new(a, b, c, 255), PORT))?;
        let (received, _) = receive(&here, 100)?;
        ensure!(received == b"to all", "{received:?}");
        Ok(())
    })
}
