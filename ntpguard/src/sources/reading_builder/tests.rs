use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use super::{
    super::{Files, Kind, testing::Tree},
    *,
};

const MAIN: &str = "secret words\nincludefile\nserver se.cret!\nserver 192.0.2.1\n";

fn messages(reading: &Reading) -> Vec<String> {
    let problems = reading.problems.iter();
    problems.map(ToString::to_string).collect()
}

/// A file of others', as a guard finds it.
fn of_others(tree: &Tree, name: &str) -> Reading {
    let path = tree.path(name);
    fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("opened to all");
    let files = Files::of_host(Speaker::Root);
    Kind::NtpConf.dialect(false).read_from(&files, &path)
}

#[test]
fn roots_file_is_quoted_and_others_are_not() {
    let tree = Tree::new(&[("ntp.conf", MAIN)]);
    let quoted = messages(&tree.read(&*Kind::NtpConf.dialect(false), "ntp.conf")).join("\n");
    assert!(
        quoted.contains("\"secret\"") && quoted.contains("\"se.cret!\""),
        "{quoted}"
    );

    let reading = of_others(&tree, "ntp.conf");
    let kept = messages(&reading);
    assert!(!kept.concat().contains("cret"), "{kept:?}");
    let lines: Vec<u32> = reading
        .problems
        .iter()
        .map(|problem| problem.place.line)
        .collect();
    assert!(lines.contains(&1) && lines.contains(&3), "{lines:?}");
    // What stands in the program quotes nothing.
    assert!(
        kept.iter().any(|kept| kept.contains("the name of a file")),
        "{kept:?}"
    );
    assert_eq!(tree.wants(&reading), ["ntp.conf:4:8 192.0.2.1 server"]);
}

#[test]
fn what_others_include_is_not_named_and_keeps_what_it_asked_for() {
    let tree = Tree::new(&[("ntp.conf", "includefile secret.conf\n")]);
    let reading = of_others(&tree, "ntp.conf");
    let kept = messages(&reading);
    assert!(!kept.concat().contains("secret"), "{kept:?}");
    assert!(kept.concat().contains("no such file"), "{kept:?}");
    assert_eq!(reading.unreadable, [tree.path("secret.conf").into()]);
}

#[test]
fn a_file_that_others_can_write_speaks_for_what_it_includes() {
    let tree = Tree::new(&[
        ("ntp.conf", "includefile more.conf\n"),
        ("more.conf", "server 192.0.2.1\n"),
    ]);
    // Named by hand, the second would be root's word.
    let files = Files::by_hand(&tree.path("more.conf"), Speaker::Root);
    fs::set_permissions(tree.path("ntp.conf"), Permissions::from_mode(0o666)).expect("opened");
    let reading = Kind::NtpConf
        .dialect(false)
        .read_from(&files, &tree.path("ntp.conf"));
    assert_eq!(reading.speaker(&tree.path("more.conf")), Speaker::Others);
    let reading = Kind::NtpConf
        .dialect(false)
        .read_from(&files, &tree.path("more.conf"));
    assert_eq!(reading.speaker(&tree.path("more.conf")), Speaker::Root);
}

#[test]
fn only_root_has_its_daemon_asked_elsewhere() {
    let text = "[observability]\nobservation-path = \"/run/own.sock\"\n";
    let tree = Tree::new(&[("ntp.toml", text)]);
    let sockets = |reading: Reading| {
        let mut channels = reading.channels.into_iter();
        channels.any(|channel| matches!(channel, Channel::Observation(_)))
    };
    let path = tree.path("ntp.toml");
    let dialect = Kind::NtpdRs.dialect(false);
    assert!(sockets(dialect.read(&path)));
    fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("opened to all");
    assert!(!sockets(
        dialect.read_from(&Files::of_host(Speaker::Root), &path)
    ));
}
