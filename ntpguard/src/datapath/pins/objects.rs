//! Objects of the kernel, held by descriptor: links, programs and maps, whatever path they are pinned at.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use nix::libc;

/// The numbers of bpf(2), from the kernel's `include/uapi/linux/bpf.h`.
mod number {
    pub(super) const OBJ_PIN: i32 = 6;
    pub(super) const OBJ_GET: i32 = 7;
    pub(super) const OBJ_GET_INFO_BY_FD: i32 = 15;
}

/// What tells an object from all others while it lives. Links, programs and maps are numbered each for
/// themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub(in crate::datapath) struct Identity {
    /// The type of the link, program or map.
    kind: u32,
    /// The object's number.
    pub(in crate::datapath) id: u32,
}

#[repr(C)]
struct Pin {
    path: u64,
    fd: RawFd,
    flags: u32,
}

/// Opens what is pinned at `path`; `None` where nothing is.
pub(in crate::datapath) fn open(path: &Path) -> io::Result<Option<OwnedFd>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut get = Pin {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    // SAFETY: Pin is how bpf_attr starts for this command, and `path` lives until it returns.
    match unsafe { bpf(number::OBJ_GET, &mut get) } {
        // SAFETY: the kernel made this descriptor just now, and nobody else knows of it.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Pins an object at a path where nothing is.
pub(in crate::datapath) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut pin = Pin {
        path: path.as_ptr() as u64,
        fd: object.as_raw_fd(),
        flags: 0,
    };
    // SAFETY: Pin is how bpf_attr starts for this command, and `path` lives until it returns.
    unsafe { bpf(number::OBJ_PIN, &mut pin) }.map(drop)
}

/// Tells which object a descriptor is.
pub(in crate::datapath) fn identity(object: BorrowedFd<'_>) -> io::Result<Identity> {
    // bpf_link_info, bpf_prog_info and bpf_map_info all begin so; the kernel cuts what it says.
    let mut identity = Identity::default();
    // SAFETY: Identity is valid for every bit pattern.
    unsafe { info(object, &mut identity) }?;
    Ok(identity)
}

/// Has the kernel write what it knows of an object.
///
/// # Safety
///
/// `into` is laid out as the start of the kernel's structure for such an object, and valid for every bit
/// pattern.
pub(in crate::datapath) unsafe fn info<T>(object: BorrowedFd<'_>, into: &mut T) -> io::Result<()> {
    #[repr(C)]
    struct Question {
        fd: RawFd,
        length: u32,
        info: u64,
    }
    let mut question = Question {
        fd: object.as_raw_fd(),
        length: size_of::<T>() as u32,
        info: (&raw mut *into) as u64,
    };
    // SAFETY: Question is how bpf_attr starts for this command; `into` is as long as it says, and lives
    // until the command returns.
    unsafe { bpf(number::OBJ_GET_INFO_BY_FD, &mut question) }.map(drop)
}

/// Calls bpf(2) and returns what it returned, a file descriptor for most commands.
///
/// # Safety
///
/// `attributes` is laid out as the start of the kernel's `bpf_attr` for `command`, and the
/// addresses in it are valid for what the command reads and writes there.
pub(in crate::datapath) unsafe fn bpf<T>(command: i32, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: the kernel reads and writes size_of::<T> bytes there; the rest is the caller's word.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as RawFd)
    }
}
