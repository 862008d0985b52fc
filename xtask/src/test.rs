//! `cargo xtask test`: everything that has to hold.

use std::{
    env, fmt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    command,
    setup::{self, Purpose, toolchain::Toolchain},
    vm::{self, system},
    words,
    workspace::Workspace,
};

/// Check the format, lint, build the documentation and run all tests, here, on older kernels and on a whole system
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Do not ask before preparing this machine
    #[arg(long)]
    yes: bool,
    /// Only what needs neither root nor a virtual machine
    #[arg(long)]
    unit: bool,
    /// Only tests whose names contain one of these; no lints and no virtual machine
    filter: Vec<String>,
}

/// Runs the subcommand. The first failure ends it.
pub(crate) fn execute(workspace: &Workspace, options: &Options) -> Result<()> {
    ensure!(
        options.unit || command::is_root() || command::find("sudo").is_some(),
        "the integration tests need root, to make network namespaces and load programs into the \
         kernel, and there is no `sudo`: call this as root, or with --unit"
    );
    setup::prepare(workspace, Purpose::Test, options.yes)?;
    let mut report = Report::default();
    let outcome = steps(workspace, options, &mut report);
    println!("\n{report}");
    outcome.context("the first failure ends the tests")?;
    println!("test result: ok. {} steps passed", report.rows.len());
    Ok(())
}

fn steps(workspace: &Workspace, options: &Options, report: &mut Report) -> Result<()> {
    let filter = &options.filter;
    if filter.is_empty() {
        report.step("format", || format(workspace))?;
        report.step("lints", || lints(workspace))?;
        report.step("lints of the eBPF programs", || ebpf_lints(workspace))?;
        report.step("documentation", || documentation(workspace))?;
    }
    report.step("unit tests", || unit_tests(workspace, filter))?;
    if options.unit {
        return Ok(());
    }
    report.step("integration tests", || integration_tests(workspace, filter))?;
    if filter.is_empty() {
        for version in vm::TESTED {
            report.step(
                &format!("fixtures and attachments on Linux {version}"),
                || vm::boot(workspace, version, false),
            )?;
        }
        for name in system::TESTED {
            let step = format!("{} with systemd in a virtual machine", system::title(name));
            report.step(&step, || system::boot(workspace, name, false))?;
        }
    }
    Ok(())
}

fn format(workspace: &Workspace) -> Result<()> {
    cargo(workspace, &["fmt", "--all", "--check"])?;
    words::execute(workspace)
}

/// ntpguard-ebpf compiles for the BPF target only.
fn lints(workspace: &Workspace) -> Result<()> {
    let arguments = "clippy --workspace --exclude ntpguard-ebpf --all-targets -- -D warnings";
    cargo(workspace, &arguments.split(' ').collect::<Vec<_>>())
}

/// As aya-build compiles them, and in a directory of its own: what `RUSTC_BOOTSTRAP` unlocks would
/// have everything else compiled anew, each time.
fn ebpf_lints(workspace: &Workspace) -> Result<()> {
    let toolchain =
        Toolchain::for_bpf(workspace).context("no compiler here has the sources of core")?;
    let endian = if cfg!(target_endian = "big") {
        "bpfeb"
    } else {
        "bpfel"
    };
    let mut clippy = toolchain.program("cargo");
    clippy.args([
        "clippy",
        "--package",
        "ntpguard-ebpf",
        "--release",
        "-Z",
        "build-std=core",
    ]);
    clippy.arg("--target").arg(format!("{endian}-unknown-none"));
    clippy
        .arg("--target-dir")
        .arg(workspace.target().join("ebpf-lints"));
    clippy
        .args(["--", "-D", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1");
    clippy.env(
        "CARGO_ENCODED_RUSTFLAGS",
        format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH),
    );
    command::run(clippy.current_dir(workspace.root()))
}

fn documentation(workspace: &Workspace) -> Result<()> {
    let mut doc = command::cargo();
    doc.args([
        "doc",
        "--workspace",
        "--exclude",
        "ntpguard-ebpf",
        "--no-deps",
    ]);
    command::run(
        doc.env("RUSTDOCFLAGS", "-D warnings")
            .current_dir(workspace.root()),
    )
}

fn unit_tests(workspace: &Workspace, filter: &[String]) -> Result<()> {
    let mut test = command::cargo();
    test.args([
        "test",
        "--package",
        "ntpguard-common",
        "--package",
        "ntpguard",
        "--package",
        "xtask",
        "--",
    ]);
    command::run(test.args(filter).current_dir(workspace.root()))
}

/// Each makes network namespaces of its own and starts daemons: two at a time is enough.
fn integration_tests(workspace: &Workspace, filter: &[String]) -> Result<()> {
    cargo(workspace, &["build", "--package", "ntpguard"])?;
    let mut test = command::cargo();
    test.args([
        "test",
        "--package",
        "ntpguard-tests",
        "--",
        "--test-threads=2",
    ])
    .args(filter);
    test.env("NTPGUARD_BIN", workspace.target().join("debug/ntpguard"));
    test.env("NTPGUARD_DAEMONS", workspace.made("daemons"));
    if !command::is_root() {
        println!("the integration tests need root: calling sudo for them");
        let toolchain =
            Toolchain::for_bpf(workspace).context("no compiler here has the sources of core")?;
        test.env(runner_variable(&toolchain.version()?.host), "sudo -E");
    }
    command::run(test.current_dir(workspace.root()))
}

/// The variable by which cargo learns through what to start the programs of a target.
fn runner_variable(host: &str) -> String {
    format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_ascii_uppercase().replace('-', "_")
    )
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    command::run(
        command::cargo()
            .args(arguments)
            .current_dir(workspace.root()),
    )
}

/// What ran, how it ended and how long it took.
#[derive(Debug, Default)]
struct Report {
    rows: Vec<(String, bool, Duration)>,
}

impl Report {
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n== {name} ==");
        let start = Instant::now();
        let outcome = work();
        self.rows
            .push((name.to_owned(), outcome.is_ok(), start.elapsed()));
        outcome.with_context(|| format!("step failed: {name}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<44} {:<6} {:>8}", "step", "result", "seconds")?;
        for (name, passed, time) in &self.rows {
            let result = if *passed { "ok" } else { "FAILED" };
            writeln!(f, "{name:<44} {result:<6} {:>8.1}", time.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn the_table_tells_what_passed_and_what_did_not() {
        let mut report = Report::default();
        report.step("format", || Ok(())).unwrap();
        let error = report
            .step("lints", || bail!("three warnings"))
            .unwrap_err();
        assert_eq!(format!("{error:#}"), "step failed: lints: three warnings");
        let table = report.to_string();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[1].starts_with("format ") && lines[1].contains(" ok "),
            "{table}"
        );
        assert!(
            lines[2].starts_with("lints ") && lines[2].contains(" FAILED "),
            "{table}"
        );
    }

    #[test]
    fn the_runner_is_named_for_the_host() {
        assert_eq!(
            runner_variable("x86_64-unknown-linux-gnu"),
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"
        );
    }
}
