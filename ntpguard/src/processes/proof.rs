//! The proof that a process is the time daemon it looks like.
//!
//! Whoever runs a process can have it execute a set-uid program at any moment, which changes its
//! owner but not its id. So what proves a process is read twice, with what it says between the two,
//! and counts if both readings are the same.

use std::{io, path::PathBuf};

use super::{
    accounts::{self, Accounts},
    evidence::{Evidence, MAX_COMMAND_LINE, ProgramFile, Surroundings, file_by_comm},
    finding::Finding,
    program::{self, Program},
    users::Users,
};
use crate::lookup::is_exhaustion;

/// What a proven process says.
#[derive(Debug)]
pub(super) struct Proven {
    /// The file name of its program.
    pub(super) file: &'static str,
    /// The uids that it runs under: real, effective, saved, and that of its files.
    pub(super) uids: [u32; 4],
    /// What it is in.
    pub(super) surroundings: Surroundings,
    /// The text of its command line.
    pub(super) command_line: Vec<u8>,
}

/// Why a process does not count.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It is no time daemon, not the system's, or changed or ended while it was looked at.
    None,
    /// The administrator should know.
    Finding(Finding),
    /// It was not looked at, for this reason, which is none of its own.
    Refused(String),
}

/// Whose processes time daemons are.
#[derive(Debug)]
pub(super) struct Prover {
    pub(super) accounts: Accounts,
    pub(super) users: Users,
}

/// What has to be the same at both readings.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    file: &'static str,
    path: PathBuf,
    uids: [u32; 4],
    started: u64,
    program: ProgramFile,
}

impl Prover {
    /// Proves a process. Nothing that depends on its memory is read before it is known whose it is.
    pub(super) fn prove(&self, process: &impl Evidence) -> Result<Proven, Doubt> {
        let proven = self.prove_file(process);
        proven.map_err(|doubt| match doubt {
            Doubt::Finding(finding) if !may_be_daemon(finding.file(), process) => Doubt::None,
            doubt => doubt,
        })
    }

    /// Proves a process by its program's file.
    fn prove_file(&self, process: &impl Evidence) -> Result<Proven, Doubt> {
        let first = self.identity(process)?;
        let file = first.file;
        let permitted = |error: io::Error| doubt(&error, file);
        if let Some(path) = process.writable(&first.path).map_err(permitted)? {
            return Err(Doubt::Finding(Finding::Writable { file, path }));
        }
        let surroundings = process.surroundings().map_err(permitted)?;
        let command_line = process.command_line().map_err(permitted)?;
        if self.identity(process)? != first || !process.is_alive() {
            return Err(Doubt::None);
        }
        if command_line.len() > MAX_COMMAND_LINE {
            return Err(Doubt::Finding(Finding::LongCommandLine { file }));
        }
        Ok(Proven {
            file,
            uids: first.uids,
            surroundings,
            command_line,
        })
    }

    /// Whether processes of this owner can be time daemons, or a finding.
    pub(super) fn may_run_daemons(&self, owner: u32) -> bool {
        let has = |file: &&str| self.accounts.has(file, owner, &self.users);
        accounts::is_service(owner) || program::FILES.iter().any(has)
    }

    /// Reads who a process is, what costs least first.
    fn identity(&self, process: &impl Evidence) -> Result<Identity, Doubt> {
        let path = match process.exe() {
            Ok(path) => path,
            Err(error) if is_exhaustion(&error) => return Err(Doubt::Refused(error.to_string())),
            Err(error) => return Err(self.unreadable(process, &error)),
        };
        let file = program::file_name(&path).ok_or(Doubt::None)?;
        let permitted = |error: io::Error| doubt(&error, file);
        let uids = process.uids().map_err(permitted)?;
        self.accept(file, uids)?;
        Ok(Identity {
            file,
            path,
            uids,
            started: process.started().map_err(permitted)?,
            program: process.program().map_err(permitted)?,
        })
    }

    /// Whether all uids are accounts of the daemon's.
    fn accept(&self, file: &'static str, uids: [u32; 4]) -> Result<(), Doubt> {
        let is_its = |uid: &u32| self.accounts.has(file, *uid, &self.users);
        let Some(uid) = uids.into_iter().find(|uid| !is_its(uid)) else {
            return Ok(());
        };
        // What a person runs is no finding: anybody could fill the log with it.
        if !uids.into_iter().all(accounts::is_service) {
            return Err(Doubt::None);
        }
        let account = self.users.name(uid);
        Err(Doubt::Finding(Finding::UnknownAccount {
            file,
            account,
            uid,
        }))
    }

    /// What to make of a process whose program may not be seen: its name is its own word, so
    /// it has to be a daemon's account, too.
    fn unreadable(&self, process: &impl Evidence, error: &io::Error) -> Doubt {
        let is_its = |file| {
            let uids = process.uids();
            uids.is_ok_and(|uids| self.accept(file, uids).is_ok())
        };
        match file_by_comm(process).filter(|_| is_denied(error)) {
            Some(file) if is_its(file) => Doubt::Finding(Finding::NotPermitted { file }),
            _ => Doubt::None,
        }
    }
}

/// Whether a process of this file may be a time daemon: busybox is one only when it is called as one.
fn may_be_daemon(file: Option<&str>, process: &impl Evidence) -> bool {
    let is_called = |file| {
        let line = process.command_line();
        line.is_ok_and(|line| Program::of(file, &program::arguments(file, &line)).is_some())
    };
    file.is_none_or(|file| file != program::BUSYBOX || is_called(file))
}

fn doubt(error: &io::Error, file: &'static str) -> Doubt {
    if is_denied(error) {
        Doubt::Finding(Finding::NotPermitted { file })
    } else {
        Doubt::of_gone(error)
    }
}

impl Doubt {
    /// What to make of a process that is not found: it has ended, unless nothing more could be found.
    pub(super) fn of_gone(error: &io::Error) -> Self {
        if is_exhaustion(error) {
            Self::Refused(error.to_string())
        } else {
            Self::None
        }
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests;
