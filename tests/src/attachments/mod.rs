//! The guard itself on a kernel of `cargo xtask vm --kernel`: on the tc hooks of kernels before tcx, on
//! bonds and VLAN devices, and under a low limit on locked memory.
//!
//! A start takes long on an emulated CPU, so that the checks of one guard share it. A check is a
//! function and a line of a guard's checks in `GUARDS`.

mod bond;
mod low_memory;
mod scene;
mod taken_away;
mod vlan;

use anyhow::{Context, Result, ensure};

use self::scene::Scene;
use crate::{
    checks::Outcome,
    guard::{Builder, Guard},
};

/// What is expected of a guard, and the function that finds out.
type Check = (&'static str, fn(&Scene, &Guard) -> Result<()>);

/// A guard, and the checks that it goes through.
struct Guarded {
    /// What it is, as the first of its checks: that it starts.
    what: &'static str,
    start: fn(&Scene) -> Builder,
    checks: &'static [Check],
}

const GUARDS: &[Guarded] = &[
    Guarded {
        what: "a guard on the tc hooks of a cable and of a bond's member starts",
        start: taken_away::guard,
        checks: &[
            (
                "requests and replies are judged on the tc hooks",
                taken_away::judges,
            ),
            (
                "what others take off the tc hooks comes back",
                taken_away::comes_back,
            ),
            (
                "a VLAN above a guarded interface is judged",
                vlan::above_is_judged,
            ),
            (
                "a guarded member of a bond is a finding",
                bond::member_is_found,
            ),
            (
                "an interface that joins a bond later is a finding",
                bond::later_member_is_found,
            ),
        ],
    },
    Guarded {
        what: "a guard on a bond and on a VLAN device starts",
        start: bond::guard,
        checks: &[
            ("a bond is guarded as a whole", bond::is_guarded),
            ("a VLAN device is guarded on tc", vlan::is_guarded_on_tc),
        ],
    },
    Guarded {
        what: "a guard starts under a low limit on locked memory",
        start: low_memory::guard,
        checks: &[(
            "a VLAN device is guarded by generic XDP",
            vlan::is_guarded_by_generic_xdp,
        )],
    },
];

/// Runs all checks and prints a line for each.
///
/// # Errors
///
/// Where the network for them cannot be made.
pub fn run() -> Result<Outcome> {
    let scene = Scene::new().context("no network for the checks")?;
    let mut outcome = Outcome::default();
    for guarded in GUARDS {
        run_guarded(&scene, guarded, &mut outcome);
    }
    if low_memory::is_counted()? {
        outcome.run(
            "without the right to more locked memory the error names the limit",
            || low_memory::is_named(&scene),
        );
    }
    Ok(outcome)
}

fn run_guarded(scene: &Scene, guarded: &Guarded, outcome: &mut Outcome) {
    let mut guard = None;
    outcome.run(guarded.what, || {
        guard = Some((guarded.start)(scene).ready_within(scene::START_SECONDS)?);
        Ok(())
    });
    // Without it there is nothing to check, and the outcome is a failure already.
    let Some(mut guard) = guard else { return };
    for (what, check) in guarded.checks {
        if !outcome.run(what, || check(scene, &guard)) {
            println!("what the guard logged:\n{}", guard.stderr());
        }
    }
    // Killed, it would leave its filters to judge what the next one is to.
    outcome.run("it ends and leaves nothing", || {
        ensure!(guard.terminate()?.success(), "{}", guard.stderr());
        let pins = guard.home().pin_dir();
        ensure!(!pins.exists(), "{} is left", pins.display());
        scene.ensure_no_filters()
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_checks_have_the_same_name() {
        let checks = GUARDS.iter().flat_map(|guarded| guarded.checks);
        let names: Vec<_> = checks
            .map(|(what, _)| *what)
            .chain(GUARDS.iter().map(|guarded| guarded.what))
            .collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }
}
