//! Network namespaces, pin directories, and frames on the wire.

use std::{
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use nix::{
    libc,
    sched::{CloneFlags, unshare},
    unistd::Uid,
};
use ntpguard_common::maps::tables::{DENY, Grant, Origin, Role};

use crate::{
    allowlist::projection::Projection,
    datapath::{Error, Interface, interface::netlink, unload},
};

/// Runs a test in a network namespace of its own, which ends with it.
pub(super) fn in_netns<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    assert!(
        Uid::effective().is_root(),
        "this test needs root: it makes a network namespace"
    );
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            run("ip link set lo up");
            test()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A pin directory that is removed with its contents when the test ends, however it ends.
pub(super) struct Pins(pub(super) PathBuf);

impl Pins {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("/sys/fs/bpf/ngtest-{}-{number}", std::process::id()).into())
    }

    pub(super) fn list(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.0.join(dir)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if let Err(error) = unload(&self.0) {
            eprintln!("left behind: {}: {error}", self.0.display());
        }
    }
}

/// Runs a command and returns what it printed.
pub(super) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap();
    let output = Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn bpftool(arguments: &str) -> serde_json::Value {
    serde_json::from_str(&run(&format!("bpftool -j {arguments}"))).unwrap()
}

/// What bpftool says of the link pinned for an interface.
pub(super) fn link(pins: &Pins, interface: &Interface) -> serde_json::Value {
    let path = pins.0.join(format!("links/{}-ingress", interface.index));
    bpftool(&format!("link show pinned {}", path.display()))
}

/// The kernel's number of a pinned map.
pub(super) fn map_id(path: &Path) -> u64 {
    bpftool(&format!("map show pinned {}", path.display()))["id"]
        .as_u64()
        .unwrap()
}

pub(super) fn interface(name: &str) -> Result<Interface, Error> {
    let name = name.to_owned();
    netlink::blocking(async move { Interface::by_name(&name).await })
}

/// A pair of connected interfaces, both up: the first is to be guarded.
pub(super) fn veth(name: &str) -> Interface {
    run(&format!("ip link add {name} type veth peer name {name}p"));
    run(&format!("ip link set {name}p up"));
    run(&format!("ip link set {name} up"));
    interface(name).unwrap()
}

/// The grant of one role to a time server.
pub(super) fn server() -> Grant {
    Grant {
        roles: Role::Server.bit(),
        origins: Origin::Config.bit(),
        ..Grant::default()
    }
}

pub(super) fn deny() -> Grant {
    Grant {
        roles: DENY,
        origins: Origin::Manual.bit(),
        ..Grant::default()
    }
}

/// A projection of these addresses and prefixes, all time servers.
pub(super) fn servers(places: &[&str]) -> Projection {
    let mut projection = Projection::default();
    for place in places {
        if let Ok(address) = place.parse() {
            projection.addresses.insert(address, server());
        } else {
            projection.prefixes.insert(place.parse().unwrap(), server());
        }
    }
    projection
}

/// The guarded host, and what its requests carry for a transmit timestamp.
const US: [u8; 4] = [192, 0, 2, 200];
const TOKEN: [u8; 8] = *b"transmit";
const OUR_PORT: u16 = 40_000;

/// A mode-4 packet from port 123 of `source`, from its IP header on. It answers [`request`].
pub(super) fn reply(source: &str) -> Vec<u8> {
    datagram(source.parse().unwrap(), 123)
}

/// A mode-3 packet to port 123 of `server`, from its IP header on.
pub(super) fn request(server: &str) -> Vec<u8> {
    let mut ntp = [0; 48];
    ntp[0] = 0x23;
    ntp[40..].copy_from_slice(&TOKEN);
    let server: Ipv4Addr = server.parse().unwrap();
    packet((US, OUR_PORT), (server.octets(), 123), &ntp)
}

/// The same with an Ethernet header.
pub(super) fn framed(packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 0x08, 0x00]);
    frame.extend(packet);
    frame
}

fn datagram(source: Ipv4Addr, source_port: u16) -> Vec<u8> {
    let mut ntp = [0; 48];
    ntp[0] = 0x24;
    ntp[24..32].copy_from_slice(&TOKEN);
    packet((source.octets(), source_port), (US, OUR_PORT), &ntp)
}

fn packet(from: ([u8; 4], u16), to: ([u8; 4], u16), payload: &[u8; 48]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 76, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(from.0);
    packet.extend(to.0);
    packet.extend(from.1.to_be_bytes());
    packet.extend(to.1.to_be_bytes());
    packet.extend([0, 56, 0, 0]);
    packet.extend(payload);
    let sum: u32 = packet[..20]
        .chunks(2)
        .map(|two| u32::from(two[0]) << 8 | u32::from(two[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// A wire into a guarded interface.
pub(super) struct Wire {
    sender: OwnedFd,
    receiver: OwnedFd,
}

impl Wire {
    /// From the peer of a veth interface.
    pub(super) fn into(guarded: &Interface) -> Self {
        let peer = interface(&format!("{}p", guarded.name)).unwrap();
        Self {
            sender: packet_socket(peer.index),
            receiver: packet_socket(guarded.index),
        }
    }

    /// Whether a reply from `source` to a request that leaves first passes the guard. A packet that
    /// is none of its business goes after it, so that nothing has to be waited for in vain.
    pub(super) fn passes(&self, source: &str) -> bool {
        send(&self.receiver, &framed(&request(source)));
        let reply = framed(&reply(source));
        let marker = framed(&datagram(source.parse().unwrap(), 9));
        for frame in [&reply, &marker] {
            send(&self.sender, frame);
        }
        let mut passed = false;
        loop {
            let mut buffer = [0_u8; 2048];
            // SAFETY: the buffer is as long as the length says.
            let received = unsafe {
                libc::recv(
                    self.receiver.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    2048,
                    0,
                )
            };
            assert!(
                received >= 0,
                "the marker: {}",
                std::io::Error::last_os_error()
            );
            let frame = &buffer[..received.cast_unsigned()];
            passed |= frame == reply;
            if frame == marker {
                return passed;
            }
        }
    }
}

fn send(socket: &OwnedFd, frame: &[u8]) {
    // SAFETY: the buffer is as long as the length says.
    let sent = unsafe { libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
    assert_eq!(
        sent,
        frame.len().cast_signed(),
        "{}",
        std::io::Error::last_os_error()
    );
}

fn packet_socket(interface: u32) -> OwnedFd {
    let all = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: the call takes no pointer, and what it returns belongs to nobody yet.
    let fd = unsafe {
        let fd = libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            i32::from(all),
        );
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: all zeros is a valid address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = all;
    address.sll_ifindex = interface.cast_signed();
    let patience = libc::timeval {
        tv_sec: 5,
        tv_usec: 0,
    };
    // SAFETY: each structure is as long as the length says.
    unsafe {
        let length = size_of_val(&address) as u32;
        assert_eq!(
            libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length),
            0
        );
        let length = size_of_val(&patience) as u32;
        let value = (&raw const patience).cast();
        let set = libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            value,
            length,
        );
        assert_eq!(set, 0);
    }
    fd
}

/// A tun device with a descriptor that puts packets into it.
pub(super) fn tun(name: &str) -> std::fs::File {
    const TUNSETIFF: u64 = 0x4004_54ca;
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .unwrap();
    // SAFETY: all zeros is a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::try_from(from).unwrap();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: the request is what this ioctl takes.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    file
}

/// Gives a tun device that is down another link type.
pub(super) fn set_link_type(tun: &std::fs::File, number: u16) {
    const TUNSETLINK: u64 = 0x4004_54cd;
    // SAFETY: the ioctl takes a number.
    let done = unsafe { libc::ioctl(tun.as_raw_fd(), TUNSETLINK, u64::from(number)) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
