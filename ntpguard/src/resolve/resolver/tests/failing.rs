//! Servers that do not give addresses.

use std::time::Instant;

use super::*;

/// Long enough for a busy machine to answer in, short enough to wait for in a test.
const SHORT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_name_without_addresses_and_a_name_that_is_none_are_told_apart() {
    let server = Server::start(|query| {
        let exists = query.name().to_ascii() == "here.test.";
        Reply::Code(if exists {
            ResponseCode::NoError
        } else {
            ResponseCode::NXDomain
        })
    })
    .await;
    assert_eq!(ask(&server, "here.test").await, Err(Failure::NoAddresses));
    assert_eq!(ask(&server, "gone.test").await, Err(Failure::NoSuchName));
    assert_eq!(server.asked().len(), 4, "neither is asked twice");
}

#[tokio::test]
async fn a_family_whose_question_fails_is_told() {
    let server = Server::start(|query| match query.query_type() {
        RecordType::A => Reply::Records(vec![address("time.test.", "192.0.2.1", 60)]),
        _ => Reply::Code(ResponseCode::ServFail),
    })
    .await;
    let answer = ask(&server, "time.test").await.unwrap();
    assert_eq!(answer.addresses, parsed(&["192.0.2.1"]));
    assert_eq!(answer.unanswered, Some(Family::V6));
}

#[tokio::test]
async fn a_server_that_fails_is_named_with_its_reason() {
    for code in [
        ResponseCode::ServFail,
        ResponseCode::Refused,
        ResponseCode::NotImp,
    ] {
        let server = Server::start(move |_| Reply::Code(code)).await;
        let failure = ask(&server, "time.test").await.unwrap_err();
        assert!(
            matches!(failure, Failure::ServerFailed { .. }),
            "{failure:?}"
        );
        let message = failure.to_string();
        let told = [server.address.to_string(), code.to_string()];
        assert!(told.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_are_a_failure() {
    for garbage in [
        &b""[..],
        b"\xff\xff\xff",
        &[0xff; 500],
        &[0; 10],
        b"\x81\x80\x00\x01\x00\xff",
    ] {
        let server = Server::start(move |_| Reply::Garbage(garbage)).await;
        let resolver = Resolver {
            timeout: SHORT,
            ..resolver(&[server.address])
        };
        let failure = resolver.ask(&any("time.test")).await.unwrap_err();
        let expected = matches!(failure, Failure::ServerFailed { .. } | Failure::Timeout);
        assert!(expected, "{garbage:?}: {failure:?}");
    }
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_does_not_answer() {
    let good = serving(vec![address("time.test.", "192.0.2.1", 60)]).await;
    let replies = [
        Reply::Code(ResponseCode::ServFail),
        Reply::Garbage(&[0xff; 40]),
        Reply::Silence,
    ];
    for reply in replies {
        let bad = Server::start(move |_| reply.clone()).await;
        let resolver = Resolver {
            timeout: SHORT,
            ..resolver(&[bad.address, good.address])
        };
        let answer = resolver.ask(&any("time.test")).await.unwrap();
        assert_eq!(answer.addresses, parsed(&["192.0.2.1"]));
        assert!(!bad.asked().is_empty());
    }
}

#[tokio::test]
async fn the_next_server_is_not_asked_when_one_says_there_is_no_such_name() {
    let first = Server::start(|_| Reply::Code(ResponseCode::NXDomain)).await;
    let second = serving(vec![address("time.test.", "192.0.2.1", 60)]).await;
    let resolver = resolver(&[first.address, second.address]);
    assert_eq!(
        resolver.ask(&any("time.test")).await,
        Err(Failure::NoSuchName)
    );
    assert_eq!(second.asked(), []);
}

#[tokio::test]
async fn silence_ends_after_its_time() {
    let server = Server::start(|_| Reply::Silence).await;
    let resolver = Resolver {
        timeout: SHORT,
        ..resolver(&[server.address])
    };
    let start = Instant::now();
    assert_eq!(resolver.ask(&any("time.test")).await, Err(Failure::Timeout));
    let took = start.elapsed();
    assert!(
        took >= SHORT * 2 && took < SHORT * 8,
        "two attempts took {took:?}"
    );
}
