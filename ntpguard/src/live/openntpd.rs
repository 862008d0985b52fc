//! OpenNTPD's ntpctl, which knows the layout of its version's control socket.

use std::net::IpAddr;

use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::{Answer, AskError, Asked, InUse, is_absent};
use crate::sources::unicast;

/// OpenNTPD.
pub(super) struct OpenNtpd;

impl Asked for OpenNtpd {
    fn name(&self) -> &'static str {
        "OpenNTPD"
    }

    fn ask(&self) -> BoxFuture<'_, Result<Option<Answer>, AskError>> {
        Box::pin(async {
            let mut command = Command::new("ntpctl");
            command.args(["-s", "peers"]).kill_on_drop(true);
            let output = match command.output().await {
                Err(error) if is_absent(&error) => return Ok(None),
                other => other?,
            };
            if output.status.success() {
                return decode(&String::from_utf8_lossy(&output.stdout)).map(Some);
            }
            let errors = String::from_utf8_lossy(&output.stderr);
            // "connect: /var/run/ntpd.sock: No such file or directory"
            if errors.contains("connect:") {
                return Ok(None);
            }
            Err(AskError::Refused(errors.trim().to_owned()))
        })
    }
}

/// Reads a table in which each peer has a line for its address and one, indented, for the rest.
pub(super) fn decode(text: &str) -> Result<Answer, AskError> {
    let mut lines = text.lines();
    match lines.next() {
        Some("peer") => {}
        // "no peers configured", or nothing
        None => return Ok(Answer::default()),
        Some(line) if line.starts_with("no ") => return Ok(Answer::default()),
        Some(line) => {
            return Err(AskError::Nonsense(format!(
                "{line:?} where `peer` is expected"
            )));
        }
    }
    let mut answer = Answer::default();
    let mut known = false;
    for line in lines {
        if !line.starts_with(' ') {
            let source = peer(line);
            known = source.is_some();
            answer.sources.extend(source);
        } else if let Some(source) = answer.sources.last_mut()
            && known
        {
            source.selected |= line.trim_start().starts_with('*');
        }
    }
    Ok(answer)
}

/// Reads `192.0.2.1 from pool a.example`, `192.0.2.1 a.example` or `not resolved from pool …`.
fn peer(line: &str) -> Option<InUse> {
    let mut words = line.split_ascii_whitespace();
    let address: IpAddr = words.next()?.parse().ok()?;
    let name = words.next_back().map(str::to_owned);
    Some(InUse::server(unicast(address)?, name, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_lines_that_begin_with_an_address() {
        let text = "peer\n   wt tl st  next  poll          offset       delay      jitter\n\
                    192.0.2.1 from pool a.example\n    1 10  3   29s   33s         0.1ms     5.0ms     0.1ms\n\
                    not resolved from pool b.example\n *  1 10  3   29s   33s\n\
                    2001:db8::1 c.example\n *  1 10  3   29s   33s         0.1ms     5.0ms     0.1ms\n";
        let named = |address: &str, name: &str, selected| {
            InUse::server(address.parse().unwrap(), Some(name.to_owned()), selected)
        };
        assert_eq!(
            decode(text).unwrap().sources,
            [
                named("192.0.2.1", "a.example", false),
                named("2001:db8::1", "c.example", true)
            ]
        );
    }

    #[test]
    fn no_peers_are_none_and_nonsense_is_told() {
        assert_eq!(decode("").unwrap(), Answer::default());
        assert_eq!(decode("no peers\n").unwrap(), Answer::default());
        assert!(matches!(
            decode("usage: ntpctl"),
            Err(AskError::Nonsense(_))
        ));
    }
}
