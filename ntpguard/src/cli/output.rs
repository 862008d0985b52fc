//! Printing: text and tables that fit 80 columns, and JSON. All that a command prints goes through here,
//! and nothing in it steers a terminal; text from outside is escaped before, so that it stays in its line.

use std::{
    error::Error,
    io::{self, Write as _},
};

use anyhow::{Context as _, Result};
use comfy_table::{ContentArrangement, Table, presets};
use ntpguard::{api::status::Source, causes, escape};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

/// Prints `document` as JSON, a line of it.
pub(crate) fn json(document: &impl Serialize) -> Result<()> {
    print(&(json_line(document)? + "\n"))
}

/// `document` as JSON in one line. What a terminal might obey is escaped, as every reader of JSON
/// understands: it has escapes for all characters, and demands them only for some.
pub(crate) fn json_line(document: &impl Serialize) -> Result<String> {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, Escaping);
    document.serialize(&mut serializer)?;
    Ok(String::from_utf8(json)?)
}

/// Writes JSON without characters that do not show as themselves.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut plain = fragment.split_inclusive(|character| !escape::is_plain(character));
        plain.try_for_each(|part| {
            let unseen = part.chars().last().filter(|last| !escape::is_plain(*last));
            let length = unseen.map_or(0, char::len_utf8);
            let seen = &part[..part.len() - length];
            CompactFormatter.write_string_fragment(writer, seen)?;
            let mut units = [0; 2];
            let units = unseen.map(|unseen| unseen.encode_utf16(&mut units));
            let mut units = units.iter().flat_map(|units| units.iter());
            units.try_for_each(|unit| write!(writer, "\\u{unit:04x}"))
        })
    }
}

/// Prints an error on standard error.
pub(crate) fn complain(error: &(dyn Error + 'static)) {
    eprintln!("ntpguard: {}", escape::lines(&causes::joined(error)));
}

/// Prints text; a reader that has gone is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    print_on(text).map(drop)
}

/// Prints text, and returns whether a reader is left.
pub(crate) fn print_on(text: &str) -> Result<bool> {
    match io::stdout()
        .lock()
        .write_all(escape::lines(text).as_bytes())
    {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// The columns that text and tables have.
const WIDTH: usize = 80;

/// Breaks each line of `text` that is too long, and goes on behind as many columns as a label has. Words,
/// such as paths, stay whole.
pub(crate) fn wrap(text: &str) -> String {
    let options = textwrap::Options::new(WIDTH)
        .subsequent_indent("          ")
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    let lines: Vec<String> = text
        .lines()
        .map(|line| textwrap::fill(line, &options))
        .collect();
    lines.join("\n")
}

/// Lays out rows below headings, without lines, in 80 columns.
pub(crate) fn table<R>(headings: &[&str], rows: R) -> String
where
    R: IntoIterator<Item = Vec<String>>,
{
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH as u16)
        .set_header(headings)
        .add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(column) = table.column_iter_mut().last() {
        column.set_padding((0, 0));
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n") + "\n"
}

/// How many rows of a table are left out where only `shown` are shown.
pub(crate) fn rest(rows: usize, shown: usize) -> String {
    match rows.saturating_sub(shown) {
        0 => String::new(),
        more => format!("and {} with --json\n", count(more, "more", "more")),
    }
}

/// A configuration that is read, and below it a line for each reason.
pub(crate) fn source(source: &Source) -> String {
    let first = format!(
        "source    {}:{}",
        source.dialect,
        escape::path(&source.path)
    );
    let reasons = source.why.split("; ").map(escape::text);
    let reasons = reasons.map(|why| format!("          {why}"));
    let lines: Vec<String> = std::iter::once(first).chain(reasons).collect();
    lines.join("\n")
}

/// A number of seconds in the units that people think in: `41 s`, `12 min`, `3 h`, `9 d`.
pub(crate) fn seconds(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `1 address`, `2 addresses`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_fit_eighty_columns() {
        let long = "x".repeat(120);
        let text = table(&["A", "B"], vec![vec!["short".into(), long]]);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.starts_with('A'), "{text}");
    }

    #[test]
    fn what_fits_into_eighty_columns_is_not_broken() {
        let row = vec!["x".repeat(38), "y".repeat(40)];
        let text = table(&["A", "B"], vec![row.clone()]);
        assert_eq!(text.lines().nth(1), Some(row.join("  ").as_str()));
    }

    #[test]
    fn long_lines_go_on_behind_their_label_and_words_stay_whole() {
        let path = format!("/{}", "x".repeat(90));
        let text = format!(
            "source    short\nproblem   {path}: {}",
            "it is so ".repeat(20)
        );
        let wrapped = wrap(&text);
        let lines: Vec<&str> = wrapped.lines().collect();
        assert_eq!(
            lines[..3],
            ["source    short", "problem", &format!("          {path}:")]
        );
        assert!(lines[3..].len() > 2, "{wrapped}");
        for line in &lines[3..] {
            assert!(
                line.len() <= WIDTH && line.starts_with("          "),
                "{wrapped}"
            );
        }
    }

    #[test]
    fn each_reason_why_a_source_is_read_has_a_line() {
        let read = Source {
            dialect: "chrony".to_owned(),
            path: "/etc/chrony/chrony.conf".into(),
            why: "chronyd's configuration on Debian, its descendants, and Alpine; chronyd is running, pid 7"
                .to_owned(),
        };
        assert_eq!(
            source(&read),
            "source    chrony:/etc/chrony/chrony.conf\n          \
             chronyd's configuration on Debian, its descendants, and Alpine\n          \
             chronyd is running, pid 7"
        );
    }

    #[test]
    fn json_has_no_character_that_a_terminal_obeys_and_is_the_same_to_a_reader() {
        let text = "a\u{1b}[31m\u{9b}\u{202e}\u{e0041}\"\\\n\u{7f} Zürich 東京";
        let line = json_line(&vec![text, "", "plain"]).unwrap();
        assert!(line.chars().all(escape::is_plain), "{line}");
        assert!(
            line.contains("Zürich 東京") && line.contains("plain"),
            "{line}"
        );
        let read: Vec<String> = serde_json::from_str(&line).unwrap();
        assert_eq!(read, [text, "", "plain"]);
    }

    #[test]
    fn a_source_stays_in_its_lines_whatever_its_path_is() {
        let read = Source {
            dialect: "chrony".to_owned(),
            path: "/etc/a\nproblem   b".into(),
            why: "chronyd runs, \u{1b}[2J".to_owned(),
        };
        assert_eq!(
            source(&read),
            "source    chrony:/etc/a\\nproblem   b\n          chronyd runs, \\u{1b}[2J"
        );
    }

    #[test]
    fn times_have_fitting_units() {
        assert_eq!(seconds(0), "0 s");
        assert_eq!(seconds(119), "119 s");
        assert_eq!(seconds(120), "2 min");
        assert_eq!(seconds(86_400), "24 h");
        assert_eq!(seconds(999_999), "11 d");
    }
}
