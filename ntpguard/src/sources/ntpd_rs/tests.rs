//! Whole configurations, as distributions ship them and as they should not be.

use proptest::prelude::*;

use super::{
    super::{
        Channel, Want,
        testing::{Tree, host_text, read_bytes},
    },
    NtpdRs,
};

fn read(text: &str) -> (Vec<String>, Vec<String>) {
    Tree::lines_of(&NtpdRs, "ntp.toml", text)
}

fn wants(text: &str) -> Vec<String> {
    let (wants, problems) = read(text);
    assert!(problems.is_empty(), "{text}: {problems:?}");
    wants
}

#[test]
fn the_file_of_the_package_asks_for_its_pool_and_tells_where_to_ask() {
    let text = "[observability]\nlog-level = \"info\"\n\
                observation-path = \"/var/run/ntpd-rs/observe\"\n\n\
                [[source]]\nmode = \"pool\"\naddress = \"ntpd-rs.pool.ntp.org\"\ncount = 4\n\n\
                #[[source]]\n#mode = \"nts\"\n#address = \"nts.netnod.se\"\n\n\
                [synchronization]\nsingle-step-panic-threshold = 1800\n\
                startup-step-panic-threshold = { forward=\"inf\", backward = 86400 }\n";
    assert_eq!(wants(text), ["7:11 ntpd-rs.pool.ntp.org server"]);
    let tree = Tree::new(&[("ntp.toml", text)]);
    assert_eq!(
        tree.read(&NtpdRs, "ntp.toml").channels,
        [Channel::Observation("/var/run/ntpd-rs/observe".into())]
    );
}

#[test]
fn addresses_may_have_ports_and_a_key_servers_port_does_not_matter() {
    let source = |mode: &str, address: &str| {
        format!("[[source]]\nmode = \"{mode}\"\naddress = \"{address}\"\n")
    };
    for (mode, address, expected) in [
        ("server", "a.example", "3:11 a.example server"),
        ("server", "a.example:123", "3:11 a.example server"),
        ("server", "192.0.2.1:123", "3:11 192.0.2.1 server"),
        ("server", "2001:db8::1", "3:11 2001:db8::1 server"),
        ("server", "[2001:db8::1]:123", "3:11 2001:db8::1 server"),
        ("nts", "a.example:4460", "3:11 a.example server"),
        ("nts-pool", "a.example", "3:11 a.example server"),
    ] {
        assert_eq!(wants(&source(mode, address)), [expected], "{address}");
    }
    for (address, expected) in [
        ("a.example:1123", "a.example port 1123"),
        ("[2001:db8::1]:1123", "2001:db8::1 port 1123"),
        ("192.0.2.1:124", "192.0.2.1 port 124"),
    ] {
        let (wants, problems) = read(&source("server", address));
        assert_eq!(wants, [format!("3:11 {expected} server")]);
        assert_eq!(problems, Vec::<String>::new());
    }
    let clocks = "source = [{ mode = \"sock\", path = \"/run/x\", precision = 1 },\n\
                  { mode = \"pps\", path = \"/dev/pps0\", precision = 1 }]\n";
    assert_eq!(wants(clocks), Vec::<String>::new());
}

#[test]
fn a_server_section_serves_whom_it_hears_and_lists() {
    for (text, expected) in [
        ("listen = \"0.0.0.0:123\"", vec!["2:10 0.0.0.0/0 client"]),
        (
            "listen = \"[::]:123\"",
            vec!["2:10 0.0.0.0/0 client", "2:10 ::/0 client"],
        ),
        ("listen = \"[2001:db8::1]:123\"", vec!["2:10 ::/0 client"]),
        ("listen = \"127.0.0.1:123\"", vec![]),
        (
            "listen = \"[::]:123\"\n[server.allowlist]\nfilter = [\"10.1.2.3/8\"]\naction = \"ignore\"",
            vec!["4:11 10.0.0.0/8 client"],
        ),
        (
            "listen = \"0.0.0.0:123\"\n[server.denylist]\nfilter = [\"10.0.0.0/8\", \"2001:db8::/32\"]\naction = \"deny\"",
            vec!["2:10 0.0.0.0/0 client", "4:11 10.0.0.0/8 none"],
        ),
    ] {
        assert_eq!(wants(&format!("[[server]]\n{text}\n")), expected, "{text}");
    }
}

#[test]
fn a_denial_goes_before_a_permission_of_its_own_section_only() {
    let one = "[[server]]\nlisten = \"0.0.0.0:123\"\n\
               allowlist = { filter = [\"10.1.0.0/16\", \"192.168.0.0/16\"], action = \"ignore\" }\n\
               denylist = { filter = [\"10.0.0.0/8\", \"192.168.7.0/24\"], action = \"ignore\" }\n";
    assert_eq!(
        wants(one),
        ["3:40 192.168.0.0/16 client", "4:38 192.168.7.0/24 none"]
    );
    let other = "[[server]]\nlisten = \"192.0.2.1:123\"\n\
                 allowlist = { filter = [\"192.168.7.0/24\"], action = \"ignore\" }\n";
    assert_eq!(
        wants(&format!("{one}{other}")),
        ["3:40 192.168.0.0/16 client", "7:25 192.168.7.0/24 client"]
    );
}

#[test]
fn clients_at_another_port_are_told_and_not_granted() {
    let (wants, problems) = read("[[server]]\nlisten = \"0.0.0.0:1123\"\n");
    assert_eq!((wants, problems), (vec![], vec!["note 2:10".to_owned()]));
}

#[test]
fn a_fault_spoils_the_file_and_says_where_it_is() {
    for (text, place) in [
        ("[[source]]\nmode = \"pool\"\naddress = \"a.exam", "3:18"),
        ("[[source]]\nmode = \"pool\"\n", "1:1"),
        ("[[source]]\nmode = \"pol\"\naddress = \"a\"\n", "2:8"),
        ("[[source]]\naddress = \"a.example\"\n", "1:1"),
        ("[[source]]\nmode = \"server\"\naddress = 5\n", "3:11"),
        ("[source]\nmode = \"server\"\n", "1:1"),
        ("[[server]]\nlisten = \"0.0.0.0\"\n", "2:10"),
        (
            "[[server]]\nlisten = \"0.0.0.0:123\"\nallowlist.filter = [\"10/8\"]\n",
            "3:21",
        ),
    ] {
        let (_, problems) = read(text);
        assert_eq!(problems, [format!("unreadable {place}")], "{text:?}");
    }
}

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,6}",
        prop::sample::select(vec![
            "[[source]]\n",
            "[[server]]\n",
            "mode = \"server\"\n",
            "mode = \"nts\"\n",
            "address = \"a.example\"\n",
            "address = \"192.0.2.1:123\"\n",
            "address = \"[2001:db8::1]\"\n",
            "listen = \"[::]:123\"\n",
            "allowlist.filter = [\"10.0.0.0/8\"]\n",
            "[observability]\n",
            "\n",
            "\"",
            "#",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(word, 0..20).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _reading = read_bytes(&NtpdRs, "ntp.toml", &bytes);
    }

    #[test]
    fn every_host_that_is_wanted_stands_in_the_file(text in text()) {
        let tree = Tree::new(&[("ntp.toml", &text)]);
        for want in tree.read(&NtpdRs, "ntp.toml").wants {
            match want {
                Want::Source { host, .. } => {
                    prop_assert!(text.contains(&host_text(&host)), "{}", host_text(&host));
                }
                Want::Prefix { .. } => prop_assert!(text.contains("[[server]]")),
            }
        }
    }

    #[test]
    fn every_well_formed_source_is_read_back(
        names in prop::collection::vec("[a-z][a-z0-9-]{0,20}(\\.[a-z]{1,9}){1,3}", 1..20),
    ) {
        let sources: Vec<String> = names
            .iter()
            .map(|name| format!("[[source]]\nmode = \"pool\"\naddress = \"{name}\"\n"))
            .collect();
        let expected: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| format!("{}:11 {name} server", index * 3 + 3))
            .collect();
        prop_assert_eq!(wants(&sources.concat()), expected);
    }
}
