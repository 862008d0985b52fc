//! The guard's program behind somebody else's, chained by xdp-loader on a loopback interface.

use std::{fs, path::PathBuf, process};

use anyhow::{Context as _, Result, bail, ensure};
use ntpguard::datapath::{AttachMode, Settings, object::chained};

use crate::{
    loopback::{self, Pins, works},
    process::run_program,
    xdp_loader,
};

/// xdp-filter's program, which passes what it knows nothing of.
const THEIRS: &str = "/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_udp.o";

/// How xdp-loader had the guard's program run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chained {
    /// Behind another, by its dispatcher.
    Behind,
    /// By itself: this kernel does not let programs replace others (`BPF_PROG_TYPE_EXT`), which the
    /// dispatcher takes.
    Alone,
}

/// Has xdp-loader load another program and then the guard's, in a network namespace of its own.
///
/// # Errors
///
/// When something is not as it must be, or a program is missing.
pub fn run() -> Result<Chained> {
    loopback::alone_in_a_namespace(|| {
        let chained = behind_another();
        // What it pinned for them has no other name.
        let unloaded = xdp_loader(&["unload", "-a", "lo"]);
        let chained = chained?;
        unloaded.map(|_| chained)
    })
}

fn behind_another() -> Result<Chained> {
    let pins = Pins::new();
    let guard = loopback::guard(&pins, AttachMode::External)?;
    ensure!(!guard.is_guarding(), "it guards before anything was loaded");
    xdp_loader(&["load", "-m", "skb", "lo", THEIRS])?;
    let is_chained = status()?.contains("xdp_dispatcher");
    if !is_chained {
        xdp_loader(&["unload", "-a", "lo"])?;
    }

    let object = Object::new()?;
    let file = object.0.to_str().context("a path that is no text")?;
    let maps = pins.0.join("maps");
    let maps = maps.to_str().context("a path that is no text")?;
    let load = |program| {
        let line = ["load", "-m", "skb", "-n", program, "-p", maps, "lo", file];
        xdp_loader(&line)
    };
    // Before Linux 5.18 there are no programs for frames in several buffers.
    load("ingress").or_else(|_| load("ingress_linear"))?;
    ensure!(guard.is_guarding(), "it does not guard:\n{}", status()?);
    works(&guard).with_context(|| status().unwrap_or_default())?;

    let shown = status()?;
    let place = |program: &str| shown.lines().position(|line| line.contains(program));
    match (place("xdpfilt_alw_udp"), place("ingress")) {
        (Some(theirs), Some(ours)) if is_chained && theirs < ours => Ok(Chained::Behind),
        (None, Some(_)) if !is_chained => Ok(Chained::Alone),
        _ => bail!("the programs are\n{shown}"),
    }
}

fn xdp_loader(line: &[&str]) -> Result<String> {
    xdp_loader::when_free(|| run_program("xdp-loader", line))
}

fn status() -> Result<String> {
    xdp_loader(&["status", "lo"])
}

/// The object, in a file that goes at the end.
struct Object(PathBuf);

impl Object {
    fn new() -> Result<Self> {
        let file = std::env::temp_dir().join(format!("ntpguard-{}.o", process::id()));
        fs::write(&file, chained::chainable(Settings::default())?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Self(file))
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("left behind: {}: {error}", self.0.display());
        }
    }
}
