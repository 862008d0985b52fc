//! The programs of one loaded object.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use aya::{Ebpf, programs::Xdp};

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
        xdp(&mut self.object, kind)
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
        let beside = path.with_file_name(format!(
            "{}-next",
            path.file_name().unwrap_or_default().to_string_lossy()
        ));
        pins::remove_pin(&beside)?;
        self.get(kind)?
            .pin(&beside)
            .map_err(|source| Error::pin(&beside, source))?;
        std::fs::rename(&beside, path)
            .map_err(|source| Error::system(format!("pin program {}", path.display()), source))
    }
}

fn xdp(object: &mut Ebpf, kind: Kind) -> Result<&mut Xdp, Error> {
    let name = kind.name();
    object
        .program_mut(name)
        .ok_or_else(|| Error::Missing(format!("program {name}")))?
        .try_into()
        .map_err(|source| Error::load(name, source))
}

fn load(object: &mut Ebpf, kind: Kind) -> Result<(), Error> {
    let program = xdp(object, kind)?;
    if program.fd().is_ok() {
        return Ok(());
    }
    program
        .load()
        .map_err(|source| Error::load(kind.name(), source))
}
