use super::*;
use crate::{
    resolve::{Answer, Record},
    sources::{Family, Host, Place, Severity},
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
    Reading {
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
        wants,
        problems: vec![problem],
        ..Reading::default()
    }
}

fn manual(prefix: &str, role: Option<Role>) -> Claim {
    Claim {
        role,
        ..Claim::new(prefix.parse().unwrap(), Origin::Manual)
    }
}

fn answer(book: &mut Book, name: &str, addresses: &[&str], now: BootSeconds) {
    let records: Vec<Record> = addresses
        .iter()
        .map(|address| Record {
            address: address.parse().unwrap(),
            ttl: 300,
        })
        .collect();
    let answer = Answer::new(records, None).unwrap();
    book.names
        .answered(&Question::new(name, Family::Any), &answer, now, 0.5);
}

fn granted(book: &Book) -> Vec<String> {
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
    let mut book = Book::default();
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
    let mut book = Book::default();
    book.read(
        ID,
        Path::new(MAIN),
        reading(vec![server("192.0.2.1", at(MAIN, 1))]),
        NOW,
    );
    book.manual.add(manual("192.0.2.1/32", Some(Role::Server)));
    book.keep_sources(&BTreeSet::new(), NOW);
    assert_eq!(book.projection(NOW).addresses.len(), 1);
    book.remove_manual("192.0.2.1/32".parse().unwrap(), &[])
        .unwrap();
    assert!(book.projection(NOW).addresses.is_empty());
}

#[test]
fn an_unreadable_file_keeps_what_it_asked_for() {
    let mut book = Book::default();
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
    let mut before = Book::default();
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

    let recorded = Book::recorded(rows.clone(), NOW);
    assert_eq!(granted(&recorded), granted(&before));
    assert_eq!(recorded.rows(NOW), rows);

    let mut after = Book::restored(&rows, NOW);
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
    let mut before = Book::default();
    before.read(
        ID,
        Path::new(MAIN),
        reading(vec![server("a.example", at(MAIN, 1))]),
        NOW,
    );
    answer(&mut before, "a.example", &["192.0.2.7"], NOW);
    let mut after = Book::restored(&before.rows(NOW), NOW);
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
    let mut book = Book::default();
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
    let mut book = Book::default();
    book.read(
        ID,
        Path::new(MAIN),
        reading(vec![server("192.0.2.1", at(MAIN, 4))]),
        NOW,
    );
    let prefix = "192.0.2.1/32".parse().unwrap();
    let refused = book.remove_manual(prefix, &[]).unwrap_err();
    assert!(
        refused.to_string().contains("config (/etc/ntp.conf:4)"),
        "{refused}"
    );
    let unknown = "192.0.2.2/32".parse().unwrap();
    assert_eq!(
        book.remove_manual(unknown, &[]),
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
    let mut book = Book::default();
    let mut briefly = manual("192.0.2.1/32", Some(Role::Server));
    briefly.ends = Some(NOW.plus(60));
    book.manual.add(briefly);
    assert_eq!(book.next(), Some(NOW.plus(60)));
    assert_eq!(book.rows(NOW)[0].left, Some(60));
    book.expire(NOW.plus(60));
    assert!(book.claims().is_empty());
    assert_eq!(book.next(), None);
}
