//! `cargo xtask setup`: brings a bare machine to where it can build and test.

mod bpffs;
pub(crate) mod cargo_fuzz;
mod components;
mod daemons;
mod kernels;
mod linker;
mod ntpd_rs;
pub(crate) mod oldest_rust;
mod packages;
mod systems;
pub(crate) mod toolchain;
pub(crate) mod wheels;

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{parallel, workspace::Workspace};

/// Prepare this machine to build and test: install what is missing, after asking
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Do not ask
    #[arg(long, conflicts_with = "check")]
    yes: bool,
    /// Only say what is missing, and fail if anything is
    #[arg(long)]
    check: bool,
}

/// What a machine is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To build the guard and run it.
    Run,
    /// To test it as well.
    Test,
    /// To feed it random input.
    Fuzz,
    /// To measure it beside others.
    Bench,
}

/// Something that is to be done.
struct Plan {
    /// What, as the end of "setup is going to…".
    what: String,
    /// How long it takes, or how much there is to download, roughly.
    cost: &'static str,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.cost)
    }
}

/// One thing that this machine may lack.
trait Step: Sync {
    /// What is to be done, or nothing if all is there. Changes nothing.
    fn plan(&self, workspace: &Workspace) -> Result<Option<Plan>>;
    /// Does it.
    fn act(&self, workspace: &Workspace) -> Result<()>;
}

/// Steps of which each can count on those before it.
type Lane = Vec<Box<dyn Step>>;

/// What comes first, and then lanes that know nothing of each other: cargo builds while apt fetches.
fn steps(purpose: Purpose) -> (Lane, Vec<Lane>) {
    let mut cargo: Lane = vec![Box::new(linker::Linker)];
    let mut apt: Lane = Vec::new();
    match purpose {
        Purpose::Run => {}
        Purpose::Fuzz => {
            // It compiles libFuzzer, which is C++.
            cargo.insert(0, Box::new(packages::Packages(packages::FUZZING)));
            cargo.push(Box::new(cargo_fuzz::CargoFuzz));
        }
        Purpose::Test | Purpose::Bench => {
            apt.push(Box::new(packages::Packages(packages::TESTS)));
            apt.push(Box::new(daemons::Daemons));
            apt.push(Box::new(bpffs::Bpffs));
        }
    }
    if purpose == Purpose::Bench {
        apt.push(Box::new(packages::Packages(packages::PEERS)));
    } else if purpose == Purpose::Test {
        cargo.push(Box::new(ntpd_rs::NtpdRs));
        apt.push(Box::new(components::Components));
        apt.push(Box::new(oldest_rust::OldestRust));
        apt.push(Box::new(wheels::Wheels));
        apt.push(Box::new(kernels::Kernels));
        apt.push(Box::new(systems::Systems));
    }
    (vec![Box::new(toolchain::CoreSources)], vec![cargo, apt])
}

/// Runs the subcommand.
pub(crate) fn execute(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.check {
        let (first, lanes) = steps(Purpose::Test);
        let plans = plans(workspace, &first, &lanes)?;
        print_plans("missing here", &plans);
        ensure!(
            plans.is_empty(),
            "this machine is not ready: `cargo xtask setup` prepares it"
        );
    } else {
        prepare(workspace, Purpose::Test, options.yes)?;
    }
    println!("setup: nothing is missing");
    Ok(())
}

/// Makes this machine ready for a purpose. Says nothing and takes well under a second when it is.
///
/// # Errors
/// Nobody agreed to what is to be done, or a step failed.
pub(crate) fn prepare(workspace: &Workspace, purpose: Purpose, yes: bool) -> Result<()> {
    let (first, lanes) = steps(purpose);
    let plans = plans(workspace, &first, &lanes)?;
    if plans.is_empty() {
        return Ok(());
    }
    print_plans("setup is going to", &plans);
    if !yes {
        ask()?;
    }
    walk(workspace, &first)?;
    parallel::each(&lanes, |lane| walk(workspace, lane))
}

/// Does what the steps of a lane have to do.
fn walk(workspace: &Workspace, lane: &Lane) -> Result<()> {
    for step in lane {
        // Asked again: what a step did can change what the next has to do.
        let Some(plan) = step.plan(workspace)? else {
            continue;
        };
        println!("setup: {plan}");
        step.act(workspace)
            .with_context(|| format!("setup could not {}", plan.what))?;
        if let Some(still) = step.plan(workspace)? {
            bail!("setup met no error, and yet it still has to {}", still.what);
        }
    }
    Ok(())
}

fn plans(workspace: &Workspace, first: &Lane, lanes: &[Lane]) -> Result<Vec<Plan>> {
    let steps = first.iter().chain(lanes.iter().flatten());
    let plans = steps.map(|step| step.plan(workspace).transpose());
    plans.flatten().collect()
}

fn print_plans(heading: &str, plans: &[Plan]) {
    if !plans.is_empty() {
        println!("{heading}:");
        for plan in plans {
            println!("  - {plan}");
        }
    }
}

fn ask() -> Result<()> {
    ensure!(
        io::stdin().is_terminal(),
        "there is no terminal to ask on: `cargo xtask setup --yes` agrees to the list above"
    );
    print!("Go on? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    ensure!(agrees(&answer), "nothing was changed");
    Ok(())
}

fn agrees(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_agrees() {
        assert!(agrees("y\n") && agrees(" YES \n"));
        assert!(!agrees("\n") && !agrees("n\n") && !agrees("yesterday\n") && !agrees(""));
    }

    #[test]
    fn to_run_the_guard_nothing_is_brought_but_what_builds_it() {
        let (first, lanes) = steps(Purpose::Run);
        assert_eq!(first.len() + lanes.iter().map(Vec::len).sum::<usize>(), 2);
    }
}
