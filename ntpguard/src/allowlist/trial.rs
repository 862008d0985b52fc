//! Whether the kernel's tables would gain more by somebody's word than it counts for, tried with any
//! bytes. The fuzz target `claims` and a property test share it.
//!
//! Who may have what is written here a second time, and checked where it ends up: in the projection,
//! and in what an earlier run's state file brings back.

use std::{
    fs::{self, Permissions},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use ntpguard_common::maps::tables::Role;

use crate::{
    allowlist::{ClaimSet, projection::Projection},
    clock::BootSeconds,
    query::{self, Answer},
    resolve::{self, Record},
    sources::{self, Files, Kind, OtherRoot, Reading, Speaker},
};

const NOW: BootSeconds = BootSeconds(100_000);

/// Whose words are tried.
pub const SPEAKERS: [Speaker; 5] = [
    Speaker::Root,
    Speaker::CommandLine,
    Speaker::Daemon,
    Speaker::Others,
    Speaker::Container,
];

/// The programs whose command lines are read.
const PROGRAMS: [&str; 6] = [
    "chronyd",
    "ntpd",
    "openntpd",
    "busybox",
    "ntp-daemon",
    "systemd-timesyncd",
];

/// What was said and what came of it.
#[derive(Debug)]
pub struct Trial {
    /// Whose word it was.
    pub speaker: Speaker,
    /// What it would have the kernel's tables hold.
    pub projection: Projection,
    /// What would be there after a restart, with the sources unread and with the state as it stands.
    pub after: [Projection; 2],
}

/// Has `speaker` say `bytes`, in the dialect or the protocol that `which` picks. Names are answered
/// with `dns`, an address in each 4 bytes.
///
/// # Errors
/// No files can be made.
pub fn say(speaker: Speaker, which: u8, bytes: &[u8], dns: &[u8]) -> io::Result<Trial> {
    let mut book = ClaimSet::default();
    if speaker == Speaker::Daemon {
        book.heard("daemon", answer(which, bytes), NOW);
    } else {
        let directory = tempfile::tempdir()?;
        let (id, main, reading) = reading(speaker, which, bytes, directory.path())?;
        book.read(&id, &main, reading, NOW);
    }
    resolve_names(&mut book, dns);
    let rows = book.rows(NOW);
    Ok(Trial {
        speaker,
        projection: book.projection(NOW),
        after: [
            ClaimSet::restored(&rows, NOW).projection(NOW),
            ClaimSet::recorded(rows, NOW).projection(NOW),
        ],
    })
}

fn reading(
    speaker: Speaker,
    which: u8,
    bytes: &[u8],
    directory: &Path,
) -> io::Result<(String, PathBuf, Reading)> {
    if speaker == Speaker::CommandLine {
        let main = directory.join("cmdline");
        let program = PROGRAMS[usize::from(which) % PROGRAMS.len()];
        let reading = sources::fuzzing::command_line(&main, program, bytes);
        return Ok(("command-line".to_owned(), main, reading));
    }
    let (kind, main) = file(which, directory)?;
    fs::write(&main, bytes)?;
    let files = match speaker {
        Speaker::Root => Files::by_hand(&main, speaker),
        Speaker::Container => Files::below(Arc::new(OtherRoot::open(directory)?), speaker),
        Speaker::Others => {
            fs::set_permissions(&main, Permissions::from_mode(0o666))?;
            Files::of_host(Speaker::Root)
        }
        Speaker::CommandLine | Speaker::Daemon => Files::of_host(speaker),
    };
    let serve = which & 0x80 != 0;
    let reading = kind.dialect(serve).read_from(&files, &main);
    let id = format!("{}:{}", kind.name(), main.display());
    Ok((id, main, reading))
}

/// The main file of a dialect.
fn file(which: u8, directory: &Path) -> io::Result<(Kind, PathBuf)> {
    let (kind, name) = match which % 7 {
        0 => (Kind::NtpConf, "etc/ntp.conf"),
        1 => (Kind::Chrony, "etc/chrony.conf"),
        2 => (Kind::Chrony, "etc/dhcp.sources"),
        3 => (Kind::Timesyncd, "etc/systemd/timesyncd.conf"),
        4 => (Kind::OpenNtpd, "etc/ntpd.conf"),
        5 => (Kind::NtpdRs, "etc/ntp.toml"),
        _ => (Kind::NtpdOpts, "etc/conf.d/ntpd"),
    };
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap_or(directory))?;
    Ok((kind, path))
}

/// What a daemon answers, as far as it can be read.
fn answer(which: u8, bytes: &[u8]) -> Option<Answer> {
    use query::fuzzing::{mode6, ntpd_rs, timesyncd};
    match which % 3 {
        0 => ntpd_rs(bytes).ok(),
        1 => mode6(bytes).map(|source| Answer {
            sources: vec![source],
            ..Answer::default()
        }),
        _ => timesyncd(bytes).map(|address| Answer {
            sources: vec![query::fuzzing::peer(address)],
            ..Answer::default()
        }),
    }
}

fn resolve_names(book: &mut ClaimSet, dns: &[u8]) {
    let addresses = dns.chunks_exact(4).flat_map(|bytes| {
        let v4 = Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]);
        [
            IpAddr::V4(v4),
            IpAddr::V6(v4.to_ipv6_mapped()),
            Ipv6Addr::new(
                u16::from_be_bytes([bytes[0], bytes[1]]),
                0,
                0,
                0,
                0,
                0,
                0,
                1,
            )
            .into(),
        ]
    });
    let records: Vec<Record> = addresses
        .map(|address| Record { address, ttl: 300 })
        .collect();
    let questions: Vec<_> = book.names.unknown().collect();
    for question in questions {
        if let Ok(answer) = resolve::Answer::new(records.clone(), None) {
            book.names.answered(&question, &answer, NOW, 0.5);
        }
    }
}

impl Trial {
    /// What the tables would hold beyond what the speaker's word counts for.
    pub fn excess(&self) -> Vec<String> {
        let [restored, recorded] = &self.after;
        let all = [&self.projection, restored, recorded];
        all.into_iter()
            .flat_map(|projection| excess(self.speaker, projection))
            .collect()
    }
}

fn excess(speaker: Speaker, projection: &Projection) -> Vec<String> {
    let of_time = Role::Server.bit() | Role::Peer.bit() | Role::Broadcast.bit();
    let (most, may_name_prefixes, may_name_ports) = match speaker {
        Speaker::Root => (u32::MAX, true, true),
        Speaker::CommandLine | Speaker::Daemon => (Role::Server.bit(), false, true),
        Speaker::Others | Speaker::Container => (Role::Server.bit(), false, false),
    };
    let mut excess = Vec::new();
    let at_ports = projection.endpoints.iter();
    let at_ports = at_ports.map(|(server, grant)| (server.ip(), grant));
    let addresses = projection.addresses.iter();
    for (address, grant) in addresses.map(|(ip, grant)| (*ip, grant)).chain(at_ports) {
        if grant.roles & !most != 0 {
            excess.push(format!("{address} has roles {:#x}", grant.roles));
        }
        if grant.roles & of_time != 0 && !can_serve(address) {
            excess.push(format!("{address} is no server's"));
        }
    }
    if !may_name_prefixes && !projection.prefixes.is_empty() {
        excess.push(format!("prefixes: {:?}", projection.prefixes));
    }
    if !may_name_ports && !projection.endpoints.is_empty() {
        excess.push(format!("ports: {:?}", projection.endpoints));
    }
    excess
}

fn can_serve(address: IpAddr) -> bool {
    !(address.is_loopback() || address.is_multicast() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least that a server at 192.0.2.1 takes to be named, with clients and more besides.
    const FILES: [&str; 7] = [
        "server 192.0.2.1\nrestrict 10.0.0.0 mask 255.0.0.0\npeer 192.0.2.2\nserver a.example\n",
        "server 192.0.2.1\nallow\ndeny 10.1\npeer 192.0.2.2\nserver 192.0.2.3 port 53\n",
        "server 192.0.2.1\n",
        "[Time]\nNTP=192.0.2.1\n",
        "server 192.0.2.1\nlisten on *\n",
        "[[source]]\nmode = \"server\"\naddress = \"192.0.2.1\"\n\
         [[server]]\nlisten = \"0.0.0.0:123\"\nallowlist = { filter = [\"10.0.0.0/8\"] }\n",
        "NTPD_OPTS=\"-p 192.0.2.1\"\n",
    ];
    const COMMAND_LINES: [&str; 2] = [
        "chronyd\0server 192.0.2.1\0allow 10.0.0.0/8\0peer 192.0.2.2\0",
        "ntpd\0-g\x00192.0.2.1\x00",
    ];
    const ANSWERS: [&[u8]; 3] = [
        br#"{"sources":[{"name":"a","address":"192.0.2.1:123"}]}"#,
        b"",
        &[2, 192, 0, 2, 1],
    ];

    fn server() -> IpAddr {
        IpAddr::from([192, 0, 2, 1])
    }

    #[track_caller]
    fn names_a_server(speaker: Speaker, which: u8, bytes: &[u8]) {
        let trial = say(speaker, which, bytes, &[192, 0, 2, 9]).unwrap();
        let grant = trial.projection.addresses.get(&server());
        let roles = grant.map(|grant| grant.roles & Role::Server.bit());
        assert_eq!(roles, Some(Role::Server.bit()), "{trial:?}");
        assert_eq!(trial.excess(), Vec::<String>::new());
    }

    #[test]
    fn each_can_name_a_server_and_no_more_than_that_counts() {
        for (file, which) in FILES.into_iter().zip(0..) {
            for speaker in [Speaker::Root, Speaker::Others, Speaker::Container] {
                names_a_server(speaker, which, file.as_bytes());
            }
        }
        for (line, which) in COMMAND_LINES.into_iter().zip(0..) {
            names_a_server(Speaker::CommandLine, which, line.as_bytes());
        }
        for (answer, which) in ANSWERS.into_iter().zip(0..) {
            if !answer.is_empty() {
                names_a_server(Speaker::Daemon, which, answer);
            }
        }
    }

    #[test]
    fn the_table_sees_what_root_grants_as_the_excess_of_another() {
        let mut trial = say(Speaker::Root, 1, FILES[1].as_bytes(), &[]).unwrap();
        assert!(trial.excess().is_empty());
        trial.speaker = Speaker::Others;
        let excess = trial.excess().join("\n");
        for part in ["has roles", "prefixes", "ports"] {
            assert!(excess.contains(part), "{part} in {excess}");
        }
    }

    fn words() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            prop::sample::select(vec![
                "server",
                "pool",
                "peer",
                "allow",
                "deny",
                "all",
                "restrict",
                "mask",
                "default",
                "noquery",
                "unrestrict",
                "listen on",
                "broadcastclient",
                "multicastclient",
                "[Time]",
                "NTP=",
                "[[source]]",
                "[[server]]",
                "mode = \"server\"",
                "address =",
                "listen =",
                "NTPD_OPTS=",
                "-p",
                "port",
                "10.0.0.0/8",
                "255.0.0.0",
                "192.0.2.1",
                "\"192.0.2.1:1123\"",
                "::/0",
                "a.example",
                "127.0.0.1",
                "224.0.1.1",
                "\n",
                "\n",
                "\0",
                "\"",
                "*",
                "[2001:db8::1]:53",
                "0.0.0.0",
            ])
            .prop_map(|word| word.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..6),
        ];
        prop::collection::vec(word, 0..40).prop_map(|words| words.join(&b' '))
    }

    proptest! {
        #[test]
        fn no_bytes_gain_more_than_their_speaker_may_have(
            speaker in prop::sample::select(SPEAKERS.to_vec()),
            which in any::<u8>(),
            bytes in prop_oneof![words(), prop::collection::vec(any::<u8>(), 0..200)],
            dns in prop::collection::vec(any::<u8>(), 0..24),
        ) {
            let trial = say(speaker, which, &bytes, &dns).unwrap();
            prop_assert_eq!(trial.excess(), Vec::<String>::new());
        }
    }
}
