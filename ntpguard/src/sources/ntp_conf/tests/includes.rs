//! Configurations of many files, and of files that cannot be read.

use super::{CLOSED, QUIET, Tree, read, tree};

#[test]
fn includes_are_read_where_they_stand_from_beside_the_file() {
    let tree = Tree::new(&[
        (
            "ntp.conf",
            "restrict default ignore\nincludefile sub/a\nserver d.example\nincludefile {}/dir\n",
        ),
        ("sub/a", "server a.example\nincludefile b\nserver c.example"),
        ("sub/b", "server b.example"),
        ("dir/2.conf", "server f.example"),
        ("dir/1.conf", "server e.example\nend\nserver never.example"),
    ]);
    let reading = tree.read(&QUIET, "ntp.conf");
    assert_eq!(
        tree.wants(&reading),
        [
            "sub/a:1:8 a.example server",
            "sub/b:1:8 b.example server",
            "sub/a:3:8 c.example server",
            "ntp.conf:3:8 d.example server",
            "dir/1.conf:1:8 e.example server",
        ]
    );
    assert!(reading.problems.is_empty());
    assert!(reading.watched.contains(&tree.path("sub/b")));
}

#[test]
fn end_ends_every_file_but_those_of_ntp_d() {
    let tree = Tree::new(&[
        (
            "ntp.conf",
            "restrict default ignore\nincludefile a\nserver never.example\n",
        ),
        ("a", "server a.example\nend\nserver never.example\n"),
        ("ntp.d/x.conf", "server x.example\n"),
    ]);
    let reading = tree.read(&QUIET, "ntp.conf");
    assert_eq!(
        tree.wants(&reading),
        [
            "a:1:8 a.example server",
            "ntp.d/x.conf:1:8 x.example server"
        ]
    );
}

#[test]
fn an_include_that_cannot_be_read_is_told_at_its_own_file() {
    let tree =
        tree("restrict default ignore\nincludefile gone\nserver a.example\nincludefile ntp.conf\n");
    let reading = tree.read(&QUIET, "ntp.conf");
    assert_eq!(tree.wants(&reading), ["ntp.conf:3:8 a.example server"]);
    assert_eq!(
        tree.problems(&reading),
        ["unreadable gone:0:0", "error ntp.conf:4:13"]
    );
    assert!(
        reading.problems[0].message.contains("ntp.conf:2:13"),
        "{}",
        reading.problems[0]
    );
    assert!(reading.watched.contains(&tree.path("gone")));
    assert!(reading.watched.contains(&tree.path("ntp.d")));
}

#[test]
fn a_main_file_that_cannot_be_read_is_one_problem() {
    let tree = Tree::new(&[("ntp.d/x.conf", "server x.example\n")]);
    let reading = tree.read(&QUIET, "ntp.conf");
    assert!(reading.wants.is_empty());
    assert_eq!(tree.problems(&reading), ["unreadable ntp.conf:0:0"]);
    assert_eq!(reading.watched, [tree.path("ntp.conf")]);
}

#[test]
fn five_includes_are_followed_and_not_a_sixth() {
    let names: Vec<String> = (0..8).map(|n| format!("f{n}")).collect();
    let texts: Vec<String> = (0..8)
        .map(|n| format!("{CLOSED}server s{n}.example\nincludefile f{}\n", n + 1))
        .collect();
    let files: Vec<(&str, &str)> = names
        .iter()
        .zip(&texts)
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let tree = Tree::new(&files);
    let reading = tree.read(&QUIET, "f0");
    assert_eq!(
        tree.wants(&reading).last().map(String::as_str),
        Some("f5:2:8 s5.example server")
    );
    assert_eq!(tree.problems(&reading), ["error f5:3:13"]);
}

#[test]
fn a_directory_of_too_many_files_is_read_to_the_limit() {
    let names: Vec<String> = (0..1_100).map(|n| format!("ntp.d/{n:04}.conf")).collect();
    let mut files: Vec<(&str, &str)> = names
        .iter()
        .map(|name| (name.as_str(), "server a.example\n"))
        .collect();
    files.push(("ntp.conf", CLOSED));
    let tree = Tree::new(&files);
    let reading = tree.read(&QUIET, "ntp.conf");
    assert_eq!(reading.wants.len(), 999);
    assert!(!reading.problems.is_empty());
}

#[test]
fn rubbish_is_told_of_but_not_line_by_line() {
    let (wants, problems) = read(
        QUIET,
        &format!("{}{CLOSED}server a.example\n", "x\n".repeat(5_000)),
    );
    assert_eq!(wants.len(), 1);
    assert_eq!(problems.len(), 201);
}
