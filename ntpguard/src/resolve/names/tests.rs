//! The union and its schedule under a clock of the tests' own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use proptest::prelude::*;

use super::*;
use crate::resolve::{CEILING, FLOOR, LONGEST_RETRY};

const START: BootSeconds = BootSeconds(1000);
const HOUR: u32 = 3600;

fn question() -> Question {
    Question::new("pool.example", Family::Any)
}

fn v4(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    IpAddr::from([10, 0, high, low])
}

fn v6(number: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number))
}

fn answer(addresses: impl IntoIterator<Item = IpAddr>) -> Answer {
    Answer {
        addresses: addresses.into_iter().collect(),
        ttl: 150,
        ..Answer::default()
    }
}

fn wanted() -> Names {
    let mut names = Names::default();
    names.want([question()], START);
    names
}

fn held(names: &Names) -> BTreeSet<IpAddr> {
    names.addresses().map(|(_, address, _)| address).collect()
}

fn only(names: &Names, now: BootSeconds) -> NameStatus {
    let mut status = names.status(now);
    assert_eq!(status.len(), 1);
    status.remove(0)
}

#[test]
fn a_new_name_is_due_at_once_and_not_while_it_is_asked() {
    let mut names = wanted();
    assert_eq!(names.due(START), [question()]);
    assert_eq!(names.next(), Some(START));
    assert!(!names.is_idle(START));

    names.asking(&question());
    assert_eq!(names.due(START.plus(HOUR)), []);
    assert_eq!(names.next(), None);
    assert!(!names.is_idle(START) && !names.all_settled());

    names.answered(&question(), &answer([v4(1)]), START, 0.0);
    assert_eq!(names.next(), Some(START.plus(150)));
    assert_eq!(names.due(START.plus(149)), []);
    assert_eq!(names.due(START.plus(150)), [question()]);
    assert!(names.is_idle(START) && names.all_settled());
}

#[test]
fn answers_add_and_do_not_replace() {
    let mut names = wanted();
    names.answered(&question(), &answer([v4(1), v4(2)]), START, 0.0);
    names.answered(&question(), &answer([v4(3)]), START.plus(150), 0.0);
    assert_eq!(held(&names), [v4(1), v4(2), v4(3)].into());
}

#[test]
fn an_address_goes_a_day_after_dns_last_named_it() {
    let mut names = wanted();
    names.answered(&question(), &answer([v4(1), v4(2)]), START, 0.0);
    names.answered(&question(), &answer([v4(2)]), START.plus(HOUR), 0.0);

    assert_eq!(names.expire(START.plus(GRACE - 1)), []);
    names.asking(&question());
    assert_eq!(
        names.next(),
        Some(START.plus(GRACE)),
        "the loop wakes up for it"
    );
    assert_eq!(names.expire(START.plus(GRACE)), [(question(), v4(1))]);
    assert_eq!(held(&names), [v4(2)].into());
    assert_eq!(names.next(), None);
}

#[test]
fn the_last_known_good_outlives_any_outage_and_goes_when_dns_answers_without_it() {
    let mut names = wanted();
    names.answered(&question(), &answer([v4(1)]), START, 0.0);
    let mut now = START;
    for _ in 0..100 {
        now = now.plus(HOUR);
        names.failed(&question(), &Failure::NoSuchName, now, 0.5);
        assert_eq!(names.expire(now), []);
    }
    assert_eq!(held(&names), [v4(1)].into());
    assert_eq!(only(&names, now).failing_since, Some(START.plus(HOUR)));

    names.answered(&question(), &answer([v4(2)]), now, 0.0);
    assert_eq!(names.expire(now), [(question(), v4(1))]);
    assert_eq!(only(&names, now).failing_since, None);
}

#[test]
fn a_family_that_is_not_answered_keeps_its_addresses() {
    let mut names = wanted();
    names.answered(&question(), &answer([v4(1), v6(1)]), START, 0.0);
    let later = START.plus(2 * GRACE);
    let half = Answer {
        unanswered: Some(Family::V6),
        ..answer([v4(2)])
    };
    names.answered(&question(), &half, later, 0.0);
    assert_eq!(names.expire(later), [(question(), v4(1))]);
    assert_eq!(held(&names), [v4(2), v6(1)].into());
    assert_eq!(only(&names, later).unanswered, Some(Family::V6));

    names.answered(&question(), &answer([v4(2)]), later.plus(150), 0.0);
    assert_eq!(names.expire(later.plus(150)), [(question(), v6(1))]);
}

#[test]
fn saved_addresses_stay_until_the_name_is_resolved_and_their_grace_is_over() {
    let mut names = wanted();
    names.restore(
        &question(),
        [(v4(1), 0), (v4(2), HOUR), (v4(3), HOUR)],
        START,
    );
    assert_eq!(only(&names, START).saved, 3);
    names.failed(&question(), &Failure::Timeout, START, 0.0);
    assert_eq!(names.expire(START.plus(3 * GRACE)), []);

    let mut names = wanted();
    names.restore(
        &question(),
        [(v4(1), 0), (v4(2), HOUR), (v4(3), HOUR)],
        START,
    );
    names.answered(&question(), &answer([v4(3)]), START, 0.0);
    assert_eq!(names.expire(START), [(question(), v4(1))]);
    assert_eq!(only(&names, START).saved, 1, "3 is ordinary again");
    assert_eq!(names.expire(START.plus(HOUR)), [(question(), v4(2))]);
    assert_eq!(held(&names), [v4(3)].into());
}

#[test]
fn what_dns_said_in_this_run_is_not_undone_by_the_state_file() {
    let mut names = wanted();
    names.answered(&question(), &answer([v4(1)]), START, 0.0);
    names.restore(&question(), [(v4(1), 5)], START);
    assert_eq!(only(&names, START).saved, 0);
}

#[test]
fn the_state_file_cannot_lengthen_the_grace() {
    let mut names = wanted();
    names.restore(&question(), [(v4(1), u32::MAX)], START);
    let (_, _, held) = names.addresses().next().unwrap();
    assert_eq!(held.grace_left(START), GRACE);
    assert!(held.is_saved());
}

#[test]
fn a_name_no_longer_wanted_is_forgotten_and_its_late_answer_is_not_heeded() {
    let mut names = wanted();
    let other = Question::new("time.example", Family::V4);
    names.answered(&question(), &answer([v4(1)]), START, 0.0);
    names.want([other.clone(), question(), other.clone()], START.plus(1));
    assert_eq!(
        held(&names),
        [v4(1)].into(),
        "what stays wanted keeps its addresses"
    );
    assert_eq!(names.due(START.plus(1)), std::slice::from_ref(&other));

    names.want([other], START.plus(2));
    assert_eq!(held(&names), [].into());
    names.answered(&question(), &answer([v4(1)]), START.plus(3), 0.0);
    names.restore(&question(), [(v4(1), 5)], START.plus(3));
    assert_eq!(held(&names), [].into());
}

#[test]
fn a_full_name_lets_go_of_the_least_recently_named_and_never_of_the_current_answer() {
    let mut names = wanted();
    names.restore(&question(), [(v6(1), GRACE)], START);
    for quarter in 0..4 {
        let part = answer((quarter * 256..(quarter + 1) * 256).map(v4));
        names.answered(&question(), &part, START.plus(u32::from(quarter)), 0.0);
    }
    let status = only(&names, START);
    assert_eq!(
        (status.addresses, status.over_cap),
        (MAX_ADDRESSES_PER_NAME, 1)
    );
    assert!(
        !held(&names).contains(&v6(1)),
        "what was only saved goes first"
    );

    let more = Answer {
        over_cap: 7,
        ..answer([v4(0), v6(2), v6(3)])
    };
    names.answered(&question(), &more, START.plus(9), 0.0);
    let now = held(&names);
    assert!(now.contains(&v4(0)) && now.contains(&v6(2)) && now.contains(&v6(3)));
    assert!(!now.contains(&v4(1)) && !now.contains(&v4(2)) && now.contains(&v4(3)));
    assert_eq!(only(&names, START).over_cap, 1 + 7 + 2);
}

#[test]
fn a_full_name_takes_no_more_from_the_state_file() {
    let mut names = wanted();
    names.restore(&question(), (0..2000).map(|n| (v4(n), u32::from(n))), START);
    assert_eq!(held(&names), (2000 - 1024..2000).map(v4).collect());
}

#[test]
fn hurry_makes_every_name_due() {
    let mut names = wanted();
    names.answered(&question(), &answer([v4(1)]), START, 0.0);
    assert!(names.is_idle(START));
    names.refresh_now(START);
    assert_eq!(names.due(START), [question()]);
    assert!(names.all_settled());
}

#[test]
fn status_says_what_is_wrong_and_since_when() {
    let mut names = wanted();
    let refused = vec![(IpAddr::from([127, 0, 0, 1]), "loopback")];
    names.answered(
        &question(),
        &Answer {
            refused,
            ..answer([v4(1)])
        },
        START,
        0.0,
    );
    names.failed(&question(), &Failure::Timeout, START.plus(150), 0.0);
    names.failed(&question(), &Failure::NoSuchName, START.plus(152), 0.0);

    let json = serde_json::to_value(names.status(START.plus(153))).unwrap();
    let expected = serde_json::json!([{
        "name": "pool.example",
        "family": "any",
        "addresses": 1,
        "saved": 0,
        "next_in": 3,
        "resolved_at": 1000,
        "failing_since": 1150,
        "last_error": Failure::NoSuchName.to_string(),
        "unanswered": null,
        "refused": [["127.0.0.1", "loopback"]],
        "over_cap": 0,
    }]);
    assert_eq!(json, expected);
}

/// What can happen to a name.
#[derive(Clone, Debug)]
enum Event {
    Answer {
        numbers: BTreeSet<u16>,
        ttl: u32,
        unanswered: Option<Family>,
    },
    Failure,
    Expire,
}

fn event() -> impl Strategy<Value = Event> {
    let unanswered = prop_oneof![Just(None), Just(Some(Family::V4)), Just(Some(Family::V6))];
    let answer = (
        prop::collection::btree_set(0u16..40, 1..5),
        any::<u32>(),
        unanswered,
    )
        .prop_map(|(numbers, ttl, unanswered)| Event::Answer {
            numbers,
            ttl,
            unanswered,
        });
    prop_oneof![3 => answer, 2 => Just(Event::Failure), 2 => Just(Event::Expire)]
}

/// Even numbers are IPv4 addresses, odd ones IPv6.
fn address(number: u16) -> IpAddr {
    if number.is_multiple_of(2) {
        v4(number)
    } else {
        v6(number)
    }
}

proptest! {
    #[test]
    fn the_union_holds_what_was_named_within_a_day_and_nothing_unnamed(
        story in prop::collection::vec((0u32..40_000, event(), 0.0..=1.0), 1..60),
    ) {
        let mut names = wanted();
        let mut now = START;
        let mut named = BTreeMap::new();
        for (pause, event, jitter) in story {
            now = now.plus(pause);
            let before = held(&names);
            match event {
                Event::Answer { numbers, ttl, unanswered } => {
                    let addresses: Vec<_> = numbers.iter().copied().map(address).collect();
                    named.extend(addresses.iter().map(|address| (*address, now)));
                    let answer = Answer { ttl, unanswered, ..answer(addresses) };
                    names.answered(&question(), &answer, now, jitter);
                    prop_assert!(held(&names).is_superset(&before), "an answer took away");
                    let wait = only(&names, now).next_in.unwrap();
                    prop_assert!((FLOOR..=CEILING).contains(&wait));
                }
                Event::Failure => {
                    names.failed(&question(), &Failure::Timeout, now, jitter);
                    prop_assert_eq!(&held(&names), &before, "a failure changed the addresses");
                    let wait = only(&names, now).next_in.unwrap();
                    prop_assert!((2..=LONGEST_RETRY).contains(&wait));
                }
                Event::Expire => {
                    let gone = names.expire(now);
                    prop_assert_eq!(before.len(), held(&names).len() + gone.len());
                    prop_assert!(names.next().is_some_and(|next| next > now || names.due(now).len() == 1));
                }
            }
            let held = held(&names);
            for (address, at) in &named {
                prop_assert!(now.since(*at) >= GRACE || held.contains(address), "{address} went early");
            }
            prop_assert!(held.iter().all(|address| named.contains_key(address)));
        }
    }

    #[test]
    fn the_order_of_answers_within_an_instant_does_not_matter(
        answers in prop::collection::vec(prop::collection::btree_set(0u16..400, 1..50), 1..4),
        before in prop::collection::btree_set(0u16..1200, 0..1100),
    ) {
        let now = START.plus(10);
        let union = |answers: &mut dyn Iterator<Item = &BTreeSet<u16>>| {
            let mut names = wanted();
            names.restore(&question(), before.iter().map(|n| (address(*n), GRACE)), START);
            for numbers in answers {
                names.answered(&question(), &answer(numbers.iter().copied().map(address)), now, 0.0);
            }
            held(&names)
        };
        prop_assert_eq!(union(&mut answers.iter()), union(&mut answers.iter().rev()));
    }

    #[test]
    fn the_current_answer_is_always_held_and_the_cap_never_exceeded(
        answers in prop::collection::vec(prop::collection::btree_set(0u16..4000, 1..256), 1..20),
    ) {
        let mut names = wanted();
        for numbers in answers {
            let current: BTreeSet<_> = numbers.into_iter().map(address).collect();
            names.answered(&question(), &answer(current.iter().copied()), START, 0.0);
            prop_assert!(held(&names).is_superset(&current));
            prop_assert!(held(&names).len() <= MAX_ADDRESSES_PER_NAME);
        }
    }
}
