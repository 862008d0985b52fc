//! One name: its addresses and its schedule.

use std::{cmp, collections::BTreeMap, net::IpAddr};

use super::{super::schedule, NameStatus};
use crate::{
    clock::BootSeconds,
    resolve::{Answer, Failure, Question},
    sources::Family,
};

/// Seconds that an address stays after DNS last named it.
pub const GRACE: u32 = 86_400;

/// Most addresses held for one question.
pub const MAX_ADDRESSES_PER_NAME: usize = 1024;

/// Refused addresses kept for display.
const REFUSED_SHOWN: usize = 16;

/// What is known of one address of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// When DNS last named it; `None` if an earlier run knew it and DNS has not named it since.
    pub last_named: Option<BootSeconds>,
    /// When its grace ends. It is let go then, or when the name is resolved without it, whichever
    /// is later.
    pub grace_ends: BootSeconds,
}

impl Held {
    /// Whether an earlier run knew it and DNS has not named it since.
    pub const fn is_saved(&self) -> bool {
        self.last_named.is_none()
    }

    /// Seconds of grace left, for the state file.
    pub const fn grace_left(&self, now: BootSeconds) -> u32 {
        self.grace_ends.since(now)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) held: BTreeMap<IpAddr, Held>,
    /// How many addresses it may hold.
    pub(super) most: usize,
    /// When it is to be asked.
    pub(super) next: BootSeconds,
    /// It is being asked now.
    pub(super) asking: bool,
    /// It has been asked, and succeeded or failed.
    pub(super) tried: bool,
    /// When DNS last answered for each family. They are apart so that a server that fails for one
    /// family does not let its addresses go while the other is answered.
    resolved_v4: Option<BootSeconds>,
    resolved_v6: Option<BootSeconds>,
    trouble: Option<Trouble>,
    unanswered: Option<Family>,
    refused: Vec<(IpAddr, &'static str)>,
    over_cap: u64,
}

/// Failures in a row.
#[derive(Clone, Debug)]
struct Trouble {
    since: BootSeconds,
    failures: u32,
    last_error: String,
}

impl Name {
    /// A name to be asked at once.
    pub(super) const fn new(now: BootSeconds) -> Self {
        Self {
            held: BTreeMap::new(),
            most: MAX_ADDRESSES_PER_NAME,
            next: now,
            asking: false,
            tried: false,
            resolved_v4: None,
            resolved_v6: None,
            trouble: None,
            unanswered: None,
            refused: Vec::new(),
            over_cap: 0,
        }
    }

    pub(super) fn restore(
        &mut self,
        addresses: impl IntoIterator<Item = (IpAddr, u32)>,
        now: BootSeconds,
    ) {
        for (address, grace_left) in addresses {
            let grace_ends = now.plus(grace_left.min(GRACE));
            // What DNS said in this run knows better.
            self.held.entry(address).or_insert(Held {
                last_named: None,
                grace_ends,
            });
        }
        self.keep_to_cap(&[]);
    }

    pub(super) fn answered(&mut self, answer: &Answer, now: BootSeconds, jitter: f64) {
        let room = answer.addresses.len().min(self.most);
        let addresses = &answer.addresses[..room];
        self.over_cap += (answer.addresses.len() - room) as u64;
        for address in addresses {
            self.held.insert(
                *address,
                Held {
                    last_named: Some(now),
                    grace_ends: now.plus(GRACE),
                },
            );
        }
        self.keep_to_cap(addresses);
        self.over_cap += answer.over_cap as u64;
        if answer.unanswered != Some(Family::V4) {
            self.resolved_v4 = Some(now);
        }
        if answer.unanswered != Some(Family::V6) {
            self.resolved_v6 = Some(now);
        }
        self.unanswered = answer.unanswered;
        self.refused = answer.refused.iter().take(REFUSED_SHOWN).copied().collect();
        self.trouble = None;
        self.tried(now.plus(schedule::after_answer(answer.ttl, jitter)));
    }

    pub(super) fn failed(&mut self, failure: &Failure, now: BootSeconds, jitter: f64) {
        let (since, before) = self
            .trouble
            .as_ref()
            .map_or((now, 0), |trouble| (trouble.since, trouble.failures));
        let failures = before.saturating_add(1);
        self.trouble = Some(Trouble {
            since,
            failures,
            last_error: failure.to_string(),
        });
        self.tried(now.plus(schedule::after_failures(failures, jitter)));
    }

    fn tried(&mut self, next: BootSeconds) {
        self.tried = true;
        self.asking = false;
        self.next = next;
    }

    /// Lets go of what was named least recently, but never of the `current` answer.
    fn keep_to_cap(&mut self, current: &[IpAddr]) {
        let excess = self.held.len().saturating_sub(self.most);
        if excess == 0 {
            return;
        }
        let old = self
            .held
            .iter()
            .filter(|(address, _)| !current.contains(address));
        let mut old: Vec<_> = old
            .map(|(address, held)| (held.last_named, held.grace_ends, *address))
            .collect();
        old.sort_unstable();
        for (_, _, address) in old.into_iter().take(excess) {
            self.held.remove(&address);
            self.over_cap += 1;
        }
    }

    pub(super) fn expire(&mut self, now: BootSeconds) -> Vec<IpAddr> {
        let held = self.held.iter();
        let over =
            held.filter(|(address, held)| held.grace_ends <= now && self.may_go(**address, held));
        let over: Vec<IpAddr> = over.map(|(address, _)| *address).collect();
        for address in &over {
            self.held.remove(address);
        }
        over
    }

    /// Whether DNS has answered since it last named the address. What it named last of all is
    /// the last known good, and stays while DNS fails.
    fn may_go(&self, address: IpAddr, held: &Held) -> bool {
        let resolved = if address.is_ipv4() {
            self.resolved_v4
        } else {
            self.resolved_v6
        };
        resolved.is_some_and(|at| held.last_named.is_none_or(|named| named < at))
    }

    /// When it is to be asked, or has an address to let go of.
    pub(super) fn next_event(&self) -> Option<BootSeconds> {
        let expiry = self
            .held
            .iter()
            .filter(|(address, held)| self.may_go(**address, held));
        let ask = (!self.asking).then_some(self.next);
        expiry.map(|(_, held)| held.grace_ends).chain(ask).min()
    }

    pub(super) fn status(&self, question: &Question, now: BootSeconds) -> NameStatus {
        NameStatus {
            question: question.clone(),
            addresses: self.held.len(),
            saved: self.held.values().filter(|held| held.is_saved()).count(),
            next_in: (!self.asking).then_some(self.next.since(now)),
            resolved_at: cmp::max(self.resolved_v4, self.resolved_v6),
            failing_since: self.trouble.as_ref().map(|trouble| trouble.since),
            last_error: self
                .trouble
                .as_ref()
                .map(|trouble| trouble.last_error.clone()),
            unanswered: self.unanswered,
            refused: self.refused.clone(),
            over_cap: self.over_cap,
        }
    }
}
