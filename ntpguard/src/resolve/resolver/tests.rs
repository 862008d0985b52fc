//! The resolver against DNS servers on loopback ports.

mod aliases;
mod dnsmasq;
mod endless;
mod failing;
mod server;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use hickory_resolver::proto::{
    op::{Query, ResponseCode},
    rr::{self, Name, RecordType},
};
use server::{Asked, Reply, Server, address, alias};

use super::*;
use crate::{
    resolve::{FLOOR, client::Client, system::Servers},
    sources::Family,
};

fn resolver(servers: &[SocketAddr]) -> Resolver {
    Resolver {
        hosts: "/nonexistent/hosts".into(),
        ..Resolver::with_servers(crate::work::readers_on_threads(), servers)
    }
}

/// What a reader asks with where the system's file has search domains.
fn searching(server: &Server, search: &[Name]) -> Client {
    let servers = Servers {
        search: search.to_vec(),
        ..Servers::given(&[server.address])
    };
    Client {
        servers: Ok(servers),
        hosts: None,
        timeout: TIMEOUT,
    }
}

fn any(name: &str) -> Question {
    Question::new(name, Family::Any)
}

fn parsed(addresses: &[&str]) -> Vec<IpAddr> {
    addresses
        .iter()
        .map(|address| address.parse().unwrap())
        .collect()
}

/// A server that gives every name these records, each to the questions for its type.
async fn serving(records: Vec<rr::Record>) -> Server {
    Server::start(move |query| Reply::Records(answering(&records, query))).await
}

/// The records of a question's type, and the aliases on the way to them.
fn answering(records: &[rr::Record], query: &Query) -> Vec<rr::Record> {
    let wanted = [query.query_type(), RecordType::CNAME];
    records
        .iter()
        .filter(|record| wanted.contains(&record.record_type()))
        .cloned()
        .collect()
}

async fn ask(server: &Server, name: &str) -> Result<Answer, Failure> {
    resolver(&[server.address]).ask(&any(name)).await
}

fn types(server: &Server) -> Vec<RecordType> {
    let mut types: Vec<_> = server
        .asked()
        .iter()
        .map(|asked| asked.record_type)
        .collect();
    types.sort();
    types
}

#[tokio::test]
async fn both_families_are_asked_for_and_come_in_one_answer() {
    let server = serving(vec![
        address("time.test.", "192.0.2.2", 300),
        address("time.test.", "192.0.2.1", 300),
        address("time.test.", "2001:db8::1", 200),
    ])
    .await;
    let answer = ask(&server, "Time.test.").await.unwrap();
    assert_eq!(
        answer.addresses,
        parsed(&["192.0.2.1", "192.0.2.2", "2001:db8::1"])
    );
    assert_eq!((answer.ttl, answer.unanswered), (200, None));
    assert_eq!(types(&server), [RecordType::A, RecordType::AAAA]);
}

#[tokio::test]
async fn one_family_is_asked_for_alone() {
    let server = serving(vec![
        address("time.test.", "192.0.2.1", 300),
        address("time.test.", "2001:db8::1", 200),
    ])
    .await;
    let resolver = resolver(&[server.address]);
    let v4 = resolver
        .ask(&Question::new("time.test", Family::V4))
        .await
        .unwrap();
    assert_eq!(v4.addresses, parsed(&["192.0.2.1"]));
    assert_eq!(types(&server), [RecordType::A]);
    let v6 = resolver
        .ask(&Question::new("time.test", Family::V6))
        .await
        .unwrap();
    assert_eq!(v6.addresses, parsed(&["2001:db8::1"]));
    assert_eq!(types(&server), [RecordType::A, RecordType::AAAA]);
}

#[tokio::test]
async fn every_question_is_really_asked_so_that_rotation_and_ttls_show() {
    let turn = AtomicU8::new(0);
    let server = Server::start(move |_| {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let record = address(
            "pool.test.",
            &format!("192.0.2.{turn}"),
            1000 + u32::from(turn),
        );
        Reply::Records(vec![record])
    })
    .await;
    let resolver = Arc::new(resolver(&[server.address]));
    for turn in 0..5u8 {
        let resolver = Arc::clone(&resolver);
        let question = Question::new("pool.test", Family::V4);
        // As a task of its own, which the daemon makes of each question.
        let task = tokio::spawn(async move { resolver.ask(&question).await });
        let answer = task.await.unwrap().unwrap();
        assert_eq!(answer.addresses, [IpAddr::from([192, 0, 2, turn])]);
        assert_eq!(answer.ttl, 1000 + u32::from(turn));
    }
    assert_eq!(server.asked().len(), 5);
}

#[tokio::test]
async fn a_ttl_comes_as_it_is_sent() {
    for (sent, read) in [
        (0, 0),
        (1, 1),
        (90_000, 90_000),
        (0x7fff_ffff, 0x7fff_ffff),
        (u32::MAX, 0),
    ] {
        let server = serving(vec![address("time.test.", "192.0.2.1", sent)]).await;
        assert_eq!(ask(&server, "time.test").await.unwrap().ttl, read);
    }
}

#[tokio::test]
async fn a_family_without_addresses_does_not_spoil_the_others() {
    let server = serving(vec![address("time.test.", "2001:db8::1", 60)]).await;
    let answer = ask(&server, "time.test").await.unwrap();
    assert_eq!(
        (answer.addresses, answer.unanswered),
        (parsed(&["2001:db8::1"]), None)
    );
}

#[tokio::test]
async fn thousands_of_addresses_come_by_tcp_and_are_cut() {
    // So short a name, because the server's encoder does not compress so many.
    let flood: Vec<_> = (0..3000u32)
        .map(|n| address("f.t.", &Ipv4Addr::from(0x0a00_0000 + n).to_string(), 60))
        .collect();
    let server = serving(flood).await;
    let answer = ask(&server, "f.t").await.unwrap();
    assert_eq!((answer.addresses.len(), answer.over_cap), (256, 3000 - 256));
    let by_tcp = Asked {
        name: "f.t.".into(),
        record_type: RecordType::A,
        tcp: true,
    };
    assert!(server.asked().contains(&by_tcp));
}

#[tokio::test]
async fn addresses_that_no_server_can_have_are_left_out_and_told() {
    let server = serving(vec![
        address("mixed.test.", "127.0.0.1", 60),
        address("mixed.test.", "192.0.2.1", 60),
        address("mixed.test.", "::1", 60),
    ])
    .await;
    let answer = ask(&server, "mixed.test").await.unwrap();
    assert_eq!(answer.addresses, parsed(&["192.0.2.1"]));
    let refused: Vec<_> = answer.refused.iter().map(|(address, _)| *address).collect();
    assert_eq!(refused, parsed(&["127.0.0.1", "::1"]));

    let server = serving(vec![address("bad.test.", "127.0.0.1", 60)]).await;
    let failure = ask(&server, "bad.test").await.unwrap_err();
    assert!(
        matches!(failure, Failure::OnlyRefused { .. }),
        "{failure:?}"
    );
}

#[tokio::test]
async fn the_hosts_file_goes_before_dns_and_an_edit_counts_at_once() {
    let server = serving(vec![address("time.test.", "192.0.2.1", 600)]).await;
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    let resolver = Resolver {
        hosts: hosts.clone(),
        ..resolver(&[server.address])
    };

    fs::write(&hosts, "192.0.2.99 time.test\n").unwrap();
    let answer = resolver.ask(&any("time.test")).await.unwrap();
    assert_eq!(
        (answer.addresses, answer.ttl),
        (parsed(&["192.0.2.99"]), FLOOR)
    );
    assert_eq!(server.asked(), []);

    fs::write(&hosts, "2001:db8::99 time.test\n").unwrap();
    let v4 = resolver
        .ask(&Question::new("time.test", Family::V4))
        .await
        .unwrap();
    assert_eq!(
        v4.addresses,
        parsed(&["192.0.2.1"]),
        "the file has no IPv4 address"
    );

    fs::write(&hosts, "127.0.1.1 time.test\n").unwrap();
    let failure = resolver.ask(&any("time.test")).await.unwrap_err();
    assert!(
        matches!(failure, Failure::OnlyRefused { .. }),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_short_name_is_looked_for_in_the_search_domains() {
    let server = Server::start(|query| match query.name().to_ascii().as_str() {
        name @ ("ntp.two.test." | "ntp.") => Reply::Records(vec![address(name, "192.0.2.2", 60)]),
        _ => Reply::Code(ResponseCode::NXDomain),
    })
    .await;
    let search = ["one.test.", "two.test."].map(|name| Name::from_ascii(name).unwrap());
    let client = || searching(&server, &search);
    let answer = client().ask(&Question::new("ntp", Family::V4)).await;
    let answer = answer.unwrap();
    assert_eq!(answer.addresses, parsed(&["192.0.2.2"]));
    let asked: Vec<_> = server.asked().into_iter().map(|asked| asked.name).collect();
    assert_eq!(asked, ["ntp.one.test.", "ntp.two.test."]);
    assert_eq!(
        client().ask(&any("ntp.test")).await,
        Err(Failure::NoSuchName)
    );
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| !asked.name.starts_with("ntp.test.one"))
    );
}

#[tokio::test]
async fn a_short_name_is_not_looked_for_further_when_a_server_fails() {
    let server = Server::start(|query| match query.name().to_ascii().as_str() {
        "ntp." => Reply::Records(vec![address("ntp.", "192.0.2.66", 60)]),
        _ => Reply::Code(ResponseCode::ServFail),
    })
    .await;
    let search = [Name::from_ascii("one.test.").unwrap()];
    let client = searching(&server, &search);
    let failure = client.ask(&any("ntp")).await.unwrap_err();
    assert!(
        matches!(failure, Failure::ServerFailed { .. }),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_system_without_servers_is_a_failure_that_names_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("resolv.conf");
    let source = Source::System(file.clone());
    let resolver = Resolver {
        servers: source,
        ..resolver(&[])
    };
    let failure = resolver.ask(&any("time.test")).await.unwrap_err();
    assert!(matches!(&failure, Failure::NoServers { .. }), "{failure:?}");
    assert!(
        failure.to_string().contains(&file.display().to_string()),
        "{failure}"
    );
}

#[tokio::test]
async fn files_that_may_not_be_read_are_told_while_it_is_so() {
    let directory = tempfile::tempdir().unwrap();
    let [servers, hosts] = ["resolv.conf", "hosts"].map(|name| directory.path().join(name));
    for file in [&servers, &hosts] {
        // Nothing is there to be read, and the kernel does not say that nothing is there.
        std::os::unix::fs::symlink(file, file).unwrap();
    }
    let resolver = Resolver {
        servers: Source::System(servers.clone()),
        hosts: hosts.clone(),
        ..resolver(&[])
    };
    let failure = resolver.ask(&any("time.test")).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Unreadable { .. }),
        "{failure:?}"
    );
    let told = resolver.refused().problems();
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    let [of_hosts, of_servers] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert!(
        of_hosts.starts_with(&format!("{}: cannot be read (", hosts.display())),
        "{of_hosts}"
    );
    assert!(of_servers.contains("--resolver"), "{of_servers}");

    for file in [&servers, &hosts] {
        fs::remove_file(file).unwrap();
    }
    let failure = resolver.ask(&any("time.test")).await.unwrap_err();
    assert!(matches!(&failure, Failure::NoServers { .. }), "{failure:?}");
    assert!(resolver.refused().problems().is_empty());
}

#[tokio::test]
async fn a_name_that_dns_cannot_have_is_not_asked() {
    let server = serving(Vec::new()).await;
    let failure = ask(&server, "time..test").await.unwrap_err();
    assert!(matches!(failure, Failure::BadName { .. }), "{failure:?}");
    assert_eq!(server.asked(), []);
}

/// A pipe that nothing writes to, in a directory that goes with it.
fn pipe() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    (directory, path)
}

#[tokio::test]
async fn a_pipe_in_place_of_a_file_is_not_waited_for() {
    let server = serving(vec![address("time.test.", "192.0.2.1", 300)]).await;
    let (_directory, pipe) = pipe();
    let resolver = Resolver {
        hosts: pipe.clone(),
        ..resolver(&[server.address])
    };
    let answer = resolver.ask(&any("time.test")).await.unwrap();
    assert_eq!(answer.addresses, parsed(&["192.0.2.1"]));
    let system = Resolver {
        servers: Source::System(pipe),
        ..resolver
    };
    let failure = system.ask(&any("time.test")).await.unwrap_err();
    assert!(
        failure.to_string().contains("not a regular file"),
        "{failure}"
    );
}
