//! Interfaces whose packets the test itself sends and receives.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
};

use anyhow::{Context, Result, ensure};
use nix::libc;

use crate::{
    link::{self, Port},
    names,
    namespace::Namespace,
};

/// `ARPHRD_*` of a kind of link that no guard can know: 802.15.4 monitors.
const STRANGE_LINK: libc::c_int = 805;

mod ioctl {
    //! Requests of `linux/if_tun.h`.
    use nix::libc;

    nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_int_bad!(set_link, libc::TUNSETLINK);
}

/// A tun or tap device: frames written here arrive at its interface, frames the host sends out
/// of the interface are read here. It goes when this is dropped.
#[derive(Debug)]
pub struct Tun {
    device: File,
    /// The interface.
    pub port: Port,
}

impl Tun {
    /// A tun device, whose frames begin with the IP header, up and with addresses.
    ///
    /// # Errors
    ///
    /// Without `/dev/net/tun`, or where the kernel refuses.
    pub fn raw_ip(namespace: &Namespace, addresses: &[&str]) -> Result<Self> {
        let tun = Self::open(namespace, libc::IFF_TUN)?;
        for address in addresses {
            link::add_address(namespace, &tun.port.interface, address)?;
        }
        namespace.ip(&["link", "set", &tun.port.interface, "up"])?;
        Ok(tun)
    }

    /// A device that says it is of a kind of link unknown to every guard. It is not up.
    ///
    /// # Errors
    ///
    /// Without `/dev/net/tun`, or where the kernel refuses.
    pub fn strange(namespace: &Namespace) -> Result<Self> {
        let tun = Self::open(namespace, libc::IFF_TAP)?;
        // SAFETY: TUNSETLINK takes a number, and the file is open.
        unsafe { ioctl::set_link(tun.device.as_raw_fd(), STRANGE_LINK) }
            .context("cannot change a tap device's kind of link")?;
        Ok(tun)
    }

    /// Lets a frame arrive at the interface.
    ///
    /// # Errors
    ///
    /// When the interface is down or the frame is none.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        let written = self
            .device
            .write(frame)
            .context("cannot write to a tun device")?;
        ensure!(
            written == frame.len(),
            "a tun device took {written} bytes of {}",
            frame.len()
        );
        Ok(())
    }

    /// The next frame that the host sent out of the interface; `None` while there is none.
    ///
    /// # Errors
    ///
    /// When the interface is down.
    pub fn receive(&mut self) -> Result<Option<Vec<u8>>> {
        let mut frame = vec![0; usize::from(u16::MAX)];
        match self.device.read(&mut frame) {
            Ok(len) => {
                frame.truncate(len);
                Ok(Some(frame))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("cannot read from a tun device"),
        }
    }

    fn open(namespace: &Namespace, kind: libc::c_int) -> Result<Self> {
        let interface = format!("t{}", names::number());
        // The interface will be where the device was opened.
        let device = namespace.enter(|| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open("/dev/net/tun")
                .context("cannot open /dev/net/tun")
        })?;
        let request = request(&interface, kind)?;
        // SAFETY: TUNSETIFF reads an ifreq, which `request` is, and the file is open.
        unsafe { ioctl::set_interface(device.as_raw_fd(), &raw const request) }
            .context("cannot make a tun device")?;
        Ok(Self {
            device,
            port: Port::find(namespace, &interface)?,
        })
    }
}

fn request(interface: &str, kind: libc::c_int) -> Result<libc::ifreq> {
    let mut name: [libc::c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    ensure!(
        interface.len() < name.len(),
        "{interface} is too long for an interface's name"
    );
    for (place, byte) in name.iter_mut().zip(interface.bytes()) {
        *place = libc::c_char::try_from(byte)?;
    }
    let flags = libc::c_short::try_from(kind | libc::IFF_NO_PI)?;
    Ok(libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    })
}
