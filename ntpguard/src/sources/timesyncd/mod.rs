//! systemd-timesyncd's timesyncd.conf, its drop-ins, and the servers that networkd has for links.

mod files;
mod ini;
#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ntpguard_common::maps::tables::Role;

pub(super) use self::files::main_files;
use super::{
    Dialect, Family, Library, Place, Reading,
    host::{self, Spelling},
    reading_builder::{Line, ReadingBuilder, lines},
};

/// The reader of timesyncd.conf.
///
/// Where the file is in one of systemd's places, what lies in the others is read with it; a file
/// elsewhere is read with the drop-ins beside it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timesyncd;

impl Dialect for Timesyncd {
    fn name(&self) -> &'static str {
        "timesyncd"
    }

    fn read_from(&self, files: &dyn Library, path: &Path) -> Reading {
        let mut reader = Reader {
            builder: ReadingBuilder::new(files, path, Spelling::TIMESYNCD),
            servers: Servers::default(),
        };
        match files::root_of(path) {
            Some(root) => reader.system(root),
            None => reader.alone(path),
        }
        reader.grant();
        reader.builder.finish()
    }
}

/// A server's name or address, and where it stands.
type Named = (String, Place);

/// The servers of each kind.
#[derive(Default)]
struct Servers {
    /// Of `NTP=`.
    system: Vec<Named>,
    /// Of networkd's links.
    link: Vec<Named>,
    /// Of `FallbackNTP=`; `None` while no line has said anything.
    fallback: Option<Vec<Named>>,
    /// Of the comment that shows what is built in.
    built_in: Option<Vec<Named>>,
}

struct Reader<'a> {
    builder: ReadingBuilder<'a>,
    servers: Servers,
}

impl Reader<'_> {
    /// Reads all that timesyncd would read below `root`. There may be drop-ins alone.
    fn system(&mut self, root: &Path) {
        main_files(root).for_each(|main| self.builder.watch(&main));
        let files = self.builder.files();
        if let Some(main) = main_files(root).find(|main| files.exists(main)) {
            self.file(&main);
        }
        let directories: Vec<_> = files::drop_in_directories(root).collect();
        self.drop_ins(&directories);
        self.networkd(&root.join(files::NETWORKD));
    }

    fn alone(&mut self, main: &Path) {
        self.file(main);
        let mut beside = main.as_os_str().to_owned();
        beside.push(".d");
        self.drop_ins(&[beside.into()]);
    }

    fn drop_ins(&mut self, directories: &[PathBuf]) {
        for path in files::drop_ins(&mut self.builder, directories) {
            self.file(&path);
        }
    }

    fn file(&mut self, path: &Path) {
        let Some(text) = self.builder.open(path, None) else {
            return;
        };
        let file: Arc<Path> = path.into();
        for assignment in ini::assignments(&file, &text) {
            if assignment.section != "Time" {
                continue;
            }
            let list = match assignment.key.as_str() {
                "NTP" => &mut self.servers.system,
                "FallbackNTP" => self.servers.fallback.get_or_insert_default(),
                _ => continue,
            };
            if assignment.words.is_empty() {
                list.clear();
            }
            list.extend(placed(assignment.words));
        }
        if self.servers.built_in.is_none() {
            self.servers.built_in = built_in(&file, &text);
        }
        self.builder.close();
    }

    /// networkd's state is a file of assignments, of which one names the servers of all links.
    fn networkd(&mut self, path: &Path) {
        self.builder.watch(path);
        if !self.builder.files().exists(path) {
            return;
        }
        let Some(text) = self.builder.open(path, None) else {
            return;
        };
        for (line, text, _) in lines(&path.into(), &text) {
            if let Some(value) = text.strip_prefix("NTP=") {
                self.servers.link = placed(ini::words(&line, value, "NTP=".len()));
            }
        }
        self.builder.close();
    }

    /// timesyncd goes through the servers of `NTP=` and of the links, and takes to others only
    /// where there are none of either. What is no name or address, it leaves out.
    fn grant(&mut self) {
        let Servers {
            system,
            link,
            fallback,
            built_in,
        } = std::mem::take(&mut self.servers);
        let mut named = system;
        named.extend(link);
        if !named.iter().any(|(name, _)| is_counted(name)) {
            named.extend(match (fallback, built_in) {
                (Some(fallback), _) => fallback,
                (None, Some(built_in)) => {
                    if let Some((_, place)) = built_in.first() {
                        self.builder.note(
                            place.clone(),
                            "no line names a server, so timesyncd uses its built-in ones, which \
                             this comment shows",
                        );
                    }
                    built_in
                }
                (None, None) => {
                    let place = self.builder.whole();
                    self.builder.note(
                        place,
                        "no line names a server, and timesyncd's built-in ones are not shown \
                         here: only the running daemon knows them",
                    );
                    Vec::new()
                }
            });
        }
        for (name, place) in named {
            self.builder
                .source(&name, Family::Any, &[Role::Server], place);
        }
    }
}

/// Whether timesyncd takes it for a server, whatever comes of asking that.
fn is_counted(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok() || host::source(name, Family::Any, Spelling::TIMESYNCD).is_ok()
}

fn placed(words: Vec<(String, Line, u32)>) -> Vec<Named> {
    words
        .into_iter()
        .map(|(word, line, column)| (word, line.at(column)))
        .collect()
}

/// "Entries in this file show the compile time defaults", as each distribution's timesyncd.conf
/// says of its comments: `#FallbackNTP=` has the servers that no line needs to name.
fn built_in(file: &Arc<Path>, text: &str) -> Option<Vec<Named>> {
    const SHOWN: &str = "#FallbackNTP=";
    let found = lines(file, text).find_map(|(line, text, _)| {
        let value = text.strip_prefix(SHOWN)?;
        Some(placed(ini::words(&line, value, SHOWN.len())))
    });
    found.filter(|named| !named.is_empty())
}
