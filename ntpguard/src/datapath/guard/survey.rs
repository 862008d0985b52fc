//! What a guard left in the kernel, and its removal.

use std::{collections::BTreeSet, path::Path};

use ntpguard_common::{maps::tables::Info, wire::packet::Link as Packets};

use crate::datapath::{
    AttachPoint, Difference, Error, Finding, Mode, Outlook, PinDir, Tables, Tc,
    attach::{
        bpf_link::{self, Link},
        external,
    },
    attachments::{
        Expected, NOT_ATTACHED_BY_OTHERS, Observed, Program, Wanted, compare,
        kernel::{self, Answer, Question, State},
        pinned,
    },
    maps::info::guarded,
    pins::Hook,
};

/// What is pinned now.
#[derive(Debug)]
pub struct Survey {
    /// The interfaces that a guard is to be on, by index.
    pub interfaces: Vec<Guarded>,
    /// What differs from what should be.
    pub findings: Vec<Finding>,
    /// The tables, where there are any.
    pub tables: Option<Tables>,
    /// What `INFO` says of the guard, where there are tables.
    pub info: Option<Info>,
}

impl Survey {
    /// The mode in force, where there are tables.
    pub fn mode(&self) -> Option<Mode> {
        self.info.map(|info| Mode::from_number(info.mode))
    }

    /// Whether any interface is guarded.
    pub fn is_guarding(&self) -> bool {
        self.interfaces
            .iter()
            .any(|interface| interface.how.is_some())
    }
}

/// An interface that a guard is to be on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// Its index.
    pub index: u32,
    /// Its name; `None` where it is gone.
    pub name: Option<String>,
    /// Where the program runs, as the kernel says; `None` where none does.
    pub how: Option<AttachPoint>,
    /// Why none does.
    pub why_open: Option<String>,
    /// How what leaves is noted, where it is.
    pub egress: Option<Tc>,
    /// Why it is not, where it should be.
    pub why_untracked: Option<String>,
}

/// Finds out what is pinned under `pin_dir`, which need not exist, and attached.
pub fn survey(pin_dir: &Path) -> Result<Survey, Error> {
    let pins = PinDir::new(pin_dir);
    let tables = Tables::open(pin_dir)?;
    let info = tables.as_ref().map(Tables::info).transpose()?;
    let mut indices: BTreeSet<u32> = pins.linked(Hook::Ingress)?.into_iter().collect();
    // Filters have no pins.
    indices.extend(info.iter().flat_map(guarded));
    if indices.is_empty() {
        return Ok(Survey {
            interfaces: Vec::new(),
            findings: Vec::new(),
            tables,
            info,
        });
    }
    let answer = kernel::ask(&question(&indices))?;
    let seen = indices.iter().map(|index| Seen::of(&pins, *index, &answer));
    let seen = seen.collect::<Result<Vec<_>, Error>>()?;
    let tracks = info.is_some_and(|info| info.reply_window != 0);
    let found = differences(&pins, &seen, tracks, &answer);
    let interfaces = seen.iter().map(|seen| seen.guarded(&found));
    let interfaces = interfaces.collect();
    let findings = found.into_iter().map(|difference| Finding {
        difference,
        outlook: Outlook::Stays,
    });
    Ok(Survey {
        interfaces,
        findings: findings.collect(),
        tables,
        info,
    })
}

/// What the kernel has of an interface.
struct Seen {
    index: u32,
    name: Option<String>,
    ingress: State,
    egress: State,
    /// How what leaves is noted, if it is.
    noted_by: Tc,
    /// Whether others attach the program that judges, and have done so.
    external: Option<bool>,
}

impl Seen {
    fn of(pins: &PinDir, index: u32, answer: &Answer) -> Result<Self, Error> {
        let ingress = state(pins, index, Hook::Ingress, answer)?;
        let has_program = [Packets::Ethernet, Packets::RawIp]
            .iter()
            .any(|link| pins.program(Hook::Ingress, *link).exists());
        // Only where the program is ours to attach it is pinned.
        let is_external = ingress == State::NoLink && !has_program;
        let is_attached = || external::find(pins).is_ok_and(|found| found.is_some());
        Ok(Self {
            index,
            name: answer.name_of(index).map(str::to_owned),
            ingress,
            egress: state(pins, index, Hook::Egress, answer)?,
            noted_by: if pins.link(Hook::Egress, index).exists() {
                Tc::Tcx
            } else {
                Tc::Clsact
            },
            external: is_external.then(is_attached),
        })
    }

    /// Whether it is an interface of this network namespace.
    fn is_here(&self) -> bool {
        self.name.is_some() && self.ingress != State::Endpoint
    }

    fn guarded(&self, found: &BTreeSet<Difference>) -> Guarded {
        let why = |hook| {
            let mut why = found.iter().filter(|one| one.is_of(self.index, hook));
            why.next().map(ToString::to_string)
        };
        let how = match (self.ingress, self.external) {
            (_, Some(true)) => Some(AttachPoint::External),
            (State::Runs { how, .. }, _) => Some(how),
            _ => None,
        };
        let why_open = || match self.external {
            _ if !self.is_here() => Some("it is gone".to_owned()),
            Some(false) => Some(NOT_ATTACHED_BY_OTHERS.to_owned()),
            _ => why(Hook::Ingress),
        };
        let is_noted = matches!(self.egress, State::Runs { .. });
        Guarded {
            index: self.index,
            name: self.name.clone(),
            how,
            why_open: how.is_none().then(why_open).flatten(),
            egress: is_noted.then_some(self.noted_by),
            why_untracked: why(Hook::Egress),
        }
    }
}

/// In what all of them differ from what they should be, as far as that is known without a daemon.
fn differences(
    pins: &PinDir,
    seen: &[Seen],
    tracks: bool,
    answer: &Answer,
) -> BTreeSet<Difference> {
    let here = || seen.iter().filter(|seen| seen.is_here());
    let interfaces = here().map(|seen| Wanted {
        index: seen.index,
        name: seen.name.clone().unwrap_or_default(),
        asked_as: None,
        ingress: match seen.external {
            Some(_) => Program::Nothing,
            None => Program::Any,
        },
        egress: if tracks {
            Program::Any
        } else {
            Program::Nothing
        },
    });
    let expected = Expected {
        pins,
        interfaces: interfaces.collect(),
    };
    let hooks = here().flat_map(|seen| {
        [
            ((seen.index, Hook::Ingress), seen.ingress),
            ((seen.index, Hook::Egress), seen.egress),
        ]
    });
    let observed = Observed {
        hooks: hooks.collect(),
        pins: None,
        reach: pinned::reach(pins.path()),
        devices: answer.devices(),
    };
    compare(&expected, &observed)
}

/// What rtnetlink is to be asked of these interfaces.
fn question(indices: &BTreeSet<u32>) -> Question {
    let hooks = [Hook::Ingress, Hook::Egress];
    let filters = indices
        .iter()
        .flat_map(|index| hooks.map(|hook| (*index, hook)));
    Question {
        indices: indices.iter().copied().collect(),
        filters: filters.collect(),
        all: true,
        ..Question::default()
    }
}

/// What is on a hook, by the link that is pinned for it or by a filter.
fn state(pins: &PinDir, index: u32, hook: Hook, answer: &Answer) -> Result<State, Error> {
    let path = pins.link(hook, index);
    let link = Link::open(&path)
        .map_err(|source| Error::system(format!("open link {}", path.display()), source))?;
    if let Some(link) = link {
        return answer.linked(index, hook, &link);
    }
    let by_filter = answer.filtered(index, hook);
    // What is not a filter was a link, which ended with its pin.
    let is_filter = matches!(by_filter, State::Runs { .. })
        || (hook == Hook::Egress && !bpf_link::has_tcx(index));
    Ok(if is_filter { by_filter } else { State::NoLink })
}
