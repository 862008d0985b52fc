//! Loopback ports that only root can listen at: what answers there is a daemon's of this network
//! namespace, and no ordinary user's.

use std::{fs, io, net::Ipv4Addr, path::Path};

use tokio::net::UdpSocket;

use super::AskError;
use crate::lookup::Lookup;

/// Ports from here on are anyone's, whatever the kernel is set to.
const PRIVILEGED: u16 = 1024;

/// The first port that any user of this network namespace may take (Linux 4.11).
const FIRST_UNPRIVILEGED: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// A socket that exchanges datagrams with `port` of 127.0.0.1 and with no other.
pub(super) async fn connect(port: u16) -> Result<UdpSocket, AskError> {
    let first = first_unprivileged(Path::new(FIRST_UNPRIVILEGED))?;
    if port >= first {
        return Err(AskError::AnyonesPort { port, first });
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect((Ipv4Addr::LOCALHOST, port)).await?;
    Ok(socket)
}

/// The first port that is anyone's. A kernel without the setting has it at 1024.
fn first_unprivileged(setting: &Path) -> Result<u16, AskError> {
    let unseen = |error| AskError::PortsUnseen {
        setting: setting.to_owned(),
        error,
    };
    let text = match Lookup::of(fs::read_to_string(setting)) {
        Lookup::Found(text) => text,
        Lookup::Absent => return Ok(PRIVILEGED),
        Lookup::Refused(error) => return Err(unseen(error)),
    };
    let first = text.trim().parse::<u32>();
    let first = first.map_err(|error| unseen(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    Ok(u16::try_from(first).map_or(PRIVILEGED, |first| first.min(PRIVILEGED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_privileged_up_to_the_setting_and_never_from_1024_on() {
        let directory = tempfile::tempdir().unwrap();
        let setting = directory.path().join("start");
        assert_eq!(first_unprivileged(&setting).unwrap(), 1024);
        for (text, first) in [
            ("1024\n", 1024),
            ("0\n", 0),
            ("300\n", 300),
            ("5000\n", 1024),
            ("65536\n", 1024),
        ] {
            fs::write(&setting, text).unwrap();
            assert_eq!(first_unprivileged(&setting).unwrap(), first, "{text:?}");
        }
        fs::write(&setting, "nonsense").unwrap();
        assert!(first_unprivileged(&setting).is_err());

        // What cannot be read is not what is not there: any user may have the port.
        fs::remove_file(&setting).unwrap();
        std::os::unix::fs::symlink(&setting, &setting).unwrap();
        let refused = first_unprivileged(&setting).unwrap_err();
        assert!(!refused.is_by_choice());
        let problem = refused.problem().unwrap().to_string();
        assert!(
            problem.contains("cannot be read (") && problem.contains("run as root"),
            "{problem}"
        );
    }

    #[tokio::test]
    async fn a_port_that_any_user_can_take_is_not_asked() {
        for port in [1024, 10_323, u16::MAX] {
            let refused = connect(port).await.unwrap_err();
            assert!(matches!(refused, AskError::AnyonesPort { .. }), "{refused}");
        }
    }
}
