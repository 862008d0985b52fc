//! The process that forks readers. It has one thread, gives up all it can before its first order, and
//! reads nothing but orders of the guard's.

use std::{
    collections::BTreeMap,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::Duration,
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        prctl,
        signal::{self, SaFlags, SigAction, SigHandler, SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt,
};
use serde::{Deserialize, Serialize};

use super::{Desk, Perform};
use crate::confine::{Work, apart};

/// Most descriptors of one order: the socket, and what the work needs.
const MAX_DESCRIPTORS: usize = 4;

/// Most readers at a time.
const MAX_READERS: usize = 64;

/// The longest order or hello, in bytes.
const MAX_MESSAGE: usize = 4_096;

/// How long the starter may take to confine itself.
const HELLO: Duration = Duration::from_secs(10);

/// What the guard wants of the starter.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// A reader, which has the descriptors that come with this.
    Begin {
        /// What the guard calls it.
        id: u64,
        /// What it does.
        work: Work,
    },
    /// The end of a reader, whether it is done or not.
    End {
        /// What the guard calls it.
        id: u64,
    },
}

/// What the starter says once it is confined.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The version of Landlock in force.
    pub(super) landlock: Option<u32>,
    /// What could not be given up.
    pub(super) missing: Vec<String>,
    /// Whether its system calls are filtered.
    pub(super) is_filtered: bool,
}

/// Its first word: that it is confined, or why it ends.
type First = Result<Hello, String>;

impl Order {
    pub(super) fn send(
        &self,
        orders: &OwnedFd,
        descriptors: &[BorrowedFd<'_>],
    ) -> std::io::Result<()> {
        let bytes = postcard::to_stdvec(self).map_err(std::io::Error::other)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !with.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(orders, &[IoSlice::new(&bytes)], &mut with, flags)?;
        Ok(())
    }

    /// The next order and its descriptors; `None` where the guard has ended.
    fn receive(orders: &OwnedFd) -> rustix::io::Result<Option<(Self, Vec<OwnedFd>)>> {
        let mut bytes = [0; MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut with = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            orders,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut with,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let descriptors = with.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        let order = postcard::from_bytes(&bytes[..received.bytes]).ok();
        Ok(order.map(|order| (order, descriptors)))
    }
}

impl Hello {
    /// Waits for it.
    pub(super) fn receive(orders: &OwnedFd) -> std::io::Result<Self> {
        sockopt::set_socket_timeout(orders, sockopt::Timeout::Recv, Some(HELLO))?;
        let mut bytes = [0; MAX_MESSAGE];
        let (length, _) = rustix::net::recv(orders, &mut bytes, RecvFlags::empty())?;
        if length == 0 {
            return Err(std::io::Error::other("the first of them ended early"));
        }
        let first: First = postcard::from_bytes(&bytes[..length]).map_err(std::io::Error::other)?;
        first.map_err(std::io::Error::other)
    }
}

fn say(first: &First, orders: &OwnedFd) -> std::io::Result<()> {
    let bytes = postcard::to_stdvec(first).map_err(std::io::Error::other)?;
    rustix::net::send(orders, &bytes, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Has the kernel forget children of this process once they end: no one may ask for a long time.
pub(super) fn bury_by_itself() -> nix::Result<()> {
    // SAFETY: no handler is set.
    unsafe { signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
    Ok(())
}

/// Whether the starter has ended; then it is no child any more.
pub(super) fn has_ended(starter: Pid) -> bool {
    !matches!(
        waitpid(starter, Some(WaitPidFlag::WNOHANG)),
        Ok(WaitStatus::StillAlive)
    )
}

/// What the child of the fork does until the guard ends.
pub(super) fn run(orders: &OwnedFd, guard: Pid, perform: Perform) -> ! {
    // Nothing of the parent's may run on here, whatever goes wrong.
    let done = catch_unwind(AssertUnwindSafe(|| start_readers(orders, guard, perform)));
    leave(done.unwrap_or(ExitCode::FAILURE))
}

/// Ends the process without what the guard has registered for its own end.
fn leave(code: ExitCode) -> ! {
    let code = i32::from(code != ExitCode::SUCCESS);
    // SAFETY: it takes a number, and does not return.
    unsafe { libc::_exit(code) }
}

fn start_readers(orders: &OwnedFd, guard: Pid, perform: Perform) -> ExitCode {
    let _unnamed = prctl::set_name(c"ntpguard-forker");
    if !lives_with(guard) {
        return ExitCode::FAILURE;
    }
    let first = confine(orders);
    if say(&first, orders).is_err() || first.is_err() {
        return ExitCode::FAILURE;
    }
    let mut readers = Children {
        pids: BTreeMap::new(),
        perform,
    };
    loop {
        readers.bury();
        match Order::receive(orders) {
            Ok(Some((Order::Begin { id, work }, descriptors))) => {
                if readers.pids.len() < MAX_READERS {
                    readers.begin(id, work, descriptors, orders);
                }
            }
            Ok(Some((Order::End { id }, _))) => readers.end(id),
            Err(rustix::io::Errno::INTR) => {}
            // The readers end with this process.
            Ok(None) | Err(_) => return ExitCode::SUCCESS,
        }
    }
}

fn confine(orders: &OwnedFd) -> First {
    apart::keep_only(orders)
        .map_err(|error| format!("cannot close the files that it came with: {error}"))?;
    handle_signals().map_err(|error| format!("cannot set what signals do: {error}"))?;
    let confined = apart::starter();
    Ok(Hello {
        landlock: confined.landlock,
        missing: confined.missing,
        is_filtered: confined.is_filtered,
    })
}

/// Has this process end with its parent, which must be `parent`.
fn lives_with(parent: Pid) -> bool {
    prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && Pid::parent() == parent
}

/// Has a child that ends interrupt the wait for orders, and leaves it to the guard what comes of a signal to
/// all processes of a service or a terminal: it may have more to read before it ends.
fn handle_signals() -> nix::Result<()> {
    extern "C" fn nothing(_signal: libc::c_int) {}
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::SA_NOCLDSTOP,
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing.
    unsafe { signal::sigaction(Signal::SIGCHLD, &action) }?;
    for to_all in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: no handler is set.
        unsafe { signal::signal(to_all, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// The readers that run, and those that ended and are not buried: until then their numbers are no
/// other process's.
struct Children {
    pids: BTreeMap<u64, Pid>,
    /// What each does.
    perform: Perform,
}

impl Children {
    fn begin(&mut self, id: u64, work: Work, descriptors: Vec<OwnedFd>, orders: &OwnedFd) {
        let (starter, perform) = (Pid::this(), self.perform);
        // SAFETY: this process has one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Parent { child }) => {
                self.pids.insert(id, child);
            }
            Ok(ForkResult::Child) => {
                let read = AssertUnwindSafe(|| read(perform, work, descriptors, orders, starter));
                leave(catch_unwind(read).unwrap_or(ExitCode::FAILURE))
            }
            // The guard finds the socket closed.
            Err(_) => {}
        }
    }

    fn end(&mut self, id: u64) {
        if let Some(pid) = self.pids.get(&id) {
            let _ended_already = kill(*pid, Signal::SIGKILL);
        }
    }

    fn bury(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::EINTR) => {}
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(status) => {
                    let ended = status.pid();
                    self.pids.retain(|_, pid| Some(*pid) != ended);
                }
            }
        }
    }
}

/// What a reader does, from its fork to its end.
fn read(
    perform: Perform,
    work: Work,
    descriptors: Vec<OwnedFd>,
    orders: &OwnedFd,
    starter: Pid,
) -> ExitCode {
    let _unnamed = prctl::set_name(c"ntpguard-reader");
    if !lives_with(starter) {
        return ExitCode::FAILURE;
    }
    // SAFETY: only this process has it; the starter has its own, and nothing here uses it any more.
    unsafe { libc::close(orders.as_fd().as_raw_fd()) };
    let mut descriptors = descriptors.into_iter();
    let Some(line) = descriptors.next() else {
        return ExitCode::FAILURE;
    };
    let desk = Desk::new(UnixStream::from(line), descriptors.collect());
    apart::reader(work);
    match perform(work, desk) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_no_one_hears) => ExitCode::FAILURE,
    }
}
