//! What a process has of the one that started it: open descriptors, and an environment.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::{fd::RawFd, unix::ffi::OsStrExt as _},
    ptr,
};

use nix::libc;

/// Closes the descriptors that this process came with, but for the standard ones and those that an argument
/// names, as a shell's `<(…)` does: `/dev/fd/63`. Nothing here may have opened one yet.
///
/// # Errors
/// /proc cannot be read.
pub fn close_inherited(arguments: impl IntoIterator<Item = OsString>) -> io::Result<()> {
    let arguments = arguments.into_iter();
    let named: Vec<RawFd> = arguments.flat_map(|argument| named(&argument)).collect();
    close_all_but(&named)
}

/// The descriptors in the paths of an argument: `/dev/fd/N`, `/proc/self/fd/N`.
fn named(argument: &OsStr) -> Vec<RawFd> {
    let text = String::from_utf8_lossy(argument.as_bytes());
    let behind = text.split("/fd/").skip(1);
    let numbers = behind.map(|rest| {
        let end = rest.find(|character: char| !character.is_ascii_digit());
        &rest[..end.unwrap_or(rest.len())]
    });
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// Closes all descriptors but the standard ones and these. What is open is looked up, as `close_range(2)`
/// is missing before Linux 5.9 and refused in some containers.
pub(super) fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    for descriptor in open()? {
        if descriptor > libc::STDERR_FILENO && !kept.contains(&descriptor) {
            // SAFETY: no value here owns it. That of the listing is closed already, which is no matter.
            unsafe { libc::close(descriptor) };
        }
    }
    Ok(())
}

fn open() -> io::Result<Vec<RawFd>> {
    const LISTING: &str = "/proc/self/fd";
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("{LISTING}: {error}"));
    let entries = fs::read_dir(LISTING).map_err(failed)?;
    let number = |entry: io::Result<fs::DirEntry>| {
        let name = entry.map_err(failed)?.file_name();
        Ok(name.to_str().and_then(|name| name.parse().ok()))
    };
    entries
        .filter_map(|entry| number(entry).transpose())
        .collect()
}

/// Has this process, which must have one thread, forget its environment, also where `/proc/PID/environ`
/// shows it.
pub(super) fn forget_environment() {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: it is a list of texts that ends with a null pointer, or none; each text ends with a zero and is
    // memory of this process to write, and no other thread reads it.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            ptr::write_bytes(*entry, 0, libc::strlen(*entry));
            *entry = ptr::null_mut();
            entry = entry.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_found_where_paths_name_them() {
        for (argument, expected) in [
            ("chrony:/dev/fd/63", &[63][..]),
            ("--source=/proc/self/fd/17", &[17]),
            ("/proc/4711/fd/5", &[5]),
            ("ntp:/dev/fd/8,chrony:/dev/fd/9", &[8, 9]),
            ("/dev/stdin", &[]),
            ("/dev/fd/", &[]),
            ("/dev/fd/99999999999", &[]),
            ("63", &[]),
        ] {
            assert_eq!(named(argument.as_ref()), expected, "{argument}");
        }
    }
}
