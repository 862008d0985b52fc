//! A local user's program that wants to be taken for a time daemon. What it does goes by the name of
//! its file, since only that of `chronyd` is looked at:
//!
//! - `impostor race CHRONYD SET-UID FILE` starts `CHRONYD -f FILE` again and again, several at once;
//! - `chronyd -f FILE` executes, after a moment, the set-uid program that `IMPOSTOR_NEXT` names;
//! - `set-uid` stays for a moment, and ends;
//! - `chronyd huge` has the kernel take eight gibibytes for its arguments, and stays.

use std::{
    env, fs,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command},
    ptr, thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::libc;

/// How many impostors are there at once.
const AT_ONCE: usize = 8;

/// The size of the arguments that are none.
const HUGE: usize = 8 << 30;

/// The variable that names the program to become.
const NEXT: &str = "IMPOSTOR_NEXT";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["race", chronyd, set_uid, file] => race(chronyd, set_uid, file),
        ["-f", _] => become_set_uid(),
        ["huge"] => stay_huge(),
        [] => {
            thread::sleep(Duration::from_micros(fastrand::u64(50..500)));
            Ok(())
        }
        other => bail!("no such attack: {other:?}"),
    }
}

fn race(chronyd: &str, set_uid: &str, file: &str) -> Result<()> {
    let start = || -> Result<Child> {
        let mut command = Command::new(chronyd);
        command.args(["-f", file]).env(NEXT, set_uid);
        Ok(command.spawn()?)
    };
    let mut running = Vec::new();
    loop {
        while running.len() < AT_ONCE {
            running.push(start()?);
        }
        for child in running.drain(..) {
            let mut child = child;
            ensure!(child.wait()?.success(), "an impostor failed");
        }
    }
}

fn become_set_uid() -> Result<()> {
    let next = env::var_os(NEXT).context("nothing to become")?;
    thread::sleep(Duration::from_micros(fastrand::u64(0..500)));
    Err(Command::new(PathBuf::from(next)).exec().into())
}

/// What prctl(2) takes for `PR_SET_MM_MAP`.
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: *const u64,
    auxv_size: u32,
    exe_fd: u32,
}

fn stay_huge() -> Result<()> {
    // SAFETY: asks for new memory wherever the kernel likes.
    let arguments = unsafe {
        libc::mmap(
            ptr::null_mut(),
            HUGE,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    ensure!(arguments != libc::MAP_FAILED, "no room for arguments");
    let from = arguments as u64;
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // The fields are counted from 1, and the two before the parenthesis are off.
    let field = |number: usize| -> Result<u64> {
        let text = fields.get(number - 3).context("a short stat")?;
        Ok(text.parse()?)
    };
    let start_brk = field(47)?;
    let map = MemoryMap {
        start_code: field(26)?,
        end_code: field(27)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk,
        brk: start_brk,
        start_stack: field(28)?,
        arg_start: from,
        arg_end: from + HUGE as u64,
        env_start: field(50)?,
        env_end: field(51)?,
        auxv: ptr::null(),
        auxv_size: 0,
        exe_fd: u32::MAX,
    };
    let size = size_of::<MemoryMap>();
    // SAFETY: the kernel reads the map, which lives until it returns.
    let done = unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            libc::PR_SET_MM_MAP,
            ptr::from_ref(&map),
            size,
            0,
        )
    };
    ensure!(done == 0, "prctl: {}", std::io::Error::last_os_error());
    println!("huge");
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}
