//! The tokens of a Rust file, as far as finding its imports needs them.

use std::{iter::Peekable, str::Chars};

/// A word, or one character of punctuation, and the line that it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// The tokens of `source`. Comments are left out, and so is what literals say.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader {
        characters: source.chars().peekable(),
        line: 1,
        tokens: Vec::new(),
    };
    while let Some(character) = reader.next() {
        reader.token(character);
    }
    reader.tokens
}

struct Reader<'a> {
    characters: Peekable<Chars<'a>>,
    line: usize,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.characters.next();
        self.line += usize::from(character == Some('\n'));
        character
    }

    fn next_if(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        let found = self.characters.peek().is_some_and(|next| wanted(*next));
        if found { self.next() } else { None }
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.next_if(&wanted).is_some() {}
    }

    fn push(&mut self, text: String, line: usize) {
        self.tokens.push(Token { text, line });
    }

    fn token(&mut self, first: char) {
        let line = self.line;
        match first {
            _ if first.is_whitespace() => {}
            '/' if self.next_if(|next| next == '/').is_some() => {
                self.skip_while(|next| next != '\n');
            }
            '/' if self.next_if(|next| next == '*').is_some() => self.block_comment(),
            '"' => self.string(),
            '\'' => self.quote(),
            _ if is_word(first) => {
                let mut word = String::from(first);
                while let Some(next) = self.next_if(is_word) {
                    word.push(next);
                }
                self.word(word, line);
            }
            _ => self.push(first.into(), line),
        }
    }

    /// A word, unless it begins a string.
    fn word(&mut self, word: String, line: usize) {
        match (word.as_str(), self.characters.peek()) {
            ("r" | "br" | "cr", Some('"' | '#')) => self.raw(line),
            ("b" | "c", Some('"')) => {
                self.next();
                self.string();
            }
            _ => self.push(word, line),
        }
    }

    /// A raw string, or a raw identifier: `r#type`.
    fn raw(&mut self, line: usize) {
        let mut hashes = 0;
        while self.next_if(|next| next == '#').is_some() {
            hashes += 1;
        }
        if self.next_if(|next| next == '"').is_none() {
            return self.push("#".to_owned(), line);
        }
        let mut closing = None;
        while closing != Some(hashes) {
            closing = match (self.next(), closing) {
                (None, _) => return,
                (Some('"'), _) => Some(0),
                (Some('#'), Some(count)) => Some(count + 1),
                _ => None,
            };
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            match self.next() {
                None => return,
                Some('*') if self.next_if(|next| next == '/').is_some() => depth -= 1,
                Some('/') if self.next_if(|next| next == '*').is_some() => depth += 1,
                Some(_) => {}
            }
        }
    }

    fn string(&mut self) {
        while let Some(character) = self.next() {
            match character {
                '"' => return,
                '\\' => drop(self.next()),
                _ => {}
            }
        }
    }

    /// A character literal, or a lifetime.
    fn quote(&mut self) {
        if self.next_if(|next| next == '\\').is_some() {
            self.next();
            self.skip_while(|next| next != '\'');
            self.next();
        } else if self.next_if(is_word).is_some() {
            self.skip_while(is_word);
            self.next_if(|next| next == '\'');
        } else {
            self.next();
            self.next();
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        let words = tokens(source).into_iter().map(|token| token.text);
        words.filter(|text| text.starts_with(is_word)).collect()
    }

    #[test]
    fn comments_and_strings_hold_no_tokens() {
        assert_eq!(words("a // b\nc /* d /* e */ f */ g"), ["a", "c", "g"]);
        assert_eq!(words(r#"a "b \" c" d b"e" f"#), ["a", "d", "f"]);
        assert_eq!(words("a r#\"b \" c\"# d r\"e\" f"), ["a", "d", "f"]);
    }

    #[test]
    fn characters_and_lifetimes_do_not_open_strings() {
        assert_eq!(words(r#"a '"' b '\'' c '\u{1f}' d"#), ["a", "b", "c", "d"]);
        assert_eq!(
            words("a: &'static str, b: 'c', '{' d"),
            ["a", "str", "b", "d"]
        );
    }

    #[test]
    fn each_token_knows_its_line() {
        let found = tokens("a\n\"b\n\" c\n/* \n */ d");
        let lines: Vec<_> = found.iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 3, 5]);
    }
}
