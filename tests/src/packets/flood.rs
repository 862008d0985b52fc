//! Very many frames, as fast as the machine sends them or at a given rate.

use std::{
    io::IoSlice,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, sendmmsg},
};

use super::raw::RawSocket;
use crate::link::Port;

/// Frames handed to the kernel at once.
const BATCH: usize = 64;

/// A flood that goes on beside the test until it is stopped, dropped, or its time is over.
#[derive(Debug)]
pub struct Flood {
    ending: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
    began: Instant,
}

/// What a flood did.
#[derive(Clone, Copy, Debug)]
pub struct Flooded {
    /// Frames sent.
    pub frames: u64,
    /// How long it took.
    pub took: Duration,
}

impl Flooded {
    /// Frames a second.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn rate(&self) -> f64 {
        self.frames as f64 / self.took.as_secs_f64()
    }
}

impl Flood {
    /// Begins to send `frames` out of `port`, over and over.
    ///
    /// `rate` is in frames a second; without it the flood is as fast as it can be. It ends by
    /// itself after `longest`.
    ///
    /// # Errors
    ///
    /// When there is no frame, or the interface is gone.
    pub fn start(
        port: &Port,
        frames: Vec<Vec<u8>>,
        rate: Option<u64>,
        longest: Duration,
    ) -> Result<Self> {
        Self::begin(port, frames, rate, (u64::MAX, longest), |_| {})
    }

    /// Begins to send `count` frames out of `port`, each of which `change` has just made another.
    ///
    /// `rate` is in frames a second.
    ///
    /// # Errors
    ///
    /// When the interface is gone.
    pub fn changing(
        port: &Port,
        frame: Vec<u8>,
        rate: u64,
        count: u64,
        change: impl FnMut(&mut [u8]) + Send + 'static,
    ) -> Result<Self> {
        Self::begin(
            port,
            vec![frame],
            Some(rate),
            (count, Duration::MAX),
            change,
        )
    }

    fn begin(
        port: &Port,
        frames: Vec<Vec<u8>>,
        rate: Option<u64>,
        (count, longest): (u64, Duration),
        change: impl FnMut(&mut [u8]) + Send + 'static,
    ) -> Result<Self> {
        ensure!(!frames.is_empty(), "a flood of no frames");
        ensure!(rate != Some(0), "a flood of no frames a second");
        let socket = RawSocket::open(port)?;
        let ending = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (stop, counter) = (Arc::clone(&ending), Arc::clone(&sent));
        let began = Instant::now();
        let thread = thread::spawn(move || {
            let over = || stop.load(Ordering::Relaxed) || began.elapsed() >= longest;
            pour(&socket, frames, rate, (&counter, count), over, change)
        });
        Ok(Self {
            ending,
            sent,
            thread: Some(thread),
            began,
        })
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends the flood and tells what it did.
    ///
    /// # Errors
    ///
    /// When the kernel refused a frame.
    pub fn stop(mut self) -> Result<Flooded> {
        self.ending.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until the flood's time is over and tells what it did.
    ///
    /// # Errors
    ///
    /// When the kernel refused a frame.
    pub fn wait(mut self) -> Result<Flooded> {
        self.finish()
    }

    fn finish(&mut self) -> Result<Flooded> {
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .map_err(|_panic| anyhow!("the flood panicked"))??;
        }
        Ok(Flooded {
            frames: self.sent(),
            took: self.began.elapsed(),
        })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        drop(self.finish());
    }
}

fn pour(
    socket: &RawSocket,
    frames: Vec<Vec<u8>>,
    rate: Option<u64>,
    (sent, count): (&AtomicU64, u64),
    over: impl Fn() -> bool,
    mut change: impl FnMut(&mut [u8]),
) -> Result<()> {
    let room = frames.len().max(BATCH);
    let mut frames: Vec<_> = frames.into_iter().cycle().take(room).collect();
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    let began = Instant::now();
    while !over() {
        for batch in frames.chunks_mut(BATCH) {
            let left = count.saturating_sub(sent.load(Ordering::Relaxed));
            let len = batch.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let batch = batch.get_mut(..len).unwrap_or_default();
            if batch.is_empty() || over() {
                return Ok(());
            }
            for frame in batch.iter_mut() {
                change(frame);
            }
            send_batch(socket, &mut headers, batch, sent, &over)?;
            if let Some(rate) = rate {
                let sent = sent.load(Ordering::Relaxed);
                let due = Duration::from_nanos(sent.saturating_mul(1_000_000_000) / rate);
                thread::sleep(due.saturating_sub(began.elapsed()));
            }
        }
    }
    Ok(())
}

/// Sends all of these frames, unless it is over before.
fn send_batch(
    socket: &RawSocket,
    headers: &mut MultiHeaders<()>,
    batch: &[Vec<u8>],
    sent: &AtomicU64,
    over: impl Fn() -> bool,
) -> Result<()> {
    let slices: Vec<[IoSlice<'_>; 1]> = batch.iter().map(|f| [IoSlice::new(f)]).collect();
    let nowhere: [Option<()>; BATCH] = [None; BATCH];
    let mut rest = slices.as_slice();
    while !rest.is_empty() {
        let (socket, flags) = (socket.fd().as_raw_fd(), MsgFlags::empty());
        let taken = match sendmmsg(socket, headers, rest, nowhere, [], flags) {
            Ok(results) => results.count(),
            // The interface is full for the moment.
            Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => 0,
            Err(error) => return Err(error).context("cannot send a flood's frames"),
        };
        sent.fetch_add(taken as u64, Ordering::Relaxed);
        rest = rest.get(taken..).unwrap_or_default();
        if taken == 0 && over() {
            return Ok(());
        }
    }
    Ok(())
}
