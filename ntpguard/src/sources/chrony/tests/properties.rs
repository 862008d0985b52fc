//! What holds for any text.

use proptest::prelude::*;

use super::{
    super::super::{
        Want,
        testing::{host_text, read_bytes},
    },
    Chrony, Tree, read, wants,
};

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,6}",
        prop::sample::select(vec![
            "server",
            "POOL",
            "peer",
            "ipv4",
            "ipv6",
            "port",
            "allow",
            "deny",
            "all",
            "10",
            "10.1/16",
            "192.0.2.1",
            "::/0",
            "2001:db8::1",
            "\n",
            "\r\n",
            "a.example",
            "initstepslew",
            "30",
            "#",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for name in ["chrony.conf", "x.sources"] {
            let _reading = read_bytes(&Chrony, name, &bytes);
        }
    }

    #[test]
    fn every_host_that_is_wanted_stands_in_the_file(text in text()) {
        let tree = Tree::new(&[("chrony.conf", &text)]);
        for want in tree.read(&Chrony, "chrony.conf").wants {
            if let Want::Source { host, .. } = want {
                prop_assert!(text.contains(&host_text(&host)), "{}", host_text(&host));
            }
        }
    }

    #[test]
    fn nothing_is_granted_without_a_word_that_grants(text in text()) {
        let innocent = text.lines().filter(|line| {
            let line = line.to_ascii_lowercase();
            !["server", "pool", "peer", "initstepslew", "allow", "include", "dir"]
                .iter()
                .any(|word| line.contains(word))
        });
        let (wants, _) = read(&innocent.collect::<Vec<_>>().join("\n"));
        prop_assert!(wants.is_empty(), "{wants:?}");
    }

    #[test]
    fn every_well_formed_source_is_read_back(
        names in prop::collection::vec("[a-z][a-z0-9-]{0,20}(\\.[a-z]{1,9}){0,3}", 1..20),
        options in "( iburst| prefer| minpoll [4-9]| key [0-9]{1,5}){0,4}",
    ) {
        let lines: Vec<String> =
            names.iter().map(|name| format!("pool {name}{options}\n")).collect();
        let expected: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| format!("{}:6 {name} server", index + 1))
            .collect();
        prop_assert_eq!(wants(&lines.concat()), expected);
    }
}
