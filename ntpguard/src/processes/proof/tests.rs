//! Processes that change while they are looked at.

use std::{
    cell::{Cell, RefCell},
    path::Path,
};

use super::*;

const CHRONY: u32 = 101;

/// A process as one reading finds it.
#[derive(Clone)]
struct Moment {
    exe: Result<&'static str, io::ErrorKind>,
    comm: &'static str,
    uids: [u32; 4],
    started: u64,
    program: ProgramFile,
}

impl Moment {
    fn chronyd() -> Self {
        Self {
            exe: Ok("/usr/sbin/chronyd"),
            comm: "chronyd",
            uids: [0; 4],
            started: 4711,
            program: ProgramFile::test(9, 0, 0o100_755),
        }
    }
}

/// A process that is what `first` says until its command line is read, and then what `then` says.
struct Scripted {
    first: Moment,
    then: Moment,
    is_then: Cell<bool>,
    alive: bool,
    writable: Option<PathBuf>,
    command_line: Vec<u8>,
    /// What was read, in order.
    read: RefCell<Vec<&'static str>>,
}

impl Scripted {
    fn steady(moment: Moment) -> Self {
        Self::changing(moment.clone(), moment)
    }

    fn changing(first: Moment, then: Moment) -> Self {
        Self {
            first,
            then,
            is_then: Cell::new(false),
            alive: true,
            writable: None,
            command_line: vec![b'x'; 8],
            read: RefCell::default(),
        }
    }

    fn now(&self, what: &'static str) -> &Moment {
        self.read.borrow_mut().push(what);
        if self.is_then.get() {
            &self.then
        } else {
            &self.first
        }
    }
}

impl Evidence for Scripted {
    fn comm(&self) -> io::Result<String> {
        Ok(self.now("comm").comm.to_owned())
    }

    fn uids(&self) -> io::Result<[u32; 4]> {
        Ok(self.now("uids").uids)
    }

    fn started(&self) -> io::Result<u64> {
        Ok(self.now("started").started)
    }

    fn exe(&self) -> io::Result<PathBuf> {
        let exe = self.now("exe").exe;
        exe.map(PathBuf::from).map_err(io::Error::from)
    }

    fn program(&self) -> io::Result<ProgramFile> {
        Ok(self.now("program").program)
    }

    fn writable(&self, _: &Path) -> io::Result<Option<PathBuf>> {
        self.now("writable");
        Ok(self.writable.clone())
    }

    fn surroundings(&self) -> io::Result<Surroundings> {
        self.now("surroundings");
        Ok(Surroundings::default())
    }

    fn command_line(&self) -> io::Result<Vec<u8>> {
        self.now("command line");
        self.is_then.set(true);
        Ok(self.command_line.clone())
    }

    fn is_alive(&self) -> bool {
        self.alive
    }
}

fn prover() -> Prover {
    let root = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(root.path().join("etc")).expect("made");
    let list = "_chrony:x:101:1\nwww-data:x:33:1\nme:x:1500:1\n";
    std::fs::write(root.path().join("etc/passwd"), list).expect("written");
    Prover {
        accounts: Accounts::default(),
        users: Users::read(root.path()),
    }
}

fn doubt_of(process: &Scripted) -> Doubt {
    prover().prove(process).expect_err("no proof")
}

fn is_proven(process: &Scripted) -> bool {
    prover().prove(process).is_ok()
}

#[test]
fn roots_daemon_and_its_account_are_believed() {
    for uids in [[0; 4], [CHRONY; 4], [0, CHRONY, 0, CHRONY]] {
        let daemon = Moment {
            uids,
            ..Moment::chronyd()
        };
        assert!(is_proven(&Scripted::steady(daemon)), "{uids:?}");
    }
}

#[test]
fn a_process_that_changes_between_the_readings_is_not_believed() {
    let same = Moment::chronyd;
    for (what, then) in [
        (
            "uid",
            Moment {
                uids: [0, 0, 0, CHRONY],
                ..same()
            },
        ),
        (
            "start",
            Moment {
                started: 4712,
                ..same()
            },
        ),
        (
            "path",
            Moment {
                exe: Ok("/usr/local/sbin/chronyd"),
                ..same()
            },
        ),
        (
            "program",
            Moment {
                exe: Ok("/bin/su"),
                ..same()
            },
        ),
        (
            "file",
            Moment {
                program: ProgramFile::test(10, 0, 0o100_755),
                ..same()
            },
        ),
        (
            "mode",
            Moment {
                program: ProgramFile::test(9, 0, 0o104_755),
                ..same()
            },
        ),
    ] {
        let process = Scripted::changing(same(), then);
        assert_eq!(doubt_of(&process), Doubt::None, "{what}");
    }
    let ended = Scripted {
        alive: false,
        ..Scripted::steady(same())
    };
    assert_eq!(doubt_of(&ended), Doubt::None);
}

/// The attack: a user's chronyd is root's program, its command line is the user's, and then the
/// process executes a set-uid program, which is root's.
#[test]
fn a_set_uid_program_makes_no_user_believed() {
    let users = Moment {
        uids: [1500; 4],
        ..Moment::chronyd()
    };
    let set_uid = Moment {
        uids: [1500, 0, 0, 0],
        exe: Ok("/usr/bin/passwd"),
        ..Moment::chronyd()
    };
    for (first, then) in [
        (users.clone(), set_uid.clone()),
        (set_uid, users.clone()),
        (users, Moment::chronyd()),
    ] {
        let process = Scripted::changing(first, then);
        assert_eq!(doubt_of(&process), Doubt::None);
        let read = process.read.borrow();
        assert!(!read.contains(&"command line"), "{read:?}");
    }
}

#[test]
fn each_uid_has_to_be_the_daemons() {
    for place in 0..4 {
        let mut uids = [0; 4];
        uids[place] = 1500;
        let process = Scripted::steady(Moment {
            uids,
            ..Moment::chronyd()
        });
        assert_eq!(doubt_of(&process), Doubt::None);
        assert_eq!(*process.read.borrow(), ["exe", "uids"]);
    }
}

#[test]
fn a_services_account_is_a_finding_and_costs_no_memory() {
    let process = Scripted::steady(Moment {
        uids: [33; 4],
        ..Moment::chronyd()
    });
    let expected = Finding::UnknownAccount {
        file: "chronyd",
        account: Some("www-data".to_owned()),
        uid: 33,
    };
    assert_eq!(doubt_of(&process), Doubt::Finding(expected));
    assert_eq!(*process.read.borrow(), ["exe", "uids"]);
    let mut known = prover();
    known.accounts.chronyd.push("www-data".to_owned());
    assert!(known.prove(&process).is_ok());
}

#[test]
fn a_command_line_beyond_the_bound_is_a_finding() {
    let of_length = |length| Scripted {
        command_line: vec![b'x'; length],
        ..Scripted::steady(Moment::chronyd())
    };
    assert!(is_proven(&of_length(MAX_COMMAND_LINE)));
    let expected = Finding::LongCommandLine { file: "chronyd" };
    assert_eq!(
        doubt_of(&of_length(MAX_COMMAND_LINE + 1)),
        Doubt::Finding(expected)
    );
}

#[test]
fn a_program_that_others_can_write_is_a_finding() {
    let process = Scripted {
        writable: Some("/opt".into()),
        ..Scripted::steady(Moment::chronyd())
    };
    let expected = Finding::Writable {
        file: "chronyd",
        path: "/opt".into(),
    };
    assert_eq!(doubt_of(&process), Doubt::Finding(expected));
    assert!(!process.read.borrow().contains(&"command line"));
}

#[test]
fn a_program_that_may_not_be_seen_is_not_absent() {
    let denied = |comm, uids| {
        Scripted::steady(Moment {
            exe: Err(io::ErrorKind::PermissionDenied),
            comm,
            uids,
            ..Moment::chronyd()
        })
    };
    let finding = |file| Doubt::Finding(Finding::NotPermitted { file });
    assert_eq!(doubt_of(&denied("chronyd", [0; 4])), finding("chronyd"));
    let timesyncd = finding("systemd-timesyncd");
    assert_eq!(doubt_of(&denied("systemd-timesyn", [0; 4])), timesyncd);
    assert_eq!(doubt_of(&denied("cron", [0; 4])), Doubt::None);
    // Anybody can have this name.
    assert_eq!(doubt_of(&denied("chronyd", [1500; 4])), Doubt::None);
}

/// One file is hundreds of programs, of which services run many.
#[test]
fn busybox_is_a_finding_only_where_it_is_called_as_ntpd() {
    let busybox = |command_line: &str| Scripted {
        command_line: command_line.replace(' ', "\0").into_bytes(),
        ..Scripted::steady(Moment {
            exe: Ok("/bin/busybox"),
            comm: "busybox",
            ..Moment::chronyd()
        })
    };
    let as_service = |process: Scripted| Scripted {
        first: Moment {
            uids: [33; 4],
            ..process.first.clone()
        },
        ..process
    };
    let writable = |process| Scripted {
        writable: Some("/opt".into()),
        ..process
    };
    let denied = |process: Scripted| Scripted {
        first: Moment {
            exe: Err(io::ErrorKind::PermissionDenied),
            ..process.first.clone()
        },
        ..process
    };
    let long = |process: Scripted| Scripted {
        command_line: [process.command_line, vec![b'x'; MAX_COMMAND_LINE]].concat(),
        ..process
    };
    let ways: [fn(Scripted) -> Scripted; 4] = [as_service, writable, denied, long];
    for (number, way) in ways.into_iter().enumerate() {
        for other in [
            "busybox sleep 3000",
            "sleep 3000",
            "busybox",
            "busybox sh ntpd ",
        ] {
            assert_eq!(
                doubt_of(&way(busybox(other))),
                Doubt::None,
                "{number}: {other}"
            );
        }
        for daemon in ["busybox ntpd -n ", "/usr/sbin/ntpd -n "] {
            let doubt = doubt_of(&way(busybox(daemon)));
            assert!(
                matches!(doubt, Doubt::Finding(_)),
                "{number}: {daemon}: {doubt:?}"
            );
        }
    }
    // A person's costs no memory all the same.
    let persons = busybox("busybox ntpd -n");
    let persons = Scripted {
        first: Moment {
            uids: [1500; 4],
            ..persons.first.clone()
        },
        ..persons
    };
    assert_eq!(doubt_of(&persons), Doubt::None);
    assert_eq!(*persons.read.borrow(), ["exe", "uids"]);
}
