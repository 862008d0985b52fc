mod budgets;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use proptest::prelude::*;

use super::{
    super::{Want, testing::Tree},
    message::{Answer, Given, Name, Wanted, Wish},
    *,
};
use crate::{confine::Work, readers::Desk};

/// A configuration of several files, with what is wrong with it, by its kind and main file.
fn trees() -> Vec<(Kind, &'static str, Tree)> {
    vec![
        (
            Kind::Chrony,
            "chrony.conf",
            Tree::new(&[
                (
                    "chrony.conf",
                    "pool a.example iburst\nallow 10.0.0.0/8\ninclude {}/more/*.conf\n\
                     sourcedir {}/sources\nconfdir {}/nowhere\ninclude {}/none.conf\nnonsense\n\
                     cmdport 10323\n",
                ),
                (
                    "more/b.conf",
                    "server 192.0.2.1 port 1123\ndeny 10.1.0.0/16\n",
                ),
                ("sources/c.sources", "server c.example\nserver cut.example"),
            ]),
        ),
        (
            Kind::NtpConf,
            "ntp.conf",
            Tree::new(&[
                (
                    "ntp.conf",
                    "server a.example\nrestrict 192.0.2.0 mask 255.255.255.0\nincludefile {}/b\n\
                     includefile {}/b\nincludefile {}/ntp.conf\nrestrict x\n",
                ),
                ("b", "peer 192.0.2.7\npool b.example\n"),
                ("ntp.d/c.conf", "broadcastclient\nserver c.example\n"),
            ]),
        ),
        (
            Kind::Timesyncd,
            "etc/systemd/timesyncd.conf",
            Tree::new(&[
                ("etc/systemd/timesyncd.conf", "[Time]\nNTP=a.example\n"),
                (
                    "run/systemd/timesyncd.conf.d/x.conf",
                    "[Time]\nNTP=b.example 192.0.2.3\n",
                ),
                ("run/systemd/netif/state", "NTP=c.example\n"),
            ]),
        ),
        (
            Kind::OpenNtpd,
            "ntpd.conf",
            Tree::new(&[(
                "ntpd.conf",
                "servers a.example\nlisten on *\nserver 0.0.0.0\n",
            )]),
        ),
        (
            Kind::NtpdRs,
            "ntp.toml",
            Tree::new(&[(
                "ntp.toml",
                "[[source]]\nmode = \"pool\"\naddress = \"a.example\"\n[[server]]\n\
                 listen = \"0.0.0.0:123\"\n[observability]\nobservation-path = \"/run/x\"\n",
            )]),
        ),
        (
            Kind::NtpdOpts,
            "conf.d/ntpd",
            Tree::new(&[("conf.d/ntpd", "NTPD_OPTS=\"-p a.example -p 192.0.2.1\"\n")]),
        ),
        (Kind::Chrony, "none.conf", Tree::new(&[])),
    ]
}

fn apart(readers: &Readers, kind: Kind, path: &Path) -> Reading {
    let files = Files::of_host(Speaker::Root);
    read(readers, kind, &files, path, true)
}

#[test]
fn a_reader_apart_reads_what_the_guard_would_have() {
    let readers = crate::work::readers_on_threads();
    for (kind, main, tree) in trees() {
        let path = tree.path(main);
        let files = Files::of_host(Speaker::Root);
        let here = kind.dialect(true).read_from(&files, &path);
        assert_eq!(apart(&readers, kind, &path), here, "{main}");
    }
    assert_eq!(readers.status().failed, 0);
}

/// A configuration of root's that includes a file which others can write.
fn mixed() -> Tree {
    let tree = Tree::new(&[
        (
            "chrony.conf",
            "server 192.0.2.1\nallow 10.0.0.0/8\ninclude {}/open.conf\nport x y\nallow q\n",
        ),
        (
            "open.conf",
            "server 192.0.2.2\nallow 0.0.0.0/0\nallow secret\ndeny 10.1.0.0/16\n",
        ),
    ]);
    fs::set_permissions(tree.path("open.conf"), Permissions::from_mode(0o666)).expect("set");
    tree
}

#[test]
fn what_others_can_write_is_read_apart_from_roots_words_and_counts_as_theirs() {
    let tree = mixed();
    let readers = crate::work::readers_on_threads();
    let reading = apart(&readers, Kind::Chrony, &tree.path("chrony.conf"));
    assert_eq!(
        tree.wants(&reading),
        [
            "chrony.conf:1:8 192.0.2.1 server",
            "chrony.conf:2:7 10.0.0.0/8 client",
            "open.conf:1:8 192.0.2.2 server",
            "open.conf:2:7 0.0.0.0/0 client",
            "open.conf:4:6 10.1.0.0/16 none",
        ]
    );
    assert_eq!(reading.speaker(&tree.path("chrony.conf")), Speaker::Root);
    assert_eq!(reading.speaker(&tree.path("open.conf")), Speaker::Others);
    let told: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().all(|problem| !problem.contains("secret")),
        "{told:?}"
    );
    assert!(
        told.iter().any(|problem| problem.contains("chrony.conf:5")),
        "{told:?}"
    );
    assert!(
        told.iter().any(|problem| problem.contains("has mode 0666")),
        "{told:?}"
    );
}

/// Their reader, should they have taken it over, could say it on.
#[test]
fn a_file_that_others_name_and_may_not_read_is_not_given_to_their_reader() {
    for (mode, count) in [(0o600, 1), (0o644, 2)] {
        let tree = Tree::new(&[
            ("chrony.conf", "include {}/open.conf\n"),
            ("open.conf", "server 192.0.2.1\ninclude {}/secret\n"),
            ("secret", "server 192.0.2.2\n"),
        ]);
        let set = |name: &str, mode| {
            fs::set_permissions(tree.path(name), Permissions::from_mode(mode)).expect("set");
        };
        set("open.conf", 0o666);
        set("secret", mode);
        let reading = apart(
            &crate::work::readers_on_threads(),
            Kind::Chrony,
            &tree.path("chrony.conf"),
        );
        assert_eq!(reading.wants.len(), count, "{:?}", reading.wants);
    }
}

#[test]
fn a_main_file_of_others_is_others_word() {
    let tree = Tree::new(&[(
        "ntp.conf",
        "server 192.0.2.1\nrestrict 192.0.2.0 mask 255.255.255.0\n",
    )]);
    let path = tree.path("ntp.conf");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("set");
    let reading = apart(&crate::work::readers_on_threads(), Kind::NtpConf, &path);
    assert_eq!(reading.speaker(&path), Speaker::Others);
    assert!(!reading.wants.is_empty());
}

/// Reads everything, and claims what `claim` says, with root's file as the place.
fn claims_in_roots_name(mut desk: Desk, ask_for_all: bool) {
    let Ok(Task::Configuration { main, .. }) = desk.hear::<Task>() else {
        return;
    };
    let open = main.path().with_file_name("open.conf");
    for path in [main.path(), open] {
        if ask_for_all {
            desk.say(&Wish::Text(Name::from(&path))).expect("said");
            desk.hear::<Given>().expect("heard");
        }
    }
    let everybody = Wanted::Prefix {
        prefix: "0.0.0.0/0".parse().expect("a prefix"),
        roles: vec![3, 4],
        at: (0, 2, 7),
    };
    let answer = Answer {
        files: vec![main],
        wants: vec![everybody],
        ports: vec![1],
        ..Answer::default()
    };
    drop(desk.say(&Wish::Done(Box::new(answer))));
}

/// The one that is given root's words alone is not theirs to take over: only the second, here, lies.
#[test]
fn a_reader_of_others_words_cannot_speak_in_roots_name() {
    fn lies_where_it_has_others_words(work: Work, mut desk: Desk) {
        let task = desk.hear::<Task>().expect("a task");
        let Task::Configuration { main, .. } = task else {
            return;
        };
        let open = main.path().with_file_name("open.conf");
        desk.say(&Wish::Text(Name::from(&open))).expect("said");
        let Given::Text(given) = desk.hear().expect("heard") else {
            panic!("no text");
        };
        assert_eq!(work, Work::Texts);
        let wants = match given {
            Ok(_) => vec![Wanted::Prefix {
                prefix: "0.0.0.0/0".parse().expect("a prefix"),
                roles: vec![3, 4],
                at: (0, 2, 7),
            }],
            Err(_) => Vec::new(),
        };
        let text = desk.say(&Wish::Text(main.clone()));
        text.expect("said");
        desk.hear::<Given>().expect("heard");
        let answer = Answer {
            files: vec![main],
            wants,
            ports: vec![7],
            ..Answer::default()
        };
        desk.say(&Wish::Done(Box::new(answer))).expect("said");
    }
    let tree = mixed();
    let readers = Readers::doing(lies_where_it_has_others_words);
    let reading = apart(&readers, Kind::Chrony, &tree.path("chrony.conf"));
    assert!(reading.wants.is_empty(), "{:?}", reading.wants);
    // The first reader's, which has seen root's words alone.
    assert_eq!(reading.channels, [super::super::Channel::ChronyPort(7)]);
    assert_eq!(readers.status().failed, 0);
}

#[test]
fn a_containers_reader_speaks_for_the_container_whatever_it_says() {
    fn lies(_: Work, desk: Desk) {
        claims_in_roots_name(desk, false);
    }
    let tree = Tree::new(&[("chrony.conf", "server 192.0.2.1\n")]);
    let root = super::super::OtherRoot::open(&tree.path("")).expect("a root");
    let files = Files::below(std::sync::Arc::new(root), Speaker::Container);
    let path = tree.path("chrony.conf");
    let reading = read(&Readers::doing(lies), Kind::Chrony, &files, &path, false);
    assert_eq!(reading.wants.len(), 1);
    assert_eq!(
        reading.speaker(&reading.wants[0].place().file),
        Speaker::Container
    );
    assert!(reading.channels.is_empty());
}

/// What a reader does that has gone wrong, and what is said of it.
type Case = (fn(Work, Desk), &'static str);

/// What it comes to.
#[test]
fn a_reader_that_goes_wrong_takes_nothing_away_and_is_read_again() {
    fn ends(_: Work, _: Desk) {}
    fn names_what_it_never_asked_for(_: Work, mut desk: Desk) {
        drop(desk.hear::<Task>());
        let answer = Answer {
            watched: vec![Name::from("/etc/shadow")],
            ..Answer::default()
        };
        drop(desk.say(&Wish::Done(Box::new(answer))));
    }
    fn never_has_enough(_: Work, mut desk: Desk) {
        drop(desk.hear::<Task>());
        while desk.say(&Wish::Exists(Name::from("/"))).is_ok() && desk.hear::<Given>().is_ok() {}
    }
    fn talks_at_random(_: Work, mut desk: Desk) {
        drop(desk.hear::<Task>());
        drop(desk.say(&vec![0x7f_u8; 100]));
    }
    fn sends_too_much(_: Work, mut desk: Desk) {
        drop(desk.hear::<Task>());
        drop(desk.say_whatever(&vec![0_u8; 3 << 20]));
    }
    let tree = Tree::new(&[("ntp.conf", "server 192.0.2.1\n")]);
    let path = tree.path("ntp.conf");
    let cases: [Case; 5] = [
        (ends, "exited before"),
        (names_what_it_never_asked_for, "not requested"),
        (never_has_enough, "wishes"),
        (talks_at_random, "misbehaved"),
        (sends_too_much, "misbehaved"),
    ];
    for (what, says) in cases {
        let readers = Readers::doing(what);
        let reading = apart(&readers, Kind::NtpConf, &path);
        assert!(reading.is_unfinished && reading.wants.is_empty());
        assert_eq!(tree.problems(&reading), ["unreadable ntp.conf:0:0"]);
        let told = reading.problems[0].to_string();
        assert!(told.contains(says), "{told}");
        assert_eq!(readers.status().failed, 1, "{told}");
    }
}

/// Others whose file breaks its reader keep no word of root's from being read.
#[test]
fn a_file_of_others_that_breaks_its_reader_holds_up_root_in_nothing() {
    fn breaks(work: Work, desk: Desk) {
        use std::cell::Cell;
        thread_local!(static DONE: Cell<bool> = const { Cell::new(false) });
        drop((work, desk));
        DONE.set(true);
    }
    let tree = mixed();
    let of_root = apart(
        &crate::work::readers_on_threads(),
        Kind::Chrony,
        &tree.path("chrony.conf"),
    );
    let broken = merge::merge(
        of_root,
        &[tree.path("open.conf")].into(),
        apart_error(&Readers::doing(breaks)),
    );
    assert!(broken.is_unfinished);
    let wants = tree.wants(&broken);
    assert!(
        wants.contains(&"chrony.conf:2:7 10.0.0.0/8 client".to_owned()),
        "{wants:?}"
    );
    assert!(
        tree.problems(&broken)
            .contains(&"unreadable open.conf:0:0".to_owned())
    );
}

fn apart_error(readers: &Readers) -> Result<Reading, ReaderError> {
    let said = said(readers, Program::Ntpd, &[]);
    said.map(|_| Reading::default())
}

/// A path of the tree, or elsewhere.
fn names() -> impl Strategy<Value = Name> {
    let paths = [
        "chrony.conf",
        "open.conf",
        "",
        "../../../etc/shadow",
        "*",
        "open.conf/x",
        "\0",
    ];
    let path = prop::sample::select(paths.to_vec());
    path.prop_map(|path| Name::from(&format!("/TREE/{path}")))
}

fn wishes() -> impl Strategy<Value = Wish> {
    prop_oneof![
        names().prop_map(Wish::Text),
        (names(), ".{0,3}", any::<u32>())
            .prop_map(|(name, suffix, most)| Wish::Entries(name, suffix, most)),
        (names(), any::<u32>()).prop_map(|(name, most)| Wish::Glob(name, most)),
        names().prop_map(Wish::Exists),
        names().prop_map(Wish::IsDirectory),
        names().prop_map(Wish::IsNull),
        names().prop_map(Wish::Real),
    ]
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let at = (0..3_u32, any::<u32>(), any::<u32>());
    let host = prop_oneof![
        any::<std::net::IpAddr>().prop_map(|address| super::super::Host::Address(address.into())),
        "[a-z]{1,9}|[a-z. ]{0,12}".prop_map(super::super::Host::Name),
    ];
    prop_oneof![
        (
            host,
            any::<u16>(),
            prop::collection::vec(0..5_u8, 0..4),
            at.clone()
        )
            .prop_map(|(host, port, roles, at)| {
                Wanted::Source {
                    host,
                    family: super::super::Family::Any,
                    port,
                    roles,
                    at,
                }
            }),
        (
            any::<std::net::Ipv4Addr>(),
            0..=32_u8,
            prop::collection::vec(0..5_u8, 0..4),
            at
        )
            .prop_map(|(address, bits, roles, at)| {
                let prefix = ipnet::Ipv4Net::new(address, bits).expect("a prefix").into();
                Wanted::Prefix { prefix, roles, at }
            }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a reader asks for and says: the guard neither fails nor believes it more than its texts.
    #[test]
    fn whatever_a_reader_says_gains_no_more_than_its_texts_may(
        wishes in prop::collection::vec(wishes(), 0..20),
        wants in prop::collection::vec(wanted(), 0..6),
        files in prop::collection::vec(names(), 0..3),
        sees_others in any::<bool>(),
    ) {
        let tree = mixed();
        let at = |name: Name| Name::from(&Path::new(
            &name.path().to_string_lossy().replace("/TREE/", &tree.path("").to_string_lossy()),
        ).to_path_buf());
        let own = Files::of_host(Speaker::Root);
        let main = tree.path("chrony.conf");
        let hands = if sees_others {
            Hands::Rest([(main.clone(), Speaker::Root)].into())
        } else {
            Hands::OfRoot
        };
        let mut session = Session::new(&own, &main, hands);
        for wish in wishes {
            let wish = match wish {
                Wish::Text(name) => Wish::Text(at(name)),
                Wish::Entries(name, suffix, most) => Wish::Entries(at(name), suffix, most),
                Wish::Glob(name, most) => Wish::Glob(at(name), most),
                Wish::Exists(name) => Wish::Exists(at(name)),
                Wish::IsDirectory(name) => Wish::IsDirectory(at(name)),
                Wish::IsNull(name) => Wish::IsNull(at(name)),
                Wish::Real(name) => Wish::Real(at(name)),
                done @ Wish::Done(_) => done,
            };
            if let Ok(Given::Text(Ok(text))) = session.give(wish) {
                let opened = super::super::files::Opened::from(text);
                prop_assert!(sees_others || opened.speaker == Speaker::Root);
            }
        }
        // What it has not asked for is refused as a whole, so it asks.
        let mut places = vec![Name::from(&main)];
        for file in files.into_iter().map(at) {
            drop(session.give(Wish::Exists(file.clone())));
            places.push(file);
        }
        let answer = Answer {
            files: places,
            wants,
            ..Answer::default()
        };
        if let Ok(reading) = session.take(answer) {
            for want in &reading.wants {
                let speaker = reading.speaker(&want.place().file);
                prop_assert!(!sees_others || speaker != Speaker::Root, "{want:?}");
                if let Want::Source { host: super::super::Host::Name(name), .. } = want {
                    prop_assert!(super::super::host::is_name(name));
                }
            }
        }
    }
}
