//! BPF links on an interface: on its XDP hook, and on its two tc hooks (tcx).
//!
//! aya makes these too, but falls back to netlink whenever the kernel says EINVAL, and what it
//! attaches so can neither be pinned nor told apart afterwards; nor does it say which interface
//! a link belongs to. A few commands of bpf(2) are all that this takes. aya's
//! query of a hook opens each program, for which `CAP_SYS_ADMIN` is needed; their numbers do here.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    path::Path,
};

use nix::libc;

use crate::datapath::{
    Hook,
    interface::netlink::Xdp,
    pins::objects::{self, bpf},
};

/// How many programs a hook has, most often: more are asked for again.
const USUAL_PROGRAMS: usize = 64;

/// The numbers of bpf(2), from the kernel's `include/uapi/linux/bpf.h`.
mod number {
    pub(super) const PROG_QUERY: i32 = 16;
    pub(super) const LINK_CREATE: i32 = 28;
    pub(super) const LINK_UPDATE: i32 = 29;
    pub(super) const LINK_DETACH: i32 = 34;
    pub(super) const ATTACH_TYPE_XDP: u32 = 37;
    pub(super) const ATTACH_TYPE_TCX_INGRESS: u32 = 46;
    pub(super) const ATTACH_TYPE_TCX_EGRESS: u32 = 47;
    pub(super) const LINK_TYPE_XDP: u32 = 6;
    pub(super) const LINK_TYPE_TCX: u32 = 11;
    pub(super) const FLAG_BEFORE: u32 = 1 << 3;
    pub(super) const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
    pub(super) const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
}

/// A link between a program and an interface. It lasts while this value or a pin does.
#[derive(Debug)]
pub(in crate::datapath) struct Link(OwnedFd);

/// What the kernel tells of a link, in its own layout.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(in crate::datapath) struct LinkInfo {
    kind: u32,
    /// The link's number.
    pub(in crate::datapath) id: u32,
    /// The number of the program on it.
    pub(in crate::datapath) program_id: u32,
    padding: u32,
    /// The interface, by its index in its own network namespace; 0 once that is gone.
    pub(in crate::datapath) interface: u32,
    padding_after: u32,
}

impl LinkInfo {
    /// Whether it is on a tc hook.
    pub(in crate::datapath) const fn is_tcx(&self) -> bool {
        self.kind == number::LINK_TYPE_TCX
    }
}

impl Link {
    /// Attaches a program to the XDP hook of an interface that has none.
    pub(in crate::datapath) fn attach_xdp(
        program: BorrowedFd<'_>,
        interface: u32,
        place: Xdp,
    ) -> io::Result<Self> {
        let flags = match place {
            Xdp::Native => number::XDP_FLAGS_DRV_MODE,
            Xdp::Generic => number::XDP_FLAGS_SKB_MODE,
        };
        Self::create(program, interface, number::ATTACH_TYPE_XDP, flags)
    }

    /// Attaches a program to a tc hook of an interface, before all others there (Linux 6.6, kernel
    /// commit e420bed02507; older ones say EINVAL).
    pub(in crate::datapath) fn attach_tcx(
        program: BorrowedFd<'_>,
        interface: u32,
        hook: Hook,
    ) -> io::Result<Self> {
        Self::create(program, interface, tcx(hook), number::FLAG_BEFORE)
    }

    fn create(
        program: BorrowedFd<'_>,
        interface: u32,
        attach_type: u32,
        flags: u32,
    ) -> io::Result<Self> {
        #[repr(C)]
        struct Create {
            program: RawFd,
            interface: u32,
            attach_type: u32,
            flags: u32,
        }
        let mut create = Create {
            program: program.as_raw_fd(),
            interface,
            attach_type,
            flags,
        };
        // SAFETY: Create is how bpf_attr starts for this command, and holds no pointer.
        let fd = unsafe { bpf(number::LINK_CREATE, &mut create) }?;
        // SAFETY: the kernel made this descriptor just now, and nobody else knows of it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Puts another program on the link. No packet passes in between without one of them, and
    /// where the kernel refuses, the old one stays.
    pub(in crate::datapath) fn swap(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        #[repr(C)]
        struct Update {
            link: RawFd,
            program: RawFd,
            flags: u32,
            old_program: RawFd,
        }
        let mut update = Update {
            link: self.0.as_raw_fd(),
            program: program.as_raw_fd(),
            flags: 0,
            old_program: 0,
        };
        // SAFETY: Update is how bpf_attr starts for this command, and holds no pointer.
        unsafe { bpf(number::LINK_UPDATE, &mut update) }.map(drop)
    }

    /// Takes the program off its hook, whoever else holds the link (Linux 5.9, kernel commit
    /// 73b11c2ab072; older ones do so when the last descriptor and pin are gone).
    pub(in crate::datapath) fn detach(&self) -> io::Result<()> {
        let mut link = self.0.as_raw_fd();
        // SAFETY: a descriptor is how bpf_attr starts for this command, and all of it.
        unsafe { bpf(number::LINK_DETACH, &mut link) }.map(drop)
    }

    /// Opens a pinned link; `None` where nothing is pinned.
    pub(in crate::datapath) fn open(path: &Path) -> io::Result<Option<Self>> {
        Ok(objects::open(path)?.map(Self))
    }

    /// What the kernel tells of the link.
    pub(in crate::datapath) fn info(&self) -> io::Result<LinkInfo> {
        let mut info = LinkInfo::default();
        // SAFETY: LinkInfo is how bpf_link_info starts for such links, and valid for every bit pattern.
        unsafe { objects::info(self.0.as_fd(), &mut info) }?;
        if matches!(info.kind, number::LINK_TYPE_XDP | number::LINK_TYPE_TCX) {
            Ok(info)
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "neither an XDP nor a tcx link",
            ))
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The numbers of the programs on a tc hook of an interface of this network namespace that are attached
/// as links, in the order in which they run.
///
/// # Errors
/// EINVAL before Linux 6.6; EPERM without `CAP_NET_ADMIN`.
pub(in crate::datapath) fn programs_on(hook: Hook, interface: u32) -> io::Result<Vec<u32>> {
    let mut programs = vec![0_u32; USUAL_PROGRAMS];
    loop {
        let mut query = Query {
            interface,
            attach_type: tcx(hook),
            programs: programs.as_mut_ptr() as u64,
            count: programs.len() as u32,
            ..Query::default()
        };
        // SAFETY: Query is how bpf_attr starts for this command; `programs` has room for as many
        // numbers as it says, and lives until the command returns.
        match unsafe { bpf(number::PROG_QUERY, &mut query) } {
            Ok(_) => {
                programs.truncate(query.count as usize);
                return Ok(programs);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                programs.resize(programs.len() * 2, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether programs can be attached to the tc hooks of an interface as links.
pub(in crate::datapath) fn has_tcx(interface: u32) -> bool {
    programs_on(Hook::Egress, interface).is_ok()
}

/// The attributes of a query.
#[derive(Default)]
#[repr(C)]
struct Query {
    interface: u32,
    attach_type: u32,
    flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    padding: u32,
    attach_flags_of_programs: u64,
    links: u64,
    attach_flags_of_links: u64,
    revision: u64,
}

const fn tcx(hook: Hook) -> u32 {
    match hook {
        Hook::Ingress => number::ATTACH_TYPE_TCX_INGRESS,
        Hook::Egress => number::ATTACH_TYPE_TCX_EGRESS,
    }
}
