//! Hosts as distributions set them up.

use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use super::{super::testing::Tree, *};

fn discover(root: &Path, trusted: &[Trust]) -> Discovered {
    super::discover(&crate::work::readers_on_threads(), root, trusted)
}

fn found(tree: &Tree) -> Vec<String> {
    let root = tree.path("");
    discover(&root, &[])
        .sources
        .iter()
        .map(|source| {
            let path = source.path.strip_prefix(&root).expect("under the root");
            format!("{}:{}", source.kind.name(), path.display())
        })
        .collect()
}

#[test]
fn files_are_found_where_distributions_put_them() {
    assert!(found(&Tree::new(&[])).is_empty());
    let files = [
        "ntp.conf:etc/ntp.conf",
        "ntp.conf:etc/ntpsec/ntp.conf",
        "chrony:etc/chrony.conf",
        "chrony:etc/chrony/chrony.conf",
        "openntpd:etc/openntpd/ntpd.conf",
        "openntpd:etc/ntpd.conf",
        "ntpd-rs:etc/ntpd-rs/ntp.toml",
        "ntpd-opts:etc/conf.d/ntpd",
    ];
    let paths: Vec<(&str, &str)> = files
        .iter()
        .map(|spelt| (spelt.split_once(':').expect("a dialect").1, ""))
        .collect();
    let tree = Tree::new(&paths);
    assert_eq!(found(&tree), files);
    assert!(places(&tree.path("")).contains(&tree.path("run/ntpsec/ntp.conf.dhcp")));
}

#[test]
fn dhcp_replaces_debians_file_unless_told_not_to() {
    let tree = Tree::new(&[
        ("etc/ntpsec/ntp.conf", ""),
        ("run/ntpsec/ntp.conf.dhcp", ""),
        ("etc/ntp.conf", ""),
        ("run/ntp.conf.dhcp", ""),
    ]);
    let of_dhcp = [
        "ntp.conf:run/ntp.conf.dhcp",
        "ntp.conf:run/ntpsec/ntp.conf.dhcp",
    ];
    assert_eq!(found(&tree), of_dhcp);
    fs::create_dir(tree.path("etc/default")).expect("made");
    let defaults = tree.path("etc/default/ntpsec");
    fs::write(&defaults, "#IGNORE_DHCP=yes\nIGNORE_DHCP=\"\"\n").expect("written");
    assert_eq!(found(&tree), of_dhcp);
    fs::write(&defaults, "IGNORE_DHCP=''\n IGNORE_DHCP=\"yes\" # ours\n").expect("written");
    assert_eq!(
        found(&tree),
        ["ntp.conf:run/ntp.conf.dhcp", "ntp.conf:etc/ntpsec/ntp.conf"]
    );
}

#[test]
fn timesyncd_counts_where_it_is_enabled_or_runs() {
    let main = "etc/systemd/timesyncd.conf";
    let tree = Tree::new(&[(main, "")]);
    assert!(found(&tree).is_empty());
    tree.process(7, "/usr/lib/systemd/systemd-timesyncd", &["x"]);
    assert_eq!(found(&tree), [format!("timesyncd:{main}")]);
    let enabled = "etc/systemd/system/sysinit.target.wants/systemd-timesyncd.service";
    let tree = Tree::new(&[(enabled, "")]);
    assert_eq!(found(&tree), [format!("timesyncd:{main}")]);
}

#[test]
fn running_daemons_name_files_and_servers() {
    let tree = Tree::new(&[
        ("srv/ntp.conf", ""),
        ("etc/chrony/chrony.conf", ""),
        ("etc/my.conf", ""),
    ]);
    tree.process(
        10,
        "/usr/sbin/chronyd",
        &["chronyd", "-f", "{}/etc/chrony/chrony.conf"],
    );
    tree.process(
        11,
        "/usr/sbin/ntpd",
        &["ntpd", "-c", "ntp.conf", "a.example"],
    );
    tree.process(12, "/usr/sbin/ntpd", &["ntpd", "-sf", "{}/etc/my.conf"]);
    tree.process(
        13,
        "/usr/sbin/chronyd",
        &["chronyd", "-f", "/x.conf", "server a.example"],
    );
    tree.process(14, "/bin/sh", &["sh", "-c", "chronyd"]);
    tree.process(15, "/bin/busybox", &["ntpd", "-p", "a.example"]);
    assert_eq!(
        found(&tree),
        [
            "chrony:etc/chrony/chrony.conf",
            "command-line:proc/11/cmdline",
            "ntp.conf:srv/ntp.conf",
            "openntpd:etc/my.conf",
            "command-line:proc/13/cmdline",
            "command-line:proc/15/cmdline",
        ]
    );
    let sources = discover(&tree.path(""), &[]).sources;
    assert!(sources[0].why.ends_with("; chronyd is running, pid 10"));
    assert!(!sources[0].fleeting && sources[1].fleeting);
}

#[test]
fn a_daemon_that_sees_other_files_is_configured_by_those() {
    let tree = Tree::new(&[
        ("etc/chrony/chrony.conf", ""),
        (
            "container/etc/chrony/chrony.conf",
            "include /etc/more.conf\nserver a.example\n",
        ),
        ("container/etc/more.conf", "server b.example\n"),
        ("container/x.conf", ""),
    ]);
    tree.process(10, "/usr/sbin/chronyd", &["chronyd"]);
    tree.process(11, "/usr/sbin/ntpd", &["ntpd", "-c", "/x.conf"]);
    tree.process(12, "/usr/sbin/chronyd", &["chronyd"]);
    for process in ["10", "11"] {
        let root = tree.path("proc").join(process).join("root");
        symlink(tree.path("container"), root).expect("a link");
    }
    assert_eq!(
        found(&tree),
        [
            "chrony:etc/chrony/chrony.conf",
            "chrony:proc/10/root/etc/chrony/chrony.conf",
            "ntp.conf:proc/11/root/x.conf",
        ]
    );
    let reading =
        discover(&tree.path(""), &[]).sources[1].read(&crate::work::readers_on_threads(), false);
    assert_eq!(
        tree.wants(&reading),
        [
            "proc/10/root/etc/more.conf:1:8 b.example server",
            "proc/10/root/etc/chrony/chrony.conf:2:8 a.example server",
        ]
    );
}

#[test]
fn what_people_run_is_not_listened_to() {
    let tree = Tree::new(&[]);
    for pid in [10, 11, 12] {
        tree.process(pid, "/usr/sbin/ntpd", &["ntpd", "a.example"]);
    }
    for (pid, uids) in [(10, "1000\t1000\t1000\t1000"), (12, "1000\t0\t0\t0")] {
        let status = tree.path("proc").join(pid.to_string()).join("status");
        fs::write(status, format!("Uid:\t{uids}\n")).expect("written");
    }
    assert_eq!(found(&tree), ["command-line:proc/11/cmdline"]);
    assert!(discover(&tree.path(""), &[]).problems.is_empty());
}

#[test]
fn a_program_that_others_can_write_is_not_listened_to_and_a_finding() {
    let tree = Tree::new(&[]);
    tree.process(12, "/home/me/ntpd", &["ntpd", "a.example"]);
    tree.process(13, "/opt/sbin/chronyd", &["chronyd", "server a.example"]);
    chown(tree.path("home/me/ntpd"), Some(1000), None).expect("another's");
    let anybody = fs::Permissions::from_mode(0o777);
    fs::set_permissions(tree.path("opt"), anybody).expect("everybody's");
    assert!(found(&tree).is_empty());
    let problems = discover(&tree.path(""), &[]).problems;
    let texts: Vec<&str> = problems.iter().map(|found| &*found.message).collect();
    assert!(texts[0].starts_with("chronyd runs from /") && texts[0].contains("/opt, "));
    assert!(texts[1].contains("/home/me/ntpd, "), "{texts:?}");
    // In a sticky directory a name is its owner's.
    let sticky = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(tree.path("opt"), sticky).expect("everybody's");
    assert_eq!(found(&tree), ["command-line:proc/13/cmdline"]);
}

#[test]
fn a_daemon_under_an_unknown_account_is_a_finding_and_not_listened_to() {
    let tree = Tree::new(&[("etc/passwd", "www-data:x:33:33::/:/bin/false\n")]);
    tree.process(10, "/usr/sbin/chronyd", &["chronyd", "server a.example"]);
    let status = tree.path("proc/10/status");
    fs::write(status, "Uid:\t33\t33\t33\t33\n").expect("written");
    assert!(found(&tree).is_empty());
    let problems = discover(&tree.path(""), &[]).problems;
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    assert_eq!(problem.severity, Severity::Note);
    let cure = "`accounts = { chronyd = [\"www-data\"] }`";
    assert!(problem.message.contains(cure), "{problem}");
}

#[test]
fn a_daemon_in_another_network_namespace_is_none_of_ours() {
    let tree = Tree::new(&[]);
    tree.process(10, "/usr/sbin/ntpd", &["ntpd", "a.example"]);
    for (process, network) in [("self", "net:[1]"), ("10", "net:[2]")] {
        let directory = tree.path("proc").join(process).join("ns");
        fs::create_dir_all(&directory).expect("made");
        symlink(network, directory.join("net")).expect("a link");
    }
    assert!(found(&tree).is_empty());
}

#[test]
fn a_daemon_in_a_container_is_not_read_and_that_is_a_finding() {
    let tree = Tree::new(&[("container/etc/chrony.conf", "server a.example\n")]);
    tree.process(10, "/usr/sbin/chronyd", &["chronyd"]);
    let root = tree.path("proc/10/root");
    symlink(tree.path("container"), &root).expect("a link");
    fs::write(tree.path("proc/10/cgroup"), "0::/docker/01\n").expect("written");
    let found = discover(&tree.path(""), &[]).sources;
    assert_eq!(found.len(), 1);
    assert!(!found[0].is_read() && found[0].path == root);
    let reading = found[0].read(&crate::work::readers_on_threads(), false);
    assert!(reading.wants.is_empty() && reading.channels.is_empty());
    let problem = reading.problems[0].to_string();
    assert!(problem.contains("runs in a container"), "{problem}");
    assert!(problem.contains("--trust"), "{problem}");
}

#[test]
fn processes_of_its_own_make_a_container_and_mounts_do_not() {
    let tree = Tree::new(&[("container/etc/chrony.conf", "server a.example\n")]);
    tree.process(10, "/usr/sbin/chronyd", &["chronyd"]);
    symlink(tree.path("container"), tree.path("proc/10/root")).expect("a link");
    assert_eq!(found(&tree), ["chrony:proc/10/root/etc/chrony.conf"]);
    assert!(discover(&tree.path(""), &[]).sources[0].must_be_polled());
    for (process, namespace) in [("self", "pid:[1]"), ("10", "pid:[2]")] {
        let directory = tree.path("proc").join(process).join("ns");
        fs::create_dir_all(&directory).expect("made");
        symlink(namespace, directory.join("pid")).expect("a link");
    }
    assert_eq!(found(&tree), ["chrony:proc/10/root"]);
}

#[test]
fn one_file_of_two_daemons_is_the_word_of_who_counts_more() {
    let tree = Tree::new(&[("etc/my.conf", "")]);
    let arguments = ["chronyd", "-f", "{}/etc/my.conf"];
    tree.process(10, "/usr/sbin/chronyd", &arguments);
    tree.process(11, "/usr/sbin/chronyd", &arguments);
    let path = tree.path("etc/my.conf");
    let of = |speaker| {
        let source = Source::found(Kind::Chrony, path.clone(), "x".to_owned());
        source.of_running(Files::of_host(speaker))
    };
    for pair in [
        [Speaker::Root, Speaker::Container],
        [Speaker::Container, Speaker::Root],
    ] {
        let [mut one, other] = pair.map(of);
        one.unite(other);
        assert_eq!(one.files().map(Files::speaker), Some(Speaker::Root));
    }
    assert_eq!(found(&tree), ["chrony:etc/my.conf"]);
}
