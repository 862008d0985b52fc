//! Files of the system that the guard may not read: no servers are lost without a word.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    config::ConfigFile, daemons::chrony::Chronyd, guard::Guard, wait::eventually,
};
use serde_json::Value;

use super::{HEARD, Network};

const FILES: [&str; 3] = [
    "/etc/hosts",
    "/etc/resolv.conf",
    "/proc/sys/net/ipv4/ip_unprivileged_port_start",
];

/// Puts one file over each of these, in a mount namespace of its own, and becomes the command without
/// root's way around permissions.
const SCRIPT: &str = r#"for file in FILES; do mount --bind "$0" "$file" || exit 1; done
    exec setpriv --bounding-set=-dac_override,-dac_read_search -- "$@""#;

/// The arguments that start the guard so.
fn refused_by(secret: &Path) -> Result<[String; 6]> {
    let script = SCRIPT.replace("FILES", &FILES.join(" "));
    let secret = secret.to_str().context("a path that is no text")?;
    Ok(["unshare", "--mount", "sh", "-c", &script, secret].map(str::to_owned))
}

#[test]
fn each_file_that_may_not_be_read_is_a_finding_with_its_cure() -> Result<()> {
    const OTHER: u32 = 1_500;
    let secret = tempfile::NamedTempFile::new()?;
    chown(secret.path(), Some(OTHER), Some(OTHER))?;
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o600))?;
    let network = Network::new()?;
    let client = &network.client;
    let config = ConfigFile::chrony("server time.test iburst\ncmdport 323\n")?;
    let _chronyd = Chronyd::start(
        &client.namespace,
        "cmdport 323\n",
        Some(network.dns.address()),
    )?;
    let guard = Guard::builder(&client.namespace)
        .interface(&client.port.interface)
        .source(config.path())
        .under(refused_by(secret.path())?)
        .ready()?;
    eventually(HEARD, "a finding for each file", || {
        let status = guard.json(&["status", "--json"])?;
        let problems = status["problems"].as_array().context("no list")?;
        for (file, cure) in FILES
            .iter()
            .zip(["run as root", "--resolver", "run as root"])
        {
            let told = problems.iter().filter(|problem| {
                let message = problem["message"].as_str().unwrap_or_default();
                problem["place"]["file"] == *file
                    && message.contains("Permission denied")
                    && message.contains(cure)
            });
            ensure!(
                told.count() == 1,
                "{file}: {}",
                Value::from(problems.clone())
            );
        }
        Ok(())
    })
    .with_context(|| guard.stderr())?;
    let log = guard.stderr();
    for words in [
        "/etc/hosts: cannot be read (",
        "cannot read /etc/resolv.conf: ",
        "cannot read which ports are unprivileged",
    ] {
        ensure!(log.matches(words).count() == 1, "{words:?}: {log}");
    }
    Ok(())
}
