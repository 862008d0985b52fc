//! The programs of one loaded object.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use aya::{
    Ebpf, Pod,
    maps::HashMap,
    programs::{Program, ProgramError, SchedClassifier, Xdp},
};

use ntpguard_common::requests::Sent;

use super::{Error, pins};

/// The two builds of the ingress program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Takes frames in several buffers (Linux 5.18, kernel commit c2f2cdbeffda).
    Frags,
    /// For kernels and drivers that refuse the former.
    Linear,
}

impl Kind {
    /// In the order to be tried.
    pub(super) const ALL: [Self; 2] = [Self::Frags, Self::Linear];

    /// The program's name in the object.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Frags => "ingress",
            Self::Linear => "ingress_linear",
        }
    }
}

/// The egress program's name in the object, and in the kernel.
pub(super) const EGRESS: &str = "ntpguard_egress";

/// An object of which at least one program is in the kernel.
#[derive(Debug)]
pub(super) struct Programs {
    object: Ebpf,
    frags: bool,
}

impl Programs {
    /// Loads the program with frags or, where the kernel refuses, the one without, so that a
    /// refusal comes before anything is attached.
    pub(super) fn load(mut object: Ebpf) -> Result<Self, Error> {
        let frags = match load(&mut object, Kind::Frags) {
            Ok(()) => true,
            Err(error @ Error::Privilege { .. }) => return Err(error),
            Err(with_frags) => {
                load(&mut object, Kind::Linear)?;
                tracing::debug!("frames in one buffer only: {with_frags}");
                false
            }
        };
        Ok(Self { object, frags })
    }

    /// The better of the programs that are loaded.
    pub(super) const fn preferred(&self) -> Kind {
        if self.frags {
            Kind::Frags
        } else {
            Kind::Linear
        }
    }

    /// Whether this kernel takes a program of this kind at all.
    pub(super) const fn has(&self, kind: Kind) -> bool {
        self.frags || matches!(kind, Kind::Linear)
    }

    /// The program, loaded now where it was not needed before.
    pub(super) fn get(&mut self, kind: Kind) -> Result<&mut Xdp, Error> {
        load(&mut self.object, kind)?;
        find(&mut self.object, kind.name())
    }

    /// The program's file descriptor.
    pub(super) fn fd(&mut self, kind: Kind) -> Result<BorrowedFd<'_>, Error> {
        let program = self.get(kind)?;
        let fd = program
            .fd()
            .map_err(|source| Error::load(kind.name(), source))?;
        Ok(fd.as_fd())
    }

    /// Pins the program at `path`, in place of what may be there.
    pub(super) fn pin(&mut self, kind: Kind, path: &Path) -> Result<(), Error> {
        let program = self.get(kind)?;
        replace_pin(path, |beside| program.pin(beside))
    }

    /// The program for what leaves, loaded now where it was not needed before.
    pub(super) fn egress(&mut self) -> Result<&mut SchedClassifier, Error> {
        let program: &mut SchedClassifier = find(&mut self.object, EGRESS)?;
        if program.fd().is_err() {
            program
                .load()
                .map_err(|source| Error::load(EGRESS, source))?;
        }
        Ok(program)
    }

    /// The file descriptor of the program for what leaves.
    pub(super) fn egress_fd(&mut self) -> Result<BorrowedFd<'_>, Error> {
        let fd = self.egress()?.fd();
        Ok(fd.map_err(|source| Error::load(EGRESS, source))?.as_fd())
    }

    /// Removes every entry of a map of requests that nobody else has.
    pub(super) fn clear<K: Pod>(&mut self, name: &'static str) -> Result<(), Error> {
        let failed = |source| Error::map(name, "clear", source);
        let map = self
            .object
            .map_mut(name)
            .ok_or_else(|| Error::Missing(format!("map {name}")))?;
        let mut map = HashMap::<_, K, Sent>::try_from(map).map_err(failed)?;
        let keys: Vec<K> = map.keys().collect::<Result<_, _>>().map_err(failed)?;
        keys.iter()
            .try_for_each(|key| map.remove(key))
            .map_err(failed)
    }

    /// Pins the program for what leaves at `path`, in place of what may be there.
    pub(super) fn pin_egress(&mut self, path: &Path) -> Result<(), Error> {
        let program = self.egress()?;
        replace_pin(path, |beside| program.pin(beside))
    }
}

/// Pins beside `path`, and then puts the pin in the place of what is there in one step.
fn replace_pin(
    path: &Path,
    pin: impl FnOnce(&Path) -> Result<(), aya::pin::PinError>,
) -> Result<(), Error> {
    let beside = path.with_file_name(format!(
        "{}-next",
        path.file_name().unwrap_or_default().to_string_lossy()
    ));
    pins::remove_pin(&beside)?;
    pin(&beside).map_err(|source| Error::pin(&beside, source))?;
    std::fs::rename(&beside, path)
        .map_err(|source| Error::system(format!("pin program {}", path.display()), source))
}

fn find<'a, P>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, Error>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    object
        .program_mut(name)
        .ok_or_else(|| Error::Missing(format!("program {name}")))?
        .try_into()
        .map_err(|source| Error::load(name, source))
}

fn load(object: &mut Ebpf, kind: Kind) -> Result<(), Error> {
    let program: &mut Xdp = find(object, kind.name())?;
    if program.fd().is_ok() {
        return Ok(());
    }
    program
        .load()
        .map_err(|source| Error::load(kind.name(), source))
}
