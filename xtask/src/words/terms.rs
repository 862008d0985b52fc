//! The words that readers do not know, and those that they do.

use std::path::Path;

use super::Text;

/// Words to avoid, each line with what to use instead. A phrase is words that follow one another.
const TERMS: &[(&[&str], &str)] = &[
    // The voice of a manual.
    (
        &["nobody", "nobody's"],
        "\"no one\", \"none\", or name the thing that is missing",
    ),
    (
        &["somebody", "somebody's", "someone", "someone's"],
        "name who: a user, a process, an attacker",
    ),
    (
        &["everybody", "everybody's"],
        "\"everyone\", \"all clients\"",
    ),
    (&["anybody", "anybody's"], "\"anyone\", \"any process\""),
    (
        &["whoever", "whomever"],
        "name who: users, programs, an attacker",
    ),
    (
        &["tell", "tells", "telling", "told"],
        "\"show\", \"print\", \"report\", \"count\" or \"sample\"",
    ),
    (&["he", "him", "his"], "\"it\" or \"they\""),
    (&["of late"], "\"recently\""),
    (&["so long"], "\"up to\", \"as long as\""),
    (&["so many"], "the number, or \"that many\""),
    (&["such"], "\"such as\", or \"of this kind\""),
    (&["thereof", "whereof", "therein"], "\"of it\", \"in it\""),
    (
        &["voucher", "vouch", "vouches", "vouched"],
        "\"origin\", \"provenance\", \"grants\"",
    ),
    // The field's terms.
    (&["glance", "glances"], "\"fast path\""),
    (&["walk", "walks", "walked"], "\"parse\", \"the parser\""),
    (&["sieve", "sieves", "sifted"], "\"prefilter\""),
    (&["elsewhere"], "\"custom port\", \"another address\""),
    (&["ledger"], "\"request tracking\""),
    (&["noted"], "\"tracked\""),
    (&["apart"], "\"subprogram\", \"separate\""),
    (
        &["teacher", "teachers", "teach", "teaches", "teacher_uids"],
        "\"trusted sender\"",
    ),
    (&["stray", "strays", "strayed"], "\"ungranted\""),
    (&["keeper"], "\"reconciler\""),
    (&["the book", "book of claims"], "\"claims\""),
    (&["viewer", "viewers"], "\"subscriber\""),
    (&["teller"], "\"event reader\""),
    (&["settling"], "\"debounce\""),
    (&["fleeting"], "\"transient\""),
    (
        &["mend", "mends", "mended", "mending"],
        "\"repair\", \"reattach\"",
    ),
    (&["trouble", "troubles"], "\"error\""),
    (&["by hand"], "\"denied\", \"manual\", \"manually\""),
    (&["ban", "bans", "banned"], "\"denied\", \"denial\""),
];

/// Where a word of the list is the right one: a phrase, and the end of the path of the only file where it is
/// right, if not everywhere.
const EXCEPTIONS: &[(&str, Option<&str>)] = &[
    // Introduces an example.
    ("such as", None),
    // As the kernel says it: no such file or directory.
    ("no such", None),
    // Means "except".
    ("apart from", None),
    // Modules.
    ("sources apart", None),
    ("query apart", None),
    // What a person does, and no service, compiler or tool.
    ("started by hand", None),
    ("measuring by hand", None),
    ("written by hand", None),
    ("boots it by hand", None),
    // Users may type it, and are given the right word.
    ("ban", Some("cli/args/hints.rs")),
];

/// A word to avoid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) line: usize,
    pub(super) word: String,
    pub(super) better: &'static str,
}

/// The words to avoid in a text of a file, in their order.
pub(super) fn hits(text: &Text, file: &Path) -> Vec<Hit> {
    let words = words(&text.text);
    let excepted: Vec<_> = EXCEPTIONS
        .iter()
        .filter(|(_, only)| only.is_none_or(|only| file.ends_with(only)))
        .flat_map(|(phrase, _)| places(&words, phrase))
        .collect();
    let mut hits = Vec::new();
    for &(terms, better) in TERMS {
        for term in terms {
            let fits = |at: &usize| {
                !excepted
                    .iter()
                    .any(|(start, end)| (start..end).contains(&at))
            };
            let found = unbroken(&words, term).filter(fits);
            hits.extend(found.map(|at| Hit {
                line: text.line + words[at].lines_before,
                word: (*term).to_owned(),
                better,
            }));
        }
    }
    hits.sort_by_key(|hit| hit.line);
    hits
}

/// A word of a text, in lower case.
#[derive(Debug)]
struct Word {
    text: String,
    lines_before: usize,
    /// Whether only white space is between it and the word before.
    follows: bool,
}

/// The words of a text. An identifier is one word.
fn words(text: &str) -> Vec<Word> {
    let is_part = |character: char| character.is_alphanumeric() || matches!(character, '_' | '\'');
    let mut words = Vec::new();
    let mut lines_before = 0;
    let mut follows = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (word, after) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
        if word.is_empty() {
            lines_before += usize::from(first == '\n');
            follows &= first.is_whitespace();
            rest = &rest[first.len_utf8()..];
        } else {
            words.push(Word {
                text: word.trim_matches('\'').to_lowercase(),
                lines_before,
                follows,
            });
            follows = true;
            rest = after;
        }
    }
    words
}

/// Where a phrase is in a text: from which word to before which. What is between its words does not matter.
fn places(words: &[Word], phrase: &str) -> impl Iterator<Item = (usize, usize)> {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    let length = phrase.len();
    let windows = words.windows(length).enumerate();
    windows.filter_map(move |(at, window)| {
        let mut pairs = window.iter().zip(&phrase);
        let is_same = pairs.all(|(word, wanted)| word.text == *wanted);
        is_same.then_some((at, at + length))
    })
}

/// Where a phrase is in a text with nothing but white space between its words.
fn unbroken(words: &[Word], phrase: &str) -> impl Iterator<Item = usize> {
    let is_unbroken =
        |&(start, end): &(usize, usize)| words[start + 1..end].iter().all(|word| word.follows);
    places(words, phrase)
        .filter(is_unbroken)
        .map(|(start, _)| start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(text: &str) -> Vec<(usize, String)> {
        found_in_file(text, "docs/page.md")
    }

    fn found_in_file(text: &str, file: &str) -> Vec<(usize, String)> {
        let text = Text {
            line: 7,
            text: text.to_owned(),
        };
        hits(&text, Path::new(file))
            .into_iter()
            .map(|hit| (hit.line, hit.word))
            .collect()
    }

    #[test]
    fn whole_words_are_found_in_any_case_with_their_lines() {
        let expected = [(7, "nobody".to_owned()), (8, "tell".to_owned())];
        assert_eq!(
            found_in("Nobody is intelligent,\nto TELL the truth"),
            expected
        );
        assert_eq!(
            found_in("hold_up_nobody, ban-aids"),
            [(7, "ban".to_owned())]
        );
        assert_eq!(found_in("'nobody' or"), [(7, "nobody".to_owned())]);
        assert_eq!(found_in("hold_up_nobody, urban"), []);
    }

    #[test]
    fn a_phrase_may_be_broken_between_lines_and_not_by_a_comma() {
        assert_eq!(found_in("rejected of\nlate"), [(7, "of late".to_owned())]);
        assert_eq!(found_in("of, late"), []);
    }

    #[test]
    fn an_exception_excepts_its_own_words_alone() {
        assert_eq!(found_in("a daemon such\nas chronyd"), []);
        assert_eq!(
            found_in("such a daemon, such as chronyd"),
            [(7, "such".to_owned())]
        );
    }

    #[test]
    fn an_exception_of_a_file_holds_there_alone() {
        assert_eq!(found_in_file("ban", "ntpguard/src/cli/args/hints.rs"), []);
        assert_eq!(
            found_in_file("ban", "ntpguard/src/cli/args/mod.rs").len(),
            1
        );
    }

    #[test]
    fn each_exception_is_one_from_a_term() {
        for (phrase, _) in EXCEPTIONS {
            let words = words(phrase);
            let excepts = |term: &&str| unbroken(&words, term).next().is_some();
            let mut terms = TERMS.iter().flat_map(|(terms, _)| terms.iter());
            assert!(terms.any(excepts), "{phrase}");
        }
    }
}
