//! What reads command lines, for the fuzz target: no process has to be proven there.

use std::path::Path;

use super::{Files, Reading, Speaker, command_line::read_arguments};
use crate::processes::called;

/// Reads `text` as the command line, at `path`, of a program whose file is called `file`.
pub fn command_line(path: &Path, file: &str, text: &[u8]) -> Reading {
    let files = Files::of_host(Speaker::CommandLine);
    called(file, text).map_or_else(Reading::default, |(program, arguments)| {
        read_arguments(&files, path, program, &arguments, true)
    })
}
