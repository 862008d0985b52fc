//! The mounts of a process (`proc_pid_mountinfo(5)`). An ordinary user may make very many, with very long
//! paths, so they are read line by line and never kept.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
};

/// A longer line is passed over: no mount that matters here has one.
const LONGEST_LINE: u64 = 4_096;

/// The most that is read, in bytes. Mounts come in the order in which they were made, those of the system
/// first.
const MOST: u64 = 4 << 20;

/// What `wanted` makes of the first line of a mountinfo that it makes anything of.
///
/// # Errors
/// The file cannot be read, or is too long to read all of it.
pub fn find<T>(mountinfo: &Path, wanted: impl FnMut(&str) -> Option<T>) -> io::Result<Option<T>> {
    let mut reader = BufReader::new(File::open(mountinfo)?.take(MOST));
    let found = find_line(&mut reader, wanted)?;
    if found.is_none() && reader.get_ref().limit() == 0 {
        return Err(io::Error::other("there are too many mounts to look at"));
    }
    Ok(found)
}

fn find_line<T>(
    reader: &mut impl BufRead,
    mut wanted: impl FnMut(&str) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(None);
        }
        if line.pop_if(|last| *last == b'\n').is_none() && length as u64 == LONGEST_LINE {
            reader.skip_until(b'\n')?;
            continue;
        }
        let found = str::from_utf8(&line).ok().and_then(&mut wanted);
        if found.is_some() {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &[u8]) -> Option<String> {
        let wanted = |line: &str| line.contains("cgroup2").then(|| line.to_owned());
        find_line(&mut BufReader::with_capacity(16, text), wanted).unwrap()
    }

    #[test]
    fn lines_that_are_too_long_or_no_text_are_passed_over() {
        assert_eq!(
            found(b"a\nb cgroup2\nc cgroup2\n").as_deref(),
            Some("b cgroup2")
        );
        assert_eq!(
            found(b"cgroup2").as_deref(),
            Some("cgroup2"),
            "no end of line"
        );
        let long = [
            b"cgroup2 ".repeat(4_096),
            b"\n\xff cgroup2\nlast cgroup2\n".to_vec(),
        ];
        assert_eq!(found(&long.concat()).as_deref(), Some("last cgroup2"));
        assert_eq!(found(b""), None);
    }

    #[test]
    fn mounts_without_end_are_not_read_to_their_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mountinfo");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = find(&path, |line| line.contains("cgroup2").then_some(())).unwrap_err();
        assert!(error.to_string().contains("too many mounts"), "{error}");
        std::fs::write(&path, "a cgroup2\n").unwrap();
        assert_eq!(find(&path, |_| Some(())).unwrap(), Some(()));
    }
}
