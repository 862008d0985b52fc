//! Reads of configuration files that no file can make long, large or blocking.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
};

use nix::fcntl::OFlag;
use thiserror::Error;

/// The largest file that is read, in bytes. Real ones have a few thousand.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// Why a file was not read.
#[derive(Debug, Error)]
pub(super) enum FileError {
    #[error("there is no such file")]
    Missing,
    #[error("permission denied: let the user that ntpguard runs as read it")]
    Denied,
    #[error("not a regular file")]
    NotRegular,
    #[error("{0} bytes, over 1 MiB: that is no configuration file")]
    TooLarge(u64),
    #[error("binary, as it holds a NUL byte: that is no configuration file")]
    Binary,
    #[error("cannot be read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Io(error),
        }
    }
}

/// A file's device and inode, the same whatever path leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

/// Reads a file whole. Bytes that are not UTF-8 become U+FFFD: comments may be in any encoding.
pub(super) fn read(path: &Path) -> Result<(Identity, String), FileError> {
    // Opening a device can already do something, so look before opening, and after it again.
    accept(&fs::metadata(path)?)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let metadata = file.metadata()?;
    accept(&metadata)?;
    Ok((Identity::of(&metadata), text(file)?))
}

fn accept(metadata: &Metadata) -> Result<(), FileError> {
    if !metadata.is_file() {
        return Err(FileError::NotRegular);
    }
    if metadata.len() > MAX_BYTES {
        return Err(FileError::TooLarge(metadata.len()));
    }
    Ok(())
}

fn text(file: File) -> Result<String, FileError> {
    let mut bytes = Vec::new();
    // It may have grown since we looked.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge(bytes.len() as u64));
    }
    if bytes.contains(&0) {
        return Err(FileError::Binary);
    }
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The entries of a directory whose names end in `suffix` and are not hidden, in ASCII order, and
/// no more than `most` of them.
pub(super) fn entries(
    directory: &Path,
    suffix: &str,
    most: usize,
) -> Result<Vec<PathBuf>, FileError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.as_encoded_bytes();
        if name.ends_with(suffix.as_bytes()) && !name.starts_with(b".") {
            found.push(directory.join(Path::new(as_os_str(name))));
        }
    }
    found.sort_unstable();
    found.truncate(most);
    Ok(found)
}

fn as_os_str(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// The file that `text` names in a line of `file`: beside it, unless it is an absolute path. Where
/// `file` is below another root directory, so is that.
pub(super) fn beside(file: &Path, text: &str) -> PathBuf {
    match (own_root(file), text.strip_prefix('/')) {
        (Some(root), Some(text)) => root.join(text.trim_start_matches('/')),
        _ => file.parent().unwrap_or(Path::new("")).join(text),
    }
}

/// The root directory `/proc/PID/root` that `file` is below, if it is below one.
fn own_root(file: &Path) -> Option<&Path> {
    file.ancestors().find(|root| {
        let names: Vec<_> = root.components().rev().take(3).collect();
        let [last, pid, proc] = names.as_slice() else {
            return false;
        };
        let is_number = pid
            .as_os_str()
            .to_str()
            .is_some_and(|pid| pid.parse::<u32>().is_ok());
        last.as_os_str() == "root" && is_number && proc.as_os_str() == "proc"
    })
}

/// The directory that a pattern's first wildcard searches.
pub(super) fn directory_of_pattern(pattern: &Path) -> PathBuf {
    let fixed = pattern
        .components()
        .take_while(|component| !is_pattern(component));
    let directory: PathBuf = fixed.collect();
    if directory == pattern {
        directory.parent().map(Path::to_owned).unwrap_or_default()
    } else {
        directory
    }
}

fn is_pattern(component: &Component<'_>) -> bool {
    has_wildcard(&component.as_os_str().to_string_lossy())
}

/// Whether glob(3) would search for `text` and not just take it.
pub(super) fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    fn error_of(path: &Path) -> String {
        read(path).expect_err("it must be refused").to_string()
    }

    #[test]
    fn what_is_no_configuration_file_is_refused_with_its_reason() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        assert_eq!(error_of(&file), "there is no such file");
        assert_eq!(error_of(&file.join("below")), "there is no such file");
        assert_eq!(error_of(dir.path()), "not a regular file");
        assert_eq!(error_of(Path::new("/dev/zero")), "not a regular file");
        fs::write(&file, b"server a\n\0").expect("written");
        assert!(error_of(&file).starts_with("binary"));
        File::create(&file)
            .and_then(|file| file.set_len(100_000_000))
            .expect("a sparse file");
        assert!(error_of(&file).starts_with("100000000 bytes, over 1 MiB"));
    }

    #[test]
    fn a_fifo_does_not_block() {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).expect("a fifo");
        assert_eq!(error_of(&fifo), "not a regular file");
    }

    #[test]
    fn a_file_of_exactly_the_limit_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        fs::write(&file, vec![b'#'; 1 << 20]).expect("written");
        assert_eq!(read(&file).expect("it is read").1.len(), 1 << 20);
    }

    #[test]
    fn latin_1_is_read_with_replacements() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        fs::write(&file, b"# f\xfcr\nserver a\n").expect("written");
        fs::set_permissions(&file, Permissions::from_mode(0o400)).expect("made read-only");
        assert_eq!(
            read(&file).expect("it is read").1,
            "# f\u{fffd}r\nserver a\n"
        );
    }

    #[test]
    fn a_pattern_searches_the_directory_before_its_first_wildcard() {
        for (pattern, directory) in [
            ("/etc/c/*.conf", "/etc/c"),
            ("/etc/*/x.conf", "/etc"),
            ("/etc/c/x.conf", "/etc/c"),
        ] {
            assert_eq!(
                directory_of_pattern(Path::new(pattern)),
                Path::new(directory)
            );
        }
    }
}
