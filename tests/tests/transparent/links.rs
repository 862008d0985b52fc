//! What hosts need to find each other, and ping.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use ntpguard_tests::{
    packets::{
        frame::{self, Ethernet},
        raw::RawSocket,
        sink::Sink,
    },
    switch::Host,
};

use super::{SOON, guarded_in_every_way};

/// Forgets all neighbours, so that the next packet has to find them.
fn forget_neighbours(host: &Host) -> Result<()> {
    for family in ["-4", "-6"] {
        host.namespace.ip(&[family, "neigh", "flush", "all"])?;
        let known = host.namespace.ip(&[family, "neigh", "show"])?;
        ensure!(!known.contains("lladdr"), "{known}");
    }
    Ok(())
}

#[test]
fn neighbours_find_each_other_by_arp_and_nd() -> Result<()> {
    guarded_in_every_way(|pair| {
        for (from, _, _, to) in pair.directions() {
            forget_neighbours(&pair.guarded)?;
            forget_neighbours(&pair.other)?;
            let to = to.to_string();
            from.namespace.run(&["ping", "-c", "1", "-W", "3", &to])?;
            let known = from.namespace.ip(&["neigh", "show", &to])?;
            ensure!(known.contains("lladdr"), "{known}");
        }
        Ok(())
    })
}

#[test]
fn pings_small_and_fragmented_are_answered() -> Result<()> {
    guarded_in_every_way(|pair| {
        for (from, _, _, to) in pair.directions() {
            let to = to.to_string();
            // 8,000 bytes are six fragments each way.
            for size in ["56", "8000"] {
                let ping = ["ping", "-c", "5", "-i", "0.05", "-W", "3", "-s", size, &to];
                let printed = from.namespace.run(&ping)?;
                ensure!(printed.contains(" 0% packet loss"), "{printed}");
            }
        }
        Ok(())
    })
}

#[test]
fn tagged_frames_pass() -> Result<()> {
    const PORT: u16 = 5000;
    // Linux itself takes tags off that give a priority and no VLAN.
    let tags: [&[(u16, u16)]; 4] = [
        &[],
        &[(0x8100, 0)],
        &[(0x88a8, 0)],
        &[(0x8100, 0), (0x8100, 0)],
    ];
    guarded_in_every_way(|pair| {
        let sink = Sink::on(&pair.guarded.namespace, PORT)?;
        let wire = RawSocket::open(&pair.other.port)?;
        for tags in tags {
            for (guarded, other) in pair.routes() {
                let (from, to) = (SocketAddr::new(other, PORT), SocketAddr::new(guarded, PORT));
                let packet = frame::udp(from, to, &[0x24; 48])?;
                let link = Ethernet {
                    from: pair.other.port.mac,
                    to: pair.guarded.port.mac,
                    tags,
                };
                wire.send(&link.wrap(&packet))?;
            }
        }
        sink.wait_for(2 * tags.len() as u64, SOON)
    })
}
