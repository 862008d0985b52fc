//! The book of all claims: what each source asks for, what its names resolve to, and what was
//! granted by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use ntpguard_common::tables::{Origin, Role};
use thiserror::Error;

use crate::{
    allowlist::{
        claim::Claim, daemons::Daemons, learned::Learned, projection::Projection, state::Row, union,
    },
    clock::BootSeconds,
    live::Answer,
    resolve::{GRACE, Held, Names, Question},
    sources::{Channel, Host, Place, Problem, Reading, Severity, Want},
};

/// Everything that vouches for an address. Pure: files and names reach it as readings and answers.
#[derive(Debug, Default)]
pub struct Book {
    sources: BTreeMap<String, Source>,
    /// The names that the sources ask for, and their addresses.
    pub names: Names,
    /// What the running daemons say they use.
    pub daemons: Daemons,
    manual: Vec<Claim>,
    /// The servers that trusted requests went to.
    pub learned: Learned,
    /// Rows that stay as the state file has them.
    recorded: Vec<Row>,
}

/// The last good reading of one source.
#[derive(Debug, Default)]
struct Source {
    wants: Vec<Want>,
    problems: Vec<Problem>,
    watched: Vec<PathBuf>,
    channels: Vec<Channel>,
    /// Whether `wants` was read by this process, and does not come from the state file.
    fresh: bool,
}

/// A grant by hand that cannot be taken back.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ManualError {
    /// Nothing is known of the prefix.
    #[error("{0} is not in the allowlist")]
    Unknown(IpNet),
    /// The prefix is granted, but by others.
    #[error(
        "{prefix} was not granted by hand but by {others}; `ntpguard allowlist add {prefix} \
         --role none` denies it all the same"
    )]
    NotManual {
        /// The prefix.
        prefix: IpNet,
        /// Who vouches for it, and where.
        others: String,
    },
}

impl Book {
    /// Takes the rows of the state file as they stand, for changes by hand while no daemon lives.
    pub fn recorded(rows: Vec<Row>, now: BootSeconds) -> Self {
        let (manual, recorded): (Vec<Row>, _) = rows
            .into_iter()
            .partition(|row| row.origin == Origin::Manual);
        let manual = manual.iter().map(|row| recorded_claim(row, now)).collect();
        Self {
            manual,
            recorded,
            ..Self::default()
        }
    }

    /// Starts from what an earlier run knew: it counts as saved until the sources are read and
    /// their names resolved.
    pub fn restored(rows: &[Row], now: BootSeconds) -> Self {
        let mut book = Self::default();
        let mut known: BTreeMap<Question, Vec<(IpAddr, u32)>> = BTreeMap::new();
        for row in rows {
            if row.origin == Origin::Manual {
                book.manual.push(recorded_claim(row, now));
                continue;
            }
            if Learned::is_row(row) {
                book.learned.restore(row, now);
                continue;
            }
            if let Some(name) = &row.name {
                let addresses = known.entry(Question::new(name, row.family)).or_default();
                addresses.push((row.prefix.addr(), row.left.unwrap_or(GRACE)));
            }
            if let Some((source, want)) = remembered_want(row) {
                let wants = &mut book.sources.entry(source).or_default().wants;
                if !wants.contains(&want) {
                    wants.push(want);
                }
            }
        }
        book.ask_for_names(now);
        for (question, addresses) in known {
            book.names.restore(&question, addresses, now);
        }
        book
    }

    /// Forgets the sources that are not among `kept`, with all they asked for.
    pub fn keep_sources(&mut self, kept: &BTreeSet<String>, now: BootSeconds) {
        self.sources.retain(|id, _| kept.contains(id));
        self.ask_for_names(now);
    }

    /// Takes a new reading of the source `id`, whose main file is `main`.
    ///
    /// What a file asked for stays while that file cannot be read; where it is the main file, which
    /// leads to the others, everything stays.
    pub fn read(&mut self, id: &str, main: &Path, reading: Reading, now: BootSeconds) {
        let source = self.sources.entry(id.to_owned()).or_default();
        let unreadable: BTreeSet<&Path> = reading
            .problems
            .iter()
            .filter(|problem| problem.severity == Severity::Unreadable)
            .map(|problem| &*problem.place.file)
            .collect();
        if !unreadable.contains(main) {
            let mut wants = reading.wants;
            wants.extend(
                source
                    .wants
                    .drain(..)
                    .filter(|want| unreadable.contains(&*place(want).file)),
            );
            source.wants = wants;
            source.fresh = true;
        }
        source.problems = reading.problems;
        source.watched = reading.watched;
        source.channels = reading.channels;
        self.ask_for_names(now);
    }

    /// Takes what a running daemon says; `None` where it does not.
    pub fn heard(&mut self, daemon: &str, answer: Option<Answer>, now: BootSeconds) {
        self.daemons.heard(daemon, answer, now);
        self.ask_for_names(now);
    }

    /// Where the sources have their daemons listen for questions.
    pub fn channels(&self) -> BTreeSet<Channel> {
        let channels = self.sources.values().flat_map(|source| &source.channels);
        channels.cloned().collect()
    }

    fn ask_for_names(&mut self, now: BootSeconds) {
        let questions: BTreeSet<Question> = self
            .wants()
            .filter_map(|(_, want)| question(want))
            .chain(self.daemons.questions())
            .collect();
        self.names.want(questions, now);
    }

    /// What the sources ask for, with the source that does.
    pub fn wants(&self) -> impl Iterator<Item = (&str, &Want)> {
        self.sources
            .iter()
            .flat_map(|(id, source)| source.wants.iter().map(move |want| (id.as_str(), want)))
    }

    /// What is wrong with the sources, as last read.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.sources.values().flat_map(|source| &source.problems)
    }

    /// Grants `role` by hand, or with `None` denies the prefix; says whether that changed anything.
    pub fn add_manual(&mut self, claim: Claim) -> bool {
        if self.manual.contains(&claim) {
            return false;
        }
        // A denial and a grant of one prefix contradict each other: the last word counts.
        self.manual.retain(|old| {
            old.prefix != claim.prefix
                || (old.role != claim.role && old.role.is_some() == claim.role.is_some())
        });
        self.manual.push(claim);
        true
    }

    /// Takes back what was granted by hand to exactly `prefix`: the given roles, or all with none
    /// given. Returns the claims removed.
    pub fn remove_manual(
        &mut self,
        prefix: IpNet,
        roles: &[Option<Role>],
    ) -> Result<Vec<Claim>, ManualError> {
        let (removed, kept) = std::mem::take(&mut self.manual)
            .into_iter()
            .partition(|claim| {
                claim.prefix == prefix && (roles.is_empty() || roles.contains(&claim.role))
            });
        self.manual = kept;
        let removed: Vec<Claim> = removed;
        if !removed.is_empty() {
            return Ok(removed);
        }
        let mut others: Vec<String> = self
            .claims()
            .iter()
            .filter(|claim| claim.prefix == prefix)
            .map(voucher)
            .collect();
        others.dedup();
        if others.is_empty() {
            return Err(ManualError::Unknown(prefix));
        }
        Err(ManualError::NotManual {
            prefix,
            others: others.join(", "),
        })
    }

    /// The files and directories that the sources were read from, or would be.
    pub fn watched(&self) -> impl Iterator<Item = &Path> {
        self.sources
            .values()
            .flat_map(|source| &source.watched)
            .map(PathBuf::as_path)
    }

    /// What was granted by hand.
    pub fn manual(&self) -> &[Claim] {
        &self.manual
    }

    /// Puts back what was granted by hand before.
    pub fn set_manual(&mut self, claims: Vec<Claim>) {
        self.manual = claims;
    }

    /// Every claim, with the sources' in their order first.
    pub fn claims(&self) -> Vec<Claim> {
        let recorded = self
            .recorded
            .iter()
            .map(|row| recorded_claim(row, BootSeconds(0)));
        let of_sources = self.rows_of_sources().map(|(_, claim, _)| claim);
        recorded
            .chain(of_sources)
            .chain(self.learned.claims())
            .chain(self.daemons.claims(&self.names))
            .chain(self.manual.iter().cloned())
            .collect()
    }

    /// The sources' claims, each with its source and, where DNS led to it, what is held of it.
    fn rows_of_sources(&self) -> impl Iterator<Item = (&str, Claim, Option<Held>)> {
        let mut resolved: BTreeMap<&Question, Vec<_>> = BTreeMap::new();
        for (question, address, held) in self.names.addresses() {
            resolved.entry(question).or_default().push((address, *held));
        }
        self.sources.iter().flat_map(move |(id, source)| {
            let mut claims = Vec::new();
            for want in &source.wants {
                let origin = if source.fresh {
                    Origin::Config
                } else {
                    Origin::Saved
                };
                match want {
                    Want::Prefix {
                        prefix,
                        roles,
                        place,
                    } => {
                        let base = claim(*prefix, origin, place);
                        claims.extend(for_roles(&base, roles).map(|claim| (claim, None)));
                    }
                    Want::Source {
                        host: Host::Address(address),
                        roles,
                        place,
                        ..
                    } => {
                        let base = claim(IpNet::from(*address), origin, place);
                        claims.extend(granted(&base, roles).map(|claim| (claim, None)));
                    }
                    Want::Source {
                        host: Host::Name(name),
                        roles,
                        place,
                        ..
                    } => {
                        let addresses = question(want).and_then(|asked| resolved.get(&asked));
                        for (address, held) in addresses.into_iter().flatten() {
                            let origin = if held.is_saved() {
                                Origin::Saved
                            } else {
                                Origin::Dns
                            };
                            let mut base = claim(IpNet::from(*address), origin, place);
                            base.name = Some(name.clone());
                            claims.extend(granted(&base, roles).map(|claim| (claim, Some(*held))));
                        }
                    }
                }
            }
            claims
                .into_iter()
                .map(move |(claim, held)| (id.as_str(), claim, held))
        })
    }

    /// What the kernel's tables are to hold.
    pub fn projection(&self, now: BootSeconds) -> Projection {
        union::project(&self.claims(), now)
    }

    /// Drops what has come to its end.
    pub fn expire(&mut self, now: BootSeconds) {
        self.names.expire(now);
        self.learned.expire(now);
        self.manual
            .retain(|claim| claim.ends.is_none_or(|ends| ends > now));
    }

    /// When something comes to its end, or a name is due.
    pub fn next(&self) -> Option<BootSeconds> {
        self.manual
            .iter()
            .filter_map(|claim| claim.ends)
            .chain(self.names.next())
            .chain(self.learned.next())
            .min()
    }

    /// The rows of the state file.
    pub fn rows(&self, now: BootSeconds) -> Vec<Row> {
        let families: BTreeMap<(&str, &Place), _> = self
            .wants()
            .filter_map(|(id, want)| question(want).map(|asked| ((id, place(want)), asked.family)))
            .collect();
        let of_sources = self.rows_of_sources().map(|(id, claim, held)| {
            let asked = claim
                .place
                .as_ref()
                .and_then(|place| families.get(&(id, place)));
            Row {
                source: Some(id.to_owned()),
                family: asked.copied().unwrap_or_default(),
                left: held.map(|held| held.grace_left(now)),
                ..row(&claim, now)
            }
        });
        let learned = self.learned.lasting_claims().map(|claim| row(&claim, now));
        let of_daemons = self.daemons.claims(&self.names);
        let of_daemons = of_daemons.into_iter().map(|claim| row(&claim, now));
        let manual = self.manual.iter().map(|claim| row(claim, now));
        self.recorded
            .iter()
            .cloned()
            .chain(of_sources)
            .chain(learned)
            .chain(of_daemons)
            .chain(manual)
            .collect()
    }
}

fn row(claim: &Claim, now: BootSeconds) -> Row {
    Row {
        prefix: claim.prefix,
        role: claim.role,
        origin: claim.origin,
        name: claim.name.clone(),
        family: crate::sources::Family::Any,
        source: None,
        file: claim.place.as_ref().map(|place| place.file.to_path_buf()),
        line: claim.place.as_ref().map_or(0, |place| place.line),
        left: claim.ends.map(|ends| ends.since(now)),
        comment: claim.comment.clone(),
    }
}

/// The claim that a row tells. A name's addresses have a grace, but their claims have no end.
fn recorded_claim(row: &Row, now: BootSeconds) -> Claim {
    let ends = row
        .left
        .filter(|_| row.origin == Origin::Manual || Learned::is_row(row))
        .map(|left| now.plus(left));
    Claim {
        prefix: row.prefix,
        role: row.role,
        origin: row.origin,
        name: row.name.clone(),
        place: row.file.as_deref().map(|file| Place {
            file: file.into(),
            line: row.line,
            column: 0,
        }),
        ends,
        comment: row.comment.clone(),
    }
}

/// What a source asked for when the row was written, as far as the row tells.
fn remembered_want(row: &Row) -> Option<(String, Want)> {
    let place = Place {
        file: row.file.as_deref()?.into(),
        line: row.line,
        column: 0,
    };
    let roles: Vec<Role> = row.role.into_iter().collect();
    let is_source = roles
        .iter()
        .any(|role| matches!(role, Role::Server | Role::Peer | Role::Broadcast));
    let want = match &row.name {
        Some(name) => Want::Source {
            host: Host::Name(name.clone()),
            family: row.family,
            roles,
            place,
        },
        None if is_source => Want::Source {
            host: Host::Address(row.prefix.addr()),
            family: row.family,
            roles,
            place,
        },
        None => Want::Prefix {
            prefix: row.prefix,
            roles,
            place,
        },
    };
    Some((row.source.clone()?, want))
}

pub(crate) fn question(want: &Want) -> Option<Question> {
    match want {
        Want::Source {
            host: Host::Name(name),
            family,
            ..
        } => Some(Question::new(name, *family)),
        _ => None,
    }
}

fn place(want: &Want) -> &Place {
    match want {
        Want::Source { place, .. } | Want::Prefix { place, .. } => place,
    }
}

fn claim(prefix: IpNet, origin: Origin, place: &Place) -> Claim {
    Claim {
        prefix: prefix.trunc(),
        role: None,
        origin,
        name: None,
        place: Some(place.clone()),
        ends: None,
        comment: None,
    }
}

/// A claim for each role; none of them is no claim.
fn granted(base: &Claim, roles: &[Role]) -> impl Iterator<Item = Claim> {
    roles.iter().map(|role| Claim {
        role: Some(*role),
        ..base.clone()
    })
}

/// A claim for each role; none of them is a denial.
fn for_roles(base: &Claim, roles: &[Role]) -> impl Iterator<Item = Claim> {
    let denial = roles.is_empty().then(|| base.clone());
    granted(base, roles).chain(denial)
}

fn voucher(claim: &Claim) -> String {
    let place = claim
        .place
        .as_ref()
        .map(|place| format!("{}:{}", place.file.display(), place.line));
    let details: Vec<String> = claim.name.clone().into_iter().chain(place).collect();
    if details.is_empty() {
        return claim.origin.name().to_owned();
    }
    format!("{} ({})", claim.origin.name(), details.join(", "))
}

#[cfg(test)]
mod tests;
