//! Pipes where files are expected.

use anyhow::{Result, ensure};
use nix::{sys::stat::Mode, unistd::mkfifo};
use ntpguard_tests::lab::Lab;

use super::answers::Answers;

/// Puts the pipe $0 over what the names of hosts and the DNS servers are in, in a mount namespace of its
/// own, and becomes the command.
const OVER: &str =
    r#"mount --bind "$0" /etc/hosts && mount --bind "$0" /etc/resolv.conf && exec "$@""#;

#[test]
fn a_pipe_over_the_hosts_file_is_not_waited_for() -> Result<()> {
    let lab = Lab::new()?;
    let pipe = lab.file("pipe");
    mkfifo(&pipe, Mode::S_IRWXU)?;
    let conf = lab.write("ntp.conf", "server time.test\nserver 192.0.2.1\n")?;
    let wrapper = ["unshare", "--mount", "sh", "-c", OVER].map(Into::into);
    let wrapper = wrapper.into_iter().chain([pipe.into_os_string()]);
    let mut guard = lab.guard().under(wrapper).source(&conf).ready()?;
    let mut answers = Answers::default();
    for _ in 0..10 {
        answers.ask(&guard)?;
    }
    answers.are_soon("with a pipe over /etc/hosts")?;
    let status = guard.json(&["status", "--json"])?;
    let error = status["names"].to_string();
    ensure!(error.contains("not a regular file"), "{error}");
    let ended = guard.interrupt()?;
    ensure!(ended.success(), "{ended}");
    Ok(())
}
