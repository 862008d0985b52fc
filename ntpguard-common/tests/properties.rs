//! What holds of every packet: made-up ones, and fixtures with bytes changed.

use etherparse::{Ipv6ExtensionSlice, LenSource, NetSlice, SlicedPacket, TransportSlice};
use ntpguard_common::{
    fixtures::{
        self, Described, Fixture, ModelTables, NOW, StoppedClocks, untracked, with_options,
        with_tags,
    },
    maps::lookup::TrackerOf as _,
    reason::{Reason, Verdict},
    rule::{
        arrival::judge_unusual,
        decide::screen,
        fast_path::{Arriving, arriving, is_plainly_foreign, known},
        judge::judge,
        stages::Inline,
        track::request,
    },
    wire::{
        address::Address as _,
        packet::{Family, Link, MAX_EXTENSION_HEADERS, MAX_TAGS, OnNtpPort, Packet, parse},
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::sync::LazyLock;

const ETHERNET: usize = 14;
const TAGS: [u16; 2] = [0x8100, 0x88a8];

static FIXTURES: LazyLock<Vec<Fixture>> = LazyLock::new(fixtures::all);
thread_local! {
    static TABLES: ModelTables = fixtures::tables();
}

fn verdict(frame: &[u8], link: Link) -> Verdict {
    TABLES.with(|tables| judge(frame, &StoppedClocks(NOW), untracked(link), tables))
}

fn admits(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Judged(reason) if reason.admits())
}

fn link() -> impl Strategy<Value = Link> {
    prop_oneof![Just(Link::Ethernet), Just(Link::RawIp)]
}

fn fixture() -> impl Strategy<Value = &'static Fixture> {
    any::<Index>().prop_map(|index| index.get(FIXTURES.as_slice()))
}

/// A fixture of which up to eight bytes are something else, most of them in its headers.
fn mutated() -> impl Strategy<Value = (Vec<u8>, Link)> {
    let changes = vec(
        (
            prop_oneof![4 => 12..64_usize, 1 => 0..1_500_usize],
            any::<u8>(),
        ),
        0..8,
    );
    (fixture(), changes).prop_map(|(fixture, changes)| {
        let mut frame = fixture.frame.clone();
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        (frame, fixture.link)
    })
}

/// The same of the fixtures about link-local addresses, and more often of the interface in their source.
fn mutated_link_local() -> impl Strategy<Value = (Vec<u8>, Link)> {
    let indices = ETHERNET + 8 + 4..ETHERNET + 8 + 8;
    let number = prop::option::of((indices, 0..4_u8));
    let fixture = any::<Index>().prop_map(|index| {
        let fixtures = FIXTURES.iter();
        let found: Vec<_> = fixtures
            .filter(|fixture| fixture.name.starts_with("link-local"))
            .collect();
        *index.get(&found)
    });
    let change = prop::option::of((0..100_usize, any::<u8>()));
    (fixture, number, change).prop_map(|(fixture, number, change)| {
        let mut frame = fixture.frame.clone();
        for (at, value) in number.into_iter().chain(change) {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        (frame, fixture.link)
    })
}

/// A mutated fixture on Ethernet, with what stands before its IP header taken away.
fn untagged() -> impl Strategy<Value = Vec<u8>> {
    mutated().prop_filter_map("not Ethernet", |(mut frame, link)| {
        while frame.len() >= 18 && tag(&frame) {
            frame.drain(12..16);
        }
        (link == Link::Ethernet && !tag(&frame)).then_some(frame)
    })
}

fn tag(frame: &[u8]) -> bool {
    TAGS.contains(&u16::from_be_bytes([frame[12], frame[13]]))
}

/// Whether an IPv4 frame's header is whole and has room for `words` words of options more.
fn takes_options(frame: &[u8], words: usize) -> bool {
    let Some([vihl, _, high, low]) = frame.get(ETHERNET..).and_then(|ip| ip.first_chunk()) else {
        return false;
    };
    let (header, total) = (usize::from(vihl & 0x0f), u16::from_be_bytes([*high, *low]));
    frame[12..14] == [8, 0]
        && (5..=15 - words).contains(&header)
        && frame.len() >= ETHERNET + header * 4
        && usize::from(total) >= header * 4
        && total <= u16::MAX - 60
}

/// Whether another reader finds a whole packet that is not UDP on port 123.
fn surely_foreign(frame: &[u8], link: Link) -> bool {
    let packet = match link {
        Link::Ethernet => SlicedPacket::from_ethernet(frame),
        Link::RawIp => SlicedPacket::from_ip(frame),
    };
    let Ok(packet) = packet else {
        return false;
    };
    let readable = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => !ip.payload().fragmented,
        Some(NetSlice::Ipv6(ip)) => {
            let headers = ip.extensions().clone().into_iter().count();
            !ip.payload().fragmented
                && headers <= MAX_EXTENSION_HEADERS
                && ip.payload().len_source == LenSource::Ipv6HeaderPayloadLen
        }
        Some(NetSlice::Arp(_)) => true,
        None => return false,
    };
    readable
        && !hides_another(&packet)
        && match &packet.transport {
            Some(TransportSlice::Udp(udp)) => {
                ![123, fixtures::CUSTOM_PORT].contains(&udp.source_port())
                    && udp.destination_port() != 123
            }
            _ => true,
        }
}

/// Whether another packet is inside, behind a routing header, which this reader does not look into.
fn hides_another(packet: &SlicedPacket) -> bool {
    let Some(NetSlice::Ipv6(ip)) = &packet.net else {
        return false;
    };
    let is_routed = ip
        .extensions()
        .clone()
        .into_iter()
        .any(|header| matches!(header, Ipv6ExtensionSlice::Routing(_)));
    is_routed && matches!(ip.payload().ip_number.0, 4 | 41)
}

/// Where the NTP header of an Ethernet frame ends, as another reader finds it.
fn ntp_header_end(frame: &[u8]) -> Option<usize> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Udp(udp)) = &packet.transport else {
        return None;
    };
    let payload = udp.payload();
    let start = payload.as_ptr().addr() - frame.as_ptr().addr();
    let is_control = payload.first()? & 0x7 == 6;
    Some(start + if is_control { 12 } else { 48 })
}

/// The verdict without the fast path that comes first.
fn by_walk(frame: &[u8], link: Link, tables: &ModelTables) -> Verdict {
    judge_unusual(&Inline {
        frame,
        clocks: &StoppedClocks(NOW),
        policy: untracked(link),
        tables,
    })
}

/// Takes the fast path and checks what it finds against the parser.
fn glance_and_judge(frame: &[u8], link: Link) {
    for tables in [fixtures::tables(), ModelTables::default()] {
        let verdict = by_walk(frame, link, &tables);
        let judged = judge(frame, &StoppedClocks(NOW), untracked(link), &tables);
        assert_eq!(judged, verdict);
        match arriving(frame, link, &tables) {
            Arriving::Foreign => assert_eq!(verdict, Verdict::Foreign),
            Arriving::Stranger => assert_eq!(verdict, Verdict::Judged(Reason::Unlisted)),
            Arriving::Private => assert_eq!(verdict, Verdict::Judged(Reason::Private)),
            Arriving::Known => {
                let (datagram, class) = known(frame, link);
                assert_eq!(parse(frame, link, &OnNtpPort), Packet::Datagram(datagram));
                assert_eq!(screen(frame, &datagram, link, false, &tables), Ok(class));
            }
            Arriving::Unusual => {}
        }
    }
}

#[test]
fn a_glance_at_each_fixture_finds_what_the_judge_would() {
    for fixture in FIXTURES.iter() {
        glance_and_judge(&fixture.frame, fixture.link);
    }
}

#[test]
fn the_replies_of_a_server_that_a_trusted_sender_asked_are_no_strangers() {
    let (mut replies, mut requests) = (0, 0);
    for Fixture { frame, link, .. } in FIXTURES.iter() {
        let frame = frame.as_slice();
        let tables = ModelTables::default();
        if arriving(frame, *link, &tables) != Arriving::Stranger {
            continue;
        }
        let Packet::Datagram(datagram) = parse(frame, *link, &OnNtpPort) else {
            panic!("a stranger's packet is no datagram");
        };
        match datagram.family {
            Family::V4 => tables.learn(<[u8; 4]>::source(frame, &datagram), NOW),
            Family::V6 => tables.learn(<[u8; 16]>::source(frame, &datagram), NOW),
        }
        let is_reply = frame[datagram.payload] & 0x7 == 4;
        let expected = if is_reply {
            Arriving::Known
        } else {
            Arriving::Stranger
        };
        assert_eq!(arriving(frame, *link, &tables), expected);
        replies += u32::from(is_reply);
        requests += u32::from(!is_reply);
    }
    assert!(replies > 20 && requests > 20, "{replies}, {requests}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_have_a_verdict(frame in vec(any::<u8>(), 0..300), link in link()) {
        verdict(&frame, link);
    }

    #[test]
    fn nothing_is_admitted_by_empty_tables((frame, link) in mutated()) {
        let verdict = judge(frame.as_slice(), &StoppedClocks(NOW), untracked(link), &ModelTables::default());
        prop_assert!(!admits(verdict));
    }

    #[test]
    fn random_bytes_with_a_plausible_start_are_not_admitted_by_empty_tables(
        mut frame in vec(any::<u8>(), 0..300),
        start in fixture(),
        kept in 0..80_usize,
    ) {
        let kept = kept.min(start.frame.len());
        frame.splice(..0, start.frame[..kept].iter().copied());
        let policy = untracked(start.link);
        let verdict = judge(frame.as_slice(), &StoppedClocks(NOW), policy, &ModelTables::default());
        prop_assert!(!admits(verdict));
    }

    #[test]
    fn a_packet_cut_off_in_its_ntp_header_is_not_admitted(frame in untagged(), cut in any::<Index>()) {
        if let Some(end) = ntp_header_end(&frame) && admits(verdict(&frame, Link::Ethernet)) {
            let cut = cut.index(end);
            prop_assert!(!admits(verdict(&frame[..cut], Link::Ethernet)), "cut at {cut}");
        }
    }

    #[test]
    fn a_whole_packet_that_is_not_ntp_is_foreign((frame, link) in mutated()) {
        if surely_foreign(&frame, link) {
            prop_assert_eq!(verdict(&frame, link), Verdict::Foreign);
        }
    }

    #[test]
    fn tags_change_no_verdict(frame in untagged(), tags in vec(prop::sample::select(&TAGS[..]), 0..=MAX_TAGS)) {
        let expected = verdict(&frame, Link::Ethernet);
        prop_assert_eq!(verdict(&with_tags(&frame, &tags), Link::Ethernet), expected);
    }

    #[test]
    fn options_change_no_verdict(frame in untagged(), options in vec(any::<[u8; 4]>(), 0..=10)) {
        if takes_options(&frame, options.len()) {
            let expected = verdict(&frame, Link::Ethernet);
            prop_assert_eq!(verdict(&with_options(&frame, &options.concat()), Link::Ethernet), expected);
        }
    }

    #[test]
    fn a_glance_passes_over_no_request((frame, link) in mutated(), cut in any::<Index>()) {
        let frame = &frame[..=cut.index(frame.len())];
        TABLES.with(|tables| {
            if is_plainly_foreign(frame, link, tables) {
                prop_assert_eq!(request(frame, link, tables), None);
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_glance_finds_what_the_judge_would((frame, link) in mutated(), cut in any::<Index>()) {
        glance_and_judge(&frame, link);
        glance_and_judge(&frame[..=cut.index(frame.len())], link);
    }

    #[test]
    fn what_is_granted_on_an_interface_is_granted_there_and_nowhere_else(
        (frame, link) in mutated_link_local(),
        interface in 0..4_u32,
    ) {
        let frame = Described::on_interface(frame.as_slice(), interface);
        let judge = |tables: &ModelTables| judge(&frame, &StoppedClocks(NOW), untracked(link), tables);
        let flat = fixtures::tables().on_interface(interface);
        prop_assert_eq!(judge(&fixtures::tables()), judge(&flat));
    }

    #[test]
    fn a_packet_is_judged_alike_with_and_without_a_link_header(frame in untagged()) {
        let (ether_type, packet) = (&frame[12..14], &frame[ETHERNET..]);
        let version = packet.first().map(|byte| byte >> 4);
        let to_everybody = frame[..6] == [0xff; 6];
        if !to_everybody && matches!((ether_type, version), ([8, 0], Some(4)) | ([0x86, 0xdd], Some(6))) {
            prop_assert_eq!(verdict(packet, Link::RawIp), verdict(&frame, Link::Ethernet));
        }
    }
}

#[test]
fn the_properties_are_about_something() {
    let count =
        |found: fn(&Fixture) -> bool| FIXTURES.iter().filter(|fixture| found(fixture)).count();
    assert!(count(|fixture| admits(verdict(&fixture.frame, fixture.link))) > 100);
    assert!(
        count(|fixture| admits(fixture.expected) && ntp_header_end(&fixture.frame).is_some()) > 100
    );
    assert!(count(|fixture| surely_foreign(&fixture.frame, fixture.link)) > 100);
    assert!(
        count(|fixture| fixture.link == Link::Ethernet && takes_options(&fixture.frame, 1)) > 100
    );
    let foreign = |fixture: &Fixture| {
        let frame = fixture.frame.as_slice();
        TABLES.with(|tables| is_plainly_foreign(frame, fixture.link, tables))
    };
    assert!(count(foreign) > 100);
    let fast_frame = |fixture: &Fixture| {
        TABLES.with(|tables| arriving(fixture.frame.as_slice(), fixture.link, tables))
    };
    for wanted in [
        Arriving::Foreign,
        Arriving::Stranger,
        Arriving::Private,
        Arriving::Known,
    ] {
        let found = FIXTURES
            .iter()
            .filter(|fixture| fast_frame(fixture) == wanted);
        assert!(found.count() > 20, "few are {wanted:?}");
    }
    let asks = |fixture: &Fixture| {
        let frame = fixture.frame.as_slice();
        TABLES.with(|tables| request(frame, fixture.link, tables).is_some())
    };
    assert!(count(asks) > 100);
}
