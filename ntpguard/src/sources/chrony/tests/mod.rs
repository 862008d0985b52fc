//! Whole configurations, as distributions ship them and as they should not be.

mod properties;

use super::{super::testing::Tree, Chrony};

fn read(text: &str) -> (Vec<String>, Vec<String>) {
    Tree::lines_of(&Chrony, "chrony.conf", text)
}

fn wants(text: &str) -> Vec<String> {
    let (wants, problems) = read(text);
    assert!(problems.is_empty(), "{text}: {problems:?}");
    wants
}

#[test]
fn debians_file_asks_for_its_pool_its_snippets_and_what_dhcp_named() {
    let tree = Tree::new(&[
        (
            "chrony/chrony.conf",
            "confdir {}/chrony/conf.d\n\
             pool 2.debian.pool.ntp.org iburst\n\
             sourcedir {}/run/chrony-dhcp\n\
             sourcedir {}/chrony/sources.d\n\
             keyfile /etc/chrony/chrony.keys\n\
             driftfile /var/lib/chrony/chrony.drift\n\
             ntsdumpdir /var/lib/chrony\n\
             #log tracking measurements statistics\n\
             logdir /var/log/chrony\n\
             maxupdateskew 100.0\n\
             rtcsync\n\
             makestep 1 3\n\
             leapsectz right/UTC\n",
        ),
        (
            "chrony/conf.d/local.conf",
            "server local.example\nallow 192.168.0.0/16\n",
        ),
        (
            "run/chrony-dhcp/eth0.sources",
            "server 192.0.2.1 iburst\nserver 192.0.2.2",
        ),
        ("chrony/sources.d/README", "server readme.example\n"),
    ]);
    let reading = tree.read(&Chrony, "chrony/chrony.conf");
    assert_eq!(
        tree.wants(&reading),
        [
            "chrony/conf.d/local.conf:1:8 local.example server",
            "chrony/chrony.conf:2:6 2.debian.pool.ntp.org server",
            "run/chrony-dhcp/eth0.sources:1:8 192.0.2.1 server",
            "chrony/conf.d/local.conf:2:7 192.168.0.0/16 client",
        ]
    );
    assert_eq!(
        tree.problems(&reading),
        ["note run/chrony-dhcp/eth0.sources:2:1"]
    );
    for path in [
        "chrony/conf.d",
        "run/chrony-dhcp",
        "run/chrony-dhcp/eth0.sources",
        "chrony/sources.d",
    ] {
        assert!(reading.watched.contains(&tree.path(path)), "{path}");
    }
}

#[test]
fn fedoras_file_grants_its_pool_alone() {
    let text = "# public servers\npool 2.fedora.pool.ntp.org iburst\nsourcedir /nowhere/chrony-dhcp\n\
                driftfile /var/lib/chrony/drift\nmakestep 1.0 3\nrtcsync\n#hwtimestamp *\n\
                #allow 192.168.0.0/16\nkeyfile /etc/chrony.keys\nntsdumpdir /var/lib/chrony\n\
                leapseclist /usr/share/zoneinfo/leap-seconds.list\nlogdir /var/log/chrony\n";
    assert_eq!(wants(text), ["2:6 2.fedora.pool.ntp.org server"]);
}

#[test]
fn sources_are_read_with_their_options() {
    for (line, expected) in [
        ("server ntp.example", "1:8 ntp.example server"),
        (
            "  SERVER\tntp.example  iBurst Port 123\r",
            "1:10 ntp.example server",
        ),
        (
            "pool pool.example ipv6 maxsources 3",
            "1:6 -6 pool.example server",
        ),
        (
            "server 192.0.2.1 IPV4 key 5 offset -0.1",
            "1:8 -4 192.0.2.1 server",
        ),
        ("peer 2001:db8::1 xleave", "1:6 2001:db8::1 peer+server"),
        (
            "server ntp.example nts ntsport 4461 certset 2",
            "1:8 ntp.example server",
        ),
        (
            "server ntp.example shiny-new-option 7",
            "1:8 ntp.example server",
        ),
        ("initstepslew 30 192.0.2.1", "1:17 192.0.2.1 server"),
    ] {
        assert_eq!(wants(line), [expected], "{line}");
    }
}

#[test]
fn comments_are_whole_lines_and_nothing_else() {
    for line in [
        "! server a",
        ";server a",
        "  # server a",
        "%server a",
        "",
        " \t",
    ] {
        assert!(wants(line).is_empty(), "{line}");
    }
    // chronyd takes these words for options, and does not start.
    assert_eq!(wants("server a.example # iburst"), ["1:8 a.example server"]);
}

#[test]
fn what_names_no_source_asks_for_nothing() {
    for line in [
        "refclock SHM 0 refid GPS",
        "broadcast 30 192.0.2.255",
        "cmdallow 192.0.2.0/24",
        "bindaddress 192.0.2.1",
        "acquisitionport 1123",
        "made up directive",
        "deny all",
        "port 0",
    ] {
        assert!(wants(line).is_empty(), "{line}");
    }
}

#[test]
fn a_bad_line_is_placed_and_never_stops_the_good_ones() {
    for (line, column) in [
        ("server", 7),
        ("server 192.0.2.300", 8),
        ("server 192.0.2.1 ipv6", 8),
        ("server \"a\"", 8),
        ("server b\u{fc}ro.example", 8),
        ("pool 224.0.1.1", 6),
        ("server a.example port", 22),
        ("server a.example port x", 23),
        ("server a.example port 65536", 23),
        ("initstepslew", 13),
        ("initstepslew a.example", 14),
        ("allow 192.0.2.0/33", 7),
        ("allow 2001:db8::/129", 7),
        ("allow 192.0.2.256", 7),
        ("allow 1.2.3.4.5", 7),
        ("allow 10.", 7),
        ("allow 192.0.2.0 192.0.3.0", 17),
        ("allow all 10/8 more", 16),
        ("port many", 6),
        ("include", 8),
        ("include a b", 11),
        ("confdir", 8),
        (&format!("server {} iburst", "a".repeat(2048)), 1),
    ] {
        let text = format!("server first.example\n{line}\nserver last.example");
        let first_and_last = ["1:8 first.example server", "3:8 last.example server"];
        let (wants, problems) = read(&text);
        assert_eq!(problems, [format!("error 2:{column}")], "{line}");
        assert_eq!(wants, first_and_last, "{line}");
    }
}

#[test]
fn a_source_may_be_asked_at_another_port() {
    let (wants, problems) = read("peer ntp.example ipv6 port 1123 xleave");
    assert_eq!(wants, ["1:6 -6 ntp.example port 1123 peer+server"]);
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn what_is_left_out_on_purpose_is_told() {
    for (line, place) in [
        ("server 127.0.0.1", "1:8"),
        ("allow trusted.example", "1:7"),
        ("allow ALL", "1:7"),
        ("allow\nport 0", "2:5"),
        ("port 1123\nallow 10/8", "1:5"),
    ] {
        assert_eq!(
            read(line),
            (vec![], vec![format!("note {place}")]),
            "{line}"
        );
    }
}

#[test]
fn clients_are_those_allowed() {
    for (text, expected) in [
        ("allow", vec!["1:6 0.0.0.0/0 client", "1:6 ::/0 client"]),
        ("allow all", vec!["1:7 0.0.0.0/0 client", "1:7 ::/0 client"]),
        ("allow 192.168", vec!["1:7 192.168.0.0/16 client"]),
        ("allow 10", vec!["1:7 10.0.0.0/8 client"]),
        ("Allow 10.1.2", vec!["1:7 10.1.2.0/24 client"]),
        ("allow 172.16/12", vec!["1:7 172.16.0.0/12 client"]),
        ("allow 192.0.2.9/24", vec!["1:7 192.0.2.0/24 client"]),
        ("allow 192.0.2.9", vec!["1:7 192.0.2.9/32 client"]),
        ("allow 2001:db8::/32", vec!["1:7 2001:db8::/32 client"]),
        (
            "allow 10/8\ndeny 10.1/16",
            vec!["1:7 10.0.0.0/8 client", "2:6 10.1.0.0/16 none"],
        ),
        (
            "deny 10.1/16\nallow 10/8",
            vec!["1:6 10.1.0.0/16 none", "2:7 10.0.0.0/8 client"],
        ),
        (
            "deny 10.1/16\nallow all 10/8",
            vec!["2:11 10.0.0.0/8 client"],
        ),
        ("allow 10/8\ndeny all", vec![]),
        ("allow 10/8\ndeny 10/8", vec![]),
        ("deny 10/8\nallow 10/8", vec!["2:7 10.0.0.0/8 client"]),
        ("deny 10/8", vec![]),
        ("allow 10/8\nport 123", vec!["1:7 10.0.0.0/8 client"]),
        // On one level of chronyd's table the last line counts.
        (
            "deny 10.0.0.0/10\nallow 10.0.0.0/9",
            vec!["2:7 10.0.0.0/9 client"],
        ),
        (
            "deny 10.0.0.0/13\nallow 10.0.0.0/9",
            vec!["1:6 10.0.0.0/13 none", "2:7 10.0.0.0/9 client"],
        ),
    ] {
        assert_eq!(wants(text), expected, "{text}");
    }
}

#[test]
fn includes_are_patterns_and_directories_in_the_order_of_file_names() {
    let tree = Tree::new(&[
        (
            "chrony.conf",
            "include {}/inc/*.conf\ninclude one\nconfdir {}/b {}/a {}/missing\n",
        ),
        ("inc/2.conf", "server i2.example\n"),
        ("inc/1.conf", "server i1.example"),
        ("inc/.3.conf", "server hidden.example\n"),
        ("inc/deep/4.conf", "server deep.example\n"),
        ("one", "server one.example\n"),
        ("a/1.conf", "server a1.example\n"),
        ("a/2.conf", "server a2.example\n"),
        ("b/2.conf", "server b2.example\n"),
        ("b/3.conf", "server b3.example\n"),
    ]);
    let reading = tree.read(&Chrony, "chrony.conf");
    assert_eq!(
        tree.wants(&reading),
        [
            "inc/1.conf:1:8 i1.example server",
            "inc/2.conf:1:8 i2.example server",
            "one:1:8 one.example server",
            "a/1.conf:1:8 a1.example server",
            "b/2.conf:1:8 b2.example server",
            "b/3.conf:1:8 b3.example server",
        ]
    );
    assert!(reading.problems.is_empty());
    for path in ["inc", "a", "b", "missing"] {
        assert!(reading.watched.contains(&tree.path(path)), "{path}");
    }
}

#[test]
fn a_source_file_read_by_itself_has_sources_alone() {
    let tree = Tree::new(&[(
        "dhcp.sources",
        "Server 192.0.2.1\nallow\npool a.example\nserver b.example",
    )]);
    let reading = tree.read(&Chrony, "dhcp.sources");
    assert_eq!(
        tree.wants(&reading),
        [
            "dhcp.sources:1:8 192.0.2.1 server",
            "dhcp.sources:3:6 a.example server"
        ]
    );
    assert_eq!(
        tree.problems(&reading),
        ["note dhcp.sources:2:1", "note dhcp.sources:4:1"]
    );
}

#[test]
fn includes_that_lead_nowhere_or_in_circles_are_told() {
    let tree = Tree::new(&[
        (
            "chrony.conf",
            "include gone\ninclude none*\ninclude chrony.conf\ninclude loop\nserver a.example\n",
        ),
        ("loop", "include back\n"),
        ("back", "include loop\n"),
    ]);
    let reading = tree.read(&Chrony, "chrony.conf");
    assert_eq!(tree.wants(&reading), ["chrony.conf:5:8 a.example server"]);
    let problems = [
        "unreadable gone:0:0",
        "error chrony.conf:3:9",
        "error back:1:9",
    ];
    assert_eq!(tree.problems(&reading), problems);
}
