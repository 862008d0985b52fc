//! Every first byte, on ports of every kind, from senders of every role: the whole rule, said once
//! more as people say it, through the loaded program.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, anyhow, ensure};
use ntpguard::{
    allowlist::projection::Projection,
    datapath::{Settings, Tracking, Trial},
};
use ntpguard_common::{
    maps::{
        rates::Rates,
        tables::{EXPLAIN_BASE, Grant, Role},
    },
    reason::Reason,
};
use ntpguard_tests::packets::frame::{self, Ethernet};

const NTP: u16 = 123;

/// NTP's, and others of each kind.
const PORTS: [u16; 8] = [NTP, 0, 53, 122, 124, 1_023, 40_123, 65_535];

/// Leap indicators mean nothing to the guard; R is the top bit of the second byte.
const SECOND: [u8; 2] = [0x02, 0x82];

const XDP_PASS: u32 = 2;

/// Senders by the role that they are granted, or none.
fn senders() -> Vec<(Option<Role>, [IpAddr; 2])> {
    let roles = Role::ALL.into_iter().map(Some).chain([None]);
    roles
        .enumerate()
        .map(|(number, role)| {
            let host = number as u8 + 1;
            let v6 = [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)];
            (role, [[192, 0, 2, host].into(), v6.into()])
        })
        .collect()
}

/// Where a packet goes: to the host, or to the group that servers send to.
fn destinations(from: IpAddr) -> [(bool, IpAddr); 2] {
    if from.is_ipv4() {
        [
            (false, [192, 0, 2, 254].into()),
            (true, [224, 0, 1, 1].into()),
        ]
    } else {
        [
            (false, [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe].into()),
            (true, [0xff02, 0, 0, 0, 0, 0, 0, 0x101].into()),
        ]
    }
}

/// A packet, as the rule sees it.
#[derive(Clone, Copy, Debug)]
struct Packet {
    version: u8,
    mode: u8,
    is_response: bool,
    source: u16,
    destination: u16,
    to_many: bool,
}

/// The roles that let a sender send it, or why nobody may.
fn rule(packet: Packet) -> std::result::Result<Vec<Role>, Reason> {
    let Packet { version, mode, .. } = packet;
    if mode == 7 {
        return Err(Reason::Private);
    }
    if !(1..=5).contains(&version) {
        return Err(Reason::Version);
    }
    let (from_ntp, to_ntp) = (packet.source == NTP, packet.destination == NTP);
    let roles = match (version, mode) {
        (1..=4, 1) if to_ntp => vec![Role::Client, Role::Peer],
        (1..=4, 2) if to_ntp => vec![Role::Peer],
        (_, 3) if to_ntp => vec![Role::Client],
        (_, 4) if from_ntp => vec![Role::Server],
        (1..=4, 5) if to_ntp && packet.to_many => vec![Role::Broadcast],
        (1..=4, 6) if !packet.is_response && to_ntp => vec![Role::Control],
        (1..=4, 6) if packet.is_response && from_ntp => vec![Role::Control],
        (1, 0) if to_ntp && !from_ntp => vec![Role::Client],
        _ => return Err(Reason::Mode),
    };
    Ok(roles)
}

/// What the sender's packet must be counted for.
fn expected(packet: Packet, sender: Option<Role>) -> Reason {
    match (rule(packet), sender) {
        (Err(reason), _) => reason,
        (Ok(_), None) => Reason::Unlisted,
        (Ok(roles), Some(role)) if roles.contains(&role) => match role {
            Role::Server => Reason::Server,
            Role::Peer => Reason::Peer,
            Role::Broadcast => Reason::Broadcast,
            Role::Client => Reason::Client,
            Role::Control => Reason::Control,
        },
        (Ok(_), Some(_)) => Reason::Role,
    }
}

fn program() -> Result<Trial> {
    let mut trial = Trial::new(Settings {
        explain: true,
        tracking: Tracking::OFF,
        rates: Rates::OFF,
        ..Settings::default()
    })?;
    let mut granted = Projection::default();
    for (role, addresses) in senders() {
        let Some(role) = role else { continue };
        let grant = Grant {
            roles: role.bit(),
            ..Grant::default()
        };
        granted
            .addresses
            .extend(addresses.map(|address| (address, grant)));
    }
    trial
        .tables()
        .apply(&Projection::default(), &granted)
        .map_err(|error| anyhow!("fill the tables: {error}"))?;
    Ok(trial)
}

/// How many packets there were, and how many of them were admitted.
#[derive(Default)]
struct Tally {
    packets: u64,
    admitted: u64,
    foreign: u64,
}

#[test]
fn every_mode_version_and_port_from_every_sender() -> Result<()> {
    let mut trial = program()?;
    let mut tally = Tally::default();
    for (sender, addresses) in senders() {
        for from in addresses {
            for (to_many, to) in destinations(from) {
                for (source, destination) in pairs() {
                    let ends = [
                        SocketAddr::new(from, source),
                        SocketAddr::new(to, destination),
                    ];
                    every_first_byte(&mut trial, ends, to_many, sender, &mut tally)
                        .with_context(|| format!("{sender:?}, {ends:?}"))?;
                }
            }
        }
    }
    let Tally {
        packets,
        admitted,
        foreign,
    } = tally;
    eprintln!(
        "every mode, version and port (RFC 5905, RFC 9327): {packets} sent, {admitted} admitted, \
         {foreign} on other ports passed"
    );
    // 6 senders, 2 families, 2 destinations, 64 pairs of ports, 64 first bytes, 2 second bytes.
    ensure!(packets == 6 * 2 * 2 * 64 * 64 * 2, "{packets} packets");
    ensure!(admitted > 1_000 && foreign > 1_000, "{admitted}, {foreign}");
    Ok(())
}

fn pairs() -> impl Iterator<Item = (u16, u16)> {
    PORTS
        .into_iter()
        .flat_map(|source| PORTS.map(|destination| (source, destination)))
}

/// Runs all of them between these ends; the bytes are changed in one frame, as only the checksum of
/// UDP would notice, which is the stack's to look at.
fn every_first_byte(
    trial: &mut Trial,
    [from, to]: [SocketAddr; 2],
    to_many: bool,
    sender: Option<Role>,
    tally: &mut Tally,
) -> Result<()> {
    let ethernet = Ethernet {
        from: [2, 0, 0, 0, 0, 2],
        to: [2, 0, 0, 0, 0, 1],
        tags: &[],
    };
    let mut frame = ethernet.wrap(&frame::udp(from, to, &[0x55; 48])?);
    let payload = frame.len() - 48;
    for (version, mode) in (0..8).flat_map(|version| (0..8).map(move |mode| (version, mode))) {
        for second in SECOND {
            let packet = Packet {
                version,
                mode,
                is_response: second & 0x80 != 0,
                source: from.port(),
                destination: to.port(),
                to_many,
            };
            // A leap indicator of any kind.
            frame[payload] = (version + mode) << 6 | version << 3 | mode;
            frame[payload + 1] = second;
            let returned = trial.run(&frame, 1)?.return_value;
            tally.packets += 1;
            if from.port() != NTP && to.port() != NTP {
                ensure!(returned == XDP_PASS, "{packet:?}: {returned:#x}");
                tally.foreign += 1;
                continue;
            }
            let reason = expected(packet, sender);
            ensure!(
                returned == EXPLAIN_BASE + reason as u32,
                "{packet:?} is {returned:#x}, not {reason}"
            );
            tally.admitted += u64::from(reason.admits());
        }
    }
    Ok(())
}
