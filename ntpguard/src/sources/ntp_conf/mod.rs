//! ntp.conf, as the classic ntpd and NTPsec read it.
//!
//! Where their grammars differ, what either of them takes is taken. Both skip a line that they
//! cannot read and go on with the next one, and so does this reader.

mod associations;
mod lexer;
mod restrict;
mod table;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use self::{
    associations::Unwanted,
    lexer::{Expect, Lexer, Word},
    table::Table,
};
use super::{
    Dialect, Library, Place, Reading,
    host::Spelling,
    reading_builder::{Line, ReadingBuilder, lines},
};

/// How many files may be open at once: the main one, and five that include each other.
const MAX_DEPTH: usize = 6;

/// The reader of ntp.conf.
#[derive(Clone, Copy, Debug, Default)]
pub struct NtpConf {
    /// Whether somebody asked on purpose to serve everybody whom `restrict default` lets ask for
    /// the time.
    pub serve: bool,
}

impl Dialect for NtpConf {
    fn name(&self) -> &'static str {
        "ntp.conf"
    }

    fn read_from(&self, files: &dyn Library, path: &Path) -> Reading {
        let mut reader = Reader {
            builder: ReadingBuilder::new(files, path, Spelling::NTPD),
            table: Table::default(),
            table_of_others: Table::default(),
            unwanted: Unwanted::default(),
            ended: false,
        };
        if reader.file(path, None) {
            reader.ntp_d(path);
            reader.unwanted.remove_from(&mut reader.builder);
            reader.table.grant(self.serve, &mut reader.builder);
            reader.table_of_others.grant_named(&mut reader.builder);
        }
        reader.builder.finish()
    }
}

/// A configuration being read.
struct Reader<'a> {
    builder: ReadingBuilder<'a>,
    table: Table,
    /// What other files than root's say besides: an entry can take back what another says.
    table_of_others: Table,
    unwanted: Unwanted,
    /// Whether `end` was read: what follows it counts in no file.
    ended: bool,
}

impl<'a> Reader<'a> {
    /// Reads a file; says whether it could be opened.
    fn file(&mut self, path: &Path, from: Option<&Place>) -> bool {
        let Some(text) = self.builder.open(path, from) else {
            return false;
        };
        let file: Arc<Path> = path.into();
        for (line, text, _) in lines(&file, &text) {
            if self.ended {
                break;
            }
            self.line(&line, text);
        }
        // Others cannot end what root goes on to say.
        self.ended &= self.is_like_main(&file);
        self.builder.close();
        true
    }

    /// NTPsec reads the directory `ntp.d` beside the main file after it, `end` or no `end`.
    fn ntp_d(&mut self, main: &Path) {
        self.ended = false;
        let directory = self.builder.files().beside(main, "ntp.d");
        self.directory(&directory, None);
    }

    fn directory(&mut self, directory: &Path, from: Option<&Place>) {
        for path in self.builder.directory(directory, ".conf", from) {
            if self.ended {
                break;
            }
            self.file(&path, from);
        }
    }

    fn line(&mut self, line: &Line, text: &str) {
        let mut words = Lexer::new(text);
        let Some(command) = words.next(Expect::Keyword) else {
            return;
        };
        match command.keyword() {
            Some(keyword @ ("server" | "pool" | "peer")) => {
                associations::source(&mut self.builder, keyword, line, &mut words);
            }
            Some(keyword @ ("broadcastclient" | "multicastclient" | "manycastclient")) => {
                let place = line.at(command.column);
                associations::listener(&mut self.builder, keyword, place, &mut words);
            }
            Some("unconfig" | "unpeer") => {
                self.unwanted.read(&mut self.builder, line, &mut words);
            }
            Some("restrict") => {
                let (table, builder) = self.table_of(line);
                restrict::restrict(table, builder, line, &mut words);
            }
            Some(keyword @ ("unrestrict" | "delrestrict")) => {
                let (table, builder) = self.table_of(line);
                restrict::unrestrict(table, builder, keyword, line, &mut words);
            }
            Some("includefile") => self.include(line, &mut words),
            Some("end") => self.ended = true,
            Some(keyword) if OTHER_COMMANDS.contains(&keyword) => {}
            _ => self.builder.error(
                line.at(command.column),
                format!("ntpd has no command {:?} and skips this line", command.text),
            ),
        }
    }

    /// The table that a line belongs to.
    fn table_of(&mut self, line: &Line) -> (&mut Table, &mut ReadingBuilder<'a>) {
        let table = if self.is_like_main(&line.file) {
            &mut self.table
        } else {
            &mut self.table_of_others
        };
        (table, &mut self.builder)
    }

    /// Whether a file is root's, or the main one is not either.
    fn is_like_main(&self, file: &Path) -> bool {
        self.builder.is_of_root(file) || !self.builder.is_of_root(&self.builder.whole().file)
    }

    fn include(&mut self, line: &Line, words: &mut Lexer<'_>) {
        let Some(name) = words.next(Expect::Text) else {
            self.builder.error(
                line.at(words.column()),
                "expected the name of a file to include",
            );
            return;
        };
        let place = line.at(name.column);
        if name.foreign {
            self.builder.error(place, NOT_ASCII);
            return;
        }
        if self.builder.depth() >= MAX_DEPTH {
            self.builder.error(
                place,
                format!("ignored: ntpd follows at most {} includes", MAX_DEPTH - 1),
            );
            return;
        }
        // NTPsec looks beside the including file; the classic ntpd where it was started, which
        // nobody can know.
        let files = self.builder.files();
        let path = files.beside(&line.file, &name.text);
        if files.is_dir(&path) {
            self.directory(&path, Some(&place));
        } else {
            self.file(&path, Some(&place));
        }
    }
}

/// What is said of a word whose rest ntpd would take for the whole.
const NOT_ASCII: &str = "ntpd skips all non-ASCII characters: write the word without them";

/// A word that must be there.
fn expect_word(
    builder: &mut ReadingBuilder<'_>,
    line: &Line,
    words: &mut Lexer<'_>,
    expect: Expect,
    what: &str,
) -> Option<Word> {
    match words.next(expect) {
        Some(word) if word.foreign => {
            builder.error(line.at(word.column), NOT_ASCII);
            None
        }
        Some(word) => Some(word),
        None => {
            builder.error(
                line.at(words.column()),
                format!("expected {what}, not the end of the line"),
            );
            None
        }
    }
}

/// Commands of either ntpd that have nothing to do with who may send what.
///
/// `broadcast` and `manycastserver` are among them: what they send, nobody answers.
const OTHER_COMMANDS: &[&str] = &[
    "automax",
    "broadcast",
    "broadcastdelay",
    "controlkey",
    "crypto",
    "device",
    "disable",
    "discard",
    "driftfile",
    "dscp",
    "enable",
    "extra",
    "filegen",
    "fudge",
    "ident",
    "interface",
    "keys",
    "keysdir",
    "leapfile",
    "leapsmearinterval",
    "limit",
    "logconfig",
    "logfile",
    "manycastserver",
    "mdnstries",
    "mru",
    "nic",
    "nonvolatile",
    "ntpsigndsocket",
    "nts",
    "phone",
    "pidfile",
    "pollskewlist",
    "refclock",
    "requestkey",
    "reset",
    "revoke",
    "rlimit",
    "saveconfigdir",
    "setvar",
    "simulate",
    "statistics",
    "statsdir",
    "tick",
    "tinker",
    "tos",
    "trap",
    "trustedkey",
    "ttl",
];
