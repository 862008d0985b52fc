//! A reading as a message: made by the reader, and taken apart by the guard, which believes none of it
//! but what it can check.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use ntpguard_common::maps::tables::Role;

use super::{
    super::{Channel, Host, Place, Problem, Reading, Speaker, Want, host::is_name},
    message::{Answer, At, Complaint, Name, Roles, Wanted},
};
use crate::sources::budget::Budget;

/// No speaker may have more than root.
const ROOT: &Budget = Budget::of(Speaker::Root);
/// Most servers and prefixes of one configuration.
const MAX_WANTS: usize = ROOT.servers;
/// Most problems: more than a reading keeps, and one for each file.
const MAX_PROBLEMS: usize = ROOT.problems;
/// Most paths of each kind.
const MAX_PATHS: usize = ROOT.watched;
/// Most ways to ask a daemon.
const MAX_CHANNELS: usize = 64;
/// The longest message, in characters.
const MAX_MESSAGE: usize = 1_000;

/// The message that a reading is, cut to what the guard takes.
pub(super) fn of(reading: &Reading) -> Answer {
    let mut answer = Answer::default();
    let mut numbers = Numbers::default();
    let mut asked: BTreeMap<Speaker, usize> = BTreeMap::new();
    for want in reading.wants.iter().take(MAX_WANTS) {
        let speaker = reading.speaker(&want.place().file);
        let asked = asked.entry(speaker).or_default();
        *asked += 1;
        // One too many, so that the guard sees that there are.
        if *asked <= Budget::of(speaker).servers + 1 {
            answer.wants.push(numbers.want(want));
        }
    }
    for problem in reading.problems.iter().take(MAX_PROBLEMS) {
        answer.problems.push(Complaint {
            at: numbers.at(&problem.place),
            message: problem.message.chars().take(MAX_MESSAGE).collect(),
            severity: problem.severity,
        });
    }
    let unreadable = reading.unreadable.iter();
    answer.unreadable = unreadable.map(|file| numbers.file(file)).collect();
    for channel in &reading.channels {
        match channel {
            Channel::ChronyPort(port) => answer.ports.push(*port),
            Channel::Observation(path) => answer.sockets.push(path.into()),
        }
    }
    let watched = reading.watched.iter().take(MAX_PATHS);
    answer.watched = watched.map(Name::from).collect();
    answer.files = numbers.files;
    answer
}

/// The numbers of files.
#[derive(Default)]
struct Numbers {
    files: Vec<Name>,
    known: BTreeMap<Arc<Path>, u32>,
}

impl Numbers {
    fn file(&mut self, file: &Arc<Path>) -> u32 {
        let next = self.files.len() as u32;
        *self.known.entry(Arc::clone(file)).or_insert_with(|| {
            self.files.push(Name::from(&**file));
            next
        })
    }

    fn at(&mut self, place: &Place) -> At {
        (self.file(&place.file), place.line, place.column)
    }

    fn want(&mut self, want: &Want) -> Wanted {
        match want {
            Want::Source {
                host,
                family,
                port,
                roles,
                place,
            } => Wanted::Source {
                host: host.clone(),
                family: *family,
                port: *port,
                roles: numbers(roles),
                at: self.at(place),
            },
            Want::Prefix {
                prefix,
                roles,
                place,
            } => Wanted::Prefix {
                prefix: *prefix,
                roles: numbers(roles),
                at: self.at(place),
            },
        }
    }
}

fn numbers(roles: &[Role]) -> Roles {
    let place = |role: &Role| Role::ALL.iter().position(|known| known == role);
    roles.iter().filter_map(place).map(|at| at as u8).collect()
}

fn roles(numbers: &[u8]) -> Result<Vec<Role>, String> {
    if numbers.len() > Role::ALL.len() {
        return Err("too many roles".to_owned());
    }
    let role = |number: &u8| Role::ALL.get(usize::from(*number)).copied();
    let roles: Option<Vec<Role>> = numbers.iter().map(role).collect();
    roles.ok_or_else(|| "an unknown role".to_owned())
}

/// The reading that an answer is, without speakers. It may name no other paths than `known`, which the
/// guard was asked for or has given.
///
/// # Errors
/// What no reader says.
pub(super) fn reading(answer: Answer, known: &BTreeSet<PathBuf>) -> Result<Reading, String> {
    let counts = [
        (answer.wants.len(), MAX_WANTS),
        (answer.problems.len(), MAX_PROBLEMS),
        (answer.files.len(), MAX_PATHS),
        (answer.unreadable.len(), MAX_PATHS),
        (answer.watched.len(), MAX_PATHS),
        (answer.ports.len() + answer.sockets.len(), MAX_CHANNELS),
    ];
    if let Some((count, most)) = counts.into_iter().find(|(count, most)| count > most) {
        return Err(format!("{count} parts of an answer, over {most}"));
    }
    let known = |name: &Name| {
        let path = name.path();
        if known.contains(&path) {
            Ok(path)
        } else {
            Err("a path that was not requested".to_owned())
        }
    };
    let files: Vec<Arc<Path>> = answer
        .files
        .iter()
        .map(|name| known(name).map(Arc::from))
        .collect::<Result<_, _>>()?;
    let file = |number: u32| {
        let file = files.get(number as usize).cloned();
        file.ok_or_else(|| "a position in no file".to_owned())
    };
    let place = |(number, line, column): At| {
        Ok::<Place, String>(Place {
            file: file(number)?,
            line,
            column,
        })
    };
    let wants = answer.wants.into_iter().map(|wanted| want(wanted, place));
    let problems = answer.problems.into_iter().map(|complaint| {
        Ok::<Problem, String>(Problem {
            place: place(complaint.at)?,
            message: complaint.message.chars().take(MAX_MESSAGE).collect(),
            severity: complaint.severity,
        })
    });
    let ports = answer.ports.into_iter().map(Channel::ChronyPort);
    let sockets = answer.sockets.iter();
    let sockets = sockets.map(|name| Channel::Observation(name.path()));
    Ok(Reading {
        wants: wants.collect::<Result<_, _>>()?,
        problems: problems.collect::<Result<_, _>>()?,
        unreadable: answer
            .unreadable
            .into_iter()
            .map(file)
            .collect::<Result<_, _>>()?,
        channels: ports.chain(sockets).collect(),
        watched: answer.watched.iter().map(known).collect::<Result<_, _>>()?,
        ..Reading::default()
    })
}

fn want(wanted: Wanted, place: impl Fn(At) -> Result<Place, String>) -> Result<Want, String> {
    Ok(match wanted {
        Wanted::Source {
            host,
            family,
            port,
            roles: its,
            at,
        } => {
            if matches!(&host, Host::Name(name) if !is_name(name)) {
                return Err("a host that is not a name".to_owned());
            }
            Want::Source {
                host,
                family,
                port,
                roles: roles(&its)?,
                place: place(at)?,
            }
        }
        Wanted::Prefix {
            prefix,
            roles: its,
            at,
        } => Want::Prefix {
            prefix: prefix.trunc(),
            roles: roles(&its)?,
            place: place(at)?,
        },
    })
}
