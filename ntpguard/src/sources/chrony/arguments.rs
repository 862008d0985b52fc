//! Directives on chronyd's command line, as /proc shows them.
//!
//! chronyd splits its arguments where they are. What `ps` and /proc show then has NUL for white space
//! and for the slash of a prefix; a number and the option behind it are one word (`port 1123 iburst`
//! is `port`, `1123iburst`); and where white space was taken out, the end of the argument is there
//! twice. Which words were one argument is lost. Servers and files are found all the same; nothing
//! else is taken from a command line, since `allow 10.0.0.0/8` may look like `allow`.

use ntpguard_common::wire::ntp;

use super::{super::Family, keywords::is_chronys};

/// A piece of a command line, between two NUL, and its number, counted from 1.
pub(in crate::sources) type Piece = (String, u32);

/// What is understood of chronyd's command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// The servers, with where each stands.
    pub(super) servers: Vec<(Server, u32)>,
    /// Directives that name files: the directive, what follows it, and where that stands.
    pub(super) files: Vec<(String, String, u32)>,
    /// The port that chronyc speaks to.
    pub(super) command_port: Option<u16>,
    /// Directives that would let others use this host, or need a boundary that is lost.
    pub(super) left_out: Vec<(String, u32)>,
}

/// A server on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) family: Family,
    /// The ports that it may be asked at.
    pub(super) ports: Vec<u16>,
}

/// Finds the directives among the pieces of a command line.
pub(super) fn directives(pieces: &[Piece]) -> Directives {
    let mut words = Words::of(pieces);
    let mut found = Directives::default();
    // The piece that the last server is in, while options of its may follow.
    let mut server: Option<usize> = None;
    let mut is_split = false;
    while let Some(word) = words.next() {
        let small = word.text.to_ascii_lowercase();
        match &*small {
            "server" | "pool" | "peer" => {
                let Some(host) = words.next() else {
                    found.left_out.push((small, word.number));
                    break;
                };
                server = Some(word.piece);
                is_split = host.piece != word.piece;
                let named = Server {
                    host: host.text.to_owned(),
                    family: Family::Any,
                    ports: vec![ntp::PORT],
                };
                found.servers.push((named, word.number));
            }
            "ipv4" | "ipv6" | "port" if server.is_some_and(|at| is_split || at == word.piece) => {
                if let Some((server, _)) = found.servers.last_mut() {
                    option(server, &small, is_split, &mut words);
                }
            }
            "cmdport" => {
                server = None;
                found.command_port = words.next_number().map(|(port, _)| port);
            }
            "include" | "confdir" | "sourcedir" => {
                server = None;
                let (named, number) = words.rest_of_piece().unwrap_or(("", word.number));
                found.files.push((small, named.to_owned(), number));
            }
            "allow" | "cmdallow" | "broadcast" | "initstepslew" => {
                server = None;
                found.left_out.push((small, word.number));
            }
            directive if is_chronys(directive) => server = None,
            _ => words.resume_behind_number(word),
        }
    }
    found
}

/// Reads an option of a server.
fn option(server: &mut Server, name: &str, is_split: bool, words: &mut Words<'_>) {
    match name {
        "ipv4" => server.family = Family::V4,
        "ipv6" => server.family = Family::V6,
        _ => {
            let Some((port, value)) = words.next_number() else {
                return;
            };
            // Once the arguments are split it may as well be the directive `port` behind this server,
            // unless an option follows it.
            if !is_split || value.is_joined {
                server.ports = vec![port];
            } else if port != 0 && !server.ports.contains(&port) {
                server.ports.push(port);
            }
        }
    }
}

/// A word of a command line.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    /// Which piece it is in, and that piece's number.
    piece: usize,
    number: u32,
    /// Whether something follows it without a boundary.
    is_joined: bool,
}

/// The words of a command line, one after the other.
struct Words<'a> {
    pieces: &'a [Piece],
    piece: usize,
    /// What is left of the piece.
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn of(pieces: &'a [Piece]) -> Self {
        let rest = pieces.first().map_or("", |(text, _)| text);
        Self {
            pieces,
            piece: 0,
            rest: without_comment(rest),
        }
    }

    fn next(&mut self) -> Option<Word<'a>> {
        loop {
            let text = self.rest.trim_start_matches(is_space);
            if !text.is_empty() {
                let (text, rest) = text.split_at(text.find(is_space).unwrap_or(text.len()));
                self.rest = rest;
                return Some(self.word(text, false));
            }
            self.next_piece()?;
        }
    }

    /// Goes on to the next piece. Of a comment chronyd leaves an empty piece, and behind it the rest.
    fn next_piece(&mut self) -> Option<()> {
        let before = self.pieces.get(self.piece).map(|(text, _)| text.as_str());
        let (text, _) = self.pieces.get(self.piece + 1)?;
        self.piece += 1;
        let is_of_comment = before == Some("") && text.starts_with(is_space);
        self.rest = if is_of_comment {
            ""
        } else {
            without_comment(text)
        };
        Some(())
    }

    /// The number that the next word begins with; what is behind it in the word is the next one.
    fn next_number(&mut self) -> Option<(u16, Word<'a>)> {
        let word = self.next()?;
        let end = word.text.find(|c: char| !c.is_ascii_digit());
        let (digits, behind) = word.text.split_at(end.unwrap_or(word.text.len()));
        self.resume(behind);
        let word = Word {
            is_joined: !behind.is_empty(),
            ..word
        };
        digits.parse().ok().map(|number| (number, word))
    }

    /// Has what is behind the number that `word` begins with, if it does, be the next word.
    fn resume_behind_number(&mut self, word: Word<'a>) {
        let behind = word
            .text
            .trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+'));
        if behind.len() < word.text.len() {
            self.resume(behind);
        }
    }

    /// Has the end of the word just read be the next one.
    fn resume(&mut self, behind: &'a str) {
        if let Some((text, _)) = self.pieces.get(self.piece).filter(|_| !behind.is_empty()) {
            let from = text.len() - self.rest.len() - behind.len();
            self.rest = &text[from..];
        }
    }

    /// What is left of this piece or, at its end, the next.
    fn rest_of_piece(&mut self) -> Option<(&'a str, u32)> {
        if self.rest.trim_matches(is_space).is_empty() {
            self.next_piece()?;
        }
        let text = std::mem::take(&mut self.rest);
        Some((text, self.word("", false).number))
    }

    fn word(&self, text: &'a str, is_joined: bool) -> Word<'a> {
        Word {
            text,
            piece: self.piece,
            number: self.pieces.get(self.piece).map_or(0, |(_, number)| *number),
            is_joined,
        }
    }
}

/// Nothing of an argument that chronyd has not yet looked at, if it is a comment.
fn without_comment(text: &str) -> &str {
    let is_comment = text
        .trim_start_matches(is_space)
        .starts_with(['!', ';', '#', '%']);
    if is_comment { "" } else { text }
}

/// C's `isspace`.
const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is understood of a line whose pieces are parted by bars, a line for each.
    fn understood(line: &str) -> Vec<String> {
        let pieces: Vec<Piece> = line.split('|').map(str::to_owned).zip(1..).collect();
        let found = directives(&pieces);
        let servers = found.servers.iter().map(|(server, number)| {
            let family = match server.family {
                Family::Any => "",
                Family::V4 => " v4",
                Family::V6 => " v6",
            };
            format!("{number} {}{family} {:?}", server.host, server.ports)
        });
        let files = found.files.iter();
        let files = files.map(|(directive, path, number)| format!("{number} {directive} {path}"));
        let port = found.command_port.map(|port| format!("cmdport {port}"));
        let left_out = found.left_out.iter();
        let left_out = left_out.map(|(directive, number)| format!("{number} not {directive}"));
        servers.chain(files).chain(port).chain(left_out).collect()
    }

    /// Each line is what chronyd 4.3 made of the arguments in the comment.
    #[test]
    fn what_chronyd_leaves_of_its_arguments_is_understood() {
        for (line, expected) in [
            // 'server 192.0.2.1 iburst' 'allow 10.99.0.0/24' 'cmdport 1323'
            (
                "server|192.0.2.1|iburst|allow|10.99.0.0|24|cmdport|1323",
                vec!["1 192.0.2.1 [123]", "cmdport 1323", "4 not allow"],
            ),
            // 'server  192.0.2.2   port 1123   minpoll 4  iburst' 'makestep 1 -1'
            (
                "server|192.0.2.2|port|1123minpoll| 4iburst||burst|makestep|1 -1",
                vec!["1 192.0.2.2 [1123]"],
            ),
            // 'pool a.example maxsources 3 iburst' '   server    192.0.2.3   ' '# server 192.0.2.4'
            // 'initstepslew 30 192.0.2.5 192.0.2.6'
            (
                "pool|a.example|maxsources|3iburst||server|192.0.2.3|0.2.3   || server 192.0.2.4|\
                 initstepslew|30|192.0.2.5|192.0.2.6",
                vec![
                    "1 a.example [123]",
                    "6 192.0.2.3 [123]",
                    "11 not initstepslew",
                ],
            ),
            // 'include /etc/nosuch*.conf' 'allow all' 'peer 192.0.2.7 port 44' 'deny 10.0.0.0/8'
            // 'local stratum 8 orphan' 'allow 2001:db8::/32' 'sourcedir /etc/x /etc/y'
            (
                "include|/etc/nosuch*.conf|allow|all|peer|192.0.2.7|port|44|deny|10.0.0.0|8|local|\
                 stratum|8orphan||allow|2001:db8::|32|sourcedir|/etc/x /etc/y",
                vec![
                    "5 192.0.2.7 [123, 44]",
                    "2 include /etc/nosuch*.conf",
                    "20 sourcedir /etc/x /etc/y",
                    "3 not allow",
                    "16 not allow",
                ],
            ),
            // 'server 2001:db8::1 iburst offset -0.5 xleave minpoll 4 maxpoll 5' 'confdir /etc/x'
            // 'initstepslew 30 192.0.2.5' 'server b.example'
            (
                "server|2001:db8::1|iburst|offset|-0.5xleave| minpoll|4maxpoll| 5|confdir|/etc/x|\
                 initstepslew|30|192.0.2.5|server|b.example",
                vec![
                    "1 2001:db8::1 [123]",
                    "14 b.example [123]",
                    "10 confdir /etc/x",
                    "11 not initstepslew",
                ],
            ),
            // 'server 192.0.2.9 filter 4 ipv4' 'SERVER 192.0.2.10 port 1' 'port 0'
            (
                "server|192.0.2.9|filter|4ipv4||SERVER|192.0.2.10|port|1|port|0",
                vec!["1 192.0.2.9 v4 [123]", "6 192.0.2.10 [123, 1]"],
            ),
        ] {
            assert_eq!(understood(line), expected, "{line}");
        }
    }

    #[test]
    fn arguments_that_chronyd_has_not_split_yet_are_understood() {
        for (line, expected) in [
            (
                "server  a.example port 1123 ipv6|port 0|# server b.example|allow 10/8",
                vec!["1 a.example v6 [1123]", "4 not allow"],
            ),
            ("include /etc/x.conf", vec!["1 include  /etc/x.conf"]),
            ("server", vec!["1 not server"]),
            ("server a.example|port", vec!["1 a.example [123]"]),
            ("ipv4|port|7|1123", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(understood(line), expected, "{line}");
        }
    }

    const PIECE: &str = "server|pool|port|ipv4|include|cmdport|allow|[0-9]{1,5}[a-z0-9]{0,6}|\
                         ( |server|port|[0-9.#-]|[a-z]){0,8}|\\PC{0,6}";

    proptest! {
        #[test]
        fn whatever_is_found_stands_in_the_pieces(
            pieces in prop::collection::vec(PIECE, 0..24),
        ) {
            let numbered: Vec<Piece> = pieces.iter().cloned().zip(1..).collect();
            let found = directives(&numbered);
            let piece = |number: u32| pieces[number as usize - 1].to_ascii_lowercase();
            for (server, number) in found.servers {
                let keywords = ["server", "pool", "peer"];
                prop_assert!(keywords.iter().any(|keyword| piece(number).contains(keyword)));
                prop_assert!(pieces.iter().any(|piece| piece.contains(&server.host)));
                prop_assert!((1..=2).contains(&server.ports.len()));
            }
            for (directive, number) in found.left_out {
                prop_assert!(piece(number).contains(&directive));
            }
            for (_, named, number) in found.files {
                prop_assert!(pieces[number as usize - 1].contains(&named));
            }
        }
    }
}
