//! The words of OpenNTPD's ntpd.conf, as its scanner finds them.

use std::{iter::Peekable, str::Chars};

/// A word, or one of the characters that stand alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Without its quotes.
    pub(super) text: String,
    /// Counted from 1.
    pub(super) line: u32,
    /// The column of its first character, counted from 1.
    pub(super) column: u32,
    /// Whether it was quoted, so that it is no keyword and no number.
    pub(super) quoted: bool,
}

/// Finds the words of a whole text, since a line can go on on the next.
pub(super) struct Scanner<'a> {
    rest: Peekable<Chars<'a>>,
    line: u32,
    column: u32,
    /// Where a quote begins that the text ends in.
    unclosed: Option<(u32, u32)>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text.chars().peekable(),
            line: 1,
            column: 1,
            unclosed: None,
        }
    }

    /// The words of the next statement, which may be none; `None` at the end of the text.
    pub(super) fn statement(&mut self) -> Option<Vec<Word>> {
        self.peek()?;
        let mut words = Vec::new();
        loop {
            while self.take_if(|c| c == ' ' || c == '\t').is_some() {}
            match self.peek() {
                None => return Some(words),
                Some('\n') => {
                    self.take_if(|_| true);
                    return Some(words);
                }
                Some('#') => while self.take_if(|c| c != '\n').is_some() {},
                Some(quote @ ('"' | '\'')) => words.push(self.quoted(quote)),
                Some(_) => words.push(self.bare()),
            }
        }
    }

    /// Where the scanner is.
    pub(super) const fn position(&self) -> (u32, u32) {
        (self.line, self.column)
    }

    /// Where a quote begins that the text ends in, once all statements are read.
    pub(super) const fn unclosed(&self) -> Option<(u32, u32)> {
        self.unclosed
    }

    fn bare(&mut self) -> Word {
        let mut word = self.start(false);
        while let Some(c) = self.take_if(is_part_of_word) {
            word.text.push(c);
        }
        if word.text.is_empty()
            && let Some(alone) = self.take_if(|_| true)
        {
            word.text.push(alone);
        }
        word
    }

    /// Reads up to the closing quote; newlines within count for nothing.
    fn quoted(&mut self, quote: char) -> Word {
        let mut word = self.start(true);
        self.take_if(|_| true);
        while let Some(c) = self.take_if(|_| true) {
            match c {
                '\n' => {}
                '\\' => match self.take_if(|next| next == quote || next == ' ' || next == '\t') {
                    Some(escaped) => word.text.push(escaped),
                    None => word.text.push('\\'),
                },
                c if c == quote => return word,
                c => word.text.push(c),
            }
        }
        self.unclosed = Some((word.line, word.column));
        word
    }

    const fn start(&self, quoted: bool) -> Word {
        Word {
            text: String::new(),
            line: self.line,
            column: self.column,
            quoted,
        }
    }

    /// The next character, past any backslash that joins two lines.
    fn peek(&mut self) -> Option<char> {
        loop {
            let mut ahead = self.rest.clone();
            match (ahead.next(), ahead.next()) {
                (Some('\\'), Some('\n')) => {
                    self.rest = ahead;
                    self.line += 1;
                    self.column = 1;
                }
                (next, _) => return next,
            }
        }
    }

    fn take_if(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        let c = self.peek().filter(|c| wanted(*c))?;
        self.rest.next();
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(c)
    }
}

/// `allowed_in_string` of OpenNTPD's parse.y.
const fn is_part_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || c.is_ascii_punctuation()
            && !matches!(
                c,
                '(' | ')' | '{' | '}' | '<' | '>' | '!' | '=' | '/' | '#' | ','
            )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<(String, u32, u32)>> {
        let mut scanner = Scanner::new(text);
        std::iter::from_fn(|| scanner.statement())
            .map(|words| {
                words
                    .into_iter()
                    .map(|word| (word.text, word.line, word.column))
                    .collect()
            })
            .collect()
    }

    #[test]
    fn words_end_where_openntpd_ends_them() {
        for (text, expected) in [
            ("", vec![]),
            ("\n", vec![vec![]]),
            ("server a#b", vec![vec![("server", 1, 1), ("a", 1, 8)]]),
            (
                "server \\\n  a\nservers b",
                vec![
                    vec![("server", 1, 1), ("a", 2, 3)],
                    vec![("servers", 3, 1), ("b", 3, 9)],
                ],
            ),
            ("\"a b\\\" c\"", vec![vec![("a b\" c", 1, 1)]]),
            ("'a\nb' c", vec![vec![("ab", 1, 1), ("c", 2, 4)]]),
            ("a=b", vec![vec![("a", 1, 1), ("=", 1, 2), ("b", 1, 3)]]),
            (
                "b\u{fc}ro",
                vec![vec![("b", 1, 1), ("\u{fc}", 1, 2), ("ro", 1, 3)]],
            ),
        ] {
            let expected: Vec<Vec<_>> = expected
                .into_iter()
                .map(|words| {
                    words
                        .into_iter()
                        .map(|(text, line, column): (&str, u32, u32)| {
                            (text.to_owned(), line, column)
                        })
                        .collect()
                })
                .collect();
            assert_eq!(words(text), expected, "{text:?}");
        }
    }
}
