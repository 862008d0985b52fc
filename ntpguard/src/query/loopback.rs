//! Loopback ports that only root can listen at: what answers there is a daemon's of this network
//! namespace, and no ordinary user's.

use std::{fs, io, net::Ipv4Addr, path::Path};

use tokio::net::UdpSocket;

use super::AskError;

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
fn first_unprivileged(setting: &Path) -> io::Result<u16> {
    match fs::read_to_string(setting) {
        Ok(text) => {
            let first = text.trim().parse::<u32>();
            let first = first.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            Ok(u16::try_from(first).map_or(PRIVILEGED, |first| first.min(PRIVILEGED)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(PRIVILEGED),
        Err(error) => Err(error),
    }
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
    }

    #[tokio::test]
    async fn a_port_that_any_user_can_take_is_not_asked() {
        for port in [1024, 10_323, u16::MAX] {
            let refused = connect(port).await.unwrap_err();
            assert!(matches!(refused, AskError::AnyonesPort { .. }), "{refused}");
        }
    }
}
