//! How text from outside is shown: nothing in it can steer a terminal, forge a line of a log, or look
//! like what it is not.
//!
//! Control characters, invisible ones, those that turn the direction of writing, and bytes that are no
//! UTF-8 come as escapes; printable ASCII comes as it is.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

/// The most characters that are shown of one piece of text from outside.
pub const MOST: usize = 256;

/// The most characters that are shown of one line.
const LONGEST_LINE: usize = 2_048;

/// What stands for the rest of a text that was cut.
const REST: &str = "...";

/// A name, a comment or the like, in one line.
pub fn text(text: &str) -> String {
    cut(text.chars(), MOST)
}

/// A path, in one line.
pub fn path(path: &Path) -> String {
    bytes(path.as_os_str().as_bytes())
}

/// A name of the operating system's, in one line.
pub fn name(name: &OsStr) -> String {
    bytes(name.as_bytes())
}

/// Bytes that are text for the most part, in one line.
pub fn bytes(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        shown.push_str(&cut(chunk.valid().chars(), MOST));
        shown.push_str(&chunk.invalid().escape_ascii().to_string());
        if shown.len() > MOST * 4 {
            break;
        }
    }
    // Every escape in it is printable by now.
    cut(shown.chars(), MOST)
}

/// A sentence of ours with text from outside in it, as one line.
pub fn line(line: &str) -> String {
    cut(line.chars(), LONGEST_LINE)
}

/// Whole output of ours with text from outside in it: its lines stay lines.
pub fn lines(lines: &str) -> String {
    let mut shown = String::with_capacity(lines.len());
    for character in lines.chars() {
        if character == '\n' {
            shown.push(character);
        } else {
            push(&mut shown, character);
        }
    }
    shown
}

/// Whether a character shows as itself.
pub fn is_plain(character: char) -> bool {
    // `escape_debug` puts a backslash before these.
    matches!(character, '"' | '\'' | '\\') || character.escape_debug().len() == 1
}

fn cut(characters: impl Iterator<Item = char>, most: usize) -> String {
    let mut shown = String::new();
    for (number, character) in characters.enumerate() {
        if number == most {
            shown.push_str(REST);
            break;
        }
        push(&mut shown, character);
    }
    shown
}

fn push(shown: &mut String, character: char) {
    if is_plain(character) {
        shown.push(character);
    } else {
        shown.extend(character.escape_debug());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Marks of direction, zero-width characters, tags: format characters (Unicode's Cf) and separators
    /// that are no controls.
    const UNSEEN: &str = "\u{ad}\u{61c}\u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\
                          \u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2064}\u{2066}\u{2067}\
                          \u{2068}\u{2069}\u{feff}\u{fff9}\u{e0001}\u{e0041}";

    fn is_harmless(shown: &str) -> bool {
        let is_seen = |character: char| !character.is_control() && !UNSEEN.contains(character);
        shown.chars().all(is_seen)
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        for (from, to) in [
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{9b}31mred", "\\u{9b}31mred"),
            ("one\nproblem   two\r", "one\\nproblem   two\\r"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("it's \"a\\b\"", "it's \"a\\b\""),
            ("Zürich 東京", "Zürich 東京"),
        ] {
            assert_eq!(text(from), to);
        }
        assert!(UNSEEN.chars().all(|character| !is_plain(character)));
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped_and_long_text_is_cut() {
        assert_eq!(bytes(b"a\xff\x1b[mb"), "a\\xff\\u{1b}[mb");
        assert_eq!(text(&"x".repeat(MOST)), "x".repeat(MOST));
        assert_eq!(text(&"x".repeat(MOST + 1)), "x".repeat(MOST) + "...");
        assert_eq!(
            bytes("x".repeat(100_000).as_bytes()),
            "x".repeat(MOST) + "..."
        );
        assert_eq!(lines("a\n\tb\n"), "a\n\\tb\n");
    }

    proptest! {
        #[test]
        fn whatever_goes_in_nothing_harmful_comes_out(from: String, raw: Vec<u8>) {
            for shown in [text(&from), line(&from), bytes(&raw)] {
                prop_assert!(is_harmless(&shown), "{shown:?}");
            }
            let kept = lines(&from);
            prop_assert!(kept.split('\n').all(is_harmless), "{kept:?}");
            prop_assert_eq!(kept.matches('\n').count(), from.matches('\n').count());
        }

        #[test]
        fn printable_ascii_stays(from in "[ -~]{0,256}") {
            prop_assert_eq!(text(&from), &*from);
            prop_assert_eq!(line(&from), &*from);
            prop_assert_eq!(lines(&from), &*from);
            prop_assert_eq!(bytes(from.as_bytes()), &*from);
        }
    }
}
