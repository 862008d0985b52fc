//! Changes that are noticed, and crowds of them that are not listened to.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use tokio::time::timeout;

use super::*;

async fn reported(watch: &mut Watch) -> bool {
    timeout(Duration::from_secs(5), watch.changed())
        .await
        .is_ok()
}

async fn nothing_reported(watch: &mut Watch) -> bool {
    timeout(Duration::from_millis(50), watch.changed())
        .await
        .is_err()
}

/// Sets what is watched, and waits until it is.
async fn set(watch: &mut Watch, paths: &[PathBuf]) {
    watch.set(paths.to_vec());
    while watch.setting.is_busy() {
        drop(timeout(Duration::from_millis(5), watch.changed()).await);
    }
    drain(watch).await;
}

async fn drain(watch: &mut Watch) {
    while !nothing_reported(watch).await {}
}

#[tokio::test]
async fn writing_replacing_and_removing_are_changes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ntp.conf");
    let mut watch = Watch::new().unwrap();
    set(&mut watch, std::slice::from_ref(&file)).await;
    fs::write(&file, "server a").unwrap();
    assert!(reported(&mut watch).await, "written");
    let other = directory.path().join("new");
    fs::write(&other, "server b").unwrap();
    drain(&mut watch).await;
    fs::rename(&other, &file).unwrap();
    assert!(reported(&mut watch).await, "replaced");
    drain(&mut watch).await;
    fs::remove_file(&file).unwrap();
    assert!(reported(&mut watch).await, "removed");
}

#[tokio::test]
async fn the_coming_of_a_directory_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("chrony").join("conf.d");
    let mut watch = Watch::new().unwrap();
    set(&mut watch, &[missing]).await;
    fs::create_dir(directory.path().join("chrony")).unwrap();
    assert!(reported(&mut watch).await);
}

#[tokio::test]
async fn reading_and_other_files_are_no_changes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ntp.conf");
    fs::write(&file, "server a").unwrap();
    let mut watch = Watch::new().unwrap();
    set(&mut watch, std::slice::from_ref(&file)).await;
    fs::read(&file).unwrap();
    fs::write(directory.path().join("passwd"), "root").unwrap();
    assert!(nothing_reported(&mut watch).await);
    fs::write(&file, "server b").unwrap();
    assert!(reported(&mut watch).await);
}

#[tokio::test]
async fn a_file_is_being_written_until_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ntp.conf");
    let mut watch = Watch::new().unwrap();
    set(&mut watch, std::slice::from_ref(&path)).await;
    let mut file = File::create(&path).unwrap();
    file.write_all(b"server a\n").unwrap();
    drain(&mut watch).await;
    assert!(watch.is_being_written());
    drop(file);
    assert!(reported(&mut watch).await);
    assert!(!watch.is_being_written());
}

#[tokio::test]
async fn two_paths_to_one_directory_are_one_watch() {
    let directory = tempfile::tempdir().unwrap();
    let (real, link) = (
        directory.path().join("v1"),
        directory.path().join("current"),
    );
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let file = real.join("ntp.conf");
    let mut watch = Watch::new().unwrap();
    set(&mut watch, &[file.clone(), link.join("ntp.conf")]).await;
    set(&mut watch, std::slice::from_ref(&file)).await;
    drain(&mut watch).await;
    fs::write(&file, "server a").unwrap();
    assert!(reported(&mut watch).await);
}

#[tokio::test]
async fn what_changed_before_a_directory_was_watched_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ntp.conf");
    let mut watch = Watch::new().unwrap();
    watch.set(vec![file.clone()]);
    assert!(reported(&mut watch).await, "a directory that is new");
    set(&mut watch, std::slice::from_ref(&file)).await;
    watch.set(vec![file]);
    assert!(nothing_reported(&mut watch).await, "the same again");
}

/// A user who makes events in a directory as fast as possible until this is dropped.
struct Flood {
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Flood {
    fn of(directory: &Path) -> Self {
        let file = directory.join("flood");
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                fs::write(&file, "x").unwrap();
                fs::remove_file(&file).unwrap();
            }
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().map(thread::JoinHandle::join);
    }
}

/// What this thread has cost: the machine may be busy with others.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

#[tokio::test]
async fn a_flood_of_events_takes_next_to_no_time_and_hides_no_change() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ntp.conf");
    let named = (0..990).map(|number| directory.path().join(format!("z{number}.conf")));
    let paths: Vec<PathBuf> = named.chain([file.clone()]).collect();
    let mut watch = Watch::new().unwrap();
    set(&mut watch, &paths).await;
    let flood = Flood::of(directory.path());
    let started = Instant::now();
    let mut busy = Duration::ZERO;
    let mut reports = 0;
    while started.elapsed() < Duration::from_secs(3) {
        let turn = processor_time();
        // What is ready at once is what keeps a loop from its other work.
        if timeout(Duration::ZERO, watch.changed()).await.is_ok() {
            reports += 1;
        }
        let took = processor_time().saturating_sub(turn);
        assert!(took < Duration::from_millis(500), "a turn took {took:?}");
        busy += took;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(busy < Duration::from_secs(1), "{busy:?}");
    assert!((1..200).contains(&reports), "{reports} reports");
    drop(flood);
    fs::write(&file, "server a").unwrap();
    let rest = timeout(Duration::from_secs(20), watch.changed()).await;
    assert!(rest.is_ok(), "the rest does not end");
    set(&mut watch, &paths).await;
    while watch.pace.resting_until().is_some() {
        drop(timeout(Duration::from_secs(1), watch.changed()).await);
    }
    drain(&mut watch).await;
    fs::write(&file, "server b").unwrap();
    assert!(reported(&mut watch).await, "after the flood");
}

#[tokio::test]
async fn no_more_directories_are_watched_than_there_may_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = |number| directory.path().join(format!("{number}/ntp.conf"));
    let paths: Vec<PathBuf> = (0..2 * watched::MOST_DIRECTORIES).map(path).collect();
    for path in &paths {
        fs::create_dir(path.parent().unwrap()).unwrap();
    }
    let mut watch = Watch::new().unwrap();
    set(&mut watch, &paths).await;
    let has = |path: &Path| watch.watched.has(path.parent().unwrap());
    assert!(has(&paths[0]), "the first go first");
    assert!(!has(paths.last().unwrap()));
    fs::write(&paths[0], "server a").unwrap();
    assert!(reported(&mut watch).await);
}
