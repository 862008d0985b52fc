//! The comparison: no system call, no clock.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    difference::{Cause, Difference, PinLoss, Reach},
    kernel::State,
    stack::{Device, standing},
};
use crate::datapath::{Hook, PinDir};

/// What should be.
#[derive(Debug)]
pub(in crate::datapath) struct Expected<'a> {
    pub(in crate::datapath) pins: &'a PinDir,
    pub(in crate::datapath) interfaces: Vec<Wanted>,
}

/// An interface that should be guarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::datapath) struct Wanted {
    pub(in crate::datapath) index: u32,
    /// Its name.
    pub(in crate::datapath) name: String,
    /// The name in the configuration, where that is known.
    pub(in crate::datapath) asked_as: Option<String>,
    /// What should judge what arrives.
    pub(in crate::datapath) ingress: Program,
    /// What should note the requests that leave.
    pub(in crate::datapath) egress: Program,
}

/// What should be on a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Program {
    /// Nothing of ours.
    Nothing,
    /// A program of ours.
    Any,
    /// The program of this number.
    This(u32),
}

/// What is.
#[derive(Debug, Default)]
pub(in crate::datapath) struct Observed {
    /// What is on each hook that something should be on.
    pub(in crate::datapath) hooks: BTreeMap<(u32, Hook), State>,
    /// What is wrong with the pins.
    pub(in crate::datapath) pins: Option<PinLoss>,
    /// How far the BPF file system reaches, where that is not far enough.
    pub(in crate::datapath) reach: Option<Reach>,
    /// The devices, as far as they are known.
    pub(in crate::datapath) devices: BTreeMap<u32, Device>,
}

/// In what they differ.
pub(in crate::datapath) fn compare(
    expected: &Expected<'_>,
    observed: &Observed,
) -> BTreeSet<Difference> {
    let mut found = BTreeSet::new();
    for wanted in &expected.interfaces {
        for (hook, program) in [
            (Hook::Egress, wanted.egress),
            (Hook::Ingress, wanted.ingress),
        ] {
            let state = observed.hooks.get(&(wanted.index, hook));
            let cause = state.and_then(|state| cause(program, *state));
            found.extend(cause.map(|cause| Difference::Hook {
                interface: wanted.name.clone(),
                index: wanted.index,
                hook,
                cause,
            }));
        }
        let renamed = wanted.asked_as.as_ref();
        found.extend(renamed.filter(|name| **name != wanted.name).map(|name| {
            Difference::Renamed {
                from: name.clone(),
                to: wanted.name.clone(),
            }
        }));
    }
    found.extend(observed.pins.clone().map(Difference::Pins));
    found.extend(observed.reach.map(|reach| Difference::Private {
        pin_dir: expected.pins.path().to_owned(),
        reach,
    }));
    let guarded: Vec<u32> = expected.interfaces.iter().map(|one| one.index).collect();
    found.extend(standing(&guarded, &observed.devices));
    found
}

/// Why a program is not where it should be; `None` where it is.
fn cause(program: Program, state: State) -> Option<Cause> {
    match (program, state) {
        (Program::Nothing, _) | (Program::Any, State::Runs { .. }) => None,
        (Program::This(wanted), State::Runs { program, .. }) => {
            (program != wanted).then_some(Cause::Replaced(program))
        }
        (_, State::LinkDetached) => Some(Cause::LinkDetached),
        (_, State::NoLink | State::Endpoint) => Some(Cause::LinkGone),
        (_, State::NoFilter) => Some(Cause::FilterGone),
        (_, State::NoQdisc) => Some(Cause::ClsactGone),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::datapath::AttachPoint;

    const INDEX: u32 = 3;
    const RUNS: State = State::Runs {
        program: 7,
        how: AttachPoint::Tc,
    };

    fn wanted() -> Wanted {
        Wanted {
            index: INDEX,
            name: "eth1".to_owned(),
            asked_as: Some("eth1".to_owned()),
            ingress: Program::This(7),
            egress: Program::This(7),
        }
    }

    fn observed(ingress: State, egress: State) -> Observed {
        let hooks = [
            ((INDEX, Hook::Ingress), ingress),
            ((INDEX, Hook::Egress), egress),
        ];
        Observed {
            hooks: hooks.into(),
            ..Observed::default()
        }
    }

    fn texts(wanted: Wanted, observed: &Observed) -> Vec<String> {
        let pins = PinDir::new("/sys/fs/bpf/ntpguard");
        let expected = Expected {
            pins: &pins,
            interfaces: vec![wanted],
        };
        let found = compare(&expected, observed);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_as_it_should_be_makes_no_difference() {
        assert!(texts(wanted(), &observed(RUNS, RUNS)).is_empty());
        let any = Wanted {
            ingress: Program::Any,
            egress: Program::Nothing,
            ..wanted()
        };
        assert!(texts(any, &observed(RUNS, State::NoLink)).is_empty());
    }

    #[test]
    fn each_loss_names_its_cause() {
        for (state, cause) in [
            (State::LinkDetached, "link detached"),
            (State::NoLink, "its link is gone"),
            (State::NoFilter, "its filter was removed"),
            (State::NoQdisc, "qdisc clsact of eth1 was removed"),
            (
                State::Runs {
                    program: 8,
                    how: AttachPoint::Tc,
                },
                "program 8 is in its place",
            ),
        ] {
            let found = texts(wanted(), &observed(RUNS, state));
            let text = format!("the egress program is no longer attached to eth1 ({cause})");
            assert_eq!(found, [text], "{state:?}");
            let found = texts(wanted(), &observed(state, RUNS));
            let text = format!("the ingress program is no longer attached to eth1 ({cause})");
            assert_eq!(found, [text], "{state:?}");
        }
    }

    #[test]
    fn another_name_is_a_difference() {
        let renamed = Wanted {
            name: "lan0".to_owned(),
            ..wanted()
        };
        let found = texts(renamed, &observed(RUNS, RUNS));
        assert!(found[0].contains("eth1 was renamed to lan0"), "{found:?}");
    }

    #[test]
    fn pins_that_are_gone_and_a_file_system_that_ends_early_are_differences() {
        let gone = PinLoss::Gone {
            pin_dir: PathBuf::from("/sys/fs/bpf/ntpguard"),
            gone: 9,
            of: 9,
        };
        let unmounted = PinLoss::Unmounted {
            at: PathBuf::from("/sys/fs/bpf"),
        };
        for (pins, reach, text) in [
            (Some(gone), None, "pins below /sys/fs/bpf/ntpguard are gone"),
            (Some(unmounted), None, "/sys/fs/bpf is no longer mounted"),
            (None, Some(Reach::MountNamespace), "does not outlive it"),
            (
                None,
                Some(Reach::Container),
                "does not outlive the container",
            ),
        ] {
            let observed = Observed {
                pins,
                reach,
                ..observed(RUNS, RUNS)
            };
            let found = texts(wanted(), &observed);
            assert!(found.len() == 1 && found[0].contains(text), "{found:?}");
        }
    }
}
