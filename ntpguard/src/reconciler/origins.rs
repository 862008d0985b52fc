//! What the allowlist is made from.

use std::net::SocketAddr;

use crate::{
    allowlist::state::State, readers::Readers, resolve::Resolver, sources::Source, trust::Trust,
};

/// What the allowlist is made from, besides the state file.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// The configurations to read.
    pub sources: Vec<Source>,
    /// Whether these are looked for where the distributions put them, at each reading anew.
    pub discover: bool,
    /// The containers whose configurations are read: the cgroups that are trusted by name.
    pub trust: Vec<Trust>,
    /// Whom to ask for names; the system's resolver where empty.
    pub resolvers: Vec<SocketAddr>,
    /// Whether a configuration that serves everybody grants that.
    pub serve: bool,
}

impl Origins {
    /// What the guard read that wrote a state down.
    pub(super) fn of(known: &State) -> Self {
        let sources = known
            .sources
            .iter()
            .filter_map(|spelt| match spelt.parse::<Source>() {
                // What was found is found again, or its rows stay as they are.
                Ok(source) if known.discover => Some(source.remembered()),
                Ok(source) => Some(source),
                Err(error) => {
                    tracing::warn!("ignored a source of the state file: {error}");
                    None
                }
            });
        let trust = known.trust.iter().filter_map(|spelt| spelt.parse().ok());
        Self {
            sources: sources.collect(),
            discover: known.discover,
            trust: trust.collect(),
            resolvers: known.resolvers.clone(),
            serve: known.serve,
        }
    }

    /// Who is asked for names.
    pub fn resolver(&self, readers: Readers) -> Resolver {
        match self.resolvers.as_slice() {
            [] => Resolver::from_system(readers),
            servers => Resolver::with_servers(readers, servers),
        }
    }
}
