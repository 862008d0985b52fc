mod budgets;

use crate::{
    allowlist::claims::*,
    query::InUse,
    resolve::{self, Record},
    sources::{Family, Host, Place, Severity, Speaker},
};

const NOW: BootSeconds = BootSeconds(100_000);
const MAIN: &str = "/etc/ntp.conf";
const INCLUDED: &str = "/etc/ntp.d/more.conf";
const ID: &str = "ntp.conf:/etc/ntp.conf";

fn at(file: &str, line: u32) -> Place {
    Place {
        file: Path::new(file).into(),
        line,
        column: 8,
    }
}

fn server(host: &str, place: Place) -> Want {
    let host = match host.parse() {
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(host.to_owned()),
    };
    Want::Source {
        host,
        family: Family::Any,
        port: 123,
        roles: vec![Role::Server],
        place,
    }
}

fn reading(wants: Vec<Want>) -> Reading {
    said_by(Speaker::Root, wants)
}

fn said_by(speaker: Speaker, wants: Vec<Want>) -> Reading {
    let files = wants.iter().map(|want| want.place().file.clone());
    Reading {
        speakers: files.map(|file| (file, speaker)).collect(),
        wants,
        ..Reading::default()
    }
}

fn unreadable(file: &str, wants: Vec<Want>) -> Reading {
    let place = Place {
        file: Path::new(file).into(),
        line: 0,
        column: 0,
    };
    let problem = Problem {
        place,
        message: "gone".into(),
        severity: Severity::Unreadable,
    };
    Reading {
        problems: vec![problem],
        ..reading(wants)
    }
}

fn manual(prefix: &str, role: Option<Role>) -> Claim {
    Claim {
        role,
        ..Claim::new(prefix.parse().unwrap(), Origin::Manual)
    }
}

fn answer(book: &mut ClaimSet, name: &str, addresses: &[&str], now: BootSeconds) {
    let records: Vec<Record> = addresses
        .iter()
        .map(|address| Record {
            address: address.parse().unwrap(),
            ttl: 300,
        })
        .collect();
    let answer = resolve::Answer::new(records, None).unwrap();
    book.names
        .answered(&Question::new(name, Family::Any), &answer, now, 0.5);
}

fn granted(book: &ClaimSet) -> Vec<String> {
    let mut granted: Vec<String> = book
        .claims()
        .iter()
        .map(|claim| {
            format!(
                "{} {} {}",
                claim.prefix.addr(),
                claim.role_name(),
                claim.origin.name()
            )
        })
        .collect();
    granted.sort();
    granted
}

#[test]
fn what_a_source_no_longer_asks_for_goes() {
    let mut book = ClaimSet::default();
    let both = vec![
        server("192.0.2.1", at(MAIN, 1)),
        server("pool.example", at(MAIN, 2)),
    ];
    book.read(ID, Path::new(MAIN), reading(both), NOW);
    answer(&mut book, "pool.example", &["192.0.2.7"], NOW);
    assert_eq!(
        granted(&book),
        ["192.0.2.1 server config", "192.0.2.7 server dns"]
    );
    book.read(
        ID,
        Path::new(MAIN),
        reading(vec![server("192.0.2.1", at(MAIN, 1))]),
        NOW,
    );
    assert_eq!(granted(&book), ["192.0.2.1 server config"]);
}

#[test]
fn an_address_goes_when_the_last_who_vouches_for_it_lets_go() {
    let mut book = ClaimSet::default();
    book.read(
        ID,
        Path::new(MAIN),
        reading(vec![server("192.0.2.1", at(MAIN, 1))]),
        NOW,
    );
    book.manual.add(manual("192.0.2.1/32", Some(Role::Server)));
    book.keep_sources(&BTreeSet::new(), NOW);
    assert_eq!(book.projection(NOW).addresses.len(), 1);
    book.remove_manual(&"192.0.2.1/32".parse().unwrap(), &[])
        .unwrap();
    assert!(book.projection(NOW).addresses.is_empty());
}

#[test]
fn an_unreadable_file_keeps_what_it_asked_for() {
    let mut book = ClaimSet::default();
    let wants = vec![
        server("192.0.2.1", at(MAIN, 1)),
        server("192.0.2.2", at(INCLUDED, 1)),
    ];
    book.read(ID, Path::new(MAIN), reading(wants), NOW);
    let without = unreadable(INCLUDED, vec![server("192.0.2.3", at(MAIN, 1))]);
    book.read(ID, Path::new(MAIN), without, NOW);
    assert_eq!(
        granted(&book),
        ["192.0.2.2 server config", "192.0.2.3 server config"]
    );
    book.read(ID, Path::new(MAIN), unreadable(MAIN, vec![]), NOW);
    assert_eq!(
        granted(&book),
        ["192.0.2.2 server config", "192.0.2.3 server config"]
    );
    assert_eq!(book.problems().count(), 1);
}

#[test]
fn what_is_written_down_comes_back_as_saved_until_it_is_known_again() {
    let mut before = ClaimSet::default();
    let wants = || {
        vec![
            server("192.0.2.1", at(MAIN, 1)),
            server("pool.example", at(MAIN, 2)),
        ]
    };
    before.read(ID, Path::new(MAIN), reading(wants()), NOW);
    answer(&mut before, "pool.example", &["192.0.2.7"], NOW);
    let mut denied = manual("198.51.100.0/24", None);
    denied.comment = Some("abuse".into());
    before.manual.add(denied);
    let rows = before.rows(NOW.plus(600));

    let recorded = ClaimSet::recorded(rows.clone(), NOW);
    assert_eq!(granted(&recorded), granted(&before));
    assert_eq!(recorded.rows(NOW), rows);

    let mut after = ClaimSet::restored(&rows, NOW);
    let saved = [
        "192.0.2.1 server saved",
        "192.0.2.7 server saved",
        "198.51.100.0 none manual",
    ];
    assert_eq!(granted(&after), saved);
    after.read(ID, Path::new(MAIN), unreadable(MAIN, vec![]), NOW);
    assert_eq!(granted(&after), saved);
    after.read(ID, Path::new(MAIN), reading(wants()), NOW);
    assert_eq!(
        granted(&after)[..2],
        ["192.0.2.1 server config", "192.0.2.7 server saved"]
    );
    answer(&mut after, "pool.example", &["192.0.2.8", "192.0.2.7"], NOW);
    assert_eq!(
        granted(&after)[1..3],
        ["192.0.2.7 server dns", "192.0.2.8 server dns"]
    );
    assert_eq!(after.manual.claims()[0].comment.as_deref(), Some("abuse"));
}

#[test]
fn saved_addresses_of_a_name_that_is_no_longer_asked_for_go() {
    let mut before = ClaimSet::default();
    before.read(
        ID,
        Path::new(MAIN),
        reading(vec![server("a.example", at(MAIN, 1))]),
        NOW,
    );
    answer(&mut before, "a.example", &["192.0.2.7"], NOW);
    let mut after = ClaimSet::restored(&before.rows(NOW), NOW);
    after.read(
        ID,
        Path::new(MAIN),
        reading(vec![server("b.example", at(MAIN, 1))]),
        NOW,
    );
    assert!(after.claims().is_empty());
}

#[test]
fn by_hand_the_last_word_counts() {
    let mut book = ClaimSet::default();
    assert!(book.manual.add(manual("192.0.2.1/32", Some(Role::Server))));
    assert!(book.manual.add(manual("192.0.2.1/32", Some(Role::Client))));
    assert!(!book.manual.add(manual("192.0.2.1/32", Some(Role::Client))));
    assert_eq!(
        granted(&book),
        ["192.0.2.1 client manual", "192.0.2.1 server manual"]
    );
    assert!(book.manual.add(manual("192.0.2.1/32", None)));
    assert_eq!(granted(&book), ["192.0.2.1 none manual"]);
    assert!(book.manual.add(manual("192.0.2.1/32", Some(Role::Server))));
    assert_eq!(granted(&book), ["192.0.2.1 server manual"]);
    let mut briefly = manual("192.0.2.1/32", Some(Role::Server));
    briefly.ends = Some(NOW);
    assert!(book.manual.add(briefly));
    assert_eq!(book.manual.claims().len(), 1);
}

#[test]
fn only_what_was_granted_by_hand_can_be_taken_back_by_hand() {
    let mut book = ClaimSet::default();
    book.read(
        ID,
        Path::new(MAIN),
        reading(vec![server("192.0.2.1", at(MAIN, 4))]),
        NOW,
    );
    let prefix = &"192.0.2.1/32".parse().unwrap();
    let refused = book.remove_manual(prefix, &[]).unwrap_err();
    assert!(
        refused.to_string().contains("config (/etc/ntp.conf:4)"),
        "{refused}"
    );
    let unknown: Scoped<IpNet> = "192.0.2.2/32".parse().unwrap();
    assert_eq!(
        book.remove_manual(&unknown, &[]),
        Err(ManualError::Unknown(unknown))
    );
    book.manual.add(manual("192.0.2.1/32", Some(Role::Client)));
    assert!(book.remove_manual(prefix, &[Some(Role::Peer)]).is_err());
    assert_eq!(
        book.remove_manual(prefix, &[Some(Role::Client)])
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn what_is_granted_for_a_time_ends_and_is_what_comes_next() {
    let mut book = ClaimSet::default();
    let mut briefly = manual("192.0.2.1/32", Some(Role::Server));
    briefly.ends = Some(NOW.plus(60));
    book.manual.add(briefly);
    assert_eq!(book.next(), Some(NOW.plus(60)));
    assert_eq!(book.rows(NOW)[0].left, Some(60));
    book.expire(NOW.plus(60));
    assert!(book.claims().is_empty());
    assert_eq!(book.next(), None);
}

fn subnet(prefix: &str, roles: &[Role], place: Place) -> Want {
    Want::Prefix {
        prefix: prefix.parse().unwrap(),
        roles: roles.to_vec(),
        place,
    }
}

#[test]
fn what_others_may_not_say_is_left_out_with_a_finding_for_each_kind() {
    let mut book = ClaimSet::default();
    let mut peer = server("192.0.2.2", at(MAIN, 4));
    if let Want::Source { roles, .. } = &mut peer {
        roles.push(Role::Peer);
    }
    let wants = vec![
        server("192.0.2.1", at(MAIN, 1)),
        subnet("10.0.0.0/8", &[Role::Client], at(MAIN, 2)),
        subnet("10.1.0.0/16", &[Role::Client], at(MAIN, 3)),
        peer,
        subnet("10.2.0.0/16", &[], at(MAIN, 5)),
    ];
    book.read(ID, Path::new(MAIN), said_by(Speaker::Others, wants), NOW);
    assert_eq!(
        granted(&book),
        ["192.0.2.1 server config", "192.0.2.2 server config"]
    );
    let problems: Vec<String> = book.problems().map(|problem| problem.to_string()).collect();
    let left_out = |line, more, what| {
        format!(
            "{MAIN}:{line}:8: ignored{more}: a file that users other than root can write cannot {what}; \
             make the file writable by root only, or name it with --source"
        )
    };
    assert_eq!(
        problems,
        [
            left_out(4, "", "grant `peer`"),
            left_out(2, ", here and 1 more times", "grant `client`"),
            left_out(5, "", "deny what other origins grant"),
        ]
    );
}

#[test]
fn a_reading_without_speakers_is_worth_least() {
    let mut book = ClaimSet::default();
    let reading = Reading {
        speakers: BTreeMap::new(),
        ..reading(vec![subnet("10.0.0.0/8", &[Role::Client], at(MAIN, 2))])
    };
    book.read(ID, Path::new(MAIN), reading, NOW);
    assert!(book.claims().is_empty());
}

#[test]
fn what_was_written_down_grants_no_more_than_who_said_it_could() {
    let mut before = ClaimSet::default();
    let wants = || vec![subnet("10.0.0.0/8", &[Role::Client], at(MAIN, 2))];
    before.read(ID, Path::new(MAIN), reading(wants()), NOW);
    let mut rows = before.rows(NOW);
    assert_eq!(rows[0].speaker, Speaker::Root);
    assert_eq!(granted(&ClaimSet::restored(&rows, NOW)).len(), 1);
    // As an earlier version wrote it, or as another's word.
    for speaker in [Speaker::least(), Speaker::Others, Speaker::CommandLine] {
        rows[0].speaker = speaker;
        for book in [
            ClaimSet::restored(&rows, NOW),
            ClaimSet::recorded(rows.clone(), NOW),
        ] {
            assert!(book.claims().is_empty() && book.rows(NOW).is_empty());
        }
    }
}

#[test]
fn a_peer_by_a_daemons_word_alone_is_a_server_and_a_finding() {
    let mut book = ClaimSet::default();
    let answer = Answer {
        sources: vec![InUse {
            address: "192.0.2.1".parse().unwrap(),
            port: None,
            name: None,
            roles: vec![Role::Server, Role::Peer],
            selected: false,
        }],
        ..Answer::default()
    };
    book.heard("ntpd", Some(answer), NOW);
    assert_eq!(granted(&book), ["192.0.2.1 server daemon"]);
    let problems: Vec<String> = book.problems().map(|problem| problem.to_string()).collect();
    assert_eq!(
        problems,
        [
            "ntpd: 192.0.2.1 is granted `server` only: a daemon's answer cannot grant `peer`; \
          `ntpguard allowlist add` can grant it"
        ]
    );
    book.manual.add(manual("192.0.2.1/32", Some(Role::Peer)));
    assert_eq!(book.problems().count(), 0);
}
