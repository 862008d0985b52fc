//! What the daemon needs: to start, to do nothing, and to act on an answer of DNS.

use std::{
    fs,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::{SysconfVar, sysconf};
use ntpguard_common::{maps::tables::Role, reason::Reason};
use ntpguard_tests::{
    dns::DnsServer, guard::Guard, lab::Lab, packets::flood::Flood, wait::eventually,
};
use serde::Serialize;

use crate::{SOON, measure::Series, options::Scale};

const NAME: &str = "time.example";

/// Frames a second from a server that is not granted yet.
const RATE: u64 = 10_000;

/// The figures.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    /// From the command to the link of a guarded interface, milliseconds.
    pub(crate) start: Series,
    /// From the question to DNS, which answers at once, to the first admitted packet of the server
    /// it named, milliseconds.
    pub(crate) answer_to_admitted: Series,
    /// CPU time while nothing happens, milliseconds a minute.
    pub(crate) idle_cpu: f64,
    /// Memory then, bytes.
    pub(crate) resident: u64,
    /// Most memory so far, bytes.
    pub(crate) most_resident: u64,
}

/// Measures them all.
pub(crate) fn measure(scale: &Scale) -> Result<Figures> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", "server 192.0.2.1\nserver 2001:db8::1\n")?;
    let mut starts = Vec::new();
    for _ in 0..scale.starts {
        let began = Instant::now();
        let guard = lab.guard().source(&source).start()?;
        wait_attached(&lab, &guard)?;
        starts.push(milliseconds(began.elapsed()));
    }
    let guard = lab.guard().source(&source).ready()?;
    let before = cpu_time(guard.id())?;
    thread::sleep(scale.idle);
    let spent = cpu_time(guard.id())?.saturating_sub(before);
    let (resident, most_resident) = guard.resident()?;
    drop(guard);
    let mut answers = Vec::new();
    for _ in 0..scale.starts {
        answers.push(milliseconds(answer_to_admitted(&lab)?));
    }
    Ok(Figures {
        start: Series::of(&starts)?,
        answer_to_admitted: Series::of(&answers)?,
        idle_cpu: milliseconds(spent) * 60.0 / scale.idle.as_secs_f64(),
        resident,
        most_resident,
    })
}

fn wait_attached(lab: &Lab, guard: &Guard) -> Result<()> {
    let link = guard
        .home()
        .pin_dir()
        .join("links")
        .join(format!("{}-ingress", lab.inside.port.index));
    let end = Instant::now() + SOON;
    while !link.exists() {
        ensure!(
            Instant::now() < end,
            "the guard does not start: {}",
            guard.stderr()
        );
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// A server sends all the time, and is admitted once DNS has given its address to the name that is
/// configured.
fn answer_to_admitted(lab: &Lab) -> Result<Duration> {
    let server = IpAddr::from([203, 0, 113, 1]);
    let dns = DnsServer::start(&lab.outside.namespace, lab.outside.v4.into())?;
    let source = lab.write("names.conf", &format!("server {NAME}\n"))?;
    let guard = lab
        .guard()
        .source(&source)
        .resolver(dns.address())
        .ready()?;
    let frame = lab.frame(server, Role::Server)?;
    let flood = Flood::start(&lab.outside.port, vec![frame], Some(RATE), SOON)?;
    eventually(SOON, "the server's being dropped", || {
        let dropped = guard.counters()?.enforced(Reason::Unlisted);
        ensure!(dropped > 0, "nothing is dropped");
        Ok(())
    })?;
    let before = lab.sink.count();
    let asked = dns.asked(NAME);
    dns.set_fixed(NAME, &[server]);
    let admitted = thread::scope(|scope| -> Result<Instant> {
        let update = scope.spawn(|| guard.cli(&["allowlist", "update"]));
        let end = Instant::now() + SOON;
        while lab.sink.count() == before {
            ensure!(
                Instant::now() < end,
                "the server is not admitted: {}",
                guard.stderr()
            );
            thread::sleep(Duration::from_micros(50));
        }
        let admitted = Instant::now();
        update.join().ok().context("the update panicked")??;
        Ok(admitted)
    })?;
    flood.stop()?;
    let questions = dns.questions();
    let question = questions
        .iter()
        .filter(|question| question.name == NAME)
        .nth(asked);
    Ok(admitted.saturating_duration_since(question.context("DNS was not asked")?.at))
}

/// CPU time that a process used so far, in user space and for it in the kernel.
fn cpu_time(process: u32) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name before may hold spaces (proc_pid_stat(5)); fields 14 and 15 are utime and stime.
    let (_, rest) = text.rsplit_once(") ").context("a process without a name")?;
    let fields: Vec<&str> = rest.split(' ').skip(11).take(2).collect();
    let mut ticks = 0;
    for field in fields {
        ticks += field.parse::<u64>()?;
    }
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no length of a tick")?;
    Ok(Duration::from_secs(ticks) / u32::try_from(per_second)?)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
