//! Assignments of systemd's configuration files (systemd.syntax(7)).

use std::{path::Path, sync::Arc};

use super::super::reading_builder::{Line, lines};

/// `KEY=VALUE` in a section.
pub(super) struct Assignment {
    pub(super) section: String,
    pub(super) key: String,
    /// The words of the value, and where each stands.
    pub(super) words: Vec<(String, Line, u32)>,
}

/// The assignments of a text, in their order. What is none, systemd ignores.
pub(super) fn assignments(file: &Arc<Path>, text: &str) -> Vec<Assignment> {
    let mut found: Vec<Assignment> = Vec::new();
    let mut section = String::new();
    // Whether the line before ends in a backslash, and whether its value is wanted.
    let mut goes_on = false;
    for (line, text, _) in lines(file, text) {
        let start = text.trim_start();
        if start.starts_with(['#', ';']) {
            continue;
        }
        let (text, next_goes_on) = match text.trim_end_matches('\r').strip_suffix('\\') {
            Some(text) => (text, true),
            None => (text, false),
        };
        if goes_on {
            if let Some(assignment) = found.last_mut() {
                assignment.words.extend(words(&line, text, 0));
            }
        } else if let Some(header) = start.trim_end().strip_prefix('[') {
            header.trim_end_matches(']').clone_into(&mut section);
        } else if let Some((key, value)) = text.split_once('=') {
            found.push(Assignment {
                section: section.clone(),
                key: key.trim().to_owned(),
                words: words(&line, value, key.len() + 1),
            });
        }
        goes_on = next_goes_on;
    }
    found
}

/// The words of the end of a line that begins after `skipped` bytes of it, all ASCII if the key is
/// one that matters.
pub(super) fn words(line: &Line, text: &str, skipped: usize) -> Vec<(String, Line, u32)> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut column = skipped + 1;
    loop {
        let trimmed = rest.trim_start();
        column += rest.chars().count() - trimmed.chars().count();
        let end = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        let (word, after) = trimmed.split_at(end);
        if word.is_empty() {
            return found;
        }
        let at = u32::try_from(column).unwrap_or(u32::MAX);
        found.push((word.to_owned(), line.clone(), at));
        column += word.chars().count();
        rest = after;
    }
}
