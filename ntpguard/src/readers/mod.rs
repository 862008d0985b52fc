//! The processes in which words from outside are parsed.
//!
//! `ntpguard run` is three kinds of processes of one binary. The *guard* opens files, proves processes
//! and writes the kernel's tables. Before it does anything else it forks the *starter*, which gives up
//! all it can (`confine`) and does nothing but fork *readers*: one for each piece of work, which
//! holds that work's bytes and no others, answers, and ends. A reader that a hostile word has taken over
//! has no file, no capability and no way to the next piece of work; what it answers is checked by the
//! guard. One that ends early or is silent for too long is ended, and the next work has another.

mod desk;
mod frame;
mod line;
mod name;
mod starter;

use std::{
    fmt, fs, io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use nix::unistd::{ForkResult, Pid, fork};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use self::{desk::Desk, frame::FrameError, line::Line, name::Name};
use self::{
    frame::{FROM_GUARD, FROM_READER},
    starter::{Hello, Order},
};
use crate::confine::{Confinement, Work};

/// The processes that parse, as the guard has them.
#[derive(Clone, Debug)]
pub struct Readers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    how: How,
    next: AtomicU64,
    failed: AtomicU32,
}

/// Does the one task of a reader. Where it fails, the guard finds the socket closed.
pub(crate) type Perform = fn(Work, Desk) -> Result<(), FrameError>;

/// How readers are begun.
#[derive(Debug)]
enum How {
    Apart(Apart),
    /// On threads of this process, for tests.
    #[cfg(any(test, feature = "fuzzing"))]
    Threads(fn(Work, Desk)),
}

/// The starter.
#[derive(Debug)]
struct Apart {
    pid: Pid,
    hello: Hello,
    orders: Mutex<OwnedFd>,
    has_ended: AtomicBool,
}

/// A reader that gave no answer.
#[derive(Debug, Error)]
pub enum ReaderError {
    /// There is none.
    #[error(
        "the process that starts parsers has exited: known grants stay, and nothing new is read \
         until ntpguard is restarted"
    )]
    NoStarter,
    /// It could not be begun.
    #[error("cannot start a parser process: {0}")]
    Start(io::Error),
    /// It ended before it was done.
    #[error("the parser process exited before it finished")]
    Ended,
    /// It was silent for too long.
    #[error("the parser process took too long and was killed")]
    Slow,
    /// It said what no reader says.
    #[error("the parser process misbehaved and was killed: {0}")]
    Wrong(String),
}

/// What holds the readers back, and how they fare.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadersStatus {
    /// The process id of their starter; absent where it has ended.
    pub starter: Option<u32>,
    /// What holds it back, and with it each reader; absent where the kernel does not show it.
    pub confinement: Option<Confinement>,
    /// The version of Landlock that keeps files from them; absent where the kernel has none.
    pub landlock: Option<u32>,
    /// What could not be given up.
    pub missing: Vec<String>,
    /// How many readers ended early or were ended.
    pub failed: u32,
}

impl Readers {
    /// Forks the starter of readers that `perform`. This process must have one thread: what others do is lost in a fork.
    ///
    /// # Errors
    /// There are more threads, or the kernel makes no socket or process.
    pub(crate) fn start(perform: Perform) -> io::Result<Self> {
        ensure_alone()?;
        let (ours, its) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let guard = Pid::this();
        starter::bury_by_itself()?;
        // SAFETY: there is one thread, so the child has every lock and every invariant of this process.
        match unsafe { fork() }? {
            ForkResult::Child => starter::run(&its, guard, perform),
            ForkResult::Parent { child } => {
                drop(its);
                let apart = Apart {
                    pid: child,
                    hello: Hello::receive(&ours)?,
                    orders: Mutex::new(ours),
                    has_ended: AtomicBool::new(false),
                };
                Ok(Self::with(How::Apart(apart)))
            }
        }
    }

    /// Readers on threads of this process, which do this and which nothing holds back.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn doing(work: fn(Work, Desk)) -> Self {
        Self::with(How::Threads(work))
    }

    fn with(how: How) -> Self {
        Self(Arc::new(Inner {
            how,
            next: AtomicU64::new(0),
            failed: AtomicU32::new(0),
        }))
    }

    /// Begins a reader for `work`, which has these descriptors.
    pub(crate) fn begin(
        &self,
        work: Work,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Line, ReaderError> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (ours, its) = UnixStream::pair().map_err(ReaderError::Start)?;
        match &self.0.how {
            How::Apart(apart) => apart.order(&Order::Begin { id, work }, &its, descriptors)?,
            #[cfg(any(test, feature = "fuzzing"))]
            How::Threads(what) => {
                desk::on_thread(*what, work, its, descriptors).map_err(ReaderError::Start)?;
            }
        }
        Line::new(ours, id, self.clone())
    }

    /// Has a reader ended, whatever it does.
    fn end(&self, id: u64) {
        match &self.0.how {
            How::Apart(apart) => drop(apart.send(&Order::End { id }, &[])),
            #[cfg(any(test, feature = "fuzzing"))]
            How::Threads(_) => {}
        }
    }

    /// Counts a reader that failed.
    fn count_failure(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// What holds them back, and how they fare.
    pub fn status(&self) -> ReadersStatus {
        let failed = self.0.failed.load(Ordering::Relaxed);
        match &self.0.how {
            How::Apart(apart) => ReadersStatus {
                failed,
                ..apart.status()
            },
            #[cfg(any(test, feature = "fuzzing"))]
            How::Threads(_) => ReadersStatus {
                failed,
                ..ReadersStatus::default()
            },
        }
    }

    /// What could not be given up there.
    pub fn missing(&self) -> &[String] {
        match &self.0.how {
            How::Apart(apart) => &apart.hello.missing,
            #[cfg(any(test, feature = "fuzzing"))]
            How::Threads(_) => &[],
        }
    }
}

impl Apart {
    fn order(
        &self,
        order: &Order,
        line: &UnixStream,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ReaderError> {
        use std::os::fd::AsFd as _;
        let all: Vec<BorrowedFd<'_>> = std::iter::once(line.as_fd())
            .chain(descriptors.iter().copied())
            .collect();
        self.send(order, &all).map_err(|error| {
            if self.has_ended.load(Ordering::Relaxed) {
                ReaderError::NoStarter
            } else {
                ReaderError::Start(error)
            }
        })
    }

    fn send(&self, order: &Order, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = order.send(&orders, descriptors);
        if let Err(error) = &sent
            && matches!(
                error.kind(),
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
            )
        {
            self.has_ended.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn status(&self) -> ReadersStatus {
        let has_ended = starter::has_ended(self.pid);
        if has_ended {
            self.has_ended.store(true, Ordering::Relaxed);
        }
        let pid = u32::try_from(self.pid.as_raw()).ok();
        ReadersStatus {
            starter: pid.filter(|_| !has_ended),
            confinement: pid
                .filter(|_| !has_ended)
                .and_then(|pid| Confinement::of(pid, self.hello.is_filtered).ok()),
            landlock: self.hello.landlock,
            missing: self.hello.missing.clone(),
            failed: 0,
        }
    }
}

impl fmt::Display for ReadersStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.starter.is_none() {
            write!(
                f,
                "the process that starts parsers has EXITED: nothing new is read until ntpguard \
                 is restarted"
            )?;
        } else {
            match &self.confinement {
                Some(confinement) => write!(f, "{confinement}")?,
                None => write!(f, "not shown by the kernel")?,
            }
            match self.landlock {
                Some(version) => write!(f, "; no files (Landlock {version})")?,
                None => write!(f, "; files NOT denied by Landlock")?,
            }
        }
        if self.failed > 0 {
            write!(f, "; {} failed", self.failed)?;
        }
        Ok(())
    }
}

fn ensure_alone() -> io::Result<()> {
    match fs::read_dir("/proc/self/task")?.count() {
        1 => Ok(()),
        more => Err(io::Error::other(format!(
            "{more} extra threads are running"
        ))),
    }
}
