//! The shared libraries of a program, as `ldd` tells them.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::command;

/// The files that a program needs beside itself: its libraries and its loader. None for a program
/// that is linked statically, or is a script.
///
/// # Errors
/// A library is missing: the error names it.
pub(crate) fn libraries(file: &Path) -> Result<Vec<PathBuf>> {
    let output = command::program("ldd").arg(file).output()?;
    if !output.status.success() {
        // glibc's ldd says "not a dynamic executable", and fails.
        return Ok(Vec::new());
    }
    match parse(&String::from_utf8_lossy(&output.stdout)) {
        (found, missing) if missing.is_empty() => Ok(found),
        (_, missing) => bail!(
            "{} lacks the libraries {}",
            file.display(),
            missing.join(", ")
        ),
    }
}

/// The library of a program whose file name begins so.
pub(crate) fn library(file: &Path, prefix: &str) -> Result<Option<PathBuf>> {
    let begins = |path: &PathBuf| {
        path.file_name()
            .and_then(OsStr::to_str)
            .is_some_and(|name| name.starts_with(prefix))
    };
    Ok(libraries(file)?.into_iter().find(begins))
}

/// Splits what ldd prints into the files it found and the names of those it did not.
fn parse(output: &str) -> (Vec<PathBuf>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for line in output.lines().map(str::trim) {
        let (name, place) = line.split_once(" => ").unwrap_or((line, line));
        if place == "not found" {
            missing.push(name.to_owned());
        } else if place.starts_with('/') {
            let path = place.rsplit_once(" (").map_or(place, |(path, _)| path);
            found.push(PathBuf::from(path));
        }
    }
    (found, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found_and_the_kernels_page_is_not_a_file() {
        let printed = "\tlinux-vdso.so.1 (0x00007f8c21a96000)
\tlibLLVM.so.22.1 => /opt/a b/lib/../lib/libLLVM.so.22.1 (0x00007f8c0f600000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f8c0f41e000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f8c21a98000)
";
        let (found, missing) = parse(printed);
        assert_eq!(
            found,
            [
                "/opt/a b/lib/../lib/libLLVM.so.22.1",
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
            .map(PathBuf::from)
        );
        assert!(missing.is_empty());
    }

    #[test]
    fn a_missing_library_is_named() {
        let (found, missing) =
            parse("\tlibedit.so.2 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n");
        assert_eq!(found, [PathBuf::from("/lib/libc.so.6")]);
        assert_eq!(missing, ["libedit.so.2"]);
    }

    #[test]
    fn a_static_program_needs_nothing() {
        assert_eq!(parse("\tstatically linked\n"), (Vec::new(), Vec::new()));
    }

    #[test]
    fn this_program_needs_the_c_library() {
        let own = std::env::current_exe().unwrap();
        assert!(library(&own, "libc.so").unwrap().is_some());
    }
}
