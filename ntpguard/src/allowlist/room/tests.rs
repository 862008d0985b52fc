use std::net::Ipv4Addr;

use ntpguard_common::maps::tables::{DENY, Origin, Role};
use proptest::prelude::*;

use super::*;
use crate::{allowlist::projection::wanted, clock::BootSeconds, scope::Interfaces};

const NOW: BootSeconds = BootSeconds(1_000);

fn fit(claims: &[Claim], room: Room) -> (Projection, LeftOut) {
    wanted(claims, &Interfaces::default(), NOW).within(room)
}

fn claim(address: u32, speaker: Speaker, role: Option<Role>) -> Claim {
    let address = IpAddr::from(Ipv4Addr::from(address));
    Claim {
        role,
        speaker,
        ..Claim::new(address.into(), Origin::Config)
    }
}

#[test]
fn addresses_of_others_that_come_first_in_order_give_way_to_roots() {
    let theirs = (0..100).map(|low| claim(0x0a00_0000 | low, Speaker::Others, Some(Role::Server)));
    let own = claim(0xc000_0201, Speaker::Root, Some(Role::Server));
    let by_hand = Claim {
        role: Some(Role::Client),
        ..Claim::new("203.0.113.9/32".parse().unwrap(), Origin::Manual)
    };
    let claims: Vec<Claim> = theirs.chain([own, by_hand]).collect();
    let (projection, left_out) = fit(
        &claims,
        Room {
            each: 10,
            endpoints: 1,
        },
    );
    assert_eq!(projection.addresses.len(), 10);
    for address in ["192.0.2.1", "203.0.113.9"] {
        assert!(projection.addresses.contains_key(&address.parse().unwrap()));
    }
    assert_eq!(left_out.of_root(), 0);
    let said = left_out.to_string();
    assert!(said.contains("ALLOW_V4 is full"), "{said}");
    assert!(said.contains("users other than root can write"), "{said}");
    assert!(said.contains("--table-size"), "{said}");
}

#[test]
fn where_root_wants_too_much_its_denials_and_written_addresses_come_first() {
    let mut claims: Vec<Claim> = (0..4)
        .map(|low| Claim {
            name: Some("pool.example".to_owned()),
            ..claim(low, Speaker::Root, Some(Role::Server))
        })
        .collect();
    claims.push(claim(8, Speaker::Root, Some(Role::Server)));
    claims.push(claim(9, Speaker::Root, None));
    let held = |each| {
        let (projection, left_out) = fit(&claims, Room { each, endpoints: 0 });
        let kept = projection.addresses.into_iter();
        let kept: Vec<String> = kept.map(|(address, _)| address.to_string()).collect();
        (kept, left_out.of_root())
    };
    assert_eq!(held(1), (vec!["0.0.0.9".to_owned()], 1));
    assert_eq!(
        held(2),
        (vec!["0.0.0.8".to_owned(), "0.0.0.9".to_owned()], 0)
    );
    assert_eq!(held(6).0.len(), 6);
    assert!(fit(&claims, Room::ENDLESS).1.is_empty());
}

fn claims_of(speakers: Vec<Speaker>) -> impl Strategy<Value = Vec<Claim>> {
    let speaker = prop::sample::select(speakers);
    let role = prop::option::weighted(0.8, prop::sample::select(Role::ALL.to_vec()));
    let port = prop::sample::select(vec![123_u16, 123, 1123]);
    let name = prop::option::weighted(0.2, Just("a.example".to_owned()));
    let one =
        (0_u32..24, speaker, role, port, name).prop_map(|(low, speaker, role, port, name)| Claim {
            name,
            ..claim(0x0a00_0000 | low, speaker, role).on(port)
        });
    prop::collection::vec(one, 0..24)
}

proptest! {
    /// Whatever the others ask for, all that root's own words need is written, if it has room by itself.
    #[test]
    fn others_take_none_of_roots_room(
        own in claims_of(vec![Speaker::Root]),
        theirs in claims_of(vec![
            Speaker::CommandLine, Speaker::Daemon, Speaker::Others, Speaker::Container,
        ]),
        spare in 0_usize..4,
    ) {
        let written: Vec<Claim> = own.into_iter().filter(|claim| claim.name.is_none()).collect();
        let (alone, _) = fit(&written, Room::ENDLESS);
        let room = Room {
            each: alone.addresses.len() + spare,
            endpoints: alone.endpoints.len() + spare,
        };
        // Order must not matter.
        let all: Vec<Claim> = theirs.iter().chain(&written).cloned().collect();
        let (together, left_out) = fit(&all, room);
        prop_assert_eq!(left_out.of_root(), 0);
        prop_assert!(together.addresses.len() <= room.each);
        prop_assert!(together.endpoints.len() <= room.endpoints);
        for (address, grant) in &alone.addresses {
            let has = together.addresses.get(address);
            prop_assert!(has.is_some_and(|has| has.roles & grant.roles == grant.roles), "{address}");
        }
        for (server, grant) in &alone.endpoints {
            let has = together.endpoints.get(server);
            prop_assert!(has.is_some_and(|has| has.roles & grant.roles == grant.roles), "{server}");
        }
        for (address, grant) in &together.addresses {
            let denied = written.iter().any(|claim| claim.prefix.addr() == *address && claim.role.is_none() && claim.port == 123);
            prop_assert!(!denied || grant.roles & DENY != 0);
        }
    }
}
