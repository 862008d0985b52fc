//! All claims: what each source asks for, what its names resolve to, what the daemons say,
//! and what was granted by hand.

pub(super) mod daemons;
pub(super) mod learned;
pub(super) mod manual;
pub(super) mod readings;
pub(super) mod servers;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
};

use ipnet::IpNet;
use ntpguard_common::maps::tables::{Origin, Role};

use self::{
    daemons::Daemons,
    learned::Learned,
    manual::{Manual, ManualError},
    readings::Readings,
    servers::Servers,
};
use super::{
    authority::{self, Ration},
    claim::Claim,
    projection::{self, Projection},
    room::Wanted,
    row::Row,
};
use crate::{
    clock::BootSeconds,
    query::Answer,
    resolve::{GRACE, Names, Question},
    scope::{Interfaces, Scoped},
    sources::{Channel, Problem, Reading, Speaker, Want, budget::Budget},
};

/// Everything that vouches for an address. Pure: files and names reach it as readings and answers.
#[derive(Debug, Default)]
pub struct ClaimSet {
    readings: Readings,
    /// The names that the sources ask for, and their addresses.
    pub names: Names,
    /// What the running daemons say they use.
    pub daemons: Daemons,
    /// What was granted by hand.
    pub manual: Manual,
    /// The servers that trusted requests went to.
    pub learned: Learned,
    /// What keeps running daemons from being believed.
    pub findings: Vec<Problem>,
    /// The interfaces that there are, for claims that name one.
    pub interfaces: Interfaces,
    /// Rows that stay as the state file has them.
    recorded: Vec<Row>,
}

impl ClaimSet {
    /// Takes the rows of the state file as they stand, for changes by hand while no daemon lives.
    pub fn recorded(rows: Vec<Row>, now: BootSeconds) -> Self {
        let mut book = Self::default();
        let mut ration = Ration::default();
        for row in rows {
            if row.origin == Origin::Manual {
                book.manual.restore(row.claim(now));
            } else if ration.allows(&row.claim(now)) {
                book.recorded.push(row);
            }
        }
        book
    }

    /// Starts from what an earlier run knew: it counts as saved until the sources are read and
    /// their names resolved.
    pub fn restored(rows: &[Row], now: BootSeconds) -> Self {
        let mut book = Self::default();
        let mut known: BTreeMap<Question, Vec<(IpAddr, u32)>> = BTreeMap::new();
        for row in rows {
            if row.origin == Origin::Manual {
                book.manual.restore(row.claim(now));
                continue;
            }
            if row.is_learned() {
                book.learned.restore(row, now);
                continue;
            }
            if let Some(name) = &row.name {
                let addresses = known.entry(Question::new(name, row.family)).or_default();
                addresses.push((row.prefix.addr(), row.left.unwrap_or(GRACE)));
            }
            if let Some((source, said)) = row.want() {
                book.readings.restore(source, said);
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
        self.readings.keep(kept);
        self.ask_for_names(now);
    }

    /// Takes a new reading of the source `id`, whose main file is `main`.
    ///
    /// What a file asked for stays while that file cannot be read; where it is the main file, which
    /// leads to the others, everything stays.
    pub fn read(&mut self, id: &str, main: &Path, reading: Reading, now: BootSeconds) {
        self.readings.take(id, main, reading);
        self.ask_for_names(now);
    }

    /// Takes what a running daemon says; `None` where it does not.
    pub fn heard(&mut self, daemon: &str, answer: Option<Answer>, now: BootSeconds) {
        self.daemons.heard(daemon, answer, now);
        self.ask_for_names(now);
    }

    fn ask_for_names(&mut self, now: BootSeconds) {
        let questions: BTreeSet<Question> = self
            .wants()
            .filter_map(|(_, want)| Question::of(want))
            .chain(self.daemons.questions())
            .collect();
        self.names.want(questions, now);
        let of_root = self.readings.questions_of_root();
        let of_root: BTreeSet<Question> = of_root.collect();
        self.names.hold_at_most(|question| {
            let is_of_root = of_root.contains(question);
            let speaker = if is_of_root {
                Speaker::Root
            } else {
                Speaker::least()
            };
            Budget::of(speaker).addresses
        });
    }

    /// What the sources ask for, with the source that does.
    pub fn wants(&self) -> impl Iterator<Item = (&str, &Want)> {
        self.readings.wants()
    }

    /// What is wrong with the sources, as last read, with the daemons, and with what these say.
    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        let found = self.readings.problems().chain(&self.findings);
        let found = found.cloned().chain(self.unnamed_peers());
        found.chain(self.problems_of_others())
    }

    /// What is wrong with files that others than root have written, and who has used up a budget.
    pub fn problems_of_others(&self) -> impl Iterator<Item = Problem> {
        let (_, ration) = self.rationed();
        let spent: Vec<Problem> = ration.problems().collect();
        self.readings.problems_of_others().cloned().chain(spent)
    }

    /// Those that daemons say they speak with as peers and that no configuration has as such.
    fn unnamed_peers(&self) -> Vec<Problem> {
        let mut used = self.daemons.in_use();
        // Mostly there are none, and no need to look.
        if !used.any(|(_, used)| used.roles.contains(&Role::Peer)) {
            return Vec::new();
        }
        let granted = self.claims();
        let is_granted = |address: IpAddr| {
            let mut peers = granted
                .iter()
                .filter(|claim| claim.role == Some(Role::Peer));
            peers.any(|claim| claim.prefix.contains(&address))
        };
        self.daemons
            .in_use()
            .filter(|(_, used)| {
                used.roles.contains(&Role::Peer) && !is_granted(used.address.address)
            })
            .map(|(daemon, used)| authority::unnamed_peer(daemon, &used.address))
            .collect()
    }

    /// The files and directories that the sources were read from, or would be.
    pub fn watched(&self) -> impl Iterator<Item = &Path> {
        self.readings.watched()
    }

    /// Where the sources have their daemons listen for questions.
    pub fn channels(&self) -> BTreeSet<Channel> {
        self.readings.channels()
    }

    /// Takes back what was granted by hand to exactly `prefix`: the given roles, or all with none
    /// given. Returns the claims removed.
    pub fn remove_manual(
        &mut self,
        prefix: &Scoped<IpNet>,
        roles: &[Option<Role>],
    ) -> Result<Vec<Claim>, ManualError> {
        let removed = self.manual.remove(prefix, roles);
        if !removed.is_empty() {
            return Ok(removed);
        }
        let mut others: Vec<String> = self
            .claims()
            .iter()
            .filter(|claim| claim.addresses() == *prefix)
            .map(Claim::voucher)
            .collect();
        others.dedup();
        if others.is_empty() {
            return Err(ManualError::Unknown(prefix.clone()));
        }
        Err(ManualError::NotManual {
            prefix: prefix.clone(),
            others: others.join(", "),
        })
    }

    /// Every claim that its speaker may make, with the sources' in their order first.
    pub fn claims(&self) -> Vec<Claim> {
        self.rationed().0
    }

    /// Those claims, and what each speaker has had.
    fn rationed(&self) -> (Vec<Claim>, Ration) {
        let mut ration = Ration::default();
        let recorded = self.recorded.iter();
        let of_sources = self.readings.claims(&self.names);
        let claims = recorded
            .map(|row| row.claim(BootSeconds(0)))
            .chain(of_sources.map(|sourced| sourced.claim))
            .chain(self.learned.claims())
            .chain(self.of_daemons())
            .chain(self.manual.claims().iter().cloned())
            .filter(|claim| ration.allows(claim))
            .collect();
        (claims, ration)
    }

    fn of_daemons(&self) -> Vec<Claim> {
        let wants = self.wants().map(|(_, want)| want);
        let named = self.readings.claims(&self.names);
        let servers = Servers::of(wants, named.map(|sourced| sourced.claim));
        self.daemons.claims(&self.names, &servers)
    }

    /// Whether any claim is about an address on one interface.
    pub fn has_scopes(&self) -> bool {
        self.claims().iter().any(|claim| claim.scope.is_some())
    }

    /// What the kernel's tables are to hold, as far as there is room.
    pub fn wanted(&self, now: BootSeconds) -> Wanted {
        projection::wanted(&self.claims(), &self.interfaces, now)
    }

    /// What the kernel's tables would hold if they had room for everything.
    pub fn projection(&self, now: BootSeconds) -> Projection {
        projection::project(&self.claims(), &self.interfaces, now)
    }

    /// Drops what has come to its end.
    pub fn expire(&mut self, now: BootSeconds) {
        self.names.expire(now);
        self.learned.expire(now);
        self.manual.expire(now);
    }

    /// When something comes to its end, or a name is due.
    pub fn next(&self) -> Option<BootSeconds> {
        let ends = [self.manual.next(), self.names.next(), self.learned.next()];
        ends.into_iter().flatten().min()
    }

    /// The rows of the state file.
    pub fn rows(&self, now: BootSeconds) -> Vec<Row> {
        let mut ration = Ration::default();
        let mut rows = self.recorded.clone();
        let of_sources = self.readings.claims(&self.names);
        let of_sources = of_sources.filter(|sourced| ration.allows(&sourced.claim));
        rows.extend(of_sources.map(|sourced| Row::of_source(&sourced, now)));
        let others = self
            .learned
            .lasting_claims()
            .chain(self.of_daemons())
            .chain(self.manual.claims().iter().cloned());
        let others = others.filter(|claim| ration.allows(claim));
        rows.extend(others.map(|claim| Row::of(&claim, now)));
        rows
    }
}
