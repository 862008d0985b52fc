//! Packets made by hand arrive, and are counted.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    link::Veth,
    namespace::Namespace,
    packets::{
        self,
        flood::Flood,
        frame::{self, Ethernet},
        ntp::Message,
        raw::RawSocket,
        recorder::Recorder,
        sink::Sink,
    },
    switch::Host,
    tun::Tun,
    wait::eventually,
};

use super::{FORGED, SOON, pair};

/// The frame of a datagram to port 123 of `to`, as it arrives over the switch.
fn forged_frame(from: &Host, to: &Host, source: IpAddr, destination: IpAddr) -> Result<Vec<u8>> {
    let request = Message::request(1).to_vec();
    let (source, destination) = (
        SocketAddr::new(source, 123),
        SocketAddr::new(destination, 123),
    );
    let packet = frame::udp(source, destination, &request)?;
    Ok(Ethernet {
        from: from.port.mac,
        to: to.port.mac,
        tags: &[],
    }
    .wrap(&packet))
}

#[test]
fn a_sink_counts_forged_sources_of_both_families() -> Result<()> {
    let (_switch, victim, attacker) = pair()?;
    let sink = Sink::ntp(&victim.namespace)?;
    let raw = RawSocket::open(&attacker.port)?;
    let forged_v6: IpAddr = "2001:db8:bad::9".parse()?;
    for _ in 0..10 {
        raw.send(&forged_frame(&attacker, &victim, FORGED, victim.v4.into())?)?;
        raw.send(&forged_frame(
            &attacker,
            &victim,
            forged_v6,
            victim.v6.into(),
        )?)?;
    }
    sink.wait_for(20, SOON)?;
    ensure!(sink.count_from(FORGED) == 10, "{:?}", sink.by_source());
    ensure!(sink.count_from(forged_v6) == 10, "{:?}", sink.by_source());
    Ok(())
}

#[test]
fn a_sink_counts_fragments_once_they_are_whole() -> Result<()> {
    let (_switch, victim, attacker) = pair()?;
    let sink = Sink::ntp(&victim.namespace)?;
    let raw = RawSocket::open(&attacker.port)?;
    let payload = Message::request(1).to_vec();
    for (from, to) in attacker.addresses().into_iter().zip(victim.addresses()) {
        let (from, to) = (SocketAddr::new(from, 123), SocketAddr::new(to, 123));
        let fragments = frame::udp_fragments(from, to, &payload, 24)?;
        ensure!(fragments.len() == 3, "{} fragments", fragments.len());
        let link = Ethernet {
            from: attacker.port.mac,
            to: victim.port.mac,
            tags: &[],
        };
        for fragment in fragments {
            ensure!(
                sink.count_from(from.ip()) == 0,
                "counted before it was whole"
            );
            raw.send(&link.wrap(&fragment))?;
        }
        eventually(SOON, "the datagram", || {
            let count = sink.count_from(from.ip());
            ensure!(count == 1, "{count} from {from}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_priority_tag_reaches_the_socket_and_a_vlan_tag_does_not() -> Result<()> {
    const PRIORITY_ONLY: u16 = 0;
    let (a, b) = (Namespace::new("a")?, Namespace::new("b")?);
    let cable = Veth::between(&a, &[], &b, &["10.0.0.2/24"])?;
    let sink = Sink::ntp(&b)?;
    let raw = RawSocket::open(&cable.left)?;
    for (vlan, last) in [(8, 8), (PRIORITY_ONLY, 9)] {
        let from = SocketAddr::from(([10, 0, 0, last], 123));
        let packet = frame::udp(from, "10.0.0.2:123".parse()?, &[0x23; 48])?;
        let tags = [(0x8100, vlan)];
        let link = Ethernet {
            from: cable.left.mac,
            to: cable.right.mac,
            tags: &tags,
        };
        raw.send(&link.wrap(&packet))?;
    }
    // They arrive in order, so the first had its chance.
    sink.wait_for(1, SOON)?;
    let arrived: Vec<IpAddr> = sink.by_source().into_keys().collect();
    ensure!(arrived == [Ipv4Addr::new(10, 0, 0, 9)], "{arrived:?}");
    Ok(())
}

#[test]
fn datagrams_go_out_from_a_chosen_address() -> Result<()> {
    let (switch, victim, sender) = pair()?;
    let sink = Sink::ntp(&victim.namespace)?;
    let second = IpAddr::from(switch.v4(77));
    sender.port.add_address(&format!("{second}/24"))?;
    let to = SocketAddr::new(victim.v4.into(), 123);
    packets::send(
        &sender.namespace,
        SocketAddr::new(second, 123),
        to,
        &[0x24; 48],
    )?;
    sink.wait_for(1, SOON)?;
    ensure!(sink.count_from(second) == 1, "{:?}", sink.by_source());
    Ok(())
}

#[test]
fn a_flood_is_fast_and_nothing_of_it_is_missed() -> Result<()> {
    let (a, b) = (Namespace::new("a")?, Namespace::new("b")?);
    let cable = Veth::between(&a, &["10.0.0.1/24"], &b, &["10.0.0.2/24"])?;
    let sink = Sink::ntp(&b)?;
    let link = Ethernet {
        from: cable.left.mac,
        to: cable.right.mac,
        tags: &[],
    };
    let frames: Result<Vec<Vec<u8>>> = (1..=100)
        .map(|last| {
            let from = SocketAddr::from(([203, 0, 113, last], 123));
            let packet = frame::udp(from, "10.0.0.2:123".parse()?, &[0x24; 48])?;
            Ok(link.wrap(&packet))
        })
        .collect();
    let flooded = Flood::start(&cable.left, frames?, None, Duration::from_secs(1))?.wait()?;
    eprintln!("{:.0} frames a second", flooded.rate());
    // A machine that has nothing else to do sends ten times as many.
    ensure!(flooded.rate() > 20_000.0, "{flooded:?}");
    eventually(SOON, "every frame at the socket", || {
        let (counted, lost) = (sink.count(), sink.lost()?);
        ensure!(
            counted + lost == flooded.frames,
            "{counted} + {lost} of {flooded:?}"
        );
        Ok(())
    })?;
    ensure!(
        sink.by_source().len() == 100,
        "{} sources",
        sink.by_source().len()
    );
    Ok(())
}

#[test]
fn a_flood_keeps_to_its_rate() -> Result<()> {
    let (_switch, victim, attacker) = pair()?;
    let frame = forged_frame(&attacker, &victim, FORGED, victim.v4.into())?;
    let flood = Flood::start(
        &attacker.port,
        vec![frame],
        Some(5000),
        Duration::from_secs(1),
    )?;
    let rate = flood.wait()?.rate();
    ensure!((4000.0..6000.0).contains(&rate), "{rate} frames a second");
    Ok(())
}

#[test]
fn a_flood_that_changes_sends_each_frame_once_and_no_other() -> Result<()> {
    const COUNT: u64 = 1000;
    let (_switch, victim, attacker) = pair()?;
    let sink = Sink::ntp(&victim.namespace)?;
    let recorder = Recorder::open(&victim.port)?;
    let frame = forged_frame(&attacker, &victim, FORGED, victim.v4.into())?;
    let mut number = 0_u64;
    let flood = Flood::changing(&attacker.port, frame, 50_000, COUNT, move |frame| {
        number += 1;
        // The datagram has no checksum.
        frame[40..42].fill(0);
        frame[82..90].copy_from_slice(&number.to_be_bytes());
    });
    ensure!(flood?.wait()?.frames == COUNT, "more or fewer frames");
    sink.wait_for(COUNT, SOON)?;
    for number in 1..=COUNT {
        let datagram = recorder.next(SOON, |datagram| datagram.from.ip() == FORGED)?;
        let transmit = datagram.payload.get(40..48).context("a short datagram")?;
        ensure!(
            transmit == number.to_be_bytes(),
            "{transmit:02x?} as number {number}"
        );
    }
    Ok(())
}

#[test]
fn a_recorder_sees_what_a_host_sends_and_gets_over_both_families() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let recorder = Recorder::open(&client.port)?;
    for (at, to) in client.addresses().into_iter().zip(server.addresses()) {
        for (namespace, from, to) in [(&client, at, to), (&server, to, at)] {
            let from = SocketAddr::new(from, 123);
            let to = SocketAddr::new(to, 456);
            packets::send(&namespace.namespace, from, to, b"a datagram")?;
            let seen = recorder.next(SOON, |datagram| datagram.from == from)?;
            ensure!(seen.to == to && seen.payload == b"a datagram", "{seen:?}");
            ensure!(seen.frame.ends_with(b"a datagram"), "{seen:?}");
        }
    }
    Ok(())
}

#[test]
fn a_tun_device_takes_and_gives_bare_ip_packets() -> Result<()> {
    let namespace = Namespace::new("tun")?;
    let mut tun = Tun::raw_ip(&namespace, &["10.0.0.1/24"])?;
    let sink = Sink::ntp(&namespace)?;
    let (here, there): (SocketAddr, SocketAddr) =
        ("10.0.0.1:123".parse()?, "10.0.0.2:123".parse()?);
    tun.send(&frame::udp(there, here, &[0x24; 48])?)?;
    sink.wait_for(1, SOON)?;
    packets::send(&namespace, "10.0.0.1:1230".parse()?, there, &[0x23; 48])?;
    eventually(SOON, "the request on the tun device", || {
        // Others are the kernel's own, as for router discovery.
        let packet = tun.receive()?.context("nothing yet")?;
        ensure!(
            packet.ends_with(&[0x23; 48]) && packet[0] >> 4 == 4,
            "{packet:02x?}"
        );
        Ok(())
    })
}

#[test]
fn a_strange_link_is_neither_ethernet_nor_bare_ip() -> Result<()> {
    let namespace = Namespace::new("strange")?;
    let tun = Tun::strange(&namespace)?;
    let shown = namespace.ip(&["link", "show", "dev", &tun.port.interface])?;
    ensure!(
        !shown.contains("link/ether") && !shown.contains("link/none"),
        "{shown}"
    );
    Ok(())
}
