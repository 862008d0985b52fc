//! Asks DNS.

#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{self, Name, RData, RecordType},
    },
};
use tracing::debug;

use super::{
    Answer, FLOOR, Failure, Question, Record, hosts,
    system::{Servers, SystemFile},
};
use crate::sources::Family;

/// How long one server has for one question.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How often each server is asked.
const ATTEMPTS: usize = 2;

/// How many times [`TIMEOUT`] a question may take in all: three servers twice each, and some aliases.
const TIMEOUTS_IN_ALL: u32 = 10;

/// Asks DNS, and `/etc/hosts` before it, as the system's own resolver would.
///
/// It remembers nothing between questions, so that each is really asked: a cache would hide that a
/// name rotates, and connections kept open would be idle nearly always.
#[derive(Debug)]
pub struct Resolver {
    servers: Source,
    hosts: PathBuf,
    timeout: Duration,
}

/// Who says which servers to ask.
#[derive(Debug)]
enum Source {
    System(SystemFile),
    Given(Arc<Servers>),
}

impl Resolver {
    /// Asks the servers that `/etc/resolv.conf` names. The file may come, go and change: each
    /// question goes by what it says then.
    pub fn from_system() -> Self {
        Self::new(Source::System(SystemFile::new("/etc/resolv.conf".as_ref())))
    }

    /// Asks these servers, in this order, and does not read `/etc/resolv.conf`.
    pub fn with_servers(servers: &[SocketAddr]) -> Self {
        Self::new(Source::Given(Arc::new(Servers::given(servers))))
    }

    fn new(servers: Source) -> Self {
        Self {
            servers,
            hosts: PathBuf::from("/etc/hosts"),
            timeout: TIMEOUT,
        }
    }

    /// Asks for the addresses of a name, those of both families at once. It takes 30 s at most.
    pub async fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        let answer = self.ask_hosts_then_dns(question);
        let limit = self.timeout * TIMEOUTS_IN_ALL;
        tokio::time::timeout(limit, answer)
            .await
            .unwrap_or(Err(Failure::Timeout))
    }

    /// As [`Self::ask`], for many questions at once: the answer comes with its question.
    pub async fn look_up(&self, question: Question) -> (Question, Result<Answer, Failure>) {
        let result = self.ask(&question).await;
        (question, result)
    }

    async fn ask_hosts_then_dns(&self, question: &Question) -> Result<Answer, Failure> {
        let in_hosts = self.in_hosts(question);
        if !in_hosts.is_empty() {
            return Answer::new(in_hosts, None);
        }
        let servers = match &self.servers {
            Source::System(file) => file.servers()?,
            Source::Given(servers) => Arc::clone(servers),
        };
        self.ask_candidates(&servers, question).await
    }

    /// The records that the hosts file makes up for a name. They live as briefly as any, since the
    /// file can change.
    fn in_hosts(&self, question: &Question) -> Vec<Record> {
        let found = hosts::look_up(&self.hosts, &question.name).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                debug!("{} is left out: {error}", self.hosts.display());
            }
            Vec::new()
        });
        let asked = found
            .into_iter()
            .filter(|address| question.covers(*address));
        asked
            .map(|address| Record {
                address,
                ttl: FLOOR,
            })
            .collect()
    }

    /// Tries the names that the question's may mean until one has addresses. One for which no
    /// server answered ends it: the next would be another host than the one meant.
    async fn ask_candidates(
        &self,
        servers: &Servers,
        question: &Question,
    ) -> Result<Answer, Failure> {
        let mut failure = Failure::NoSuchName;
        for name in servers.candidates(&question.name)? {
            match self.ask_servers(servers, &name, question.family).await {
                Err(next @ (Failure::NoSuchName | Failure::NoAddresses)) => failure = next,
                done => return done,
            }
        }
        Err(failure)
    }

    /// Asks each server in turn until one answers, if only that there is nothing.
    async fn ask_servers(
        &self,
        servers: &Servers,
        name: &Name,
        family: Family,
    ) -> Result<Answer, Failure> {
        let mut failure = Failure::Timeout;
        for _ in 0..ATTEMPTS {
            for server in &servers.addresses {
                match self.ask_server(*server, servers.edns, name, family).await {
                    Err(next @ (Failure::Timeout | Failure::ServerFailed { .. })) => failure = next,
                    done => return done,
                }
            }
        }
        Err(failure)
    }

    async fn ask_server(
        &self,
        server: SocketAddr,
        edns: bool,
        name: &Name,
        family: Family,
    ) -> Result<Answer, Failure> {
        let client = self
            .client(server, edns)
            .map_err(|error| failure(server, &error))?;
        let ask = async |record_type| match client.lookup(name.clone(), record_type).await {
            Ok(lookup) => records(lookup.answers(), name),
            Err(error) => Err(failure(server, &error)),
        };
        match family {
            Family::V4 => Answer::new(ask(RecordType::A).await?, None),
            Family::V6 => Answer::new(ask(RecordType::AAAA).await?, None),
            Family::Any => {
                let (v4, v6) = tokio::join!(ask(RecordType::A), ask(RecordType::AAAA));
                both(v4, v6)
            }
        }
    }

    fn client(&self, server: SocketAddr, edns: bool) -> Result<TokioResolver, NetError> {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        let connections = connections.map(|mut connection| {
            connection.port = server.port();
            connection
        });
        let server = NameServerConfig::new(server.ip(), true, connections.into());
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);

        let mut options = ResolverOpts::default();
        options.timeout = self.timeout;
        // Further attempts: those are ours to make, with the other servers between them.
        options.attempts = 0;
        options.edns0 = edns;
        // The client is gone after one question; what it would cache is memory for nothing.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        // Times to live are wanted as they came, not cut to the cache's own limit.
        options.positive_max_ttl = Some(Duration::from_secs(u32::MAX.into()));
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
    }
}

/// Makes one answer of both families' records. One family that has none does not matter where the
/// other has some; where neither has, a server's failure says more than its finding nothing.
fn both(
    v4: Result<Vec<Record>, Failure>,
    v6: Result<Vec<Record>, Failure>,
) -> Result<Answer, Failure> {
    use Failure::{NoAddresses, NoSuchName};
    let is_none = |failure: &Failure| matches!(failure, NoAddresses | NoSuchName);
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => Answer::new(v4.into_iter().chain(v6), None),
        (Ok(v4), Err(none)) => Answer::new(v4, (!is_none(&none)).then_some(Family::V6)),
        (Err(none), Ok(v6)) => Answer::new(v6, (!is_none(&none)).then_some(Family::V4)),
        (Err(NoSuchName), Err(NoSuchName)) => Err(NoSuchName),
        (Err(v4), Err(v6)) if is_none(&v4) && is_none(&v6) => Err(NoAddresses),
        (Err(v4), Err(v6)) => Err(if is_none(&v4) { v6 } else { v4 }),
    }
}

/// The address records of a name, through its aliases, each living no longer than the aliases that
/// lead to it. Records of any other name in the answer are not believed.
fn records(answers: &[rr::Record], name: &Name) -> Result<Vec<Record>, Failure> {
    let mut name = name;
    let mut ttl = u32::MAX;
    // A chain has no more links than the answer has records, unless it is a loop.
    for _ in 0..=answers.len() {
        let of_name = || answers.iter().filter(|record| record.name == *name);
        let found: Vec<Record> = of_name()
            .filter_map(|record| address(record, ttl))
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let alias = of_name().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((&target.0, record.ttl)),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else {
            break;
        };
        ttl = ttl.min(alias_ttl);
        name = target;
    }
    Err(Failure::NoAddresses)
}

fn address(record: &rr::Record, ttl: u32) -> Option<Record> {
    let address = match &record.data {
        RData::A(address) => IpAddr::V4(address.0),
        RData::AAAA(address) => IpAddr::V6(address.0),
        _ => return None,
    };
    Some(Record {
        address,
        ttl: ttl.min(record.ttl),
    })
}

fn failure(server: SocketAddr, error: &NetError) -> Failure {
    let failed = |message| Failure::ServerFailed { server, message };
    match error {
        NetError::Timeout => Failure::Timeout,
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Failure::NoSuchName,
            ResponseCode::NoError => Failure::NoAddresses,
            code => failed(format!("it answered \"{code}\"")),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => failed(format!("it answered \"{code}\"")),
        other => failed(other.to_string()),
    }
}
