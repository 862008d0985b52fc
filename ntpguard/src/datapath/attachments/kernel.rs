//! The one reader of what the kernel has attached.
//!
//! Everything that rtnetlink has to be asked goes over one connection, so that looking every few seconds
//! costs next to nothing.

use std::{collections::BTreeMap, io};

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::LinkMessage;

use super::stack::Device;
use crate::datapath::{
    AttachPoint, Error, Hook,
    attach::{
        bpf_link::{self, Link},
        clsact::{self, Filters},
    },
    guard::held::Held,
    interface::netlink::{self, Connection, Xdp},
};

/// What rtnetlink is to be asked.
#[derive(Clone, Debug, Default)]
pub(in crate::datapath) struct Question {
    /// Interfaces, by index.
    pub(in crate::datapath) indices: Vec<u32>,
    /// Interfaces that are missed, by name.
    pub(in crate::datapath) names: Vec<String>,
    /// Hooks of interfaces that a filter of ours may be on.
    pub(in crate::datapath) filters: Vec<(u32, Hook)>,
    /// Whether to ask for all interfaces, and so for what stands on what.
    pub(in crate::datapath) all: bool,
}

/// What it answered.
#[derive(Debug, Default)]
pub(in crate::datapath) struct Answer {
    /// The interfaces that there are, as far as was asked.
    pub(in crate::datapath) links: BTreeMap<u32, LinkMessage>,
    filters: BTreeMap<(u32, Hook), Filters>,
}

/// What is on a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum State {
    /// This program runs there.
    Runs {
        /// The program's number.
        program: u32,
        /// Where it runs.
        how: AttachPoint,
    },
    /// The link is there, and attached to nothing.
    LinkDetached,
    /// There is no link, and none can be asked for.
    NoLink,
    /// The link is attached to an interface that this network namespace does not have.
    Endpoint,
    /// There is a qdisc for filters, without ours.
    NoFilter,
    /// There is no qdisc for filters.
    NoQdisc,
}

/// Asks rtnetlink.
pub(in crate::datapath) fn ask(question: &Question) -> Result<Answer, Error> {
    netlink::blocking(async {
        let connection = Connection::open()?;
        let mut answer = Answer::default();
        if question.all {
            let all = all(&connection).await?;
            answer.links = all
                .into_iter()
                .map(|link| (link.header.index, link))
                .collect();
        } else {
            for index in &question.indices {
                let link = connection.link_by_index(*index).await?;
                answer.links.extend(link.map(|link| (*index, link)));
            }
            for name in &question.names {
                let link = connection.link_by_name(name).await?;
                answer
                    .links
                    .extend(link.map(|link| (link.header.index, link)));
            }
        }
        for (index, hook) in &question.filters {
            if answer.links.contains_key(index) {
                let filters = clsact::look(&connection, *index, *hook).await?;
                answer.filters.insert((*index, *hook), filters);
            }
        }
        Ok(answer)
    })
}

/// All interfaces of the network namespace.
pub(in crate::datapath) async fn all(connection: &Connection) -> Result<Vec<LinkMessage>, Error> {
    let request = connection.handle.link().get().execute();
    request
        .try_collect()
        .await
        .map_err(|source| Error::Netlink {
            doing: "list the interfaces".to_owned(),
            source,
        })
}

impl Answer {
    /// The index of the interface of this name.
    pub(in crate::datapath) fn index_of(&self, name: &str) -> Option<u32> {
        let mut links = self.links.iter();
        let found = links.find(|(_, link)| netlink::name(link) == Some(name));
        found.map(|(index, _)| *index)
    }

    /// The name of an interface.
    pub(in crate::datapath) fn name_of(&self, index: u32) -> Option<&str> {
        self.links.get(&index).and_then(netlink::name)
    }

    /// The devices in it: all, if all were asked for.
    pub(in crate::datapath) fn devices(&self) -> BTreeMap<u32, Device> {
        let links = self.links.iter();
        links
            .map(|(index, link)| (*index, Device::of(link)))
            .collect()
    }

    /// What is on a hook, as far as it is what this process holds there.
    pub(in crate::datapath) fn held(
        &self,
        index: u32,
        hook: Hook,
        held: &Held,
    ) -> Result<State, Error> {
        match &held.link {
            Some(link) => self.linked(index, hook, link),
            None => Ok(self.filtered(index, hook)),
        }
    }

    /// What is on a hook, as far as it is by this link.
    pub(in crate::datapath) fn linked(
        &self,
        index: u32,
        hook: Hook,
        link: &Link,
    ) -> Result<State, Error> {
        self.ask_link(index, hook, link).map_err(|source| {
            let doing = format!("query the {} link of interface {index}", hook.name());
            Error::system(doing, source)
        })
    }

    fn ask_link(&self, index: u32, hook: Hook, link: &Link) -> io::Result<State> {
        let info = link.info()?;
        if info.interface == 0 {
            return Ok(State::LinkDetached);
        }
        // Of another network namespace, the interface can have any index.
        let message = self.links.get(&index).filter(|_| info.interface == index);
        let Some(message) = message else {
            return Ok(State::Endpoint);
        };
        let how = if info.is_tcx() {
            let there = bpf_link::programs_on(hook, index)?;
            there.contains(&info.program_id).then_some(AttachPoint::Tc)
        } else {
            let occupant = netlink::occupant(message);
            let ours = occupant.filter(|occupant| occupant.program_id == info.program_id);
            ours.and_then(|occupant| occupant.hook).map(Xdp::how)
        };
        Ok(how.map_or(State::Endpoint, |how| State::Runs {
            program: info.program_id,
            how,
        }))
    }

    /// What is on a hook, as far as it is a filter.
    pub(in crate::datapath) fn filtered(&self, index: u32, hook: Hook) -> State {
        match self.filters.get(&(index, hook)) {
            Some(Filters::Ours(program)) => State::Runs {
                program: *program,
                how: AttachPoint::Tc,
            },
            Some(Filters::Without) => State::NoFilter,
            Some(Filters::NoQdisc) | None => State::NoQdisc,
        }
    }
}
