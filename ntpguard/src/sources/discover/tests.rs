//! Hosts as distributions set them up.

use std::os::unix::fs::{chown, symlink};

use super::{super::testing::Tree, *};

fn found(tree: &Tree) -> Vec<String> {
    let root = tree.path("");
    discover(&root)
        .iter()
        .map(|source| {
            let path = source.path.strip_prefix(&root).expect("under the root");
            format!("{}:{}", source.kind.name(), path.display())
        })
        .collect()
}

/// A running daemon; `{}` in an argument stands for the root.
fn run(tree: &Tree, pid: u32, program: &str, arguments: &[&str]) {
    let directory = tree.path("proc").join(pid.to_string());
    fs::create_dir_all(&directory).expect("made");
    let root = tree.path("").display().to_string();
    let line = arguments.join("\0").replace("{}/", &root) + "\0";
    fs::write(directory.join("cmdline"), line).expect("written");
    fs::write(directory.join("status"), "Uid:\t0\t102\t102\t102\n").expect("written");
    let file = tree.path(program.trim_start_matches('/'));
    fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    fs::write(&file, "").expect("written");
    symlink(file, directory.join("exe")).expect("a link");
    symlink(tree.path("srv"), directory.join("cwd")).expect("a link");
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
    run(&tree, 7, "/usr/lib/systemd/systemd-timesyncd", &["x"]);
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
    run(
        &tree,
        10,
        "/usr/sbin/chronyd",
        &["chronyd", "-f", "{}/etc/chrony/chrony.conf"],
    );
    run(
        &tree,
        11,
        "/usr/sbin/ntpd",
        &["ntpd", "-c", "ntp.conf", "a.example"],
    );
    run(
        &tree,
        12,
        "/usr/sbin/ntpd",
        &["ntpd", "-sf", "{}/etc/my.conf"],
    );
    run(
        &tree,
        13,
        "/usr/sbin/chronyd",
        &["chronyd", "-f", "/x.conf", "server a.example"],
    );
    run(&tree, 14, "/bin/sh", &["sh", "-c", "chronyd"]);
    run(&tree, 15, "/bin/busybox", &["ntpd", "-p", "a.example"]);
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
    let sources = discover(&tree.path(""));
    assert!(sources[0].why.ends_with("; chronyd runs, pid 10"));
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
    run(&tree, 10, "/usr/sbin/chronyd", &["chronyd"]);
    run(&tree, 11, "/usr/sbin/ntpd", &["ntpd", "-c", "/x.conf"]);
    run(&tree, 12, "/usr/sbin/chronyd", &["chronyd"]);
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
    let reading = discover(&tree.path(""))[1].read(false);
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
    for pid in [10, 11] {
        run(&tree, pid, "/usr/sbin/ntpd", &["ntpd", "a.example"]);
    }
    run(&tree, 12, "/home/me/ntpd", &["ntpd", "a.example"]);
    fs::write(
        tree.path("proc/10/status"),
        "Uid:\t1000\t1000\t1000\t1000\n",
    )
    .expect("written");
    chown(tree.path("home/me/ntpd"), Some(1000), None).expect("another's");
    assert_eq!(found(&tree), ["command-line:proc/11/cmdline"]);
}

#[test]
fn a_daemon_in_another_network_namespace_is_none_of_ours() {
    let tree = Tree::new(&[]);
    run(&tree, 10, "/usr/sbin/ntpd", &["ntpd", "a.example"]);
    for (process, network) in [("self", "net:[1]"), ("10", "net:[2]")] {
        let directory = tree.path("proc").join(process).join("ns");
        fs::create_dir_all(&directory).expect("made");
        symlink(network, directory.join("net")).expect("a link");
    }
    assert!(found(&tree).is_empty());
}
