//! chrony.conf, with what it includes, and the `.sources` files beside it.

mod access;
mod arguments;
pub(super) mod keywords;
mod source;
mod words;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use ntpguard_common::maps::tables::Role;

pub(super) use self::arguments::Piece;
use self::{access::Access, arguments::Server, words::Words};
use super::{
    Channel, Dialect, Library, Place, Reading,
    files::has_wildcard,
    host::Spelling,
    reading_builder::{Line, ReadingBuilder, lines},
};

/// The port that chronyd is asked at unless told otherwise.
const COMMAND_PORT: u16 = 323;
/// How many files may be open at once.
const MAX_DEPTH: usize = 10;
/// How many directories a `confdir` or `sourcedir` line may name.
const MAX_DIRECTORIES: usize = 10;
/// The longest line that chronyd reads, in bytes.
const MAX_LINE: usize = 2047;

/// The reader of chrony.conf, and of single `.sources` files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chrony;

impl Dialect for Chrony {
    fn name(&self) -> &'static str {
        "chrony"
    }

    fn read_from(&self, files: &dyn Library, path: &Path) -> Reading {
        let mut reader = Reader::new(files, path);
        if path
            .extension()
            .is_some_and(|extension| extension == "sources")
        {
            reader.source_file(path, None);
        } else {
            reader.file(path, None);
        }
        reader.finish()
    }
}

impl Chrony {
    /// Reads what the arguments of a running chronyd name: servers, and files where chronyd sees the
    /// same as this process. `path` is where the arguments stand.
    pub(super) fn read_arguments(
        files: &dyn Library,
        path: &Path,
        pieces: &[Piece],
        sees_same_files: bool,
    ) -> Reading {
        let mut reader = Reader::new(files, path);
        let found = arguments::directives(pieces);
        for (server, number) in found.servers {
            reader.argument_server(&server, &line_of(path, number));
        }
        for (directive, named, number) in found.files {
            let line = line_of(path, number);
            if sees_same_files && named.trim_start().starts_with('/') {
                reader.directive(&directive, &line, &mut Words::new(&named));
            } else {
                let why = "ignored: on a command line, only an absolute path on this host is read";
                reader
                    .builder
                    .note(line.at(1), format!("{directive} {why}"));
            }
        }
        for (directive, number) in found.left_out {
            let why = "grants nothing on a command line: use chronyd's configuration file";
            let place = line_of(path, number).at(1);
            reader.builder.note(place, format!("{directive} {why}"));
        }
        reader.command_port = found.command_port.unwrap_or(reader.command_port);
        reader.finish()
    }
}

fn line_of(file: &Path, number: u32) -> Line {
    Line {
        file: file.into(),
        number,
    }
}

/// A configuration being read.
struct Reader<'a> {
    builder: ReadingBuilder<'a>,
    /// The rules of root's files, and those of files that others wrote. They are kept apart, since a
    /// rule can take others back.
    access: Access,
    access_of_others: Access,
    /// What the source directories hold, and the places that name them.
    source_files: Vec<(PathBuf, Place)>,
    /// The port that chronyc speaks to, 0 for none.
    command_port: u16,
}

impl<'a> Reader<'a> {
    fn new(files: &'a dyn Library, path: &Path) -> Self {
        Self {
            builder: ReadingBuilder::new(files, path, Spelling::CHRONYD),
            access: Access::default(),
            access_of_others: Access::default(),
            source_files: Vec::new(),
            command_port: COMMAND_PORT,
        }
    }

    fn finish(mut self) -> Reading {
        // chronyd reads its source directories when it has read everything else.
        for (path, from) in std::mem::take(&mut self.source_files) {
            self.source_file(&path, Some(&from));
        }
        for access in [&self.access, &self.access_of_others] {
            access.grant(&mut self.builder);
        }
        self.builder.channel(Channel::ChronyPort(self.command_port));
        self.builder.finish()
    }

    fn file(&mut self, path: &Path, from: Option<&Place>) {
        let Some(text) = self.builder.open(path, from) else {
            return;
        };
        let file: Arc<Path> = path.into();
        for (line, text, _) in lines(&file, &text) {
            self.line(&line, text);
        }
        self.builder.close();
    }

    /// Reads a file of a source directory, where nothing but sources counts.
    fn source_file(&mut self, path: &Path, from: Option<&Place>) {
        let Some(text) = self.builder.open(path, from) else {
            return;
        };
        let file: Arc<Path> = path.into();
        for (line, text, terminated) in lines(&file, &text) {
            let Some((keyword, mut words)) = command(text) else {
                continue;
            };
            if !terminated {
                self.builder.note(
                    line.at(keyword.column),
                    "ignored: chronyd ignores a last line without a newline in this kind of file",
                );
            } else if source::is_source(&keyword.text) {
                source::source(&mut self.builder, &keyword.text, &line, &mut words);
            } else {
                self.builder.note(
                    line.at(keyword.column),
                    format!(
                        "chronyd ignores {:?} here: it expects server, pool or peer",
                        keyword.text
                    ),
                );
            }
        }
        self.builder.close();
    }

    fn line(&mut self, line: &Line, text: &str) {
        let Some((keyword, mut words)) = command(text) else {
            return;
        };
        if text.len() > MAX_LINE {
            self.builder.error(
                line.at(keyword.column),
                format!("ignored: longer than the {MAX_LINE} bytes that chronyd reads"),
            );
            return;
        }
        self.directive(&keyword.text, line, &mut words);
    }

    /// Reads the rest of a line that begins with `keyword`.
    fn directive(&mut self, keyword: &str, line: &Line, words: &mut Words<'_>) {
        match keyword {
            name if source::is_source(name) => {
                source::source(&mut self.builder, name, line, words);
            }
            "initstepslew" => source::initial(&mut self.builder, line, words),
            "allow" | "deny" => {
                let (access, builder) = self.access_of(line);
                access.rule(keyword == "allow", builder, line, words);
            }
            "cmdport" => {
                if let Some(port) = source::port(&mut self.builder, line, words) {
                    self.command_port = port;
                }
            }
            "port" => {
                let (access, builder) = self.access_of(line);
                access.port(builder, line, words);
            }
            "include" => self.include(line, words),
            "confdir" => {
                for (path, from) in self.directories(".conf", line, words) {
                    self.included(&path, &from);
                }
            }
            "sourcedir" => {
                let found = self.directories(".sources", line, words);
                self.source_files.extend(found);
            }
            // chrony has over a hundred more, and each release adds some.
            _ => {}
        }
    }

    /// Takes a server of the command line.
    fn argument_server(&mut self, server: &Server, line: &Line) {
        for port in &server.ports {
            let roles = &[Role::Server];
            self.builder
                .source_at(&server.host, *port, server.family, roles, line.at(1));
        }
    }

    /// The rules that a line belongs to.
    fn access_of(&mut self, line: &Line) -> (&mut Access, &mut ReadingBuilder<'a>) {
        let access = if self.builder.is_of_root(&line.file) {
            &mut self.access
        } else {
            &mut self.access_of_others
        };
        (access, &mut self.builder)
    }

    fn include(&mut self, line: &Line, words: &mut Words<'_>) {
        let Some(name) = words.next() else {
            self.builder.error(
                line.at(words.column()),
                "expected the name of a file to include",
            );
            return;
        };
        let place = line.at(name.column);
        if let Some(extra) = words.next() {
            self.builder.error(
                line.at(extra.column),
                "ignored: include takes one name, without spaces",
            );
            return;
        }
        let path = self.builder.files().beside(&line.file, name.text);
        if has_wildcard(name.text) {
            for path in self.builder.glob(&path, &place) {
                self.included(&path, &place);
            }
        } else {
            self.included(&path, &place);
        }
    }

    fn included(&mut self, path: &Path, from: &Place) {
        if self.builder.depth() >= MAX_DEPTH {
            self.builder.error(
                from.clone(),
                format!("ignored: chronyd has at most {MAX_DEPTH} files open at once"),
            );
            return;
        }
        self.file(path, Some(from));
    }

    /// The files that a `confdir` or `sourcedir` line means, in the order of their names: of those
    /// with the same name, that in the directory named first.
    fn directories(
        &mut self,
        suffix: &str,
        line: &Line,
        words: &mut Words<'_>,
    ) -> Vec<(PathBuf, Place)> {
        let mut found: BTreeMap<OsString, (PathBuf, Place)> = BTreeMap::new();
        let mut count = 0;
        while let Some(word) = words.next() {
            count += 1;
            let place = line.at(word.column);
            if count > MAX_DIRECTORIES {
                self.builder.error(
                    place,
                    format!("ignored: chronyd takes {MAX_DIRECTORIES} directories per line"),
                );
                break;
            }
            let directory = self.builder.files().beside(&line.file, word.text);
            for path in self.builder.directory(&directory, suffix, Some(&place)) {
                if let Some(name) = path.file_name().map(ToOwned::to_owned) {
                    found.entry(name).or_insert_with(|| (path, place.clone()));
                }
            }
        }
        if count == 0 {
            self.builder
                .error(line.at(words.column()), "expected a directory");
        }
        found.into_values().collect()
    }
}

/// The first word of a line, in lower case, and the words after it. Comments have none.
fn command(text: &str) -> Option<(Keyword, Words<'_>)> {
    let mut words = Words::new(text);
    let first = words.next()?;
    if first.text.starts_with(['!', ';', '#', '%']) {
        return None;
    }
    Some((
        Keyword {
            text: first.text.to_ascii_lowercase(),
            column: first.column,
        },
        words,
    ))
}

/// The word that says what a line is about.
struct Keyword {
    /// In lower case.
    text: String,
    column: u32,
}
