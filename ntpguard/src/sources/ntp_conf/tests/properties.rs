//! What holds for any text.

use proptest::prelude::*;

use super::{
    super::super::{
        Host, Want,
        testing::{host_text, read_bytes},
    },
    CLOSED, QUIET, SERVE, read, tree,
};

/// Words that make trouble, and words that nothing can be granted by.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,6}",
        prop::sample::select(vec![
            "server",
            "pool",
            "peer",
            "-4",
            "-6",
            "restrict",
            "default",
            "mask",
            "ignore",
            "noserve",
            "unpeer",
            "unrestrict",
            "127.127.1.0",
            "192.0.2.1",
            "10.0.0.0/8",
            "::",
            "2001:db8::1",
            "255.255.0.0",
            "\"",
            "#",
            "\n",
            "\r\n",
            "end",
            "nts",
            "ask",
            "a.example",
            "[::1]:5",
            "=",
        ])
        .prop_map(str::to_owned),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _reading = read_bytes(&SERVE, "ntp.conf", &bytes);
    }

    #[test]
    fn every_name_that_is_wanted_stands_in_the_file(text in text()) {
        let tree = tree(&text);
        let seen: String = text.chars().filter(|c| *c != '"').collect();
        for want in tree.read(&QUIET, "ntp.conf").wants {
            match want {
                Want::Source { host: Host::Name(name), .. } => {
                    prop_assert!(seen.contains(&name), "{name}");
                }
                Want::Source { host, .. } => prop_assert!(
                    seen.contains(&host_text(&host)), "{}", host_text(&host)
                ),
                Want::Prefix { prefix, .. } => prop_assert!(prefix.prefix_len() > 0),
            }
        }
    }

    #[test]
    fn nothing_is_granted_without_a_word_that_grants(lines in prop::collection::vec(text(), 0..5)) {
        let text: String = lines.join("\n");
        let innocent = text.lines().filter(|line| {
            !["server", "pool", "peer", "restrict"].iter().any(|word| line.contains(word))
        });
        let (wants, _) = read(QUIET, &innocent.collect::<Vec<_>>().join("\n"));
        prop_assert!(wants.is_empty(), "{wants:?}");
    }

    #[test]
    fn every_well_formed_source_is_read_back(
        names in prop::collection::vec("[a-z][a-z0-9-]{0,20}(\\.[a-z]{1,9}){0,3}", 1..20),
        options in "( iburst| prefer| minpoll [4-9]| key [0-9]{1,5}){0,4}",
        comment in "( ?#[ -~]{0,20})?",
    ) {
        let lines: Vec<String> =
            names.iter().map(|name| format!("pool {name}{options}{comment}\n")).collect();
        let (wants, problems) = read(QUIET, &format!("{}{CLOSED}", lines.concat()));
        let expected: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| format!("ntp.conf:{}:6 {name} server", index + 1))
            .collect();
        prop_assert_eq!(wants, expected);
        prop_assert!(problems.is_empty());
    }
}
