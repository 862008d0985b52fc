//! Keeps the state file and the kernel's tables in step with the book of claims.
//!
//! The daemon has one for its lifetime; without a daemon a command has one for as long as it holds
//! the lock of the pin directory.

pub mod discovery;
mod origins;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use ntpguard_common::maps::tables::{Origin, Role};
use thiserror::Error;

pub use self::origins::Origins;
use crate::{
    allowlist::{
        ClaimSet, ManualError,
        claim::{Claim, UnknownRole, is_address, parse_role},
        projection::{self, Projection},
        room::{LeftOut, Room},
        state::{State, StateError, StateFile},
    },
    api::{
        allowlist::{Edited, Granted, Listing, Updated},
        protocol::{Addition, Removal},
        status::{self, SCHEMA, Status},
    },
    clock::BootSeconds,
    datapath::{self, Incomplete, Tables},
    lookup::RefusedFiles,
    readers::Readers,
    reconciler::discovery::{ROOT, Read, Reader},
    resolve::{Answer, Failure, Question},
    scope::{self, Scoped},
    sources::{self, Problem, Sightings},
};

/// How often, in seconds, the state file is written although the tables did not change: the
/// lifetimes in it should not lag far behind.
const SAVE_EVERY: u32 = 3_600;

/// An allowlist that could not be changed.
#[derive(Debug, Error)]
pub enum ReconcilerError {
    /// The state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// The kernel's tables.
    #[error("the kernel's maps are incomplete: {0}")]
    Tables(Box<Incomplete>),
    /// The kernel's tables have no room for it.
    #[error("there is no room for it: {0}")]
    Full(LeftOut),
    /// A grant by hand.
    #[error(transparent)]
    Manual(#[from] ManualError),
    /// A role.
    #[error(transparent)]
    Role(#[from] UnknownRole),
    /// Long replies of what is no server.
    #[error("--allow-long-replies requires the role `server`")]
    NoServer,
    /// An address that is one of an interface in the kernel's tables.
    #[error(
        "{0} is not the address of a host: a link-local address has 32 zero bits after its \
             first 32"
    )]
    LinkLocal(IpAddr),
    /// A denial and a grant at once.
    #[error("`none` denies all roles and cannot be combined with others")]
    NoneAndMore,
}

/// What may be wrong with an answer of DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It names addresses that no server can have.
    Refused,
    /// There is none.
    Failed,
}

/// The book, and what is written down of it.
#[derive(Debug)]
pub struct Reconciler {
    /// The claims.
    pub book: ClaimSet,
    /// What they are made from.
    pub origins: Origins,
    /// What takes too long, while it does, by the thread that waits for it.
    pub hangs: BTreeMap<&'static str, Problem>,
    /// What keeps trusted senders from being seen.
    pub unseen: Vec<Problem>,
    /// Which files could not be read that say how names are resolved.
    pub refused: RefusedFiles,
    state: StateFile,
    sightings: Sightings,
    /// The findings of the daemons that were logged.
    reported: BTreeSet<String>,
    /// What is wrong with the last answer for a name.
    wrong: BTreeMap<Question, Wrong>,
    /// What the tables held when they were last written.
    projected: Projection,
    /// What the tables had no room for.
    left_out: LeftOut,
    /// When the state file was last written.
    saved: BootSeconds,
    /// Whether the book has the interfaces as they are.
    interfaces_are_known: bool,
}

impl Reconciler {
    /// Starts from the state file: what it has counts as saved until the sources are read.
    pub fn open(
        mut state: StateFile,
        origins: Origins,
        now: BootSeconds,
    ) -> Result<Self, ReconcilerError> {
        let known = state.load(now)?;
        let book = ClaimSet::restored(&known.rows, now);
        Ok(Self::of(book, origins, state, now))
    }

    /// Takes the state file as it stands, to change it by hand while no daemon lives.
    pub fn reopen(mut state: StateFile, now: BootSeconds) -> Result<Self, ReconcilerError> {
        let known = state.load(now)?;
        let origins = Origins::of(&known);
        Ok(Self::of(
            ClaimSet::recorded(known.rows, now),
            origins,
            state,
            now,
        ))
    }

    /// Starts from the state file as [`Self::open`] does, with what the last guard read, and says what that
    /// granted.
    pub fn restart(
        mut state: StateFile,
        now: BootSeconds,
    ) -> Result<(Self, Projection), ReconcilerError> {
        let known = state.load(now)?;
        let origins = Origins::of(&known);
        let book = ClaimSet::restored(&known.rows, now);
        let granted = ClaimSet::recorded(known.rows, now).projection(now);
        Ok((Self::of(book, origins, state, now), granted))
    }

    fn of(book: ClaimSet, origins: Origins, state: StateFile, now: BootSeconds) -> Self {
        Self {
            book,
            origins,
            hangs: BTreeMap::new(),
            unseen: Vec::new(),
            refused: RefusedFiles::default(),
            state,
            sightings: Sightings::default(),
            reported: BTreeSet::new(),
            wrong: BTreeMap::new(),
            projected: Projection::default(),
            left_out: LeftOut::default(),
            saved: now,
            interfaces_are_known: false,
        }
    }

    /// The work of finding the sources, and of reading them: all of them, or only where there are others
    /// than before.
    pub fn reader(&self, readers: &Readers, all: bool) -> Reader {
        Reader::new(
            readers.clone(),
            self.origins.clone(),
            self.sightings.clone(),
            all,
        )
    }

    /// Takes what came of that; says whether the sources were read.
    pub fn take(&mut self, read: Read, now: BootSeconds) -> bool {
        self.origins.sources = read.sources;
        self.sightings = read.sightings;
        self.report_findings(&read.findings);
        self.book.findings = read.findings;
        let Some(readings) = read.readings else {
            return false;
        };
        for (source, reading) in readings {
            self.book
                .read(&source.to_string(), &source.path, reading, now);
        }
        // What is no longer read goes after the rest is known, which may name the same.
        let kept: BTreeSet<String> = self
            .origins
            .sources
            .iter()
            .map(ToString::to_string)
            .collect();
        self.book.keep_sources(&kept, now);
        true
    }

    /// Has the interfaces be looked at again when they matter: some may have come, gone or another name.
    pub const fn forget_interfaces(&mut self) {
        self.interfaces_are_known = false;
    }

    /// Looks at the interfaces, unless no address is meant on one. Where that fails, they are as before.
    pub fn see_interfaces(&mut self) {
        self.see_interfaces_of(&self.book.claims());
    }

    fn see_interfaces_of(&mut self, claims: &[Claim]) {
        if self.interfaces_are_known || claims.iter().all(|claim| claim.scope.is_none()) {
            return;
        }
        self.interfaces_are_known = true;
        match datapath::interfaces() {
            Ok(interfaces) => self.book.interfaces = interfaces,
            Err(error) => {
                self.report_once(&format!(
                    "cannot inspect the interfaces of link-local addresses: {error}"
                ));
            }
        }
    }

    /// Takes what keeps trusted senders from being seen.
    pub fn see_senders(&mut self, problems: Vec<Problem>) {
        self.report_findings(&problems);
        self.unseen = problems;
    }

    fn report_once(&mut self, finding: &str) {
        if self.reported.insert(finding.to_owned()) {
            tracing::warn!("{finding}");
        }
    }

    /// Logs what keeps daemons from being believed, each once: a service that comes and goes must not
    /// fill the log.
    fn report_findings(&mut self, findings: &[Problem]) {
        for finding in findings {
            self.report_once(&finding.to_string());
        }
    }

    /// What is wrong with the sources.
    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        // Looking for configurations may have met the same.
        let is_new = |problem: &&Problem| !self.book.findings.contains(problem);
        self.book
            .problems()
            .chain(self.unseen.iter().filter(is_new).cloned())
            .chain(self.refused.problems())
            .chain(self.hangs.values().cloned())
    }

    /// Takes what came of a question to DNS. What is wrong is logged when it begins, and not each time:
    /// whoever can spoil an answer could fill the log.
    pub fn resolved(&mut self, question: &Question, result: Result<Answer, Failure>) {
        let now = BootSeconds::now();
        let wrong = match &result {
            Ok(answer) if answer.refused.is_empty() => None,
            Ok(_) => Some(Wrong::Refused),
            Err(_) => Some(Wrong::Failed),
        };
        let is_new = wrong != self.wrong.get(question).copied();
        match result {
            Ok(answer) => {
                tracing::debug!("{question}: {} addresses", answer.addresses.len());
                if let Some((address, why)) = answer.refused.first().filter(|_| is_new) {
                    tracing::warn!(
                        "{question}: DNS returned {address}, which is rejected: {why}{}",
                        and_more(answer.refused.len())
                    );
                }
                self.book
                    .names
                    .answered(question, &answer, now, fastrand::f64());
            }
            Err(failure) => {
                if is_new {
                    tracing::warn!(
                        "{question}: {failure}; its addresses are kept, and it is resolved again \
                         later"
                    );
                }
                self.book
                    .names
                    .failed(question, &failure, now, fastrand::f64());
            }
        }
        match wrong {
            Some(wrong) => self.wrong.insert(question.clone(), wrong),
            None => self.wrong.remove(question),
        };
    }

    /// Takes what the kernel has learned.
    pub fn learn(&mut self, tables: &Tables) -> Result<(), datapath::Error> {
        self.book.learned.set(&tables.learned()?);
        Ok(())
    }

    /// What tables of `room` are to hold, root's first.
    pub fn fit(&mut self, room: Room, now: BootSeconds) -> Projection {
        let claims = self.book.claims();
        self.see_interfaces_of(&claims);
        let wanted = projection::wanted(&claims, &self.book.interfaces, now);
        let (wanted, left_out) = wanted.within(room);
        self.left_out = left_out;
        wanted
    }

    /// What the tables had no room for, if there was any such.
    pub fn left_out(&self) -> Option<&LeftOut> {
        Some(&self.left_out).filter(|left_out| !left_out.is_empty())
    }

    /// Tells what the tables hold, so that from here on only differences are written.
    pub fn adopt(&mut self, held: Projection) {
        self.projected = held;
    }

    /// Writes what has changed to the tables, then to the state file. Says whether anything had.
    ///
    /// On an error the tables hold what could be written; the next call goes on from there.
    pub fn commit(
        &mut self,
        tables: Option<&mut Tables>,
        now: BootSeconds,
    ) -> Result<bool, ReconcilerError> {
        self.book.expire(now);
        let room = tables.as_deref().map_or(Room::ENDLESS, Tables::room);
        let wanted = self.fit(room, now);
        if wanted == self.projected {
            if self.is_save_due(now) {
                self.save(now)?;
            }
            return Ok(false);
        }
        if let Some(tables) = tables
            && let Err(mut incomplete) = tables.apply(&self.projected, &wanted)
        {
            self.projected = std::mem::take(&mut incomplete.holds);
            return Err(ReconcilerError::Tables(incomplete));
        }
        self.projected = wanted;
        self.save(now)?;
        Ok(true)
    }

    /// Whether the state file was last written so long ago that it is time again.
    pub fn is_save_due(&self, now: BootSeconds) -> bool {
        now.since(self.saved) >= SAVE_EVERY
    }

    /// Writes the state file.
    pub fn save(&mut self, now: BootSeconds) -> Result<(), ReconcilerError> {
        let state = State {
            sources: self
                .origins
                .sources
                .iter()
                .map(ToString::to_string)
                .collect(),
            resolvers: self.origins.resolvers.clone(),
            discover: self.origins.discover,
            trust: self.origins.trust.iter().map(ToString::to_string).collect(),
            serve: self.origins.serve,
            rows: self.book.rows(now),
            ..State::default()
        };
        // Where it fails, it is tried again at the next occasion.
        self.saved = BootSeconds(0);
        self.state.save(state, now)?;
        self.saved = now;
        Ok(())
    }

    /// Grants by hand. Where the tables or the state file refuse, all is as it was before.
    pub fn add(
        &mut self,
        addition: &Addition,
        tables: Option<&mut Tables>,
        now: BootSeconds,
    ) -> Result<Edited, ReconcilerError> {
        let roles = roles(&addition.roles)?;
        if addition.long_replies && !roles.contains(&Some(Role::Server)) {
            return Err(ReconcilerError::NoServer);
        }
        let prefix = host(&addition.prefix)?;
        let changed = self.edit(tables, now, |book| {
            let mut changed = false;
            for role in &roles {
                changed |= book.manual.add(Claim {
                    role: *role,
                    ends: addition.ttl.map(|ttl| now.plus(ttl)),
                    comment: addition.comment.clone(),
                    long_replies: addition.long_replies && *role == Some(Role::Server),
                    scope: prefix.scope.clone(),
                    ..Claim::new(prefix.address, Origin::Manual)
                });
            }
            Ok(changed)
        })?;
        Ok(edited(prefix.clone(), &roles, changed))
    }

    /// Takes back what was granted by hand, with the same promise as [`Self::add`].
    pub fn remove(
        &mut self,
        removal: &Removal,
        tables: Option<&mut Tables>,
        now: BootSeconds,
    ) -> Result<Edited, ReconcilerError> {
        let roles = roles_to_remove(&removal.roles)?;
        let prefix = host(&removal.prefix)?;
        let mut removed = Vec::new();
        self.edit(tables, now, |book| {
            removed = book.remove_manual(&prefix, &roles)?;
            Ok(true)
        })?;
        let removed: Vec<Option<Role>> = removed.iter().map(|claim| claim.role).collect();
        Ok(edited(prefix, &removed, true))
    }

    fn edit(
        &mut self,
        mut tables: Option<&mut Tables>,
        now: BootSeconds,
        change: impl FnOnce(&mut ClaimSet) -> Result<bool, ReconcilerError>,
    ) -> Result<bool, ReconcilerError> {
        let before = self.book.manual.clone();
        let room = tables.as_deref().map_or(Room::ENDLESS, Tables::room);
        let (_, left_out) = self.book.wanted(now).within(room);
        let changed = change(&mut self.book)?;
        let written = match self.commit(tables.as_deref_mut(), now) {
            // What others want gives way; what root has granted already does not.
            Ok(_) if self.left_out.of_root() > left_out.of_root() => {
                Err(ReconcilerError::Full(self.left_out.clone()))
            }
            // A comment or an end may change without the tables' changing.
            Ok(false) if changed => self.save(now),
            other => other.map(drop),
        };
        if let Err(error) = written {
            self.book.manual = before;
            // A state file that cannot be written is as it was.
            if let Err(second @ ReconcilerError::Tables(_)) = self.commit(tables, now) {
                tracing::error!("rolling back failed too: {second}");
            }
            return Err(error);
        }
        Ok(changed)
    }

    /// Everything that is granted.
    pub fn list(&self, now: BootSeconds) -> Listing {
        Listing::of(&self.book.claims(), &self.book.interfaces, now)
    }

    /// What an update has come to, `before` being what was granted when it began.
    pub fn updated(&self, before: &Projection, in_kernel: bool, now: BootSeconds) -> Updated {
        let before = Granted::all_of(before, &self.book.interfaces);
        let after = Granted::all_of(&self.projected, &self.book.interfaces);
        Updated {
            schema: SCHEMA,
            added: after.difference(&before).cloned().collect(),
            kept: after.intersection(&before).cloned().collect(),
            removed: before.difference(&after).cloned().collect(),
            failed: self
                .book
                .names
                .status(now)
                .into_iter()
                .filter_map(|name| Some((name.question.name, name.last_error?)))
                .collect(),
            problems: self.problems().collect(),
            in_kernel,
        }
    }

    /// Tells of the sources and names in a status.
    pub fn describe(&self, status: &mut Status, now: BootSeconds) {
        status.sources = self
            .origins
            .sources
            .iter()
            .map(status::Source::of)
            .collect();
        let names = self.book.names.status(now).into_iter();
        status.names = names.map(|name| status::Name::of(name, now)).collect();
        status.problems = self.problems().collect();
    }

    /// The files and directories whose change calls for a new reading.
    pub fn watched(&self) -> Vec<PathBuf> {
        let main = self
            .origins
            .sources
            .iter()
            .filter(|source| source.can_be_watched())
            .map(|source| source.path.clone());
        let mut watched: Vec<PathBuf> = main.collect();
        if self.origins.discover {
            watched.extend(sources::places(Path::new(ROOT)));
        }
        // Last, since a configuration that others can write may name more than can be watched.
        watched.extend(self.book.watched().map(Path::to_owned));
        watched
    }

    /// What the tables hold.
    pub fn projected(&self) -> &Projection {
        &self.projected
    }
}

/// What is said where the first of so many stands for all.
fn and_more(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        _ => format!(" (and {} more addresses)", count - 1),
    }
}

fn edited(prefix: Scoped<IpNet>, roles: &[Option<Role>], changed: bool) -> Edited {
    let roles = roles
        .iter()
        .map(|role| role.map_or("none", Role::name).to_owned())
        .collect();
    Edited {
        schema: SCHEMA,
        prefix,
        roles,
        changed,
        in_kernel: false,
    }
}

/// What an edit is about: no host bits, and an address that a host can have.
fn host(prefix: &Scoped<IpNet>) -> Result<Scoped<IpNet>, ReconcilerError> {
    let address = prefix.address.trunc();
    if is_address(&address) && scope::of_key(address.addr()).is_some() {
        return Err(ReconcilerError::LinkLocal(address.addr()));
    }
    Ok(Scoped {
        address,
        scope: prefix.scope.clone(),
    })
}

fn roles_to_remove(words: &[String]) -> Result<Vec<Option<Role>>, ReconcilerError> {
    words.iter().map(|word| Ok(parse_role(word)?)).collect()
}

/// The roles to grant: `server` where none is named.
fn roles(words: &[String]) -> Result<Vec<Option<Role>>, ReconcilerError> {
    if words.is_empty() {
        return Ok(vec![Some(Role::Server)]);
    }
    let roles = roles_to_remove(words)?;
    if roles.len() > 1 && roles.contains(&None) {
        return Err(ReconcilerError::NoneAndMore);
    }
    Ok(roles)
}
