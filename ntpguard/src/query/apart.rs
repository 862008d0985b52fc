//! What daemons answer, heard in a process apart ([`crate::readers`]): the guard makes each socket and
//! makes sure who is at its other end; a reader speaks over it, and says what it has heard.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use ntpguard_common::maps::tables::Role;
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use super::{Answer, AskError, Flaw, InUse, chrony, mode6, ntpd_rs, timesyncd};
use crate::{
    confine::Work,
    readers::{Desk, FrameError, ReaderError, Readers},
    scope::Scoped,
    sources::unicast,
};

/// Most sources and names of one daemon.
const MAX_SOURCES: usize = 4_096;
/// The longest name, in bytes (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;
/// The longest complaint, in characters.
const MAX_COMPLAINT: usize = 300;

/// With whom a reader speaks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Talk {
    Chronyd,
    Ntpd,
    NtpdRs,
    /// Over D-Bus, with the one of these processes that has the name.
    Timesyncd {
        pids: Vec<u32>,
    },
}

/// What a reader has heard; `None` where no one answers.
type Said = Result<Option<Words>, Trouble>;

/// A daemon's answer.
#[derive(Debug, Serialize, Deserialize)]
struct Words {
    sources: Vec<Source>,
    names: Vec<String>,
    flaw: Option<Flaw>,
}

/// A source of a daemon's: its address, its port and its name, whether it is a peer, and whether it is
/// selected.
type Source = (Scoped<IpAddr>, Option<u16>, Option<String>, bool, bool);

/// Why there is no answer.
#[derive(Debug, Serialize, Deserialize)]
enum Trouble {
    Io(String),
    Refused(String),
    Nonsense(String),
    Impostor,
}

/// Has a reader speak over `socket`, and hears what comes of it.
pub(super) async fn hear(
    readers: &Readers,
    talk: &Talk,
    socket: impl AsFd,
) -> Result<Option<Answer>, AskError> {
    let mut line = readers.begin(Work::Answers, &[socket.as_fd()])?;
    line.say(talk)?;
    match line.hear_in_time::<Said>().await? {
        Ok(words) => words.map(answer).transpose(),
        Err(trouble) => Err(trouble.into()),
    }
}

/// The answer that a reader's words are, if they are any.
fn answer(words: Words) -> Result<Answer, AskError> {
    let names = words
        .sources
        .iter()
        .filter_map(|(_, _, name, ..)| name.as_ref());
    let mut names = names.chain(&words.names);
    let count = words.sources.len().max(words.names.len());
    if count > MAX_SOURCES || names.any(|name| name.len() > MAX_NAME) {
        let what = "too many sources, or too long names".to_owned();
        return Err(ReaderError::Wrong(what).into());
    }
    let sources = words.sources.into_iter();
    Ok(Answer {
        sources: sources.filter_map(source).collect(),
        names: words.names.into_iter().collect::<BTreeSet<_>>(),
        flaw: words.flaw,
    })
}

fn source((address, port, name, is_peer, selected): Source) -> Option<InUse> {
    unicast(address.address)?;
    let server = InUse::server(address, name, selected);
    let mut in_use = InUse { port, ..server };
    if is_peer {
        in_use.roles.push(Role::Peer);
    }
    Some(in_use)
}

/// Does the one task of a reader of answers.
pub(crate) fn work(mut desk: Desk) -> Result<(), FrameError> {
    let talk = desk.hear()?;
    let socket = desk.take_descriptors().pop();
    let socket = socket.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let said: Said = match runtime.block_on(speak(talk, socket)) {
        Ok(answer) => Ok(answer.map(words)),
        Err(error) => Err(error.into()),
    };
    desk.say(&said)
}

async fn speak(talk: Talk, socket: OwnedFd) -> Result<Option<Answer>, AskError> {
    let of_sources = |sources| Answer {
        sources,
        ..Answer::default()
    };
    match talk {
        Talk::Chronyd => Ok(chrony::converse(datagrams(socket)?).await?.map(of_sources)),
        Talk::Ntpd => Ok(mode6::converse(datagrams(socket)?).await?.map(of_sources)),
        Talk::NtpdRs => ntpd_rs::converse(stream(socket)?).await.map(Some),
        Talk::Timesyncd { pids } => timesyncd::converse(stream(socket)?, &pids).await,
    }
}

fn datagrams(socket: OwnedFd) -> io::Result<tokio::net::UdpSocket> {
    let socket = std::net::UdpSocket::from(socket);
    socket.set_nonblocking(true)?;
    tokio::net::UdpSocket::from_std(socket)
}

fn stream(socket: OwnedFd) -> io::Result<tokio::net::UnixStream> {
    let socket = UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(socket)
}

/// An answer as words, cut to what the guard takes.
fn words(answer: Answer) -> Words {
    let is_short = |name: &String| name.len() <= MAX_NAME;
    let sources = answer.sources.into_iter().take(MAX_SOURCES);
    let names = answer.names.into_iter().filter(is_short);
    Words {
        sources: sources
            .map(|source| {
                let is_peer = source.roles.contains(&Role::Peer);
                let name = source.name.filter(is_short);
                (source.address, source.port, name, is_peer, source.selected)
            })
            .collect(),
        names: names.take(MAX_SOURCES).collect(),
        flaw: answer.flaw,
    }
}

impl From<AskError> for Trouble {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Io(error) => Self::Io(error.to_string()),
            AskError::Refused(why) => Self::Refused(why),
            AskError::Nonsense(what) => Self::Nonsense(what),
            AskError::Impostor { .. } => Self::Impostor,
            other => Self::Nonsense(other.to_string()),
        }
    }
}

impl From<Trouble> for AskError {
    fn from(trouble: Trouble) -> Self {
        let cut = |what: String| what.chars().take(MAX_COMPLAINT).collect();
        match trouble {
            Trouble::Io(error) => Self::Io(io::Error::other::<String>(cut(error))),
            Trouble::Refused(why) => Self::Refused(cut(why)),
            Trouble::Nonsense(what) => Self::Nonsense(cut(what)),
            Trouble::Impostor => timesyncd::impostor(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Speaks as a reader that has gone wrong.
    fn heard(what: fn(Work, Desk)) -> Result<Option<Answer>, AskError> {
        let (socket, _other) = UnixStream::pair().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let readers = Readers::doing(what);
        runtime.block_on(hear(&readers, &Talk::NtpdRs, &socket))
    }

    #[test]
    fn what_no_server_can_be_is_left_out_of_what_a_reader_says() {
        let answer = heard(|_, mut desk| {
            drop(desk.hear::<Talk>());
            let source = |address: &str| (address.parse().unwrap(), Some(1), None, true, false);
            let said: Said = Ok(Some(Words {
                flaw: None,
                sources: ["127.0.0.1", "224.0.1.1", "0.0.0.0", "192.0.2.1"]
                    .map(source)
                    .into(),
                names: Vec::new(),
            }));
            drop(desk.say(&said));
        });
        let sources = answer.unwrap().unwrap().sources;
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].address, IpAddr::from([192, 0, 2, 1]).into());
        assert_eq!(sources[0].roles, [Role::Server, Role::Peer]);
    }

    #[test]
    fn a_reader_that_says_too_much_or_nothing_is_an_error() {
        let many = heard(|_, mut desk| {
            drop(desk.hear::<Talk>());
            let said: Said = Ok(Some(Words {
                flaw: None,
                sources: Vec::new(),
                names: vec![String::new(); MAX_SOURCES + 1],
            }));
            drop(desk.say(&said));
        });
        let long = heard(|_, mut desk| {
            drop(desk.hear::<Talk>());
            let said: Said = Ok(Some(Words {
                flaw: None,
                sources: Vec::new(),
                names: vec!["x".repeat(MAX_NAME + 1)],
            }));
            drop(desk.say(&said));
        });
        for wrong in [many, long] {
            assert!(matches!(
                wrong,
                Err(AskError::Reader(ReaderError::Wrong(_)))
            ));
        }
        let ended = heard(|_, _| {});
        assert!(matches!(ended, Err(AskError::Reader(ReaderError::Ended))));
    }

    #[test]
    fn a_reader_hears_what_a_daemon_says() {
        use std::io::Write as _;
        let (socket, mut daemon) = UnixStream::pair().unwrap();
        let json = br#"{"sources":[{"name":"a.example:123","address":"192.0.2.1:123"}]}"#;
        daemon
            .write_all(&(json.len() as u64).to_be_bytes())
            .unwrap();
        daemon.write_all(json).unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let readers = crate::work::readers_on_threads();
        let answer = runtime.block_on(hear(&readers, &Talk::NtpdRs, &socket));
        assert_eq!(answer.unwrap().unwrap().sources.len(), 1);
    }
}
