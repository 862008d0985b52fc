//! How much those may ask for who are not root.

use super::*;
use crate::sources::budget::Budget;

const THEIRS: &str = "/srv/them/x.conf";

fn servers(place: &str, count: u32) -> Vec<Want> {
    let address = |number: u32| std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
    let wants = (1..=count).map(|line| server(&address(line), at(place, line)));
    wants.collect()
}

fn named(place: &str, count: u32) -> Vec<Want> {
    let wants = (1..=count).map(|line| server(&format!("n{line}.example"), at(place, line)));
    wants.collect()
}

/// Root's file with one server, and a file of others with these.
fn mixed(theirs: Vec<Want>) -> Reading {
    let mut reading = said_by(Speaker::Others, theirs);
    let others = Path::new(THEIRS).into();
    reading.speakers = [
        (others, Speaker::Others),
        (Path::new(MAIN).into(), Speaker::Root),
    ]
    .into();
    reading.wants.push(server("192.0.2.7", at(MAIN, 9)));
    reading
}

fn said(book: &ClaimSet) -> Vec<String> {
    let problems = book.problems().map(|problem| problem.to_string());
    problems.collect()
}

#[test]
fn servers_of_others_end_with_their_budget_and_roots_do_not() {
    for speaker in [Speaker::CommandLine, Speaker::Others, Speaker::Container] {
        let most = Budget::of(speaker).servers;
        let mut book = ClaimSet::default();
        let reading = said_by(speaker, servers(MAIN, 54_000));
        book.read(ID, Path::new(MAIN), reading, NOW);
        assert_eq!(book.claims().len(), most);
        assert_eq!(book.rows(NOW).len(), most);
        let said = said(&book);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].starts_with(&format!("{MAIN}:{}:", most + 1)),
            "{said:?}"
        );
        assert!(
            said[0].contains("has used up its budget of 256 servers"),
            "{said:?}"
        );
    }
    let mut book = ClaimSet::default();
    book.read(ID, Path::new(MAIN), reading(servers(MAIN, 5_000)), NOW);
    assert_eq!(book.claims().len(), 5_000);
}

#[test]
fn roots_server_counts_whatever_others_name_before_it() {
    let mut book = ClaimSet::default();
    book.read(ID, Path::new(MAIN), mixed(servers(THEIRS, 54_000)), NOW);
    assert!(granted(&book).contains(&"192.0.2.7 server config".to_owned()));
}

#[test]
fn names_of_others_and_their_addresses_end_with_their_budget() {
    let budget = Budget::of(Speaker::Others);
    let mut book = ClaimSet::default();
    book.read(ID, Path::new(MAIN), mixed(named(THEIRS, 250)), NOW);
    let questions = book.names.due(NOW);
    assert_eq!(questions.len(), budget.names);
    for (number, question) in questions.iter().enumerate() {
        let addresses = (0..250).map(|low| {
            let number = (number as u32) << 8 | low;
            std::net::Ipv4Addr::from(0x0b00_0000 + number).into()
        });
        let answer = resolve::Answer {
            addresses: addresses.collect(),
            ttl: 60,
            ..resolve::Answer::default()
        };
        book.names.answered(question, &answer, NOW, 0.0);
        assert_eq!(book.names.held(question).count(), budget.addresses);
    }
    // All names together, and root's server.
    assert_eq!(book.claims().len(), budget.grants + 1);
    assert_eq!(book.rows(NOW).len(), budget.grants + 1);
    let said = said(&book);
    assert!(
        said.iter().any(|said| said.contains("budget of 64 names")),
        "{said:?}"
    );
    assert!(
        said.iter()
            .any(|said| said.contains("budget of 1024 grants in all")),
        "{said:?}"
    );
}

#[test]
fn what_an_earlier_version_wrote_down_for_others_is_cut_to_their_budget() {
    let mut before = ClaimSet::default();
    before.read(ID, Path::new(MAIN), reading(servers(MAIN, 3_000)), NOW);
    let mut rows = before.rows(NOW);
    for row in &mut rows {
        row.speaker = Speaker::Others;
    }
    let budget = Budget::of(Speaker::Others);
    assert_eq!(
        ClaimSet::restored(&rows, NOW).claims().len(),
        budget.servers
    );
    assert_eq!(ClaimSet::recorded(rows, NOW).claims().len(), budget.grants);
}

#[test]
fn files_that_come_and_go_add_nothing_to_the_budget() {
    let mut book = ClaimSet::default();
    for round in 0..8 {
        let file = format!("/srv/them/{round}.conf");
        let mut reading = mixed(servers(&file, 200));
        reading
            .speakers
            .insert(Path::new(&file).into(), Speaker::Others);
        // All before it are included still, and cannot be read.
        reading.unreadable = (0..round)
            .map(|before| Path::new(&format!("/srv/them/{before}.conf")).into())
            .collect();
        book.read(ID, Path::new(MAIN), reading, NOW);
    }
    assert!(book.claims().len() <= Budget::of(Speaker::Others).servers + 1);
}
