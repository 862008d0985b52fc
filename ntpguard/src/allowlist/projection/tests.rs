use proptest::prelude::*;

use super::*;

const NOW: BootSeconds = BootSeconds(1_000);

fn claim(prefix: &str, role: Option<Role>, origin: Origin) -> Claim {
    Claim {
        role,
        ..Claim::new(prefix.parse().unwrap(), origin)
    }
}

fn roles(projection: &Projection, prefix: &str) -> u32 {
    let prefix: IpNet = prefix.parse().unwrap();
    let grant = if is_address(&prefix) {
        projection.addresses.get(&prefix.addr())
    } else {
        projection.prefixes.get(&prefix)
    };
    grant
        .unwrap_or_else(|| panic!("no entry for {prefix}"))
        .roles
}

#[test]
fn an_address_is_all_that_its_claims_make_it() {
    let claims = [
        claim("192.0.2.1/32", Some(Role::Server), Origin::Dns),
        claim("192.0.2.1/32", Some(Role::Client), Origin::Manual),
    ];
    let projection = project(&claims, &Interfaces::default(), NOW);
    let grant = projection.addresses[&"192.0.2.1".parse::<IpAddr>().unwrap()];
    assert_eq!(grant.roles, Role::Server.bit() | Role::Client.bit());
    assert_eq!(grant.origins, Origin::Dns.bit() | Origin::Manual.bit());
}

#[test]
fn a_server_at_another_port_is_one_there_alone() {
    let at = |prefix, port, origin| claim(prefix, Some(Role::Server), origin).on(port);
    let claims = [
        at("192.0.2.1/32", 1123, Origin::Config),
        at("192.0.2.1/32", 1123, Origin::Daemon),
        at("192.0.2.2/32", 123, Origin::Config),
        at("192.0.2.2/32", 4123, Origin::Config),
        at("2001:db8::1/128", 1123, Origin::Dns),
        claim("2001:db8::1/128", None, Origin::Manual),
    ];
    let projection = project(&claims, &Interfaces::default(), NOW);
    let granted: Vec<_> = projection
        .addresses
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(granted, ["192.0.2.2", "2001:db8::1"]);
    let endpoints: Vec<_> = projection
        .endpoints
        .iter()
        .map(|(server, grant)| (server.to_string(), grant.roles, grant.origins))
        .collect();
    let (server, config) = (Role::Server.bit(), Origin::Config.bit());
    assert_eq!(
        endpoints,
        [
            (
                "192.0.2.1:1123".to_owned(),
                server,
                config | Origin::Daemon.bit()
            ),
            ("192.0.2.2:4123".to_owned(), server, config),
            (
                "[2001:db8::1]:1123".to_owned(),
                DENY | DENY_ALWAYS,
                Origin::Manual.bit()
            ),
        ]
    );
}

#[test]
fn long_replies_are_granted_at_every_port_and_to_nested_prefixes() {
    let long = |prefix| Claim {
        long_replies: true,
        ..claim(prefix, Some(Role::Server), Origin::Manual)
    };
    let claims = [
        long("192.0.2.1/32"),
        claim("192.0.2.1/32", Some(Role::Server), Origin::Config).on(1123),
        claim("192.0.2.2/32", Some(Role::Server), Origin::Config).on(1123),
        long("10.0.0.0/8"),
        claim("10.1.0.0/16", Some(Role::Client), Origin::Config),
    ];
    let projection = project(&claims, &Interfaces::default(), NOW);
    let server = Role::Server.bit();
    assert_eq!(roles(&projection, "192.0.2.1/32"), server | LONG_REPLIES);
    let at_port = |address: &str| projection.endpoints[&address.parse().unwrap()].roles;
    assert_eq!(at_port("192.0.2.1:1123"), server | LONG_REPLIES);
    assert_eq!(at_port("192.0.2.2:1123"), server);
    assert_eq!(
        roles(&projection, "10.1.0.0/16"),
        server | Role::Client.bit() | LONG_REPLIES
    );
    let denied = [
        long("192.0.2.1/32"),
        claim("192.0.2.1/32", None, Origin::Manual),
    ];
    assert_eq!(
        roles(
            &project(&denied, &Interfaces::default(), NOW),
            "192.0.2.1/32"
        ),
        DENY | DENY_ALWAYS
    );
}

#[test]
fn a_peer_at_another_port_is_one_at_ours_too() {
    let peer = [Role::Peer, Role::Server];
    let claims = peer.map(|role| claim("192.0.2.1/32", Some(role), Origin::Config).on(1123));
    let projection = project(&claims, &Interfaces::default(), NOW);
    assert_eq!(roles(&projection, "192.0.2.1/32"), Role::Peer.bit());
    let there = projection.endpoints[&"192.0.2.1:1123".parse().unwrap()];
    assert_eq!(there.roles, Role::Peer.bit() | Role::Server.bit());
}

#[test]
fn a_nested_prefix_keeps_what_covers_it() {
    let claims = [
        claim("10.0.0.0/8", Some(Role::Client), Origin::Config),
        claim("10.1.0.0/16", Some(Role::Control), Origin::Config),
        claim("10.1.2.0/24", Some(Role::Peer), Origin::Config),
        claim("11.0.0.0/8", Some(Role::Server), Origin::Config),
    ];
    let projection = project(&claims, &Interfaces::default(), NOW);
    let both = Role::Client.bit() | Role::Control.bit();
    assert_eq!(roles(&projection, "10.1.0.0/16"), both);
    assert_eq!(roles(&projection, "10.1.2.0/24"), both | Role::Peer.bit());
    assert_eq!(roles(&projection, "11.0.0.0/8"), Role::Server.bit());
}

#[test]
fn a_denial_stops_what_covers_it_and_nothing_else() {
    let claims = [
        claim("10.0.0.0/8", Some(Role::Client), Origin::Config),
        claim("10.1.0.0/16", None, Origin::Config),
        claim("10.1.2.0/24", Some(Role::Control), Origin::Config),
        claim("10.1.2.3/32", None, Origin::Config),
        claim("10.1.2.3/32", Some(Role::Server), Origin::Dns),
    ];
    let projection = project(&claims, &Interfaces::default(), NOW);
    assert_eq!(roles(&projection, "10.1.0.0/16"), DENY);
    assert_eq!(roles(&projection, "10.1.2.0/24"), Role::Control.bit());
    assert_eq!(roles(&projection, "10.1.2.3/32"), DENY | Role::Server.bit());
}

#[test]
fn a_denial_by_hand_stops_every_other_claim_on_the_prefix() {
    let claims = [
        claim("192.0.2.1/32", Some(Role::Server), Origin::Dns),
        claim("192.0.2.1/32", None, Origin::Manual),
    ];
    assert_eq!(
        roles(
            &project(&claims, &Interfaces::default(), NOW),
            "192.0.2.1/32"
        ),
        DENY | DENY_ALWAYS
    );
    let in_a_file = claim("192.0.2.2/32", None, Origin::Config);
    assert_eq!(
        roles(
            &project([&in_a_file], &Interfaces::default(), NOW),
            "192.0.2.2/32"
        ),
        DENY
    );
}

#[test]
fn a_learned_server_is_granted_nothing() {
    let claims = [claim("192.0.2.1/32", Some(Role::Server), Origin::Learned)];
    assert_eq!(
        project(&claims, &Interfaces::default(), NOW),
        Projection::default()
    );
}

#[test]
fn the_latest_end_wins_and_never_is_later_than_all() {
    let mut short = claim("192.0.2.1/32", Some(Role::Server), Origin::Manual);
    short.ends = Some(NOW.plus(10));
    let mut long = short.clone();
    long.ends = Some(NOW.plus(20));
    let forever = claim("192.0.2.1/32", Some(Role::Server), Origin::Dns);
    let end = |claims: &[&Claim]| {
        project(claims.iter().copied(), &Interfaces::default(), NOW)
            .addresses
            .values()
            .next()
            .unwrap()
            .expires
            .server
    };
    assert_eq!(end(&[&short, &long]), NOW.0 + 20);
    assert_eq!(end(&[&long, &forever]), 0);
    assert_eq!(end(&[&forever, &short]), 0);
    assert!(
        project([&short], &Interfaces::default(), NOW.plus(10))
            .addresses
            .is_empty()
    );
}

/// eth0 is 2, and eth0.5 stands on it; eth1 is 3.
fn interfaces() -> Interfaces {
    let mut interfaces = Interfaces::default();
    for (index, name) in [(2, "eth0"), (3, "eth1"), (4, "eth0.5")] {
        interfaces.add(index, name);
    }
    interfaces.stands_on(4, 2);
    interfaces
}

fn on(host: &str, role: Option<Role>, origin: Origin) -> Claim {
    Claim {
        role,
        ..Claim::of_host(&host.parse().unwrap(), origin)
    }
}

fn of_addresses(claims: &[Claim]) -> Vec<(String, u32)> {
    let projection = project(claims, &interfaces(), NOW);
    let addresses = projection.addresses.iter();
    addresses
        .map(|(key, grant)| (key.to_string(), grant.roles))
        .collect()
}

fn expected_addresses(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
    let expected = expected.iter();
    expected
        .map(|(key, roles)| ((*key).to_owned(), *roles))
        .collect()
}

#[test]
fn what_is_granted_on_an_interface_stands_there_with_what_is_granted_everywhere() {
    let server = Some(Role::Server);
    let claims = [
        on("fe80::1%eth0", server, Origin::Config),
        on("fe80::1", Some(Role::Client), Origin::Config),
        on("fe80::2%eth0.5", server, Origin::Config),
        on("fe80::3%3", server, Origin::Daemon),
    ];
    let (server, client) = (Role::Server.bit(), Role::Client.bit());
    let expected = [
        ("fe80::1", client),
        ("fe80:0:0:2::1", server | client),
        ("fe80:0:0:2::2", server),
        ("fe80:0:0:3::3", server),
        ("fe80:0:0:4::2", server),
    ];
    assert_eq!(of_addresses(&claims), expected_addresses(&expected));
}

#[test]
fn of_an_interface_that_is_not_there_nothing_stands() {
    let claims = [on("fe80::1%eth7", Some(Role::Server), Origin::Manual)];
    assert_eq!(project(&claims, &interfaces(), NOW), Projection::default());
}

#[test]
fn a_denial_by_hand_holds_wherever_either_form_is_granted() {
    let server = Some(Role::Server);
    let everywhere = [
        on("fe80::1%eth0", server, Origin::Manual),
        on("fe80::1", None, Origin::Manual),
    ];
    let denied = DENY | DENY_ALWAYS;
    let expected = [("fe80::1", denied), ("fe80:0:0:2::1", denied)];
    assert_eq!(of_addresses(&everywhere), expected_addresses(&expected));
    let here = [
        on("fe80::1%eth0", None, Origin::Manual),
        on("fe80::1", server, Origin::Manual),
    ];
    let expected = [("fe80::1", Role::Server.bit()), ("fe80:0:0:2::1", denied)];
    assert_eq!(of_addresses(&here), expected_addresses(&expected));
}

#[test]
fn a_denial_on_an_interface_is_one_at_every_port_there() {
    let server = Some(Role::Server);
    let claims = [
        on("fe80::1", server, Origin::Config).on(1123),
        on("fe80::1%eth0", None, Origin::Manual),
        on("fe80::2%eth1", server, Origin::Daemon).on(1123),
        on("fe80::2", None, Origin::Manual),
    ];
    let projection = project(&claims, &interfaces(), NOW);
    let endpoints: Vec<_> = projection
        .endpoints
        .iter()
        .map(|(server, grant)| (server.to_string(), grant.roles))
        .collect();
    let expected = [
        ("[fe80::1]:1123", Role::Server.bit()),
        ("[fe80:0:0:2::1]:1123", DENY | DENY_ALWAYS),
        ("[fe80:0:0:3::2]:1123", DENY | DENY_ALWAYS),
    ];
    assert_eq!(endpoints, expected_addresses(&expected));
}

fn any_claims() -> impl Strategy<Value = Vec<Claim>> {
    let role = prop::sample::select(
        Role::ALL
            .into_iter()
            .map(Some)
            .chain([None])
            .collect::<Vec<_>>(),
    );
    let origin = prop::sample::select(Origin::ALL.to_vec());
    // Few bits, so that prefixes nest and meet.
    let prefix =
        (0_u32..16, prop::sample::select(vec![0_u8, 8, 28, 30, 32])).prop_map(|(low, length)| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 | low);
            IpNet::new(address.into(), length).unwrap().trunc()
        });
    let ends = prop::option::of(900_u32..1_100);
    prop::collection::vec(
        (prefix, role, origin, ends).prop_map(|(prefix, role, origin, ends)| Claim {
            role,
            ends: ends.map(BootSeconds),
            ..Claim::new(prefix, origin)
        }),
        0..24,
    )
}

/// Claims by hand about few link-local addresses, on interfaces that are there or not, or everywhere.
fn any_scoped_claims() -> impl Strategy<Value = Vec<Claim>> {
    let hosts = ["", "%eth0", "%eth1", "%eth0.5", "%2", "%eth7"];
    let role = prop::option::weighted(0.8, prop::sample::select(Role::ALL.to_vec()));
    let host = (1..4_u16, prop::sample::select(hosts.to_vec()));
    let claim = (host, role).prop_map(|((last, scope), role)| {
        on(&format!("fe80::{last}{scope}"), role, Origin::Manual)
    });
    prop::collection::vec(claim, 0..8)
}

/// The rule said again, slowly: from the longest prefix outwards until a denial.
fn expected(claims: &[Claim], address: std::net::Ipv4Addr, role: Role) -> bool {
    let address = IpAddr::from(address);
    for length in (0..=32).rev() {
        let here: Vec<_> = claims
            .iter()
            .filter(|claim| claim.ends.is_none_or(|ends| ends > NOW))
            .filter(|claim| claim.origin != Origin::Learned)
            .filter(|claim| claim.prefix.prefix_len() == length && claim.prefix.contains(&address))
            .collect();
        let denied = here.iter().any(|claim| claim.role.is_none());
        let by_hand = here
            .iter()
            .any(|claim| claim.role.is_none() && claim.origin == Origin::Manual);
        if !by_hand && here.iter().any(|claim| claim.role == Some(role)) {
            return true;
        }
        if denied {
            return false;
        }
    }
    false
}

/// What the kernel finds: the address's own entry, then the longest prefix.
fn found(projection: &Projection, address: std::net::Ipv4Addr, role: Role) -> bool {
    let address = IpAddr::from(address);
    let own = projection.addresses.get(&address);
    if own.is_some_and(|grant| grant.roles & role.bit() != 0) {
        return true;
    }
    if own.is_some_and(|grant| grant.roles & DENY != 0) {
        return false;
    }
    projection
        .prefixes
        .iter()
        .filter(|(prefix, _)| prefix.contains(&address))
        .max_by_key(|(prefix, _)| prefix.prefix_len())
        .is_some_and(|(_, grant)| grant.roles & role.bit() != 0)
}

proptest! {
    #[test]
    fn the_kernel_finds_what_the_claims_say(claims in any_claims()) {
        let projection = project(&claims, &Interfaces::default(), NOW);
        for low in 0..16 {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 | low);
            for role in Role::ALL {
                prop_assert_eq!(
                    found(&projection, address, role),
                    expected(&claims, address, role),
                    "{} as {}", address, role.name()
                );
            }
        }
    }

    #[test]
    fn no_claim_on_an_interface_is_granted_on_another(
        claims in any_scoped_claims(),
        index in 2..5_u32,
        last in 1..4_u16,
    ) {
        let address = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
        let projection = project(&claims, &interfaces(), NOW);
        let key = IpAddr::from(scope::key(address, index));
        let here = projection.addresses.get(&key);
        let found = here.or_else(|| projection.addresses.get(&address.into()));
        let roles = found.map_or(0, |grant| grant.roles);
        let holds: Vec<_> = claims
            .iter()
            .filter(|claim| claim.prefix.addr() == address)
            .filter(|claim| {
                let scope = claim.scope.as_ref();
                scope.is_none_or(|scope| interfaces().of_link(scope).contains(&index))
            })
            .collect();
        let is_denied = holds.iter().any(|claim| claim.role.is_none());
        for role in Role::ALL {
            let is_granted = holds.iter().any(|claim| claim.role == Some(role));
            prop_assert_eq!(roles & role.bit() != 0, is_granted && !is_denied, "{}", role.name());
        }
        prop_assert_eq!(roles & DENY_ALWAYS != 0, is_denied);
    }

    #[test]
    fn the_order_of_claims_does_not_matter(claims in any_claims()) {
        let mut reversed = claims.clone();
        reversed.reverse();
        prop_assert_eq!(project(&claims, &Interfaces::default(), NOW), project(&reversed, &Interfaces::default(), NOW));
    }

    #[test]
    fn no_claim_grants_anything_after_its_end(claims in any_claims()) {
        let later = project(&claims, &Interfaces::default(), BootSeconds(2_000));
        let forever: Vec<_> = claims.into_iter().filter(|claim| claim.ends.is_none()).collect();
        prop_assert_eq!(later, project(&forever, &Interfaces::default(), BootSeconds(2_000)));
    }
}
