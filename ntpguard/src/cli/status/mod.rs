//! `ntpguard status`: shows the guard's status.

mod traffic;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use ntpguard::{
    api::{
        events::WOULD_DROP,
        protocol::{Reply, Request},
        status::{Finding, Interface, Name, Status},
    },
    clock::BootSeconds,
    daemon::control::{self, ControlError, LONGEST, SILENCE},
    datapath::{self, PinDir},
    escape, trust,
};
use ntpguard_common::reason::Reason;
use tokio::time::timeout;

use super::{
    args::{GuardArgs, StatusArgs},
    ask::unexpected,
    output::{self, count, seconds},
};

/// How often `--wait` looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a look is tried again that falls into a moment of change: tables that are being replaced, or
/// a daemon that ends.
const CHANGE: Duration = Duration::from_secs(2);

/// The shortest time that a daemon has for an answer.
const MOMENT: Duration = Duration::from_millis(500);

pub(crate) async fn run(guard: &GuardArgs, args: &StatusArgs) -> Result<ExitCode> {
    let start = Instant::now();
    let patience = Duration::from_secs(args.wait.unwrap_or(0));
    loop {
        // However little is left, a running daemon has a moment for its answer.
        let left = patience.saturating_sub(start.elapsed()).max(MOMENT);
        let (silence, limit) = match args.wait {
            Some(_) => (left.min(SILENCE), left + MOMENT),
            None => (SILENCE, LONGEST),
        };
        let is_early = start.elapsed() < patience.max(CHANGE);
        let looked = match look(guard, silence, limit).await {
            // One that starts, or takes back over, is about to listen.
            Ok(None) if is_early && PinDir::new(&guard.pin_dir).is_locked() => None,
            Ok(None) => Some(in_kernel(guard)),
            Ok(Some(status)) => Some(Ok(status)),
            Err(error) => Some(Err(error)),
        };
        let status = match looked {
            Some(Ok(status)) => status,
            Some(Err(error)) if !is_early => return Err(error),
            Some(Err(_)) | None => {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
        };
        let ready = status.guarding && status.settled;
        if ready || start.elapsed() >= patience {
            show(&status, args.output.json)?;
            let waited_in_vain = args.wait.is_some() && !ready;
            return Ok(if waited_in_vain {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Asks the daemon; where it does not answer, looks at what is pinned. `None` where there is none.
async fn look(guard: &GuardArgs, silence: Duration, limit: Duration) -> Result<Option<Status>> {
    let socket = control::socket_path(&guard.state_dir);
    let asked = control::ask_within(&socket, &Request::Status, silence);
    let Ok(answer) = timeout(limit, asked).await else {
        bail!("`ntpguard run` is running but does not answer: it may be starting, or busy");
    };
    match answer {
        Ok(Some(Reply::Status(status))) => Ok(Some(*status)),
        Ok(Some(other)) => unexpected(&other),
        Ok(None) => Ok(None),
        Err(error @ ControlError::Unanswered { .. }) => Ok(Some(Status {
            unanswered: Some(error.to_string()),
            ..in_kernel(guard)?
        })),
        Err(error) => Err(error.into()),
    }
}

/// What is pinned. Looking changes nothing, so it needs no lock.
fn in_kernel(guard: &GuardArgs) -> Result<Status> {
    let survey = datapath::survey(&guard.pin_dir)?;
    let mut status = Status::of_survey(&survey, BootSeconds::now())?;
    let senders = trust::senders(&status.traffic.senders());
    status.traffic.name_senders(&senders);
    Ok(status)
}

fn show(status: &Status, json: bool) -> Result<()> {
    if json {
        output::json(status)
    } else {
        output::print(&text(status))
    }
}

fn text(status: &Status) -> String {
    let mut lines = vec![headline(status)];
    lines.extend(status.interfaces.iter().map(interface_line));
    lines.extend(status.interfaces.iter().filter_map(blind_line));
    lines.extend(status.findings.iter().map(finding_line));
    lines.push(daemon_line(status));
    let daemon = status.daemon.as_ref();
    let confinement = daemon.and_then(|daemon| daemon.confinement.as_ref());
    lines.extend(confinement.map(|holds| format!("confined  {holds}")));
    let readers = daemon.and_then(|daemon| daemon.readers.as_ref());
    lines
        .extend(readers.map(|readers| format!("readers   {}", escape::line(&readers.to_string()))));
    if status.mode.is_some() {
        lines.push(format!(
            "allowed   {}, {}",
            count(status.grants.addresses, "address", "addresses"),
            count(status.grants.prefixes, "prefix", "prefixes"),
        ));
        lines.extend(counter_lines(status));
        lines.extend(traffic::lines(&status.traffic));
    }
    lines.extend(status.sources.iter().map(output::source));
    lines.extend(status.names.iter().map(name_line));
    lines.extend(
        status
            .trouble
            .iter()
            .map(|trouble| escape::line(&format!("error     {trouble}"))),
    );
    lines.extend(
        status
            .problems
            .iter()
            .map(|problem| escape::line(&format!("problem   {problem}"))),
    );
    output::wrap(&lines.join("\n")) + "\n" + &traffic::tables(&status.traffic)
}

fn headline(status: &Status) -> String {
    let since = status
        .loaded_seconds_ago
        .map(|ago| format!(", loaded {} ago", seconds(ago.into())))
        .unwrap_or_default();
    match (status.guarding, status.mode.as_deref()) {
        (true, Some("monitor")) => format!("monitoring: nothing is dropped{since}"),
        (true, _) => format!("guarding{since}"),
        (false, _) => "not guarding: no interface has the guard attached".to_owned(),
    }
}

fn interface_line(interface: &Interface) -> String {
    let name = match &interface.name {
        Some(name) => escape::text(name),
        None => format!("index {}", interface.index),
    };
    let how = match interface.attached.as_deref() {
        None => "not attached".to_owned(),
        Some("tc") => "tc".to_owned(),
        Some("external") => "attached by another program".to_owned(),
        Some(hook) => format!("{hook} XDP"),
    };
    let why = interface
        .why_not_better
        .as_ref()
        .or(interface.why_not_attached.as_ref())
        .map(|why| format!(" ({})", escape::line(why)))
        .unwrap_or_default();
    let egress = interface
        .egress
        .as_ref()
        .map(|egress| format!(", requests tracked by {egress}"))
        .or_else(|| {
            Some(format!(
                ", requests NOT tracked ({})",
                interface.why_untracked.as_ref()?
            ))
        })
        .unwrap_or_default();
    format!("interface {name}: {how}{why}{egress}")
}

/// What differs from what should be attached, and what to do about it.
fn finding_line(finding: &Finding) -> String {
    let cure = finding.cure.as_ref();
    let cure = cure.map(|cure| format!(": {cure}")).unwrap_or_default();
    escape::line(&format!("finding   {}{cure}", finding.what))
}

/// What passes unseen on an interface.
fn blind_line(interface: &Interface) -> Option<String> {
    let blind_to = interface.blind_to.as_ref()?;
    let name = interface.name.as_deref().unwrap_or("unknown");
    Some(format!("unseen    {name}: {blind_to}"))
}

fn daemon_line(status: &Status) -> String {
    if let Some(why) = &status.unanswered {
        return format!("daemon    {why}. The rest is from the kernel alone");
    }
    match &status.daemon {
        Some(daemon) => format!("daemon    pid {}, version {}", daemon.pid, daemon.version),
        None if status.guarding => {
            "daemon    none: the kernel keeps guarding with its present grants; `ntpguard run` \
             adopts it"
                .to_owned()
        }
        None => "daemon    none".to_owned(),
    }
}

/// Admitted and dropped packets, of the mode in force.
fn counter_lines(status: &Status) -> Vec<String> {
    let (counters, dropped) = match status.mode.as_deref() {
        Some("monitor") => (&status.monitored, WOULD_DROP),
        _ => (&status.enforced, "dropped"),
    };
    vec![
        format!("{:<10}{}", "admitted", sum(counters, true)),
        format!("{dropped:<10}{}", sum(counters, false)),
    ]
}

fn sum(counters: &BTreeMap<String, u64>, admitted: bool) -> String {
    let counted: Vec<(&str, u64)> = Reason::ALL
        .iter()
        .filter(|reason| reason.admits() == admitted)
        .map(|reason| {
            (
                reason.name(),
                counters.get(reason.name()).copied().unwrap_or(0),
            )
        })
        .collect();
    let total: u64 = counted.iter().map(|(_, packets)| packets).sum();
    let parts: Vec<String> = counted
        .iter()
        .filter(|(_, packets)| *packets > 0)
        .map(|(name, packets)| format!("{name} {packets}"))
        .collect();
    if parts.is_empty() {
        return "nothing yet".to_owned();
    }
    format!("{total}: {}", parts.join(", "))
}

fn name_line(name: &Name) -> String {
    let saved = match name.saved {
        0 => String::new(),
        saved => format!(" ({saved} from an earlier run)"),
    };
    let next = match name.next_in {
        Some(next) => format!("resolved again in {}", seconds(next.into())),
        None => "being resolved".to_owned(),
    };
    let held = count(name.addresses, "address", "addresses");
    let asked = escape::text(&name.name);
    let mut lines = vec![format!("name      {asked}: {held}{saved}, {next}")];
    if let (Some(failing), Some(error)) = (name.failing_for, &name.error) {
        let error = escape::line(error);
        lines.push(format!("failing for {}: {error}", seconds(failing.into())));
    }
    if !name.refused.is_empty() {
        lines.push(format!("refused: {}", name.refused.join(", ")));
    }
    if name.over_cap > 0 {
        let left_out = usize::try_from(name.over_cap).unwrap_or(usize::MAX);
        lines.push(format!(
            "{} ignored, over the limit",
            count(left_out, "address", "addresses")
        ));
    }
    lines.join("\n          ")
}
