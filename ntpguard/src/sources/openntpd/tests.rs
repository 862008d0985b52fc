//! Whole configurations, as distributions ship them and as they should not be.

use proptest::prelude::*;

use super::{
    super::{
        Want,
        testing::{Tree, host_text, read_bytes},
    },
    OpenNtpd,
};

fn read(text: &str) -> (Vec<String>, Vec<String>) {
    Tree::lines_of(&OpenNtpd, "ntpd.conf", text)
}

#[test]
fn debians_file_asks_for_its_pool() {
    let (wants, problems) = read(
        "# sample ntpd configuration file\n\
         # Addresses to listen on (ntpd does not listen by default)\n\
         #listen on *\n\
         #listen on 127.0.0.1\n\n\
         # sync to a single server\n\
         #server ntp.example.org\n\n\
         servers pool.ntp.org\n\
         server 0.debian.pool.ntp.org weight 5 trusted # ours\n\n\
         sensor * correction 70 refid GPS\n\
         constraint from \"9.9.9.9\"\n\
         constraints from \"https://www.google.com/\"\n\
         query from 192.0.2.9\n",
    );
    assert_eq!(
        wants,
        [
            "9:9 pool.ntp.org server",
            "10:8 0.debian.pool.ntp.org server"
        ]
    );
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn listening_is_serving_whoever_asks() {
    let (wants, problems) =
        read("listen on 192.0.2.1\nlisten on ::1\nlisten on 2001:db8::1 rtable 4\n");
    assert_eq!(wants, ["1:11 0.0.0.0/0 client", "3:11 ::/0 client"]);
    assert!(problems.is_empty(), "{problems:?}");
    let (wants, _) = read("listen on *\nserver 192.0.2.7\n");
    assert_eq!(
        wants,
        [
            "2:8 192.0.2.7 server",
            "1:11 0.0.0.0/0 client",
            "1:11 ::/0 client"
        ]
    );
    let (wants, _) = read("listen on 127.0.0.1\n");
    assert!(wants.is_empty(), "{wants:?}");
}

#[test]
fn a_statement_may_go_on_on_the_next_line_and_quotes_may_hold_it() {
    let (wants, problems) = read("server \\\n \"a.example\" \\\n weight 3\nserver 'b.example'");
    assert_eq!(wants, ["2:2 a.example server", "4:8 b.example server"]);
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn a_fault_spoils_the_file_and_says_where_it_is() {
    for (text, place) in [
        ("server\n", "2:1"),
        ("server a.example\nserver b.example weight\n", "2:18"),
        ("server a.example burst\n", "1:18"),
        ("listen 192.0.2.1\n", "1:8"),
        ("server 5\n", "1:8"),
        ("pool a.example\n", "1:1"),
        ("\"server\" a.example\n", "1:1"),
        ("server a.example = 5\n", "1:18"),
        ("server a.example\nserver \"b.exam", "2:8"),
    ] {
        let (_, problems) = read(text);
        assert_eq!(problems, [format!("unreadable {place}")], "{text:?}");
    }
}

#[test]
fn an_address_that_no_server_has_is_told_and_left_out() {
    let (wants, problems) = read("server 224.0.1.1\nserver 127.0.0.1\nserver 192.0.2.300\n");
    assert!(wants.is_empty(), "{wants:?}");
    assert_eq!(problems, ["error 1:8", "note 2:8", "error 3:8"]);
}

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,6}",
        prop::sample::select(vec![
            "server",
            "servers",
            "listen",
            "on",
            "*",
            "query",
            "from",
            "sensor",
            "weight",
            "5",
            "trusted",
            "\\\n",
            "\n",
            "\"",
            "'",
            "#",
            "192.0.2.1",
            "2001:db8::1",
            "a.example",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _reading = read_bytes(&OpenNtpd, "ntpd.conf", &bytes);
    }

    #[test]
    fn every_host_that_is_wanted_stands_in_the_file(text in text()) {
        let tree = Tree::new(&[("ntpd.conf", &text)]);
        let seen = text.replace("\\\n", "");
        for want in tree.read(&OpenNtpd, "ntpd.conf").wants {
            match want {
                Want::Source { host, .. } => {
                    prop_assert!(seen.contains(&host_text(&host)), "{}", host_text(&host));
                }
                Want::Prefix { .. } => prop_assert!(text.contains("listen")),
            }
        }
    }

    #[test]
    fn every_well_formed_source_is_read_back(
        names in prop::collection::vec("[a-z][a-z0-9-]{0,20}(\\.[a-z]{1,9}){1,3}", 1..20),
        options in "( trusted| weight [1-9]){0,2}",
        comment in "( ?#[ -\\[\\]-~]{0,20})?",
    ) {
        let lines: Vec<String> =
            names.iter().map(|name| format!("server {name}{options}{comment}\n")).collect();
        let expected: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| format!("{}:8 {name} server", index + 1))
            .collect();
        prop_assert_eq!(read(&lines.concat()), (expected, vec![]));
    }
}
