//! What `restrict` lines grant.

use super::{CLOSED, QUIET, SERVE, problems, read, wants};

#[test]
fn named_hosts_become_clients_and_those_that_may_query_control() {
    for (line, expected) in [
        (
            "restrict 192.168.0.0 mask 255.255.255.0 nomodify notrap",
            "192.168.0.0/24 client+control",
        ),
        (
            "restrict 192.168.7.1 mask 255.255.0.0 noquery",
            "192.168.0.0/16 client",
        ),
        (
            "restrict 192.168.0.0/16 noquery limited kod",
            "192.168.0.0/16 client",
        ),
        (
            "restrict 2001:db8:: mask ffff:ffff:: noquery",
            "2001:db8::/32 client",
        ),
        (
            "restrict -6 2001:db8::/32 noquery ippeerlimit 4 noepeer",
            "2001:db8::/32 client",
        ),
        ("restrict 192.0.2.1 nomodify", "192.0.2.1/32 client+control"),
        ("restrict 192.0.2.1 noserve", "192.0.2.1/32 control"),
        ("restrict [2001:db8::1] noquery", "2001:db8::1/128 client"),
        ("restrict 192.0.2.0/24 ntpport", "192.0.2.0/24 client"),
        (
            "restrict 192.0.2.0/24\nrestrict 192.0.2.0/24 noquery",
            "192.0.2.0/24 client",
        ),
        (
            "restrict 192.0.2.0/24 noserve noquery\nunrestrict 192.0.2.0/24 noserve",
            "192.0.2.0/24 client",
        ),
    ] {
        let wants = wants(line);
        assert_eq!(wants.len(), 1, "{line}: {wants:?}");
        assert!(wants[0].ends_with(expected), "{line}: {wants:?}");
    }
}

#[test]
fn what_is_forbidden_or_never_leaves_the_host_is_not_granted() {
    for line in [
        "restrict 192.0.2.0/24 ignore",
        "restrict 192.0.2.0/24 noserve noquery",
        "restrict 127.0.0.0 mask 255.0.0.0",
        "restrict source",
        "restrict source nomodify noquery",
        "restrict 192.0.2.0/24\nunrestrict 192.0.2.0/24",
        "restrict 192.0.2.0/24\ndelrestrict 192.0.2.0 mask 255.255.255.0",
    ] {
        assert!(wants(line).is_empty(), "{line}");
    }
}

#[test]
fn the_longest_prefix_decides() {
    let denial =
        "restrict 10.1.0.0/16 ignore\nrestrict 10.0.0.0/8 noquery\nrestrict 10.1.2.0/24 noquery";
    assert_eq!(
        wants(denial),
        [
            "1:10 10.1.0.0/16 none",
            "2:10 10.0.0.0/8 client",
            "3:10 10.1.2.0/24 client"
        ]
    );
    // Grants add up, so what cannot be said is left closed, with a note.
    let (told, wanted) = problems("restrict 10.0.0.0/8\nrestrict 10.1.0.0/16 noquery");
    assert_eq!(told, ["note 1:10"]);
    assert_eq!(
        wanted,
        ["1:10 10.0.0.0/8 client", "2:10 10.1.0.0/16 client"]
    );
    let (told, wanted) = problems("restrict 10.0.0.0/8 noquery\nrestrict 10.1.0.0/16 noserve");
    assert_eq!(told, ["note 2:10"]);
    assert_eq!(wanted, ["1:10 10.0.0.0/8 client", "2:10 10.1.0.0/16 none"]);
}

#[test]
fn serving_everybody_still_denies_whom_the_file_denies() {
    let (wants, _) = read(
        SERVE,
        "restrict default noquery\nrestrict 192.0.2.0/24 ignore\n",
    );
    assert_eq!(
        wants,
        [
            "ntp.conf:1:10 0.0.0.0/0 client",
            "ntp.conf:1:10 ::/0 client",
            "ntp.conf:2:10 192.0.2.0/24 none",
        ]
    );
    assert_eq!(read(SERVE, CLOSED), (vec![], vec![]));
    // The default by another name is nobody's decision either.
    let (wants, problems) = read(
        QUIET,
        "restrict 0.0.0.0 mask 0.0.0.0\nrestrict -6 default ignore",
    );
    assert_eq!(
        (wants, problems),
        (vec![], vec!["note ntp.conf:1:10".to_owned()])
    );
}

#[test]
fn a_flag_that_nobody_knows_leaves_whom_it_is_about_closed() {
    for flags in ["ignore novel", "novel", "-4"] {
        let (told, wanted) = problems(&format!(
            "restrict 10.0.0.0/8 noquery\nrestrict 10.1.0.0/16 {flags}"
        ));
        assert_eq!(told.len(), 1, "{flags}");
        assert_eq!(
            wanted,
            ["1:10 10.0.0.0/8 client", "2:10 10.1.0.0/16 none"],
            "{flags}"
        );
    }
    assert_eq!(
        problems("restrict 10.0.0.0/8 novel"),
        (vec!["error 1:21".to_owned()], vec![])
    );
}
