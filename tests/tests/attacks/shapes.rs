//! Packets of every shape: what the judge lets pass as none of its business, no stack delivers to port
//! 123.

use anyhow::{Result, bail, ensure};
use fastrand::Rng;
use ntpguard_common::{
    fixtures::{ModelTables, NOW, StoppedClocks, untracked},
    judge::{Verdict, judge},
    packet::Link,
};
use ntpguard_tests::packets::ntp::Message;

use super::headers::with_headers;
use super::ipv6::{
    AUTHENTICATION, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING, V6_LEN, V6_NEXT,
    V6_PAYLOAD_LEN,
};
use super::scene::{FROM_NTP, STRANGERS, Scene, TO_NTP};

/// How many shapes are tried; as many of them as are not judged are sent.
const SHAPES: usize = 100_000;
/// Frames that are sent between two looks at what arrived.
const BATCH: usize = 2_000;

/// Always the same ones.
const SEED: u64 = 0x6e74_7067_7561_7264;

/// An option that hosts skip if they do not know it (RFC 8200 section 4.2): of padding Linux takes seven
/// bytes at most.
const SKIPPED: u8 = 0x1e;

/// Of an IPv4 header: its length, flags and fragment offset, protocol, checksum.
const V4_LEN: usize = 20;
const V4_TOTAL: usize = 2;
const V4_FRAGMENT: usize = 6;
const V4_PROTOCOL: usize = 9;
const V4_CHECKSUM: usize = 10;

#[test]
fn what_is_none_of_the_guards_business_reaches_no_ntp_socket() -> Result<()> {
    let scene = Scene::new()?;
    let inside = &scene.lab.inside;
    for interface in ["all", &inside.port.interface] {
        for setting in ["seg6_enabled", "rpl_seg_enabled"] {
            let setting = format!("net/ipv6/conf/{interface}/{setting}");
            inside.namespace.set(&setting, "1")?;
        }
    }
    let mut shapes = Shapes::new(&scene)?;
    let (mut foreign, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..SHAPES {
        let frame = shapes.next();
        match verdict(&frame) {
            Verdict::Foreign => foreign.push(frame),
            Verdict::Judged(_) => ours.push(frame),
        }
    }
    for batch in foreign.chunks(BATCH) {
        if arriving(&scene, batch)? > 0 {
            for frame in batch {
                ensure!(
                    arriving(&scene, std::slice::from_ref(frame))? == 0,
                    "arrived: {frame:02x?}"
                );
            }
            bail!("one of {} frames arrived, and not alone", batch.len());
        }
    }
    // Or the shapes would be such that nothing takes them anyway.
    ours.truncate(10 * BATCH);
    let mut arrived = 0;
    for batch in ours.chunks(BATCH) {
        arrived += arriving(&scene, batch)?;
    }
    eprintln!(
        "{} shapes pass unjudged, and none arrives; of {} that are judged {arrived} do",
        foreign.len(),
        ours.len()
    );
    ensure!(foreign.len() > SHAPES / 10, "few are foreign");
    ensure!(arrived > ours.len() as u64 / 5, "few are right");
    Ok(())
}

fn verdict(frame: &[u8]) -> Verdict {
    judge(
        frame,
        &StoppedClocks(NOW),
        untracked(Link::Ethernet),
        &ModelTables::default(),
    )
}

fn arriving(scene: &Scene, frames: &[Vec<u8>]) -> Result<u64> {
    let before = scene.lab.sink.count();
    frames
        .iter()
        .try_for_each(|frame| scene.send_frame(frame))?;
    scene.lab.flush()?;
    Ok(scene.lab.sink.count() - before)
}

/// Packets with a UDP datagram of NTP's in them, right in themselves, and what is before it made up.
struct Shapes<'a> {
    scene: &'a Scene,
    random: Rng,
    packets: [Vec<Vec<u8>>; 2],
}

impl<'a> Shapes<'a> {
    fn new(scene: &'a Scene) -> Result<Self> {
        let of = |from| {
            [
                (FROM_NTP, Message::new(4, 4)),
                (TO_NTP, Message::request(1)),
            ]
            .map(|(ports, message)| scene.packet(from, ports, &message.to_vec()))
            .into_iter()
            .collect::<Result<Vec<_>>>()
        };
        let [v4, v6] = STRANGERS;
        Ok(Self {
            scene,
            random: Rng::with_seed(SEED),
            packets: [of(v4)?, of(v6)?],
        })
    }

    fn next(&mut self) -> Vec<u8> {
        let mut packet = self.packet(0);
        if self.random.u8(..10) == 0 {
            packet.extend(vec![0x7b; self.random.usize(1..40)]);
        }
        let tags = vec![(0x8100, 0); self.random.usize(..6).saturating_sub(3)];
        let mut frame = self.scene.wrap_tagged(&packet, &tags);
        if self.random.u8(..10) == 0 {
            let others = [
                0x0800, 0x86dd, 0x0806, 0x0040, 0x8847, 0x8864, 0x9100, 0x88a8,
            ];
            let other: u16 = self.choose(&others);
            frame[12..14].copy_from_slice(&other.to_be_bytes());
        }
        if self.random.u8(..10) == 0 {
            frame.truncate(self.random.usize(14..frame.len()));
        }
        frame
    }

    fn packet(&mut self, depth: u8) -> Vec<u8> {
        let family = self.random.usize(..2);
        let packet = self.random.choice(&self.packets[family]);
        let packet = packet.cloned().unwrap_or_default();
        let packet = if family == 0 {
            self.v4(packet)
        } else {
            self.v6(packet)
        };
        if depth < 2 && self.random.u8(..5) == 0 {
            return self.around(&packet, depth);
        }
        packet
    }

    /// The packet inside another.
    fn around(&mut self, packet: &[u8], depth: u8) -> Vec<u8> {
        let right = if packet[0] >> 4 == 4 { 4 } else { 41 };
        let mut outer = self.packets[1][0][..V6_LEN].to_vec();
        outer[V6_NEXT] = if self.random.u8(..20) == 0 {
            self.next_header()
        } else {
            right
        };
        let destination = outer[24..V6_LEN].to_vec();
        outer.extend(packet);
        let kind = self.choose(&[3, 4, 4, 4]);
        let segments = [&[2, kind, 0, 0, 0, 0, 0][..], &destination].concat();
        let mut headers = vec![(ROUTING, segments)];
        if self.random.u8(..4) == 0 {
            headers.insert(0, self.header());
        }
        if self.random.u8(..8) == 0 {
            headers.push(self.header());
        }
        if self.random.u8(..8) == 0 {
            headers.clear();
        }
        let outer = with_headers(&outer, &headers);
        if depth < 1 && self.random.u8(..4) == 0 {
            return self.around(&outer, depth + 1);
        }
        outer
    }

    fn v4(&mut self, packet: Vec<u8>) -> Vec<u8> {
        let mut packet = packet;
        if self.random.u8(..3) == 0 {
            let words = self.random.usize(1..=10);
            packet.splice(V4_LEN..V4_LEN, vec![1; words * 4]);
            packet[0] += words as u8;
            let total = packet.len() as u16;
            put(&mut packet, V4_TOTAL, total);
        }
        if self.random.u8(..4) == 0 {
            packet[0] = self.choose(&[0x44, 0x45, 0x46, 0x4f, 0x55, 0x65, 0x05, 0x40]);
        }
        if self.random.u8(..4) == 0 {
            let length = self.length(packet.len());
            put(&mut packet, V4_TOTAL, length);
        }
        if self.random.u8(..4) == 0 {
            let fragment = self.choose(&[0x2000, 0x4000, 0x8000, 1, 0x2001, 0x1fff, 0xe000, 7]);
            put(&mut packet, V4_FRAGMENT, fragment);
        }
        if self.random.u8(..4) == 0 {
            packet[V4_PROTOCOL] = self.next_header();
        }
        put(&mut packet, V4_CHECKSUM, 0);
        let header = usize::from(packet[0] & 0xf) * 4;
        let sum = checksum(&packet[..header.clamp(V4_LEN, packet.len())]);
        put(&mut packet, V4_CHECKSUM, sum);
        packet
    }

    fn v6(&mut self, packet: Vec<u8>) -> Vec<u8> {
        let count = self.random.usize(..9).saturating_sub(2);
        let mut headers: Vec<_> = (0..count).map(|_| self.header()).collect();
        if let Some(first) = headers.first_mut()
            && self.random.bool()
        {
            *first = self.options(HOP_BY_HOP);
        }
        let mut packet = with_headers(&packet, &headers);
        if self.random.u8(..3) == 0 {
            let length = self.length(packet.len() - V6_LEN);
            put(&mut packet, V6_PAYLOAD_LEN, length);
        }
        if self.random.u8(..10) == 0 {
            packet[0] = self.choose(&[0x40, 0x45, 0x50, 0x70, 0x00, 0x6f]);
        }
        if self.random.u8(..6) == 0 {
            packet[V6_NEXT] = self.next_header();
        }
        if count > 0 && self.random.u8(..6) == 0 {
            let at = V6_LEN + self.random.usize(..count * 8);
            packet[at] = self.random.u8(..);
        }
        packet
    }

    fn header(&mut self) -> (u8, Vec<u8>) {
        let fragment = self.choose::<u16>(&[0, 0, 0, 1, 8, 9, 0xfff8, 6]);
        let [high, low] = fragment.to_be_bytes();
        let routing = self.choose(&[0, 2, 3, 4, 253]);
        match self.random.u8(..6) {
            0 => self.options(HOP_BY_HOP),
            1 => (FRAGMENT, vec![0, high, low, 0, 0, 0, 7]),
            2 => (ROUTING, vec![0, routing, 0, 0, 0, 0, 0]),
            3 => (AUTHENTICATION, vec![1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
            _ => self.options(DESTINATION_OPTIONS),
        }
    }

    fn options(&mut self, kind: u8) -> (u8, Vec<u8>) {
        let units = self.random.u8(1..4);
        let mut rest = vec![0; usize::from(units) * 8 - 1];
        rest[..3].copy_from_slice(&[units - 1, SKIPPED, units * 8 - 4]);
        (kind, rest)
    }

    fn next_header(&mut self) -> u8 {
        let known = [
            0, 1, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 108, 135, 136, 139, 140,
        ];
        match self.random.u8(..4) {
            0 => self.random.u8(..),
            _ => self.choose(&known),
        }
    }

    /// A length beside the right one.
    fn length(&mut self, right: usize) -> u16 {
        let right = right as u16;
        match self.random.u8(..6) {
            0 | 1 => 0,
            2 => right.saturating_add(self.random.u16(1..32)),
            3 => right.saturating_sub(self.random.u16(1..32)),
            4 => u16::MAX,
            _ => self.random.u16(..128),
        }
    }

    fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.usize(..from.len())]
    }
}

fn put(packet: &mut [u8], at: usize, value: u16) {
    packet[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn checksum(header: &[u8]) -> u16 {
    let words = header
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
