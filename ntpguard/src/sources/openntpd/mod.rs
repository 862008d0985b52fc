//! OpenNTPD's ntpd.conf.
//!
//! Its ntpd refuses a file with any fault in it, and so does this reader: what the file asked for
//! before stays.

mod words;

#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
};

use ipnet::IpNet;
use ntpguard_common::maps::tables::Role;

use self::words::{Scanner, Word};
use super::{
    Dialect, Family, Library, Place, Reading,
    host::{self, Spelling},
    reading_builder::{Line, ReadingBuilder},
};

/// The reader of OpenNTPD's ntpd.conf.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenNtpd;

impl Dialect for OpenNtpd {
    fn name(&self) -> &'static str {
        "openntpd"
    }

    fn read_from(&self, files: &dyn Library, path: &Path) -> Reading {
        let mut builder = ReadingBuilder::new(files, path, Spelling::OPENNTPD);
        if let Some(text) = builder.open(path, None) {
            let mut reader = Reader {
                builder: &mut builder,
                file: path.into(),
                listens: [None, None],
            };
            reader.text(&text);
            reader.serve();
            builder.close();
        }
        builder.finish()
    }
}

/// What is wrong with a statement, and where.
struct Fault {
    line: u32,
    column: u32,
    message: String,
}

/// A file being read.
struct Reader<'a, 'f> {
    builder: &'a mut ReadingBuilder<'f>,
    file: Arc<Path>,
    /// Where it first says to answer IPv4 and IPv6 clients.
    listens: [Option<Place>; 2],
}

impl Reader<'_, '_> {
    fn text(&mut self, text: &str) {
        let mut scanner = Scanner::new(text);
        while let Some(words) = scanner.statement() {
            let mut words = Statement {
                words: words.into_iter(),
                end: scanner.position(),
            };
            if let Err(fault) = self.statement(&mut words) {
                self.broken(&fault);
            }
        }
        if let Some((line, column)) = scanner.unclosed() {
            self.broken(&Fault {
                line,
                column,
                message: "expected another quote after this one".to_owned(),
            });
        }
    }

    fn broken(&mut self, fault: &Fault) {
        let place = self.place(fault.line, fault.column);
        let message = format!("{}: ntpd does not start with this file", fault.message);
        self.builder.broken(place, message);
    }

    fn statement(&mut self, words: &mut Statement) -> Result<(), Fault> {
        let Some(keyword) = words.words.next() else {
            return Ok(());
        };
        match keyword.text.as_str() {
            "server" | "servers" if !keyword.quoted => self.server(words),
            "listen" if !keyword.quoted => {
                words.keyword("on")?;
                self.listen(words)
            }
            // What a constraint asks is HTTPS, and what `query from` says is an address of ours.
            "query" if !keyword.quoted => {
                words.keyword("from")?;
                words.next("an address of this host")?;
                words.options(&[])
            }
            "constraint" | "constraints" if !keyword.quoted => words.keyword("from"),
            "sensor" if !keyword.quoted => words.next("the name of a sensor").map(drop),
            _ => Err(fault_at(
                &keyword,
                format!("unknown directive {:?}", keyword.text),
            )),
        }
    }

    /// `server ADDRESS` takes the first address of a name and `servers` all; nobody knows which the
    /// first will be.
    fn server(&mut self, words: &mut Statement) -> Result<(), Fault> {
        let name = words.next("the name or address of a time source")?;
        words.options(&[("weight", true), ("trusted", false)])?;
        let place = self.place(name.line, name.column);
        self.builder
            .source(&name.text, Family::Any, &[Role::Server], place);
        Ok(())
    }

    fn listen(&mut self, words: &mut Statement) -> Result<(), Fault> {
        let address = words.next("an address of this host, or *")?;
        words.options(&[("rtable", true)])?;
        let place = self.place(address.line, address.column);
        let [v4, v6] = &mut self.listens;
        let of_families: &mut [&mut Option<Place>] = match host::address(&address.text) {
            Some(address) if address.is_loopback() => &mut [],
            Some(IpAddr::V4(_)) => &mut [v4],
            Some(IpAddr::V6(_)) => &mut [v6],
            None => &mut [v4, v6],
        };
        for listens in of_families {
            listens.get_or_insert_with(|| place.clone());
        }
        Ok(())
    }

    /// ntpd answers whoever asks it at an address that it listens on. It listens on none unless
    /// told, so that is deliberate.
    fn serve(&mut self) {
        let anybody: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        for (address, place) in anybody.into_iter().zip(std::mem::take(&mut self.listens)) {
            if let (Some(place), Ok(prefix)) = (place, IpNet::new(address, 0)) {
                self.builder.prefix(prefix, &[Role::Client], place);
            }
        }
    }

    fn place(&self, line: u32, column: u32) -> Place {
        Line {
            file: Arc::clone(&self.file),
            number: line,
        }
        .at(column)
    }
}

/// The words of a statement that are still to be read.
struct Statement {
    words: std::vec::IntoIter<Word>,
    /// Line and column of its end: where something is missing.
    end: (u32, u32),
}

impl Statement {
    /// The next word, which must be there.
    fn any(&mut self, what: &str) -> Result<Word, Fault> {
        self.words.next().ok_or_else(|| Fault {
            line: self.end.0,
            column: self.end.1,
            message: format!("expected {what}, not the end of the line"),
        })
    }

    /// The next word, which must be a text.
    fn next(&mut self, what: &str) -> Result<Word, Fault> {
        let word = self.any(what)?;
        if !word.quoted && is_no_text(&word.text) {
            return Err(unexpected(&word, what));
        }
        Ok(word)
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), Fault> {
        let what = format!("`{keyword}`");
        let word = self.any(&what)?;
        if word.text == keyword && !word.quoted {
            Ok(())
        } else {
            Err(unexpected(&word, &what))
        }
    }

    /// Reads options up to the end: each with whether a number follows it.
    fn options(&mut self, known: &[(&str, bool)]) -> Result<(), Fault> {
        while let Some(word) = self.words.next() {
            let Some((_, has_number)) = known
                .iter()
                .find(|(name, _)| *name == word.text && !word.quoted)
            else {
                return Err(fault_at(&word, format!("unknown option {:?}", word.text)));
            };
            let is_number = |value: &Word| value.text.parse::<i64>().is_ok();
            if *has_number && !self.words.next().as_ref().is_some_and(is_number) {
                return Err(fault_at(
                    &word,
                    format!("expected a number after {:?}", word.text),
                ));
            }
        }
        Ok(())
    }
}

fn unexpected(word: &Word, what: &str) -> Fault {
    fault_at(word, format!("expected {what}, not {:?}", word.text))
}

fn fault_at(word: &Word, message: String) -> Fault {
    Fault {
        line: word.line,
        column: word.column,
        message,
    }
}

/// Whether the grammar takes this for a number, a keyword, or a character that stands alone.
fn is_no_text(text: &str) -> bool {
    text.parse::<i64>().is_ok() || NO_TEXT.contains(&text)
}

/// What is no text unless it is quoted.
const NO_TEXT: &[&str] = &[
    "(",
    ")",
    "{",
    "}",
    "<",
    ">",
    "!",
    "=",
    "/",
    ",",
    "constraint",
    "constraints",
    "correction",
    "from",
    "listen",
    "on",
    "query",
    "refid",
    "rtable",
    "sensor",
    "server",
    "servers",
    "stratum",
    "trusted",
    "weight",
];
