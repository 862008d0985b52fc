//! Which process listens at the other end of a Unix stream socket (unix(7)).

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        getsockopt,
        sockopt::{PeerCredentials, PeerPidfd},
    },
};

/// The process id of the listener.
///
/// A descriptor of the process (Linux 6.5) makes sure that it is still the one that listened. Before,
/// the kernel has its number alone, which is another's if the listener ended and left its socket.
pub(super) fn listener(stream: &impl AsFd) -> io::Result<u32> {
    match getsockopt(stream, PeerPidfd) {
        Ok(process) => pid_of(&process),
        Err(Errno::ENOPROTOOPT) => {
            let credentials = getsockopt(stream, PeerCredentials)?;
            u32::try_from(credentials.pid()).map_err(|_| ended())
        }
        Err(_) => Err(ended()),
    }
}

/// The number of a process, as long as it lives.
fn pid_of(process: &OwnedFd) -> io::Result<u32> {
    let path = format!("/proc/self/fdinfo/{}", process.as_raw_fd());
    let text = fs::read_to_string(path)?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    // It is -1 for one that has ended, and 0 for one that this process cannot see.
    let pid = pid.and_then(|pid| pid.trim().parse().ok());
    pid.filter(|pid| *pid != 0).ok_or_else(ended)
}

fn ended() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "the listening process has exited",
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn the_process_that_listens_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _listening = UnixListener::bind(&path).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        assert_eq!(listener(&stream).unwrap(), std::process::id());
    }
}
