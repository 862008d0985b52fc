//! A daemon whose successor is killed anywhere goes on: with its tables and links, with what is asked of
//! it, and with those who follow its events.

use std::{
    future::pending,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::libc::SIGKILL;
use ntpguard_common::maps::{rates::Rates, tables::DEFAULT_TABLE_SIZE};
use tokio::time::timeout;

use super::harness::{Pins, Wire, in_netns, link, veth};
use crate::{
    api::{
        protocol::{Addition, Reply, Request},
        status::Status,
    },
    daemon::{
        self,
        control::{ask, socket_path},
        subscribers::Following,
    },
    datapath::{
        AttachMode, Mode, Tracking,
        guard::failpoint::testing::{ALL, VARIABLE},
    },
    processes::Accounts,
    reconciler::Origins,
    trust::Senders,
};

const PIN_DIR: &str = "NTPGUARD_TEST_PIN_DIR";
const STATE_DIR: &str = "NTPGUARD_TEST_STATE_DIR";
const REPLACE: &str = "NTPGUARD_TEST_REPLACE";

const SOON: Duration = Duration::from_secs(10);

/// Guards `g0`, in the place of a predecessor if that is asked for; with tables of another size then, so
/// that all steps come.
fn options() -> daemon::Options {
    let directory = |name| PathBuf::from(std::env::var_os(name).unwrap());
    let state_dir = directory(STATE_DIR);
    let replace = std::env::var_os(REPLACE).is_some();
    let source = format!("ntp.conf:{}", state_dir.join("ntp.conf").display());
    daemon::Options {
        pin_dir: directory(PIN_DIR),
        state_dir,
        interfaces: vec!["g0".to_owned()],
        origins: Origins {
            sources: vec![source.parse().unwrap()],
            ..Origins::default()
        },
        mode: Mode::Enforce,
        attach: AttachMode::Auto,
        tracking: Tracking::default(),
        client_rate: Rates::CLIENT,
        total_rate: Rates::TOTAL,
        senders: Senders::default(),
        accounts: Accounts::default(),
        table_size: if replace { 100 } else { DEFAULT_TABLE_SIZE },
        persist: false,
        replace,
    }
}

#[tokio::test]
#[ignore = "run by the test below, as a process of its own"]
async fn be_a_daemon() {
    Box::pin(daemon::run(
        options(),
        crate::work::readers_on_threads(),
        pending(),
    ))
    .await
    .unwrap();
}

/// A daemon, which is killed when the test ends.
struct Daemon(Child);

impl Daemon {
    fn start(pins: &Pins, state: &Path, more: &[(&str, &str)]) -> Self {
        let daemon = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("datapath::tests::handing_over::be_a_daemon")
            .env(PIN_DIR, &pins.0)
            .env(STATE_DIR, state)
            .envs(more.iter().copied())
            .stdout(Stdio::null())
            .spawn();
        Self(daemon.unwrap())
    }

    /// Waits until it answers, with what.
    fn status(&self, socket: &Path) -> Status {
        let start = Instant::now();
        loop {
            if let Ok(Some(Reply::Status(status))) = asked(socket, &Request::Status)
                && status.daemon.as_ref().map(|daemon| daemon.pid) == Some(self.0.id())
            {
                return *status;
            }
            assert!(start.elapsed() < SOON, "no answer of pid {}", self.0.id());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn asked(socket: &Path, request: &Request) -> Result<Option<Reply>, daemon::control::ControlError> {
    runtime().block_on(ask(socket, request))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Grants by hand, which has to come into the tables in use.
fn grant(socket: &Path, address: &str) {
    let addition = Addition {
        prefix: format!("{address}/32").parse().unwrap(),
        roles: Vec::new(),
        ttl: None,
        comment: None,
        long_replies: false,
    };
    match asked(socket, &Request::Add(addition)) {
        Ok(Some(Reply::Edited(edited))) => assert!(edited.changed && edited.in_kernel),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_daemon_whose_successor_is_killed_anywhere_goes_on() {
    for stop in ALL {
        in_netns(|| {
            let pins = Pins::new();
            let state = tempfile::tempdir().unwrap();
            let socket = socket_path(state.path());
            std::fs::write(state.path().join("ntp.conf"), "server 192.0.2.1\n").unwrap();
            let veth = veth("g0");
            let wire = Wire::into(&veth);
            let daemon = Daemon::start(&pins, state.path(), &[]);
            assert!(daemon.status(&socket).guarding, "{stop:?}");
            grant(&socket, "192.0.2.2");
            let before = link(&pins, &veth);
            let runtime = runtime();
            let mut following = runtime
                .block_on(Following::begin(&socket))
                .unwrap()
                .unwrap();
            let first = runtime.block_on(following.next());
            assert_eq!(first.unwrap(), Some(Reply::Following), "{stop:?}");

            let killed_at = format!("{stop:?}");
            let more = [(VARIABLE, killed_at.as_str()), (REPLACE, "1")];
            let mut successor = Daemon::start(&pins, state.path(), &more);
            let ended = successor.0.wait().unwrap();
            assert_eq!(ended.signal(), Some(SIGKILL), "{stop:?} was not reached");

            let status = daemon.status(&socket);
            assert!(
                status.guarding && status.trouble.is_none(),
                "{stop:?}: {status:?}"
            );
            grant(&socket, "192.0.2.3");
            for granted in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
                assert!(wire.passes(granted), "{stop:?}: {granted}");
            }
            assert!(!wire.passes("192.0.2.9"), "{stop:?}");
            assert_eq!(link(&pins, &veth)["id"], before["id"], "{stop:?}");
            assert_eq!(pins.list(""), ["links", "maps", "programs"], "{stop:?}");
            let reported = async {
                loop {
                    match following.next().await.unwrap() {
                        Some(Reply::Event(event)) if event.reason == "unlisted" => break,
                        Some(_) => {}
                        None => panic!("{stop:?}: the daemon has ended"),
                    }
                }
            };
            let followed = runtime.block_on(async { timeout(SOON, reported).await });
            assert!(followed.is_ok(), "{stop:?}: no event");
        });
    }
}
