//! Whole configurations, as distributions ship them and as they should not be.

mod includes;
mod properties;
mod restrict;

use super::{super::testing::Tree, NtpConf};

const QUIET: NtpConf = NtpConf { serve: false };
const SERVE: NtpConf = NtpConf { serve: true };
/// A default that serves nobody, so that there is no note about it.
const CLOSED: &str = "restrict default ignore\n";

fn tree(text: &str) -> Tree {
    Tree::new(&[("ntp.conf", text)])
}

/// What a file of one dialect asks for, and what is wrong with it.
fn read(reader: NtpConf, text: &str) -> (Vec<String>, Vec<String>) {
    let tree = tree(text);
    let reading = tree.read(&reader, "ntp.conf");
    (tree.wants(&reading), tree.problems(&reading))
}

/// What lines ask for where the default is closed. Lines count from 1.
fn wants(lines: &str) -> Vec<String> {
    let (wants, problems) = read(QUIET, &format!("{lines}\n{CLOSED}"));
    assert!(problems.is_empty(), "{lines}: {problems:?}");
    wants
        .into_iter()
        .map(|want| want.replace("ntp.conf:", ""))
        .collect()
}

/// What is wrong with lines where the default is closed, and what they ask for all the same.
fn problems(lines: &str) -> (Vec<String>, Vec<String>) {
    let (wants, problems) = read(QUIET, &format!("{lines}\n{CLOSED}"));
    let short = |lines: Vec<String>| {
        lines
            .iter()
            .map(|line| line.replace("ntp.conf:", ""))
            .collect()
    };
    (short(problems), short(wants))
}

/// The directives of Debian's last file for the classic ntpd.
const DEBIAN_CLASSIC: &str = "\
driftfile /var/lib/ntp/ntp.drift
leapfile /usr/share/zoneinfo/leap-seconds.list
statistics loopstats peerstats clockstats
filegen loopstats file loopstats type day enable
# four names of the vendor's zone
pool 0.debian.pool.ntp.org iburst
pool 1.debian.pool.ntp.org iburst
pool 2.debian.pool.ntp.org iburst
pool 3.debian.pool.ntp.org iburst
restrict -4 default kod notrap nomodify nopeer noquery limited
restrict -6 default kod notrap nomodify nopeer noquery limited
restrict 127.0.0.1
restrict ::1
restrict source notrap nomodify noquery
#restrict 192.168.123.0 mask 255.255.255.0 notrust
#broadcastclient
";

#[test]
fn debians_file_for_the_classic_ntpd_leaves_a_client_closed() {
    let (wants, problems) = read(QUIET, DEBIAN_CLASSIC);
    assert_eq!(
        wants,
        [
            "ntp.conf:6:6 0.debian.pool.ntp.org server",
            "ntp.conf:7:6 1.debian.pool.ntp.org server",
            "ntp.conf:8:6 2.debian.pool.ntp.org server",
            "ntp.conf:9:6 3.debian.pool.ntp.org server",
        ]
    );
    assert_eq!(problems, ["note ntp.conf:10:13"]);
}

#[test]
fn serving_on_purpose_opens_debians_file_to_clients_alone() {
    let (wants, problems) = read(SERVE, DEBIAN_CLASSIC);
    assert_eq!(
        wants[4..],
        [
            "ntp.conf:10:13 0.0.0.0/0 client",
            "ntp.conf:11:13 ::/0 client"
        ]
    );
    assert!(problems.is_empty());
}

#[test]
fn debians_file_for_ntpsec_leaves_a_client_closed() {
    let tree = Tree::new(&[
        (
            "ntpsec/ntp.conf",
            "driftfile /var/lib/ntpsec/ntp.drift\n\
             leapfile /usr/share/zoneinfo/leap-seconds.list\n\
             tos maxclock 11\n\
             tos minclock 4 minsane 3\n\
             pool 0.debian.pool.ntp.org iburst\n\
             restrict default kod nomodify nopeer noquery limited\n\
             restrict 127.0.0.1\n\
             restrict ::1\n",
        ),
        (
            "ntpsec/ntp.d/50-nts.conf",
            "nts enable\nserver time.example nts\n",
        ),
        ("ntpsec/ntp.d/10-first.conf", "server first.example"),
        ("ntpsec/ntp.d/README", "server readme.example\n"),
        ("ntpsec/ntp.d/.hidden.conf", "server hidden.example\n"),
    ]);
    let reading = tree.read(&QUIET, "ntpsec/ntp.conf");
    assert_eq!(
        tree.wants(&reading),
        [
            "ntpsec/ntp.conf:5:6 0.debian.pool.ntp.org server",
            "ntpsec/ntp.d/10-first.conf:1:8 first.example server",
            "ntpsec/ntp.d/50-nts.conf:2:8 time.example server",
        ]
    );
    assert_eq!(tree.problems(&reading), ["note ntpsec/ntp.conf:6:10"]);
    for file in [
        "ntp.conf",
        "ntp.d",
        "ntp.d/10-first.conf",
        "ntp.d/50-nts.conf",
    ] {
        assert!(
            reading
                .watched
                .contains(&tree.path(&format!("ntpsec/{file}"))),
            "{file}"
        );
    }
}

#[test]
fn a_file_without_a_default_is_open_and_grants_nobody() {
    let (wants, problems) = read(QUIET, "pool a.example\nrestrict -6 default noserve\n");
    assert_eq!(wants, ["ntp.conf:1:6 a.example server"]);
    assert_eq!(problems, ["note ntp.conf:0:0"]);
    let (wants, _) = read(SERVE, "restrict -6 default noserve\n");
    assert_eq!(wants, ["ntp.conf:0:0 0.0.0.0/0 client"]);
}

#[test]
fn sources_are_read_with_their_options() {
    for (line, expected) in [
        ("server ntp.example", "1:8 ntp.example server"),
        ("\tserver\tntp.example\tiburst\r", "1:9 ntp.example server"),
        (
            "server -4 ntp.example minpoll 4 maxpoll 6 prefer",
            "1:11 -4 ntp.example server",
        ),
        ("pool -6 pool.example preempt", "1:9 -6 pool.example server"),
        ("server -6foo pool.example", "1:14 -6 pool.example server"),
        (
            "peer 192.0.2.1 key 5 xleave ident me",
            "1:6 192.0.2.1 peer+server",
        ),
        ("server pool", "1:8 pool server"),
        (
            "server \"ntp.example\" iburst # ours",
            "1:8 ntp.example server",
        ),
        (
            "server ntp.example#server b.example",
            "1:8 ntp.example server",
        ),
        ("server \"ntp.example", "1:8 ntp.example server"),
        ("server [2001:db8::1]:4460 nts", "1:8 2001:db8::1 server"),
        ("server [2001:db8::1]", "1:8 2001:db8::1 server"),
        ("server fe80::1%eth0", "1:8 fe80::1%eth0 server"),
        (
            "server ntp.example:4460 nts noval ca /etc/ca.pem",
            "1:8 ntp.example server",
        ),
        ("server ntp.example:123", "1:8 ntp.example server"),
    ] {
        assert_eq!(wants(line), [expected], "{line}");
    }
}

#[test]
fn an_nts_key_server_and_the_time_server_it_is_asked_for_both_count() {
    let expected = ["1:8 ke.example server", "1:32 time.example server"];
    assert_eq!(
        wants("server ke.example:4460 nts ask time.example"),
        expected
    );
}

#[test]
fn what_is_no_network_source_asks_for_nothing() {
    for line in [
        "server 127.127.20.0 mode 17 minpoll 4",
        "fudge 127.127.20.0 time2 0.1",
        "refclock shm unit 0 refid GPS",
        "broadcast 192.0.2.255 key 3",
        "manycastserver 239.255.0.1 ff05::101",
        "#server a.example",
        "logconfig =syncstatus +sysevents",
        "",
        "\u{feff}",
    ] {
        assert!(wants(line).is_empty(), "{line}");
    }
}

#[test]
fn the_groups_of_multicastclient_are_listened_to() {
    let (problems, wants) = problems("multicastclient 239.1.2.3 192.0.2.1 name.example ff05::1234");
    assert_eq!(problems, ["note 1:1"]);
    assert_eq!(wants.len(), 2, "{wants:?}");
    for group in ["239.1.2.3/32", "ff05::1234/128"] {
        assert!(wants.iter().any(|want| want.contains(group)), "{wants:?}");
    }
}

#[test]
fn what_grants_nothing_is_told() {
    for (line, place) in [
        ("broadcastclient", "1:1"),
        ("  multicastclient", "1:3"),
        ("manycastclient 239.255.0.1 key 2", "1:1"),
        ("server ntp.example:1123", "1:8"),
        ("server 127.0.0.1", "1:8"),
        ("server ::1", "1:8"),
        ("restrict trusted.example", "1:10"),
    ] {
        assert_eq!(
            problems(line),
            (vec![format!("note {place}")], vec![]),
            "{line}"
        );
    }
}

#[test]
fn an_option_that_is_not_understood_is_told_and_the_source_granted() {
    for (line, column) in [
        ("server a.example novel", 18),
        ("server a.example minpoll iburst", 18),
        ("server a.example key", 18),
    ] {
        let expected = (
            vec![format!("note 1:{column}")],
            vec!["1:8 a.example server".to_owned()],
        );
        assert_eq!(problems(line), expected, "{line}");
    }
}

#[test]
fn a_bad_line_is_placed_and_never_stops_the_good_ones() {
    for (line, column) in [
        ("sever a.example", 1),
        ("Server a.example", 1),
        ("\"server\" a.example", 1),
        ("= 5", 1),
        ("server", 7),
        ("server -4", 10),
        ("server -6 192.0.2.1", 11),
        ("server 192.0.2.300", 8),
        ("server 0.0.0.0", 8),
        ("server ff02::1", 8),
        ("server \"\"", 10),
        ("server a/b", 8),
        ("server b\u{fc}ro.example", 8),
        ("unpeer", 7),
        ("includefile", 12),
        ("restrict", 9),
        ("restrict -4", 12),
        ("restrict default -4", 18),
        ("restrict default no-serve", 18),
        ("restrict 192.0.2", 10),
        ("restrict 192.0.2.0/33", 10),
        ("restrict 192.0.2.0/x", 10),
        ("restrict -6 192.0.2.0", 13),
        ("restrict 192.0.2.0 mask 255.0.255.0", 25),
        ("restrict 192.0.2.0 mask ffff::", 25),
        ("restrict 192.0.2.0 mask", 24),
        ("restrict 224.0.1.1", 10),
        ("restrict 0.0.0.0", 10),
    ] {
        let text = format!("server first.example\n{line}\nserver last.example");
        let first_and_last = ["1:8 first.example server", "3:8 last.example server"];
        let (problems, wants) = problems(&text);
        assert_eq!(problems, [format!("error 2:{column}")], "{line}");
        assert_eq!(wants, first_and_last, "{line}");
    }
}

#[test]
fn unpeer_takes_sources_back_wherever_it_stands() {
    let lines = "unpeer B.example\nserver a.example\npool b.example\nserver 192.0.2.1\n\
                 peer [2001:db8::1]\nunconfig 192.0.2.1\nunpeer -6 2001:db8:0::1\nunpeer clock shm\n\
                 unpeer 40123";
    assert_eq!(wants(lines), ["2:8 a.example server"]);
}
