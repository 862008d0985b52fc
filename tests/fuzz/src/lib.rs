//! What the fuzz targets share: they read configurations, and check what holds of every reading.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a fuzz target fails by panicking"
)]

mod frames;
pub mod targets;

use std::{fs, hint::black_box, path::Path, sync::LazyLock};

use ntpguard::{
    allowlist::trial::{self, SPEAKERS},
    sources::{Host, Kind, Place, Reading, Want, fuzzing},
};
use ntpguard_common::maps::tables::Role;
use tempfile::TempDir;

/// Where the configurations are written, since dialects read files.
static ROOT: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a temporary directory can be made"));

/// The programs whose command lines are read.
const PROGRAMS: [&str; 6] = [
    "chronyd",
    "ntpd",
    "openntpd",
    "busybox",
    "ntp-daemon",
    "systemd-timesyncd",
];

/// Reads `text` as a configuration in a file of this name.
///
/// # Panics
/// Where the reading is wrong, as a fuzz target is meant to.
pub fn read(kind: Kind, name: &str, text: &[u8]) {
    let path = ROOT.path().join(name);
    write(&path, text);
    for serve in [false, true] {
        let reading = kind.dialect(serve).read(&path);
        check(&reading, &path, &String::from_utf8_lossy(text));
    }
}

/// Reads `arguments`, each with a NUL behind it, as those of a running daemon.
///
/// # Panics
/// Where the reading is wrong, as a fuzz target is meant to.
pub fn read_command_line(program: u8, arguments: &[u8]) {
    let program = usize::from(program) % PROGRAMS.len();
    let path = ROOT.path().join("cmdline");
    let reading = fuzzing::command_line(&path, PROGRAMS[program], arguments);
    // The arguments are counted as lines.
    let lines = String::from_utf8_lossy(arguments).replace('\n', " ");
    check(&reading, &path, &lines.replace('\0', "\n"));
    // What included files grant is theirs.
    for want in reading
        .wants
        .iter()
        .filter(|want| *want.place().file == *path)
    {
        let is_server = matches!(want, Want::Source { roles, .. } if roles == &[Role::Server]);
        assert!(is_server, "a command line grants {want:?}");
    }
}

/// Has somebody say something, and DNS answer for the names in it.
///
/// # Panics
/// Where that grants more than their word counts for, as a fuzz target is meant to.
pub fn say(speaker: u8, which: u8, bytes: &[u8], dns: &[u8]) {
    let speaker = SPEAKERS[usize::from(speaker) % SPEAKERS.len()];
    let trial = trial::say(speaker, which, bytes, dns).expect("the files can be made");
    let excess = trial.excess();
    assert!(excess.is_empty(), "{speaker:?} gains {excess:?}");
}

/// Keeps a value from being optimised away with all that led to it.
pub fn used<T>(value: &T) {
    black_box(value);
}

fn write(path: &Path, bytes: &[u8]) {
    let directory = path.parent().expect("a file is in a directory");
    fs::create_dir_all(directory).expect("the directory can be made");
    fs::write(path, bytes).expect("the file can be written");
}

/// What is wanted must stand in the text, and places must be places in it. What other files say that
/// the text includes is theirs.
fn check(reading: &Reading, path: &Path, text: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    let is_here = |place: &&Place| *place.file == *path && place.line != 0;
    let problems = reading.problems.iter().map(|problem| &problem.place);
    for place in problems
        .chain(reading.wants.iter().map(Want::place))
        .filter(is_here)
    {
        let line = lines.get(place.line as usize - 1);
        let line = line.unwrap_or_else(|| panic!("{place} is beyond the last line"));
        let longest = line.chars().count() + 1;
        assert!(
            (1..=longest).contains(&(place.column as usize)),
            "{place} is beyond {line:?}"
        );
    }
    for want in &reading.wants {
        if let Want::Source { host, place, .. } = want
            && is_here(&place)
        {
            assert!(
                names(text, host),
                "{host:?} is wanted at {place} and not named"
            );
        }
    }
}

/// Whether `text` names a host. Quotes may stand within a name, and newlines within them; escapes can
/// spell it in other characters, and an IPv6 address has many spellings.
fn names(text: &str, host: &Host) -> bool {
    let spelt = match host {
        Host::Name(name) => name.clone(),
        Host::Address(host) if host.address.is_ipv4() => host.to_string(),
        Host::Address(_) => ":".to_owned(),
    };
    text.contains('\\') || text.replace(['"', '\'', '\n'], "").contains(&spelt)
}
