//! What the `restrict` lines of a configuration grant, taken together.
//!
//! To ntpd the entry with the longest prefix decides alone. Grants are a union, where a shorter
//! prefix counts too, so what a longer entry forbids has to be taken back from the shorter one.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ntpguard_common::maps::tables::Role;

use super::super::{Place, reading_builder::ReadingBuilder};

/// What an entry forbids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) no_time: bool,
    pub(super) no_query: bool,
}

impl Limits {
    /// Nothing is allowed.
    pub(super) const ALL: Self = Self {
        no_time: true,
        no_query: true,
    };
}

/// An entry of ntpd's restriction list.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) limits: Limits,
    /// The first line that is about it.
    pub(super) place: Place,
}

/// ntpd's restriction list.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<IpNet, Entry>,
    /// Those about packets from port 123 alone.
    ntp_port: BTreeMap<IpNet, Entry>,
}

/// What a named prefix is granted.
#[derive(Clone, Debug)]
struct Granted {
    client: bool,
    control: bool,
    place: Place,
}

impl Granted {
    const fn is_nothing(&self) -> bool {
        !self.client && !self.control
    }

    fn roles(&self) -> Vec<Role> {
        let client = self.client.then_some(Role::Client);
        let control = self.control.then_some(Role::Control);
        client.into_iter().chain(control).collect()
    }
}

impl Table {
    /// Adds an entry, or what a further line says of it: ntpd unites their flags.
    pub(super) fn add(&mut self, prefix: IpNet, ntp_port: bool, entry: Entry) {
        let Limits { no_time, no_query } = entry.limits;
        let limits = &mut self.list(ntp_port).entry(prefix).or_insert(entry).limits;
        limits.no_time |= no_time;
        limits.no_query |= no_query;
    }

    /// Takes back limits of an entry, or all of it where none is given.
    pub(super) fn take_back(&mut self, prefix: IpNet, ntp_port: bool, limits: Limits) {
        let list = self.list(ntp_port);
        if limits == Limits::default() {
            list.remove(&prefix);
        } else if let Some(entry) = list.get_mut(&prefix) {
            entry.limits.no_time &= !limits.no_time;
            entry.limits.no_query &= !limits.no_query;
        }
    }

    fn list(&mut self, ntp_port: bool) -> &mut BTreeMap<IpNet, Entry> {
        if ntp_port {
            &mut self.ntp_port
        } else {
            &mut self.entries
        }
    }

    /// Turns the list into wants. The default entry grants something only if `serve` says so.
    pub(super) fn grant(&self, serve: bool, builder: &mut ReadingBuilder<'_>) {
        let mut granted = self.named();
        if serve {
            self.serve_everybody(&mut granted, builder);
        } else {
            self.note_everybody(builder);
        }
        withdraw_control(&mut granted, builder);
        deny_time(&mut granted, builder);
        for (prefix, grant) in wanted(&granted) {
            builder.prefix(prefix, &grant.roles(), grant.place.clone());
        }
    }

    /// Turns the table into wants where another one says what holds by default.
    pub(super) fn grant_named(&self, builder: &mut ReadingBuilder<'_>) {
        for (prefix, grant) in wanted(&self.named()) {
            builder.prefix(prefix, &grant.roles(), grant.place.clone());
        }
    }

    /// What each named prefix is granted by its own entries.
    fn named(&self) -> BTreeMap<IpNet, Granted> {
        let mut granted = BTreeMap::new();
        for (prefix, entry) in &self.entries {
            let Limits { no_time, no_query } = entry.limits;
            let grant = Granted {
                client: !no_time,
                control: !no_query,
                place: entry.place.clone(),
            };
            granted.insert(*prefix, grant);
        }
        // The guard does not tell clients apart by port. Queries come from other ports anyway.
        for (prefix, entry) in self
            .ntp_port
            .iter()
            .filter(|(_, entry)| !entry.limits.no_time)
        {
            let place = entry.place.clone();
            granted
                .entry(*prefix)
                .or_insert(Granted {
                    client: true,
                    control: false,
                    place,
                })
                .client = true;
        }
        granted.retain(|prefix, _| !is_everybody(prefix));
        granted
    }

    /// Families whose default entry lets everybody ask for the time. It is there from the start.
    fn open_families(&self) -> impl Iterator<Item = (IpNet, Option<&Place>)> {
        [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())]
            .into_iter()
            .filter_map(|everybody| match self.entries.get(&everybody) {
                Some(entry) if entry.limits.no_time => None,
                entry => Some((everybody, entry.map(|entry| &entry.place))),
            })
    }

    fn serve_everybody(&self, granted: &mut BTreeMap<IpNet, Granted>, builder: &ReadingBuilder) {
        for (everybody, place) in self.open_families() {
            let place = place.cloned().unwrap_or_else(|| builder.whole());
            granted.insert(
                everybody,
                Granted {
                    client: true,
                    control: false,
                    place,
                },
            );
        }
    }

    fn note_everybody(&self, builder: &mut ReadingBuilder<'_>) {
        let open: Vec<_> = self.open_families().collect();
        let Some((_, first)) = open.first() else {
            return;
        };
        let whom = match open.as_slice() {
            [(IpNet::V4(_), _)] => "every IPv4 host",
            [(IpNet::V6(_), _)] => "every IPv6 host",
            _ => "everyone",
        };
        let place = first.cloned().unwrap_or_else(|| builder.whole());
        builder.note(
            place,
            format!(
                "ntpd would serve {whom} by default; ntpguard ignores that default. Use --serve \
                 to allow it, or add `noserve`"
            ),
        );
    }
}

fn is_everybody(prefix: &IpNet) -> bool {
    prefix.prefix_len() == 0
}

/// The grants that cover `prefix`, nearest first.
fn covering(
    granted: &BTreeMap<IpNet, Granted>,
    prefix: IpNet,
) -> impl Iterator<Item = (IpNet, &Granted)> {
    std::iter::successors(prefix.supernet(), IpNet::supernet)
        .filter_map(|wider| granted.get(&wider).map(|grant| (wider, grant)))
}

/// Takes `control` from a prefix in which others may ask for the time but not read variables:
/// grants cannot say that, and `control` is the one to do without.
fn withdraw_control(granted: &mut BTreeMap<IpNet, Granted>, builder: &mut ReadingBuilder<'_>) {
    let mut withdrawn = BTreeMap::new();
    for (prefix, _) in granted
        .iter()
        .filter(|(_, grant)| grant.client && !grant.control)
    {
        for (wider, _) in covering(granted, *prefix).filter(|(_, wider)| wider.control) {
            withdrawn.entry(wider).or_insert(*prefix);
        }
    }
    for (wider, narrower) in withdrawn {
        if let Some(grant) = granted.get_mut(&wider) {
            grant.control = false;
            builder.note(
                grant.place.clone(),
                format!(
                    "queries from {wider} are not admitted, as {narrower} within it must not send \
                     them; grant narrower prefixes with `ntpguard allowlist add PREFIX --role \
                     control`"
                ),
            );
        }
    }
}

/// Denies what may only ask queries within a prefix whose hosts may ask for the time, as ntpd
/// forbids it that: a denial is the one way to say so, and takes the queries with it.
fn deny_time(granted: &mut BTreeMap<IpNet, Granted>, builder: &mut ReadingBuilder<'_>) {
    let is_served = |prefix: &IpNet| covering(granted, *prefix).any(|(_, wider)| wider.client);
    let denied: Vec<IpNet> = granted
        .iter()
        .filter(|(prefix, grant)| !grant.client && grant.control && is_served(prefix))
        .map(|(prefix, _)| *prefix)
        .collect();
    for prefix in denied {
        if let Some(grant) = granted.get_mut(&prefix) {
            grant.control = false;
            builder.note(
                grant.place.clone(),
                format!("{prefix} is not served, so its queries are not admitted either"),
            );
        }
    }
}

/// The prefixes to ask for, in the order of their lines: what is granted something, and what is
/// denied what a wider prefix grants.
fn wanted(granted: &BTreeMap<IpNet, Granted>) -> Vec<(IpNet, &Granted)> {
    let covered = |prefix: &IpNet| covering(granted, *prefix).any(|(_, wider)| !wider.is_nothing());
    let mut wanted: Vec<_> = granted
        .iter()
        .filter(|(prefix, grant)| !grant.is_nothing() || covered(prefix))
        .map(|(prefix, grant)| (*prefix, grant))
        .collect();
    wanted.sort_by_key(|(_, grant)| &grant.place);
    wanted
}
