//! Asks DNS, in the process apart that has the one question.

use std::{
    fs::File,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    Resolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError},
    proto::{
        op::ResponseCode,
        rr::{self, Name, RData, RecordType},
    },
};
use tokio::{runtime::Builder, time::timeout};

use super::{
    Answer, FLOOR, Failure, Question, Record,
    bounded::Bounded,
    hosts,
    message::{self, Asked, Task},
    resolver::TIMEOUTS_IN_ALL,
    system::{self, Servers},
};
use crate::{
    readers::{Desk, FrameError},
    sources::Family,
};

/// How often each server is asked.
const ATTEMPTS: usize = 2;

/// What a reader asks with: it holds one question's hosts file and servers.
///
/// It remembers nothing between questions, so that each is really asked: a cache would hide that a
/// name rotates, and connections kept open would be idle nearly always.
pub(super) struct Client {
    /// Whom to ask, or why that is not known.
    pub(super) servers: Result<Servers, Failure>,
    pub(super) hosts: Option<File>,
    pub(super) timeout: Duration,
}

/// Does the one task of a reader of names.
pub(crate) fn work(mut desk: Desk) -> Result<(), FrameError> {
    let task: Task = desk.hear()?;
    let mut files = desk.take_descriptors().into_iter().map(File::from);
    let hosts = task.has_hosts.then(|| files.next()).flatten();
    let servers = match task.servers {
        Asked::Given(servers) => Ok(Servers::given(&servers)),
        Asked::System(file) => system::servers(&file.path(), files.next()),
        Asked::Absent(file) => Err(Failure::NoServers {
            file: file.path(),
            message: "it is not there".to_owned(),
        }),
        Asked::Refused(file, message) => Err(Failure::Unreadable {
            file: file.path(),
            message,
        }),
    };
    let client = Client {
        servers,
        hosts,
        timeout: task.timeout,
    };
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let answer = runtime.block_on(client.ask(&task.question));
    desk.say(&message::said(answer))
}

impl Client {
    /// Asks for the addresses of a name, those of both families at once.
    pub(super) async fn ask(mut self, question: &Question) -> Result<Answer, Failure> {
        let limit = self.timeout * TIMEOUTS_IN_ALL;
        let hosts = self.hosts.take();
        let answer = self.ask_hosts_then_dns(hosts, question);
        timeout(limit, answer)
            .await
            .unwrap_or(Err(Failure::Timeout))
    }

    async fn ask_hosts_then_dns(
        &self,
        hosts: Option<File>,
        question: &Question,
    ) -> Result<Answer, Failure> {
        let in_hosts = hosts.map(|hosts| in_hosts(hosts, question));
        match (in_hosts, &self.servers) {
            (Some(found), _) if !found.is_empty() => Answer::new(found, None),
            (_, Ok(servers)) => self.ask_candidates(servers, question).await,
            (_, Err(failure)) => Err(failure.clone()),
        }
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
        let sockets = Bounded::default();
        let failure = |error: &NetError| match sockets.complaint() {
            Some(message) => Failure::ServerFailed { server, message },
            None => failure(server, error),
        };
        let client = self
            .client(server, edns, sockets.clone())
            .map_err(|error| failure(&error))?;
        let ask = async |record_type| match client.lookup(name.clone(), record_type).await {
            Ok(lookup) => records(lookup.answers(), name),
            Err(error) => Err(failure(&error)),
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

    fn client(
        &self,
        server: SocketAddr,
        edns: bool,
        sockets: Bounded,
    ) -> Result<Resolver<Bounded>, NetError> {
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
        Resolver::builder_with_config(config, sockets)
            .with_options(options)
            .build()
    }
}

/// The records that the hosts file makes up for a name. They live as briefly as any, since the
/// file can change.
fn in_hosts(hosts: File, question: &Question) -> Vec<Record> {
    let found = hosts::look_up(hosts, &question.name).unwrap_or_default();
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
            code => failed(format!("it returned \"{code}\"")),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => failed(format!("it returned \"{code}\"")),
        other => failed(other.to_string()),
    }
}
