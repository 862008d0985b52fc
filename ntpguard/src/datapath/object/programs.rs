//! The programs of one loaded object.

use std::os::fd::{AsFd as _, BorrowedFd};

use aya::{
    Ebpf, Pod,
    maps::{HashMap, Map},
    programs::{Program, ProgramError},
};

use ntpguard_common::maps::requests::Sent;

use {crate::datapath::Error, crate::datapath::Hook, crate::datapath::maps::tables};

/// The programs of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Kind {
    /// Judges frames in several buffers too, on the XDP hook (Linux 5.18, kernel commit
    /// c2f2cdbeffda).
    Frags,
    /// The same for kernels and drivers that refuse the former.
    Linear,
    /// Judges what arrives, on the tc hook.
    TcIngress,
    /// Notes the requests that leave, on the tc hook.
    TcEgress,
}

impl Kind {
    /// Those for the XDP hook, in the order to be tried.
    pub(in crate::datapath) const XDP: [Self; 2] = [Self::Frags, Self::Linear];

    /// The one for a tc hook.
    pub(in crate::datapath) const fn on_tc(hook: Hook) -> Self {
        match hook {
            Hook::Ingress => Self::TcIngress,
            Hook::Egress => Self::TcEgress,
        }
    }

    /// The program's name in the object.
    pub(in crate::datapath) const fn name(self) -> &'static str {
        match self {
            Self::Frags => "ingress",
            Self::Linear => "ingress_linear",
            Self::TcIngress => "ntpguard_ingress",
            Self::TcEgress => "ntpguard_egress",
        }
    }
}

/// An object whose programs are loaded as they are needed.
#[derive(Debug)]
pub(in crate::datapath) struct Programs {
    object: Ebpf,
    /// Whether the kernel takes the XDP program with frags, as far as it was asked.
    frags: bool,
}

impl Programs {
    /// Takes the programs of an object, of which none is loaded yet.
    pub(in crate::datapath) const fn new(object: Ebpf) -> Self {
        Self {
            object,
            frags: true,
        }
    }

    /// Loads the XDP program with frags or, where the kernel refuses, the one without, so that a
    /// refusal comes before anything is attached.
    pub(in crate::datapath) fn load_xdp(&mut self) -> Result<(), Error> {
        match self.get(Kind::Frags) {
            Ok(_) => Ok(()),
            Err(error @ Error::Privilege { .. }) => Err(error),
            Err(with_frags) => {
                self.frags = false;
                self.get(Kind::Linear)?;
                tracing::debug!("supporting single-buffer frames only: {with_frags}");
                Ok(())
            }
        }
    }

    /// The better of the XDP programs that the kernel takes.
    pub(in crate::datapath) const fn preferred(&self) -> Kind {
        if self.frags {
            Kind::Frags
        } else {
            Kind::Linear
        }
    }

    /// Whether this kernel takes an XDP program of this kind at all.
    pub(in crate::datapath) const fn has(&self, kind: Kind) -> bool {
        self.frags || matches!(kind, Kind::Linear)
    }

    /// A program, loaded now where it was not needed before.
    pub(in crate::datapath) fn get(&mut self, kind: Kind) -> Result<&mut Program, Error> {
        let name = kind.name();
        let missing = || Error::Missing(format!("program {name}"));
        let program = self.object.program_mut(name).ok_or_else(missing)?;
        if program.fd().is_err() {
            match program {
                Program::Xdp(program) => program.load(),
                Program::SchedClassifier(program) => program.load(),
                _ => return Err(missing()),
            }
            .map_err(|source| Error::load(name, source))?;
        }
        Ok(program)
    }

    /// A program as what it is to aya.
    pub(in crate::datapath) fn typed<'a, P>(&'a mut self, kind: Kind) -> Result<&'a mut P, Error>
    where
        &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
    {
        self.get(kind)?
            .try_into()
            .map_err(|source| Error::load(kind.name(), source))
    }

    /// A program's file descriptor.
    pub(in crate::datapath) fn fd(&mut self, kind: Kind) -> Result<BorrowedFd<'_>, Error> {
        let fd = self.get(kind)?.fd();
        Ok(fd
            .map_err(|source| Error::load(kind.name(), source))?
            .as_fd())
    }

    /// A map of the object, by descriptor.
    pub(in crate::datapath) fn map(&self, name: &str) -> Option<BorrowedFd<'_>> {
        let (Map::Array(map)
        | Map::HashMap(map)
        | Map::LpmTrie(map)
        | Map::LruHashMap(map)
        | Map::PerCpuArray(map)
        | Map::PerCpuHashMap(map)
        | Map::PerCpuLruHashMap(map)
        | Map::RingBuf(map)) = self.object.map(name)?
        else {
            return None;
        };
        Some(map.fd().as_fd())
    }

    /// The kernel's number of a program.
    pub(in crate::datapath) fn id(&mut self, kind: Kind) -> Result<u32, Error> {
        let info = self.get(kind)?.info();
        let info = info.map_err(|source| Error::program("query a program's id", source))?;
        Ok(info.id())
    }

    /// Removes every entry of a map of requests that nobody else has.
    pub(in crate::datapath) fn clear<K: Pod>(&mut self, name: &'static str) -> Result<(), Error> {
        let map = self
            .object
            .map_mut(name)
            .ok_or_else(|| Error::Missing(format!("map {name}")))?;
        let mut map = HashMap::<_, K, Sent>::try_from(map)
            .map_err(|source| Error::map(name, "clear", source))?;
        tables::clear(&mut map, name)
    }
}
