//! The texts in a Rust source file: its string literals, and the help that clap makes of comments.

use anyhow::{Context as _, Result};
use proc_macro2::{Delimiter, Group, Literal, TokenStream, TokenTree, token_stream::IntoIter};

use super::Text;

/// The derives that make documentation comments into help.
const HELP: [&str; 4] = ["Args", "Parser", "Subcommand", "ValueEnum"];

/// The attributes whose strings are for the compiler, or for developers.
const UNSEEN: [&str; 7] = ["allow", "cfg", "cfg_attr", "doc", "expect", "path", "serde"];

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) texts: Vec<Text>,
    /// The modules of tests that it declares, and that are files of their own.
    pub(super) test_modules: Vec<String>,
}

/// The texts of a source file, without those of its tests.
pub(super) fn texts(source: &str) -> Result<Found> {
    let tokens: TokenStream = source.parse().ok().context("it has no tokens of Rust")?;
    let mut found = Found::default();
    found.walk(tokens, Within::Code);
    Ok(found)
}

/// What tokens stand in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Code,
    /// The fields or variants of a type of which clap makes options.
    Help,
}

impl Found {
    /// Takes up tokens, item by item: an item's attributes come first, and say what becomes of it.
    fn walk(&mut self, tokens: TokenStream, within: Within) {
        let mut tokens = tokens.into_iter();
        let mut attributes = Vec::new();
        while let Some(token) = tokens.next() {
            if is_punctuation(&token, '#') {
                attributes.extend(attribute(&mut tokens));
                continue;
            }
            let is_help = attributes.iter().any(derives_help);
            if attributes.iter().any(is_test) {
                self.skip(token, &mut tokens);
            } else {
                for attribute in &attributes {
                    self.take_attribute(attribute, is_help || within == Within::Help);
                }
                if is_help {
                    self.take_help(token, &mut tokens);
                } else {
                    self.take(token);
                }
            }
            attributes.clear();
        }
    }

    /// Leaves out an item of tests: all to its body or to a semicolon.
    fn skip(&mut self, first: TokenTree, rest: &mut IntoIter) {
        let mut module = None;
        let mut previous = None;
        for token in std::iter::once(first).chain(rest) {
            let name = match &token {
                TokenTree::Ident(name) => Some(name.to_string()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
                token if is_punctuation(token, ';') => break,
                _ => None,
            };
            if previous.as_deref() == Some("mod") {
                module.clone_from(&name);
            }
            previous = name;
        }
        self.test_modules.extend(module);
    }

    /// Takes up a type of which clap makes options: all to its body.
    fn take_help(&mut self, first: TokenTree, rest: &mut IntoIter) {
        for token in std::iter::once(first).chain(rest) {
            if let TokenTree::Group(group) = &token
                && group.delimiter() == Delimiter::Brace
            {
                return self.walk(group.stream(), Within::Help);
            }
            if is_punctuation(&token, ';') {
                return;
            }
        }
    }

    fn take(&mut self, token: TokenTree) {
        match token {
            TokenTree::Group(group) => self.walk(group.stream(), Within::Code),
            TokenTree::Literal(literal) => self.texts.extend(text(&literal)),
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }

    fn take_attribute(&mut self, attribute: &Group, is_help: bool) {
        let name = name(attribute).unwrap_or_default();
        let is_seen = !UNSEEN.contains(&name.as_str()) || is_help && name == "doc";
        if is_seen {
            self.walk(attribute.stream(), Within::Code);
        }
    }
}

/// What is in the brackets of an attribute, behind its `#`.
fn attribute(rest: &mut IntoIter) -> Option<Group> {
    // Behind `#` there may be `!`; in a macro there may be anything.
    rest.take(2).find_map(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => Some(group),
        _ => None,
    })
}

fn is_punctuation(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == wanted)
}

fn name(attribute: &Group) -> Option<String> {
    attribute
        .stream()
        .into_iter()
        .next()
        .map(|token| token.to_string())
}

/// Whether an attribute makes an item one of tests.
fn is_test(attribute: &Group) -> bool {
    match name(attribute).as_deref() {
        Some("test") => true,
        Some("cfg") => {
            let names = idents(attribute.stream());
            names.iter().any(|name| name == "test") && !names.iter().any(|name| name == "not")
        }
        _ => false,
    }
}

fn derives_help(attribute: &Group) -> bool {
    let derives = || idents(attribute.stream());
    name(attribute).as_deref() == Some("derive")
        && derives().iter().any(|name| HELP.contains(&name.as_str()))
}

fn idents(tokens: TokenStream) -> Vec<String> {
    let idents = |token| match token {
        TokenTree::Ident(ident) => vec![ident.to_string()],
        TokenTree::Group(group) => idents(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => Vec::new(),
    };
    tokens.into_iter().flat_map(idents).collect()
}

/// The text of a literal, if it is a string, with its lines as in the source: escapes and what `format!`
/// fills in are blank.
fn text(literal: &Literal) -> Option<Text> {
    let source = literal.to_string();
    let (prefix, quoted) = source.split_once('"')?;
    let quoted = quoted.rsplit_once('"')?.0;
    if !prefix
        .trim_end_matches('#')
        .chars()
        .all(char::is_alphabetic)
    {
        return None;
    }
    let text = if prefix.contains('r') {
        quoted.to_owned()
    } else {
        unescaped(quoted)
    };
    Some(Text {
        line: literal.span().start().line,
        text: without_arguments(&text),
    })
}

/// A string without its escapes.
fn unescaped(quoted: &str) -> String {
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(
                characters
                    .next()
                    .filter(|&next| next == '\n')
                    .unwrap_or(' '),
            ),
            other => text.push(other),
        }
    }
    text
}

/// A format string without the names of its arguments.
fn without_arguments(text: &str) -> String {
    let mut rest = text;
    let mut blank = String::new();
    while let Some((before, after)) = rest.split_once('{') {
        blank.push_str(before);
        rest = after.split_once('}').map_or(after, |(argument, after)| {
            blank.extend(argument.chars().filter(|&character| character == '\n'));
            after
        });
        blank.push(' ');
    }
    blank + rest
}

#[cfg(test)]
mod tests {
    fn found(source: &str) -> Vec<(usize, String)> {
        let texts = super::texts(source).unwrap().texts;
        texts
            .into_iter()
            .map(|text| (text.line, text.text))
            .collect()
    }

    #[test]
    fn string_literals_are_found_wherever_they_are_and_comments_are_not() {
        let source = r##"
            /// doc
            const A: &str = "one"; // comment
            fn f() -> u8 { let c = 'x'; format!("two {name:?}\nthree"); b"four"[0] }
            #[error("five {0}")]
            struct E;
            const R: &str = r#"six "\n"#;
        "##;
        let words: Vec<String> = found(source).into_iter().map(|(_, text)| text).collect();
        assert_eq!(words, ["one", "two   three", "four", "five  ", "six \"\\n"]);
    }

    #[test]
    fn comments_are_help_where_clap_makes_options_of_them() {
        let source = "/// one\n#[derive(Debug, clap::Args)]\nstruct Options {\n    /// two\n    \
                      #[arg(long)]\n    all: bool,\n}\n/// three\n#[derive(Debug)]\nstruct Other {}\n";
        let expected = [(1, " one".to_owned()), (4, " two".to_owned())];
        assert_eq!(found(source), expected);
    }

    #[test]
    fn tests_are_left_out_and_what_follows_them_is_not() {
        let source = "#[cfg(test)]\nmod tests {\n    const A: &str = \"one\";\n}\nconst B: &str = \"two\";\n\
                      #[cfg(test)]\npub(crate) mod testing;\n#[cfg(not(test))]\nconst C: &str = \"three\";\n";
        let expected = [(5, "two".to_owned()), (9, "three".to_owned())];
        assert_eq!(found(source), expected);
        assert_eq!(super::texts(source).unwrap().test_modules, ["testing"]);
    }

    #[test]
    fn what_is_for_the_compiler_is_left_out() {
        let source = "#![doc = \"one\"]\n#[expect(dead_code, reason = \"two\")]\nstruct S;\n";
        assert_eq!(found(source), []);
        assert!(super::texts("fn f() {").is_err());
    }

    #[test]
    fn a_text_of_several_lines_keeps_them() {
        let source = "const A: &str = \"one \\\n    two\";";
        assert_eq!(found(source), [(1, "one \n    two".to_owned())]);
    }
}
