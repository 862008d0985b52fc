//! What a file of others costs at most, whatever it holds.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use super::*;
use crate::sources::budget::Budget;

/// A configuration of root's that includes a file of others with this text.
fn theirs(text: &str) -> Tree {
    let tree = Tree::new(&[
        (
            "chrony.conf",
            "server 192.0.2.1\ninclude {}/open.conf\nserver 192.0.2.9\n",
        ),
        ("open.conf", text),
    ]);
    fs::set_permissions(tree.path("open.conf"), Permissions::from_mode(0o666)).expect("set");
    tree
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for number in 0..count {
        writeln!(text, "{}", line(number)).expect("a string takes all");
    }
    text
}

/// What is read of it, with root's two servers among that, and nothing that is to be read again.
fn read_all(text: &str) -> (Tree, Reading) {
    let tree = theirs(text);
    let began = Instant::now();
    let reading = apart(
        &crate::work::readers_on_threads(),
        Kind::Chrony,
        &tree.path("chrony.conf"),
    );
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    let wants = tree.wants(&reading);
    for own in [
        "chrony.conf:1:8 192.0.2.1 server",
        "chrony.conf:3:8 192.0.2.9 server",
    ] {
        assert!(wants.contains(&own.to_owned()), "{wants:?}");
    }
    assert!(!reading.is_unfinished, "{:?}", reading.problems);
    (tree, reading)
}

fn says(reading: &Reading, what: &str) -> bool {
    let mut problems = reading.problems.iter();
    problems.any(|problem| problem.message.contains(what))
}

#[test]
fn patterns_over_all_there_is_end_with_the_budget_of_looks() {
    let text = lines(2_000, |number| format!("include /usr/*/*/*/*/*{number}*"));
    let (_, reading) = read_all(&format!("server 192.0.2.2\n{text}"));
    assert!(
        says(&reading, "budget of directory entries") || says(&reading, "budget of time for files"),
        "{:?}",
        reading.problems
    );
    assert!(says(
        &reading,
        "users other than root can write has used up its budget"
    ));
}

#[test]
fn files_of_others_end_with_their_budget() {
    let most = Budget::of(Speaker::Others).files;
    let tree = theirs("");
    let text = lines(200, |number| {
        let path = tree.path(&format!("{number}.conf"));
        fs::write(&path, format!("server 198.51.100.{number}\n")).expect("written");
        format!("include {}", path.display())
    });
    fs::write(tree.path("open.conf"), text).expect("written");
    let reading = apart(
        &crate::work::readers_on_threads(),
        Kind::Chrony,
        &tree.path("chrony.conf"),
    );
    assert!(says(&reading, "budget of files"), "{:?}", reading.problems);
    // One is the file that includes them.
    assert_eq!(reading.wants.len(), 2 + most - 1);
}

#[test]
fn watched_paths_of_others_end_with_their_budget() {
    let text = lines(900, |number| format!("include /nowhere/{number}"));
    let (_, reading) = read_all(&text);
    assert!(says(&reading, "watched paths"), "{:?}", reading.problems);
    assert!(reading.watched.len() < Budget::of(Speaker::Others).watched + 16);
}

#[test]
fn more_lines_than_a_reader_may_ask_for_are_not_read_again_and_again() {
    read_all(&lines(60_000, |_| "include /n/a".to_owned()));
}
