//! The programs of the kernel half's `bench.rs`.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, ProgramArray},
    programs::{ProgramFd, SchedClassifier, TestRun as _, TestRunAttrs, TestRunOptions, Xdp},
};
// aya takes this and does not export it.
use aya_obj::programs::XdpAttachType;

static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("NTPGUARD_OBJECTS"), "/ntpguard-bench-bpf"));

/// Where the sources of IPv4 and IPv6 frames end, and the checksums over them begin, behind an
/// Ethernet header; IPv6 has one in UDP only.
const V4_AT: (u32, u32) = (14 + 12, 14 + 10);
const V6_AT: (u32, u32) = (14 + 8 + 12, 14 + 40 + 6);

/// Frames handed on at once: what a driver's NAPI poll takes.
const BATCH: u32 = 64;

/// Sources that take turns at random: `count` addresses from `first` on.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    /// The first of them.
    pub first: IpAddr,
    /// How many there are.
    pub count: u32,
}

/// A program of the object, and the object it lives in.
#[derive(Debug)]
pub struct Program {
    object: Ebpf,
    name: &'static str,
}

impl Program {
    /// One that passes every packet.
    pub fn pass() -> Result<Self> {
        Self::load("pass", &Numbers::default())
    }

    /// One that drops every packet.
    pub fn refuse() -> Result<Self> {
        Self::load("refuse", &Numbers::default())
    }

    /// One that drops what has port 123 on both sides, over IPv4 without tags or options.
    pub fn ports() -> Result<Self> {
        Self::load("ports", &Numbers::default())
    }

    /// The same with a bit to look up for the source and a counter.
    pub fn known() -> Result<Self> {
        Self::load("known", &Numbers::default())
    }

    /// One that lets every packet leave.
    pub fn pass_out() -> Result<Self> {
        Self::load("pass_out", &Numbers::default())
    }

    /// One that sends frames from these sources.
    pub fn transmit(sources: Sources) -> Result<Self> {
        Self::load("transmit", &Numbers::of(sources))
    }

    /// One that hands each packet to `next`, from one of the sources.
    pub fn scatter(sources: Sources, next: &Xdp) -> Result<Self> {
        Self::load("scatter", &Numbers::of(sources))?.before(next.fd()?)
    }

    /// One that hands each packet to `next`, with another token at this place in the frame.
    pub fn number(token_at: u32, next: &Xdp) -> Result<Self> {
        Self::load("number", &Numbers::token(token_at))?.before(next.fd()?)
    }

    /// The same for packets that leave.
    pub fn number_out(token_at: u32, next: &SchedClassifier) -> Result<Self> {
        Self::load("number_out", &Numbers::token(token_at))?.before(next.fd()?)
    }

    fn before(mut self, next: &ProgramFd) -> Result<Self> {
        let map = self.object.map_mut("NEXT").context("no map NEXT")?;
        ProgramArray::try_from(map)?
            .set(0, next, 0)
            .context("cannot put a program behind another")?;
        Ok(self)
    }

    fn load(name: &'static str, numbers: &Numbers) -> Result<Self> {
        let object = load(&[name], numbers)?;
        Ok(Self { object, name })
    }
    /// Begins with the first token again; none is zero, which means no token.
    pub fn restart(&mut self) -> Result<()> {
        let map = self.object.map_mut("NUMBER").context("no map NUMBER")?;
        Array::<_, u32>::try_from(map)?
            .set(0, 1, 0)
            .context("cannot begin anew")
    }

    /// The program, where it is for packets that leave.
    pub fn classifier(&self) -> Result<&SchedClassifier> {
        let program = self.object.program(self.name).context("no program")?;
        Ok(program.try_into()?)
    }

    /// The program, where it is for packets that arrive.
    pub fn xdp(&self) -> Result<&Xdp> {
        let program = self.object.program(self.name).context("no program")?;
        Ok(program.try_into()?)
    }

    /// The same, to be attached.
    pub fn xdp_mut(&mut self) -> Result<&mut Xdp> {
        let program = self.object.program_mut(self.name).context("no program")?;
        Ok(program.try_into()?)
    }

    /// Runs the program `count` times on a frame, on the CPU of the calling thread.
    pub fn judge(&self, frame: &[u8], count: u32) -> Result<()> {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat: count,
            ..TestRunOptions::new()
        };
        let run = self.xdp()?.test_run(options);
        run.map(drop).context("cannot run the program")
    }

    /// Sends `count` frames out of the interface of this index, which must be in the network
    /// namespace of the calling thread. Gives the time that this thread's CPU spent on them, with
    /// what came of them at the other end of a cable.
    pub fn send(&self, interface: u32, frame: &[u8], count: u32) -> Result<Duration> {
        let context = context(interface, frame.len());
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        let result = self
            .xdp()?
            .test_run(options)
            .context("cannot send frames")?;
        Ok(result.duration * count)
    }
}

/// Reads the object in, with these constants and programs.
fn load(names: &[&'static str], numbers: &Numbers) -> Result<Ebpf> {
    let mut object = EbpfLoader::new()
        .override_global("SOURCES", &numbers.sources, true)
        .override_global("FIRST_SOURCE", &numbers.first_source, true)
        .override_global("ADDRESS_AT", &numbers.address_at, true)
        .override_global("CHECKSUM_AT", &numbers.checksum_at, true)
        .override_global("TOKEN_AT", &numbers.token_at, true)
        .load(OBJECT)
        .context("cannot load what is measured with")?;
    for name in names {
        let program = object
            .program_mut(name)
            .with_context(|| format!("no program {name}"))?;
        match program {
            aya::programs::Program::Xdp(program) => program.load(),
            aya::programs::Program::SchedClassifier(program) => program.load(),
            _ => bail!("{name} is a program of another kind"),
        }
        .with_context(|| format!("cannot load program {name}"))?;
    }
    Ok(object)
}

/// The kernel's own part of an exchange, over one table: an insertion by the first program, a look-up
/// and a deletion by the second.
pub struct Bare {
    object: Ebpf,
    names: [&'static str; 2],
}

impl Bare {
    /// For packets to this server and from it, with a token at this place in the frame.
    pub fn new(server: IpAddr, token_at: u32) -> Result<Self> {
        let names = match server {
            IpAddr::V4(_) => ["insert_v4", "take_v4"],
            IpAddr::V6(_) => ["insert_v6", "take_v6"],
        };
        let object = load(&names, &Numbers::token(token_at))?;
        Ok(Self { object, names })
    }

    /// Inserts.
    pub fn insert(&self) -> Result<&SchedClassifier> {
        Ok(self.program(0)?.try_into()?)
    }

    /// Looks up and deletes.
    pub fn take(&self) -> Result<&Xdp> {
        Ok(self.program(1)?.try_into()?)
    }

    fn program(&self, number: usize) -> Result<&aya::programs::Program> {
        self.object
            .program(self.names[number])
            .context("no program")
    }
}

/// The constants of the programs, as `bench.rs` documents them.
#[derive(Default)]
struct Numbers {
    sources: u32,
    first_source: u32,
    address_at: u32,
    checksum_at: u32,
    token_at: u32,
}

impl Numbers {
    fn of(Sources { first, count }: Sources) -> Self {
        let (address_at, checksum_at) = place(first);
        Self {
            sources: count,
            first_source: last_word(first),
            address_at,
            checksum_at,
            ..Self::default()
        }
    }

    fn token(token_at: u32) -> Self {
        Self {
            token_at,
            ..Self::default()
        }
    }
}

/// The kernel's `struct xdp_md`: where the data begins, ends, and its metadata begins; the interface
/// it came from, the queue there, and the interface it leaves by.
fn context(interface: u32, len: usize) -> Vec<u8> {
    let fields = [0, len as u32, 0, interface, 0, 0];
    fields
        .iter()
        .flat_map(|field| field.to_ne_bytes())
        .collect()
}

/// The last 32 bits of an address.
fn last_word(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => address.to_bits() as u32,
    }
}

fn place(address: IpAddr) -> (u32, u32) {
    if address.is_ipv4() { V4_AT } else { V6_AT }
}

/// A handle on a program that somebody else loaded.
pub fn by_id(id: u32) -> Result<Xdp> {
    for info in aya::programs::loaded_programs() {
        let info = info.context("cannot list the loaded programs")?;
        if info.id() == id {
            return Xdp::from_program_info(info, "another's".into(), XdpAttachType::Interface)
                .with_context(|| format!("cannot open program {id}"));
        }
    }
    anyhow::bail!("program {id} is gone")
}
