//! The words of a line of ntp.conf, as both ntpds' scanners find them.

use std::{iter::Peekable, str::Chars};

/// What the word before lets the next one be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// A keyword or a number: special characters are words of their own.
    Keyword,
    /// A text: special characters are part of it.
    Text,
}

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// What ntpd sees: without the quotes, and without anything that is not ASCII.
    pub(super) text: String,
    /// The column of its first character, counted from 1.
    pub(super) column: u32,
    /// Whether a part of it is quoted, so that it is no keyword.
    pub(super) quoted: bool,
    /// Whether something in it is not ASCII, which ntpd skips.
    pub(super) foreign: bool,
}

impl Word {
    /// Whether this is the keyword `keyword`.
    pub(super) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }

    /// The keyword, `None` if this is quoted and so none.
    pub(super) fn keyword(&self) -> Option<&str> {
        (!self.quoted).then_some(&*self.text)
    }
}

/// Finds a line's words.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    /// The column of the next character.
    column: u32,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of a line, given without its newline.
    pub(super) fn new(line: &'a str) -> Self {
        Self {
            rest: line.chars().peekable(),
            column: 1,
        }
    }

    /// The next word, `None` at the end of the line.
    pub(super) fn next(&mut self, expect: Expect) -> Option<Word> {
        while self
            .rest
            .next_if(|c| is_space(*c) || !c.is_ascii())
            .is_some()
        {
            self.column += 1;
        }
        let mut word = Word {
            text: String::new(),
            column: self.column,
            quoted: false,
            foreign: false,
        };
        if expect == Expect::Keyword
            && let Some(special) = self.take_if(is_special)
        {
            word.text.push(special);
            return Some(word);
        }
        let ends = |c| is_space(c) || expect == Expect::Keyword && is_special(c);
        while let Some(c) = self.take_if(|c| !ends(c)) {
            match c {
                '#' => self.skip_line(),
                '"' => {
                    word.quoted = true;
                    self.quoted(&mut word);
                    // An empty quotation is part of the word that follows it.
                    if !word.text.is_empty() {
                        break;
                    }
                    while self.take_if(is_space).is_some() {}
                }
                c => push(&mut word, c),
            }
        }
        (!word.text.is_empty()).then_some(word)
    }

    /// Takes the next word if it is the keyword `keyword`.
    pub(super) fn take_keyword(&mut self, keyword: &str) -> bool {
        let mut ahead = self.clone();
        let is_it = ahead
            .next(Expect::Keyword)
            .is_some_and(|word| word.is(keyword));
        if is_it {
            *self = ahead;
        }
        is_it
    }

    /// The column after what was read so far: where something is missing.
    pub(super) fn column(&self) -> u32 {
        self.column
    }

    /// Reads up to the closing quote, which the end of the line implies.
    fn quoted(&mut self, word: &mut Word) {
        while let Some(c) = self.take_if(|_| true) {
            if c == '"' {
                return;
            }
            push(word, c);
        }
    }

    fn skip_line(&mut self) {
        while self.take_if(|_| true).is_some() {}
    }

    fn take_if(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        let c = self.rest.next_if(|c| wanted(*c))?;
        self.column += 1;
        Some(c)
    }
}

fn push(word: &mut Word, c: char) {
    if c.is_ascii() {
        word.text.push(c);
    } else {
        word.foreign = true;
    }
}

/// C's `isspace`, but for the newline.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0b' | '\x0c' | '\r')
}

fn is_special(c: char) -> bool {
    matches!(c, '{' | '}' | '(' | ')' | ',' | ';' | '|' | '=')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a line whose first word is a keyword that a text follows.
    fn words(line: &str) -> Vec<(String, u32)> {
        let mut lexer = Lexer::new(line);
        let mut words = Vec::new();
        let mut expect = Expect::Keyword;
        while let Some(word) = lexer.next(expect) {
            expect = if words.is_empty() {
                Expect::Text
            } else {
                Expect::Keyword
            };
            words.push((word.text, word.column));
        }
        words
    }

    #[test]
    fn words_end_where_ntpd_ends_them() {
        for (line, expected) in [
            ("", vec![]),
            ("  \t # server a", vec![]),
            ("server a", vec![("server", 1), ("a", 8)]),
            (
                "\tserver\ta iburst\r",
                vec![("server", 2), ("a", 9), ("iburst", 11)],
            ),
            ("server a#b iburst", vec![("server", 1), ("a", 8)]),
            ("ser#ver a", vec![("ser", 1)]),
            (
                "server \"a\" iburst",
                vec![("server", 1), ("a", 8), ("iburst", 12)],
            ),
            ("server \"a # b", vec![("server", 1), ("a # b", 8)]),
            ("server a\"b\"c", vec![("server", 1), ("ab", 8), ("c", 12)]),
            ("server \"\" a", vec![("server", 1), ("a", 8)]),
            (
                "server a,b minpoll=4",
                vec![
                    ("server", 1),
                    ("a,b", 8),
                    ("minpoll", 12),
                    ("=", 19),
                    ("4", 20),
                ],
            ),
            ("s\u{e9}rver \u{a0}b\u{fc}c", vec![("srver", 1), ("bc", 9)]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(text, column)| (text.to_owned(), column))
                .collect();
            assert_eq!(words(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_quoted_word_is_no_keyword() {
        let mut lexer = Lexer::new("\"restrict\" \"\" default");
        for text in ["restrict", "default"] {
            let word = lexer.next(Expect::Keyword).expect("a word");
            assert_eq!((word.text.as_str(), word.keyword()), (text, None));
        }
    }

    #[test]
    fn a_word_tells_that_ntpd_reads_another() {
        let word = Lexer::new("b\u{fc}ro").next(Expect::Text).expect("a word");
        assert!(word.foreign);
        assert_eq!(word.text, "bro");
    }
}
