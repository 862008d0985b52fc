use std::{
    fs::{File, Permissions},
    io::Write as _,
    os::{
        fd::AsRawFd as _,
        unix::fs::{PermissionsExt as _, symlink},
    },
};

use nix::unistd::mkfifo;

use super::*;

fn by_hand(path: &Path) -> Result<Opened, FileError> {
    Files::by_hand(path, Speaker::Root).read(path)
}

fn error_of(path: &Path) -> String {
    by_hand(path).expect_err("it must be refused").to_string()
}

fn text_of(path: &Path) -> String {
    by_hand(path).expect("it is read").text
}

/// A directory as the root of another process.
fn root() -> (tempfile::TempDir, Arc<OtherRoot>) {
    let dir = tempfile::tempdir().expect("a directory");
    let root = OtherRoot::open(dir.path()).expect("it is opened");
    (dir, Arc::new(root))
}

#[test]
fn what_is_no_configuration_file_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    assert_eq!(error_of(&file), "no such file");
    assert_eq!(error_of(&file.join("below")), "no such file");
    assert_eq!(error_of(dir.path()), "not a regular file");
    assert_eq!(error_of(Path::new("/dev/zero")), "not a regular file");
    fs::write(&file, b"server a\n\0").expect("written");
    assert!(error_of(&file).starts_with("it contains a NUL byte"));
    File::create(&file)
        .and_then(|file| file.set_len(100_000_000))
        .expect("a sparse file");
    assert!(error_of(&file).starts_with("100000000 bytes, over 1 MiB"));
}

#[test]
fn a_fifo_does_not_block() {
    let dir = tempfile::tempdir().expect("a directory");
    let fifo = dir.path().join("fifo");
    mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    assert_eq!(error_of(&fifo), "not a regular file");
}

#[test]
fn a_pipe_of_this_process_is_read_once_and_then_remembered() {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let path = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
    writer.write_all(b"server a\n").expect("written");
    drop(writer);
    let files = Files::by_hand(&path, Speaker::Root);
    for _ in 0..2 {
        assert_eq!(files.read(&path).expect("it is read").text, "server a\n");
    }
    // Nobody discovers a configuration there.
    let discovered = Files::of_host(Speaker::Root).read(&path);
    let error = discovered.expect_err("it must be refused").to_string();
    assert!(error.starts_with("not followed"), "{error}");
}

#[test]
fn a_file_of_exactly_the_limit_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, vec![b'#'; 1 << 20]).expect("written");
    assert_eq!(text_of(&file).len(), 1 << 20);
}

#[test]
fn latin_1_is_read_with_replacements() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, b"# f\xfcr\nserver a\n").expect("written");
    fs::set_permissions(&file, Permissions::from_mode(0o400)).expect("made read-only");
    assert_eq!(text_of(&file), "# f\u{fffd}r\nserver a\n");
}

#[test]
fn no_link_leads_out_of_another_root() {
    let (dir, root) = root();
    let outside = tempfile::NamedTempFile::new().expect("a file");
    fs::write(outside.path(), "secret\n").expect("written");
    let target = outside.path();
    let up = Path::new("../../../../../../../..").join(target.strip_prefix("/").expect("absolute"));
    let of_proc = Path::new("/proc/self/root").join(target.strip_prefix("/").expect("absolute"));
    let files = Files::below(root, Speaker::Container);
    for (name, target) in [
        ("absolute", target),
        ("relative", &up),
        ("magic", &of_proc),
        ("directory", target.parent().expect("a directory")),
    ] {
        symlink(target, dir.path().join(name)).expect("a link");
    }
    let leak = dir
        .path()
        .join("directory")
        .join(target.file_name().expect("a name"));
    let names = ["absolute", "relative", "magic"].map(|name| dir.path().join(name));
    for path in names.iter().chain([&leak]) {
        // So it is for who follows links.
        assert_eq!(fs::read_to_string(path).expect("it is read"), "secret\n");
        assert!(files.read(path).is_err(), "{}", path.display());
        assert!(!files.exists(path) && !files.is_dir(path));
    }
    let above = dir
        .path()
        .join("..")
        .join(target.strip_prefix("/").expect("absolute"));
    assert!(files.read(&above).is_err(), "{}", above.display());
    let pattern = dir.path().join("directory").join("*");
    let matches = files.glob(&pattern, 10).expect("a pattern");
    assert!(matches.found.is_empty());
    assert!(
        files
            .entries(&dir.path().join("directory"), "", 10)
            .is_err()
    );
}

#[test]
fn links_within_another_root_are_followed_there() {
    let (dir, root) = root();
    fs::create_dir_all(dir.path().join("etc/real")).expect("made");
    fs::write(dir.path().join("etc/real/a.conf"), "server a\n").expect("written");
    symlink("/etc/real", dir.path().join("etc/linked")).expect("a link");
    let files = Files::below(root, Speaker::Container);
    let linked = dir.path().join("etc/linked");
    let read = files.read(&linked.join("a.conf")).expect("it is read");
    assert_eq!(
        (read.text.as_str(), read.speaker),
        ("server a\n", Speaker::Container)
    );
    assert!(read.writer.is_none());
    let matches = files.glob(&linked.join("*.conf"), 10).expect("a pattern");
    assert_eq!(matches.found, [linked.join("a.conf")]);
    assert_eq!(
        files.beside(&linked.join("a.conf"), "/etc/b"),
        dir.path().join("etc/b")
    );
}

#[test]
fn a_file_that_anybody_can_write_is_others_word_unless_it_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ntp.conf");
    fs::write(&path, "server a\n").expect("written");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("opened to all");
    let found = Files::of_host(Speaker::Root)
        .read(&path)
        .expect("it is read");
    assert_eq!(found.speaker, Speaker::Others);
    assert!(found.writer.is_some());
    let named = by_hand(&path).expect("it is read");
    assert_eq!((named.speaker, named.writer), (Speaker::Root, None));
}
