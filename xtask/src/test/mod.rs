//! `cargo xtask test`: everything that has to hold.

mod checks;
mod suites;

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    command, layout,
    setup::{self, Purpose},
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
        report.step("format", || checks::format(workspace))?;
        report.step("words", || words::execute(workspace))?;
        report.step("layout", || layout::execute(workspace))?;
        report.step("spelling", || checks::spelling(workspace))?;
        report.step("dependencies", || checks::dependencies(workspace))?;
        report.step("lints", || checks::lints(workspace))?;
        report.step("lints of the eBPF programs", || {
            checks::ebpf_lints(workspace)
        })?;
        report.step("documentation", || checks::documentation(workspace))?;
    }
    report.step("unit tests", || suites::unit_tests(workspace, filter))?;
    if options.unit {
        return Ok(());
    }
    report.step("integration tests", || {
        suites::integration_tests(workspace, filter)
    })?;
    if filter.is_empty() {
        let step = format!("fixtures on Linux {}", vm::TESTED.join(" and "));
        report.step(&step, || vm::boot(workspace, &vm::TESTED, false))?;
        for name in system::TESTED {
            let step = format!("{} with systemd in a virtual machine", system::title(name));
            report.step(&step, || system::boot(workspace, name, false))?;
        }
    }
    Ok(())
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
}
