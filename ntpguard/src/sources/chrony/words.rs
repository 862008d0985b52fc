//! The words of a line of chrony.conf: there is white space, and nothing else.

/// A word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// The column of its first character, counted from 1.
    pub(super) column: u32,
}

/// Finds a line's words.
pub(super) struct Words<'a> {
    rest: &'a str,
    /// The column of the next character.
    column: u32,
}

impl<'a> Words<'a> {
    /// Starts at the beginning of a line.
    pub(super) const fn new(line: &'a str) -> Self {
        Self {
            rest: line,
            column: 1,
        }
    }

    /// The next word, `None` at the end of the line.
    pub(super) fn next(&mut self) -> Option<Word<'a>> {
        let _ = self.take_while(is_space);
        let column = self.column;
        let text = self.take_while(|c| !is_space(c));
        (!text.is_empty()).then_some(Word { text, column })
    }

    /// The column after what was read so far: where something is missing.
    pub(super) const fn column(&self) -> u32 {
        self.column
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.column = self.column.saturating_add(taken.chars().count() as u32);
        self.rest = rest;
        taken
    }
}

/// C's `isspace`.
const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_white_space_leaves() {
        let mut words = Words::new(" \tf\u{fc}r \"a b\"#c\r");
        for (text, column) in [("f\u{fc}r", 3), ("\"a", 7), ("b\"#c", 10)] {
            assert_eq!(words.next(), Some(Word { text, column }));
        }
        assert_eq!(words.next(), None);
        assert_eq!(words.column(), 15);
    }
}
