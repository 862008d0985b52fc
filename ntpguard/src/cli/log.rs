//! The log, on standard error: each event is one line, and nothing in it steers a terminal.

use std::io::{self, IsTerminal as _};

use ntpguard::escape;
use tracing::Level;
use tracing_subscriber::{
    field::MakeExt as _,
    fmt::format::{self, FormatFields},
};

/// Logs to standard error, the more the more often -v was given.
pub(super) fn to_stderr(verbose: u8) {
    let level = match verbose {
        0 => Level::INFO,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .fmt_fields(fields())
        .init();
}

/// Writes the fields of an event, which hold all text from outside, with that escaped.
fn fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    format::debug_fn(|writer, field, value| {
        let value = escape::line(&format!("{value:?}"));
        match field.name() {
            "message" => write!(writer, "{value}"),
            // What the crate `log` adds is of no use here.
            name if name.starts_with("log.") => Ok(()),
            name => write!(writer, "{name}={value}"),
        }
    })
    .delimited(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Where a test's log goes.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_without_what_a_terminal_obeys() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .fmt_fields(fields())
            .finish();
        let name = "a\u{1b}[31m\nERROR forged\u{202e}\u{9b}";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!("{name} was asked");
            tracing::warn!(name, "again");
        });
        let log = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log:?}");
        assert!(
            lines[0].ends_with("WARN a\\u{1b}[31m\\nERROR forged\\u{202e}\\u{9b} was asked"),
            "{log:?}"
        );
        let is_plain = |line: &&str| line.chars().all(escape::is_plain);
        assert!(lines.iter().all(is_plain), "{log:?}");
    }
}
