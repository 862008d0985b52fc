//! What a file declares and imports: its `mod` and `use` items, and the paths in its code.

use super::tokens::{Token, tokens};

/// A path to something, and the name by which the file knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// Its name here; `*` for all that is in a module, none for a path within an expression.
    pub(super) name: Option<String>,
    pub(super) line: usize,
}

/// What a file declares and imports. Tests within it do not count: they may look at anything.
#[derive(Debug, Default)]
pub(super) struct File {
    /// The modules in files of their own.
    pub(super) modules: Vec<String>,
    pub(super) imports: Vec<Import>,
}

impl File {
    pub(super) fn read(source: &str) -> Self {
        let tokens = without_tests(&tokens(source));
        let mut file = Self::default();
        let mut rest = tokens.as_slice();
        while let [first, following @ ..] = rest {
            rest = match (first.text.as_str(), following) {
                ("mod", [name, end, ..]) if end.text == ";" => {
                    file.modules.push(name.text.clone());
                    following
                }
                // `use<'a>` says what a type captures.
                ("use", [next, ..]) if next.text != "<" => file.item(following),
                ("crate" | "super" | "self", _) => file.path(rest),
                _ => following,
            };
        }
        file
    }

    /// Reads a `use` item from behind the keyword to its end.
    fn item<'a>(&mut self, tokens: &'a [Token]) -> &'a [Token] {
        let end = tokens.iter().position(|token| token.text == ";");
        let (tree, rest) = tokens.split_at(end.unwrap_or(tokens.len()));
        self.tree(&[], tree);
        rest
    }

    /// Reads what a `use` item says behind `prefix`.
    fn tree(&mut self, prefix: &[String], tokens: &[Token]) {
        let mut path = prefix.to_vec();
        let mut rest = tokens;
        while let [first, following @ ..] = rest {
            match first.text.as_str() {
                ":" => {}
                "{" => {
                    for branch in branches(&following[..following.len().saturating_sub(1)]) {
                        self.tree(&path, branch);
                    }
                    return;
                }
                "as" => {
                    let name = following.first().map(|name| name.text.clone());
                    return self.import(path, name, first.line);
                }
                "self" if !path.is_empty() => {}
                "*" => return self.import(path, Some("*".to_owned()), first.line),
                word => path.push(word.to_owned()),
            }
            rest = following;
        }
        if let Some(last) = tokens.last() {
            let name = path.last().cloned();
            self.import(path, name, last.line);
        }
    }

    /// Reads a path within an expression or a type.
    fn path<'a>(&mut self, tokens: &'a [Token]) -> &'a [Token] {
        let mut path = vec![tokens[0].text.clone()];
        let mut rest = &tokens[1..];
        while let [first, second, third, following @ ..] = rest
            && first.text == ":"
            && second.text == ":"
            && third
                .text
                .starts_with(|c: char| c.is_alphabetic() || c == '_')
        {
            path.push(third.text.clone());
            rest = following;
        }
        if path.len() > 1 {
            self.import(path, None, tokens[0].line);
        }
        rest
    }

    fn import(&mut self, path: Vec<String>, name: Option<String>, line: usize) {
        self.imports.push(Import { path, name, line });
    }
}

/// The parts between the commas that are not within further braces.
fn branches(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0;
    let parts = tokens.split(|token| {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        depth == 0 && token.text == ","
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// The tokens without the items that stand behind `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let [first, following @ ..] = rest {
        let is_mark = rest.len() > MARK.len()
            && rest
                .iter()
                .zip(MARK)
                .all(|(token, mark)| token.text == mark);
        if is_mark {
            rest = behind_item(&rest[MARK.len()..]);
        } else {
            kept.push(first.clone());
            rest = following;
        }
    }
    kept
}

/// What stands behind the first item: that ends with a semicolon, or with the brace that closes it.
fn behind_item(tokens: &[Token]) -> &[Token] {
    let is_import = tokens
        .iter()
        .take_while(|token| token.text != "{")
        .any(|token| token.text == "use");
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        let ends = token.text == ";" || (token.text == "}" && !is_import);
        if depth <= 0 && ends {
            return &tokens[place + 1..];
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        let imports = File::read(source).imports.into_iter();
        imports
            .map(|import| {
                let path = import.path.join("::");
                match import.name {
                    Some(name) => format!("{path} as {name}"),
                    None => path,
                }
            })
            .collect()
    }

    #[test]
    fn trees_of_imports_are_taken_apart() {
        assert_eq!(
            paths("use a::{self, b::{C, D as E}, f::*}; pub(crate) use g;"),
            [
                "a as a",
                "a::b::C as C",
                "a::b::D as E",
                "a::f as *",
                "g as g"
            ]
        );
    }

    #[test]
    fn paths_in_code_count_and_those_in_tests_do_not() {
        let source = "fn a(x: crate::b::C<'_>) { super::d(); self.e }
            #[cfg(test)] use crate::f::{G, H};
            #[cfg(test)] fn i() { crate::j() }
            #[cfg(test)] mod tests { use crate::k; }
            fn l() -> impl Sized + use<> { crate::m::<T>() }";
        assert_eq!(paths(source), ["crate::b::C", "super::d", "crate::m"]);
    }

    #[test]
    fn modules_in_files_are_found_and_those_of_tests_are_not() {
        let file = File::read("mod a; pub mod b; #[cfg(test)] mod tests; mod c { use super::d; }");
        assert_eq!(file.modules, ["a", "b"]);
        assert_eq!(file.imports.len(), 1);
    }

    #[test]
    fn an_import_knows_its_line() {
        let file = File::read("use a::{\n  b,\n  c,\n};\nfn d() {\n crate::e() }");
        let lines: Vec<_> = file.imports.iter().map(|import| import.line).collect();
        assert_eq!(lines, [2, 3, 6]);
    }
}
