//! What the configurations ask for, as last read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use ntpguard_common::maps::tables::Origin;

use crate::{
    allowlist::{
        authority::{self, Ledger, Spoken},
        claim::Claim,
        digest,
    },
    resolve::{Held, Names, Question},
    sources::{Channel, Family, Host, Problem, Reading, Severity, Speaker, Want},
};

/// The last good reading of each source, by the source's id.
#[derive(Debug, Default)]
pub(in crate::allowlist) struct Readings {
    sources: BTreeMap<String, Source>,
}

/// The last good reading of one source.
#[derive(Debug, Default)]
struct Source {
    wants: Vec<Spoken>,
    /// What of their budgets its speakers have used up.
    ledger: Ledger,
    problems: Vec<Problem>,
    /// What is wrong with the files that are not root's.
    problems_of_others: Vec<Problem>,
    watched: Vec<PathBuf>,
    channels: Vec<Channel>,
    /// Whether `wants` was read by this process, and does not come from the state file.
    fresh: bool,
}

/// A claim of a source.
pub(in crate::allowlist) struct Sourced<'a> {
    /// The source's id.
    pub(in crate::allowlist) id: &'a str,
    /// The claim.
    pub(in crate::allowlist) claim: Claim,
    /// Which addresses of the claim's name count.
    pub(in crate::allowlist) family: Family,
    /// What DNS led to the address, if it did.
    pub(in crate::allowlist) held: Option<Held>,
}

impl Readings {
    /// Takes what a source asked for in an earlier run.
    pub(in crate::allowlist) fn restore(&mut self, id: String, want: Spoken) {
        let source = self.sources.entry(id).or_default();
        // The rows of one want follow each other.
        let is_known = source.wants.iter().rev().any(|known| *known == want);
        if !is_known && source.ledger.charge(&want).is_ok() {
            source.wants.push(want);
        }
    }

    /// Forgets the sources that are not among `kept`, with all they asked for.
    pub(in crate::allowlist) fn keep(&mut self, kept: &BTreeSet<String>) {
        self.sources.retain(|id, _| kept.contains(id));
    }

    /// Takes a new reading of the source `id`, whose main file is `main`.
    ///
    /// What a file asked for stays while that file cannot be read; where it is the main file, which
    /// leads to the others, everything stays.
    pub(in crate::allowlist) fn take(&mut self, id: &str, main: &Path, mut reading: Reading) {
        let (mut wants, mut ledger) = authority::sift(&mut reading);
        let source = self.sources.entry(id.to_owned()).or_default();
        let unreadable: BTreeSet<&Path> = reading
            .problems
            .iter()
            .filter(|problem| problem.severity == Severity::Unreadable)
            .map(|problem| &*problem.place.file)
            .chain(reading.unreadable.iter().map(|file| &**file))
            .collect();
        if !unreadable.contains(main) {
            let before = source.wants.drain(..);
            let stays = before.filter(|said| unreadable.contains(&*said.want.place().file));
            wants.extend(stays.filter(|said| ledger.charge(said).is_ok()));
            source.wants = wants;
            source.ledger = ledger;
            source.fresh = true;
        }
        source.problems_of_others = digest::of_others(&mut reading);
        source.problems = reading.problems;
        source.watched = reading.watched;
        source.channels = reading.channels;
    }

    /// What the sources ask for, with the source that does.
    pub(in crate::allowlist) fn wants(&self) -> impl Iterator<Item = (&str, &Want)> {
        self.sources.iter().flat_map(|(id, source)| {
            source
                .wants
                .iter()
                .map(move |said| (id.as_str(), &said.want))
        })
    }

    /// The names that root's files ask for.
    pub(in crate::allowlist) fn questions_of_root(&self) -> impl Iterator<Item = Question> {
        let said = self.sources.values().flat_map(|source| &source.wants);
        let of_root = said.filter(|said| said.speaker == Speaker::Root);
        of_root.filter_map(|said| Question::of(&said.want))
    }

    /// What is wrong with the files that are not root's.
    pub(in crate::allowlist) fn problems_of_others(&self) -> impl Iterator<Item = &Problem> {
        let sources = self.sources.values();
        sources.flat_map(|source| &source.problems_of_others)
    }

    /// What is wrong with the sources, but for the files that are not root's.
    pub(in crate::allowlist) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.sources.values().flat_map(|source| &source.problems)
    }

    /// The files and directories that the sources were read from, or would be.
    pub(in crate::allowlist) fn watched(&self) -> impl Iterator<Item = &Path> {
        self.sources
            .values()
            .flat_map(|source| &source.watched)
            .map(PathBuf::as_path)
    }

    /// Where the sources have their daemons listen for questions.
    pub(in crate::allowlist) fn channels(&self) -> BTreeSet<Channel> {
        let channels = self.sources.values().flat_map(|source| &source.channels);
        channels.cloned().collect()
    }

    /// The sources' claims, in the order of their lines, with the addresses that `names` holds.
    pub(in crate::allowlist) fn claims<'a>(
        &'a self,
        names: &'a Names,
    ) -> impl Iterator<Item = Sourced<'a>> {
        self.sources.iter().flat_map(move |(id, source)| {
            let wants = source.wants.iter();
            wants.flat_map(move |said| source.claims(id, said, names))
        })
    }
}

impl Source {
    fn claims<'a>(&self, id: &'a str, said: &Spoken, names: &Names) -> Vec<Sourced<'a>> {
        let origin = if self.fresh {
            Origin::Config
        } else {
            Origin::Saved
        };
        let speaker = said.speaker;
        match &said.want {
            Want::Prefix {
                prefix,
                roles,
                place,
            } => {
                let denial = Claim::new(*prefix, origin).said_by(speaker).at(place);
                let denied = roles.is_empty().then(|| denial.clone());
                let granted = denial.for_roles(roles).chain(denied);
                granted.map(|claim| Sourced::plain(id, claim)).collect()
            }
            Want::Source {
                host: Host::Address(host),
                port,
                roles,
                place,
                ..
            } => {
                let base = Claim::of_host(host, origin).said_by(speaker);
                let base = base.at(place).on(*port);
                let granted = base.for_roles(roles);
                granted.map(|claim| Sourced::plain(id, claim)).collect()
            }
            Want::Source {
                host: Host::Name(name),
                family,
                port,
                roles,
                place,
            } => {
                let question = Question::new(name, *family);
                let resolved = names.held(&question).flat_map(|(address, held)| {
                    let base = Claim::resolved(name, address, held).said_by(speaker);
                    let base = base.at(place).on(*port);
                    base.for_roles(roles).map(|claim| Sourced {
                        family: *family,
                        held: Some(*held),
                        ..Sourced::plain(id, claim)
                    })
                });
                resolved.collect()
            }
        }
    }
}

impl<'a> Sourced<'a> {
    /// A claim that took no name.
    fn plain(id: &'a str, claim: Claim) -> Self {
        Self {
            id,
            claim,
            family: Family::Any,
            held: None,
        }
    }
}
