//! Whole configurations, as distributions ship them and as they should not be.

use proptest::prelude::*;

use super::{
    super::{
        Want,
        testing::{Tree, host_text, read_bytes},
    },
    Timesyncd,
};

const MAIN: &str = "etc/systemd/timesyncd.conf";
const SHIPPED: &str = "#  This file is part of systemd.\n#\n\
    # Entries in this file show the compile time defaults.\n\n\
    [Time]\n#NTP=\n\
    #FallbackNTP=0.debian.pool.ntp.org 1.debian.pool.ntp.org\n\
    #RootDistanceMaxSec=5\n#PollIntervalMinSec=32\n";

fn read(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let tree = Tree::new(files);
    let reading = tree.read(&Timesyncd, MAIN);
    (tree.wants(&reading), tree.problems(&reading))
}

#[test]
fn a_file_of_comments_has_the_fallback_that_they_show() {
    let (wants, problems) = read(&[(MAIN, SHIPPED)]);
    let place = "etc/systemd/timesyncd.conf:7";
    assert_eq!(
        wants,
        [
            format!("{place}:14 0.debian.pool.ntp.org server"),
            format!("{place}:36 1.debian.pool.ntp.org server")
        ]
    );
    assert_eq!(problems, [format!("note {place}:14")]);
}

#[test]
fn servers_add_up_and_an_empty_value_forgets_them() {
    let (wants, problems) = read(&[(
        MAIN,
        "[Time]\nNTP=a.example\n NTP = b.example 192.0.2.1\nNTP=\nNTP=c.example\\\n# no\n  2001:db8::1\n\
         [Other]\nNTP=d.example\n[Time]\nFallbackNTP=e.example\nntp=f.example\n",
    )]);
    assert_eq!(
        wants,
        [
            "etc/systemd/timesyncd.conf:5:5 c.example server",
            "etc/systemd/timesyncd.conf:7:3 2001:db8::1 server"
        ]
    );
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn drop_ins_are_read_by_name_and_the_first_directory_hides_the_others() {
    let tree = Tree::new(&[
        (MAIN, "[Time]\nNTP=main.example\n"),
        (
            "etc/systemd/timesyncd.conf.d/20.conf",
            "[Time]\nNTP=etc.example\n",
        ),
        (
            "run/systemd/timesyncd.conf.d/20.conf",
            "[Time]\nNTP=run.example\n",
        ),
        (
            "run/systemd/timesyncd.conf.d/01-dhclient.conf",
            "[Time]\nNTP=192.0.2.9\n",
        ),
        (
            "usr/lib/systemd/timesyncd.conf.d/30.conf",
            "[Time]\nNTP=masked.example\n",
        ),
        (
            "usr/lib/systemd/timesyncd.conf.d/40.conf.bak",
            "[Time]\nNTP=bak.example\n",
        ),
    ]);
    let mask = tree.path("etc/systemd/timesyncd.conf.d/30.conf");
    std::os::unix::fs::symlink("/dev/null", mask).expect("a link");
    let reading = tree.read(&Timesyncd, MAIN);
    assert_eq!(
        tree.wants(&reading),
        [
            "etc/systemd/timesyncd.conf:2:5 main.example server",
            "run/systemd/timesyncd.conf.d/01-dhclient.conf:2:5 192.0.2.9 server",
            "etc/systemd/timesyncd.conf.d/20.conf:2:5 etc.example server",
        ]
    );
    assert!(tree.problems(&reading).is_empty());
    for path in [
        "run/systemd/timesyncd.conf.d",
        "usr/lib/systemd/timesyncd.conf",
    ] {
        assert!(reading.watched.contains(&tree.path(path)), "{path}");
    }
}

#[test]
fn what_networkd_has_for_links_counts_beside_ntp_and_before_the_fallback() {
    let state = "# This is private data. Do not parse.\nOPER_STATE=routable\n\
                 NTP=192.0.2.5 link.example\nDOMAINS=example\n";
    let link = [
        "run/systemd/netif/state:3:5 192.0.2.5 server",
        "run/systemd/netif/state:3:15 link.example server",
    ];
    let (wants, _) = read(&[(MAIN, SHIPPED), ("run/systemd/netif/state", state)]);
    assert_eq!(wants, link);
    let named = "[Time]\nNTP=a.example\nFallbackNTP=b.example\n";
    let (wants, _) = read(&[(MAIN, named), ("run/systemd/netif/state", state)]);
    let mut expected = vec!["etc/systemd/timesyncd.conf:2:5 a.example server"];
    expected.extend(link);
    assert_eq!(wants, expected);
}

/// As `manager_connect` of systemd's timesyncd-manager.c goes through its lists.
#[test]
fn a_fallback_that_a_line_names_counts_without_any_server_of_the_system_or_of_a_link() {
    let fallback = "[Time]\nFallbackNTP=b.example\n";
    let place = "etc/systemd/timesyncd.conf:2:13 b.example server";
    let beside = |state: &str| {
        let (wants, _) = read(&[(MAIN, fallback), ("run/systemd/netif/state", state)]);
        wants
    };
    assert_eq!(beside("OPER_STATE=routable\n"), [place]);
    assert_eq!(beside("NTP=\n"), [place]);
    assert_eq!(
        beside("NTP=192.0.2.5\n"),
        ["run/systemd/netif/state:1:5 192.0.2.5 server"]
    );
    // An address that no server has keeps timesyncd busy all the same.
    assert!(beside("NTP=224.0.1.1\n").is_empty());
    // What is no name is no server, and leaves the list empty.
    assert_eq!(beside("NTP=a..example\n"), [place]);
}

#[test]
fn a_fallback_of_nothing_is_nothing() {
    let (wants, problems) = read(&[(MAIN, &format!("{SHIPPED}FallbackNTP=\n"))]);
    assert!(
        wants.is_empty() && problems.is_empty(),
        "{wants:?} {problems:?}"
    );
}

#[test]
fn the_main_file_may_be_elsewhere_or_missing() {
    let (wants, _) = read(&[("usr/lib/systemd/timesyncd.conf", "[Time]\nNTP=a.example\n")]);
    assert_eq!(
        wants,
        ["usr/lib/systemd/timesyncd.conf:2:5 a.example server"]
    );
    let (wants, problems) = read(&[(
        "run/systemd/timesyncd.conf.d/x.conf",
        "[Time]\nNTP=a.example\n",
    )]);
    assert_eq!(
        wants,
        ["run/systemd/timesyncd.conf.d/x.conf:2:5 a.example server"]
    );
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn a_file_of_ones_own_has_the_drop_ins_beside_it() {
    let tree = Tree::new(&[
        ("mine.conf", "[Time]\nNTP=a.example\n"),
        ("mine.conf.d/x.conf", "[Time]\nNTP=b.example 224.0.1.1\n"),
    ]);
    let reading = tree.read(&Timesyncd, "mine.conf");
    assert_eq!(
        tree.wants(&reading),
        [
            "mine.conf:2:5 a.example server",
            "mine.conf.d/x.conf:2:5 b.example server"
        ]
    );
    assert_eq!(tree.problems(&reading), ["error mine.conf.d/x.conf:2:15"]);
}

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,6}",
        prop::sample::select(vec![
            "[Time]\n",
            "NTP=",
            "FallbackNTP=",
            "\\\n",
            "\n",
            "#",
            ";",
            "a.example",
            "192.0.2.1",
            "2001:db8::1",
            "=",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _reading = read_bytes(&Timesyncd, "timesyncd.conf", &bytes);
    }

    #[test]
    fn every_host_that_is_wanted_stands_in_the_file(text in text()) {
        let tree = Tree::new(&[(MAIN, &text)]);
        for want in tree.read(&Timesyncd, MAIN).wants {
            let Want::Source { host, .. } = want else {
                return Err(TestCaseError::fail("timesyncd serves nobody"));
            };
            prop_assert!(text.contains(&host_text(&host)), "{}", host_text(&host));
        }
    }

    #[test]
    fn every_well_formed_source_is_read_back(
        names in prop::collection::vec("[a-z][a-z0-9-]{0,20}(\\.[a-z]{1,9}){1,3}", 1..20),
    ) {
        let lines: Vec<String> = names.iter().map(|name| format!("NTP={name}\n")).collect();
        let expected: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| format!("{MAIN}:{}:5 {name} server", index + 2))
            .collect();
        let text = format!("[Time]\n{}", lines.concat());
        prop_assert_eq!(read(&[(MAIN, &text)]), (expected, vec![]));
    }
}
