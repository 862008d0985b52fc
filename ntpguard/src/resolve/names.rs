//! The names that are wanted, the addresses they had, and when to ask again.

mod name;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr};

use name::Name;
pub use name::{GRACE, Held, MAX_ADDRESSES_PER_NAME};
use serde::Serialize;

use super::{Answer, Failure, Question};
use crate::{clock::BootSeconds, sources::Family};

/// Every wanted name with its addresses: a union, to which answers add and from which only time
/// and success take away.
///
/// A name with many servers, such as `pool.ntp.org`, gives some of them to each question, and the
/// time daemon goes on using those it was given. So an address stays for [`GRACE`] seconds after DNS
/// last named it, and a failure takes nothing away, however long it lasts.
#[derive(Clone, Debug, Default)]
pub struct Names {
    names: BTreeMap<Question, Name>,
}

impl Names {
    /// Sets which questions are to be asked from now on. New ones are due at once; those no
    /// longer among them are forgotten with their addresses.
    pub fn want(&mut self, questions: impl IntoIterator<Item = Question>, now: BootSeconds) {
        let mut before = std::mem::take(&mut self.names);
        for question in questions {
            let name = before.remove(&question).unwrap_or_else(|| Name::new(now));
            // A question given twice has been moved already.
            self.names.entry(question).or_insert(name);
        }
    }

    /// Sets how many addresses each name may hold. What it holds already beyond that goes at its next answer.
    pub fn hold_at_most(&mut self, most: impl Fn(&Question) -> usize) {
        for (question, name) in &mut self.names {
            name.most = most(question).min(MAX_ADDRESSES_PER_NAME);
        }
    }

    /// Adds what an earlier run knew of a wanted question: addresses, and for how many seconds each
    /// was still to be held. They are held at least until the name is resolved. A question that is
    /// not wanted is left out.
    pub fn restore(
        &mut self,
        question: &Question,
        addresses: impl IntoIterator<Item = (IpAddr, u32)>,
        now: BootSeconds,
    ) {
        if let Some(name) = self.names.get_mut(question) {
            name.restore(addresses, now);
        }
    }

    /// Makes every name due now, whatever its schedule.
    pub fn refresh_now(&mut self, now: BootSeconds) {
        self.names.values_mut().for_each(|name| name.next = now);
    }

    /// The questions to ask now: due, and not being asked already.
    pub fn due(&self, now: BootSeconds) -> Vec<Question> {
        let due = self
            .names
            .iter()
            .filter(|(_, name)| !name.asking && name.next <= now);
        due.map(|(question, _)| question.clone()).collect()
    }

    /// The questions that no address is known for.
    pub fn unknown(&self) -> impl Iterator<Item = Question> {
        let unknown = self.names.iter().filter(|(_, name)| name.held.is_empty());
        unknown.map(|(question, _)| question.clone())
    }

    /// Notes that a question is being asked, until [`answered`](Self::answered) or
    /// [`failed`](Self::failed).
    pub fn asking(&mut self, question: &Question) {
        if let Some(name) = self.names.get_mut(question) {
            name.asking = true;
        }
    }

    /// Adds an answer's addresses, and asks again after its time to live.
    ///
    /// `jitter` is a random number from 0 to 1. An answer to a question that is no longer wanted
    /// changes nothing.
    pub fn answered(
        &mut self,
        question: &Question,
        answer: &Answer,
        now: BootSeconds,
        jitter: f64,
    ) {
        if let Some(name) = self.names.get_mut(question) {
            name.answered(answer, now, jitter);
        }
    }

    /// Notes that a question got no addresses, and asks again soon, then less and less often. The
    /// addresses stay, even if DNS says there is no such name: a zone with a slip in it must not
    /// empty the list.
    ///
    /// `jitter` is a random number from 0 to 1.
    pub fn failed(
        &mut self,
        question: &Question,
        failure: &Failure,
        now: BootSeconds,
        jitter: f64,
    ) {
        if let Some(name) = self.names.get_mut(question) {
            name.failed(failure, now, jitter);
        }
    }

    /// Lets go of the addresses whose time is over, and says which: DNS last named them [`GRACE`]
    /// seconds ago or more, and has answered for the name without them since.
    pub fn expire(&mut self, now: BootSeconds) -> Vec<(Question, IpAddr)> {
        let mut gone = Vec::new();
        for (question, name) in &mut self.names {
            gone.extend(
                name.expire(now)
                    .into_iter()
                    .map(|address| (question.clone(), address)),
            );
        }
        gone
    }

    /// When there is something to do, [`due`](Self::due) or [`expire`](Self::expire); it may be
    /// past. `None` while nothing but an answer can change anything.
    pub fn next(&self) -> Option<BootSeconds> {
        self.names.values().filter_map(Name::next_event).min()
    }

    /// Every address held, with the question it answers. One address can answer several.
    pub fn addresses(&self) -> impl Iterator<Item = (&Question, IpAddr, &Held)> {
        self.names.iter().flat_map(|(question, name)| {
            name.held
                .iter()
                .map(move |(address, held)| (question, *address, held))
        })
    }

    /// The addresses held for one question.
    pub fn held(&self, question: &Question) -> impl Iterator<Item = (IpAddr, &Held)> {
        let held = self.names.get(question).into_iter();
        held.flat_map(|name| name.held.iter().map(|(address, held)| (*address, held)))
    }

    /// Whether each name has been asked at least once since it was wanted, with or without success.
    pub fn all_settled(&self) -> bool {
        self.names.values().all(|name| name.tried)
    }

    /// Whether no question is due or being asked, so that after [`refresh_now`](Self::refresh_now) all of
    /// them have been asked again.
    pub fn is_idle(&self, now: BootSeconds) -> bool {
        self.names
            .values()
            .all(|name| !name.asking && name.next > now)
    }

    /// How each name fares, in the order of the names.
    pub fn status(&self, now: BootSeconds) -> Vec<NameStatus> {
        self.names
            .iter()
            .map(|(question, name)| name.status(question, now))
            .collect()
    }
}

/// How a name fares. Times are seconds of boot time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameStatus {
    /// The name and the family asked for.
    #[serde(flatten)]
    pub question: Question,
    /// How many addresses are held for it.
    pub addresses: usize,
    /// How many of these an earlier run knew and DNS has not named since.
    pub saved: usize,
    /// Seconds until it is asked again, `None` while it is being asked.
    pub next_in: Option<u32>,
    /// When DNS last answered with addresses.
    pub resolved_at: Option<BootSeconds>,
    /// Since when every question has failed.
    pub failing_since: Option<BootSeconds>,
    /// Why the last question failed, if it did.
    pub last_error: Option<String>,
    /// The family whose server failed while the other family was answered.
    pub unanswered: Option<Family>,
    /// Addresses of the last answer that no server can have, with what each is.
    pub refused: Vec<(IpAddr, &'static str)>,
    /// How many addresses the caps have left out so far, of answers too long and of names too large.
    pub over_cap: u64,
}
