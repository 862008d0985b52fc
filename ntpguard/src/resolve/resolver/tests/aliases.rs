//! Names that stand for other names.

use super::*;

#[tokio::test]
async fn aliases_are_followed_and_the_least_ttl_on_the_way_counts() {
    let link = |n: u32| {
        alias(
            &format!("a{n}.test."),
            &format!("a{}.test.", n + 1),
            500 - n,
        )
    };
    let mut chain: Vec<_> = (0..8).map(link).collect();
    chain.push(address("a8.test.", "192.0.2.8", 900));
    chain.push(address("a8.test.", "2001:db8::8", 900));
    let server = serving(chain).await;
    let answer = ask(&server, "a0.test").await.unwrap();
    assert_eq!(answer.addresses, parsed(&["192.0.2.8", "2001:db8::8"]));
    assert_eq!(answer.ttl, 493);
    assert_eq!(server.asked().len(), 2, "the answer was whole");
}

#[tokio::test]
async fn aliases_that_come_one_at_a_time_are_asked_for() {
    let server = Server::start(|query| {
        let name = query.name().to_ascii();
        let record = match name.as_str() {
            "a.test." => alias(&name, "b.test.", 70),
            "b.test." => alias(&name, "c.test.", 80),
            _ => address(&name, "192.0.2.3", 90),
        };
        Reply::Records(vec![record])
    })
    .await;
    let answer = resolver(&[server.address])
        .ask(&Question::new("a.test", Family::V4))
        .await
        .unwrap();
    assert_eq!((answer.addresses, answer.ttl), (parsed(&["192.0.2.3"]), 70));
}

#[tokio::test]
async fn a_loop_of_aliases_ends_as_a_failure() {
    let server = serving(vec![
        alias("a.test.", "b.test.", 60),
        alias("b.test.", "a.test.", 60),
    ])
    .await;
    assert_eq!(ask(&server, "a.test").await, Err(Failure::NoAddresses));
    assert!(server.asked().len() < 40, "{}", server.asked().len());
}

#[tokio::test]
async fn records_of_another_name_are_not_believed() {
    let server = serving(vec![
        address("evil.test.", "192.0.2.66", 60),
        address("time.test.", "192.0.2.1", 60),
        alias("evil.test.", "worse.test.", 60),
        address("worse.test.", "192.0.2.67", 60),
    ])
    .await;
    assert_eq!(
        ask(&server, "time.test").await.unwrap().addresses,
        parsed(&["192.0.2.1"])
    );
    assert_eq!(ask(&server, "other.test").await, Err(Failure::NoAddresses));
}
