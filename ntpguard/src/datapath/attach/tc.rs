//! Putting programs on the two tc hooks of an interface: where packets arrive and where they leave.

use nix::libc::EINVAL;
use serde::{Deserialize, Serialize};

use super::{
    bpf_link::{self, Link},
    clsact, others,
};
use crate::datapath::{
    Error, Interface, PinDir,
    guard::held::Held,
    object::programs::{Kind, Programs},
    pins::{self, Hook},
};

/// How a program is attached to a tc hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tc {
    /// As a pinned link (Linux 6.6).
    Tcx,
    /// As a filter of the clsact qdisc.
    Clsact,
}

impl Tc {
    /// The name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// How our program is on a hook of an interface now; `None` where it is not.
pub(in crate::datapath) fn look(
    pins: &PinDir,
    hook: Hook,
    interface: u32,
) -> Result<Option<Tc>, Error> {
    if open(pins, hook, interface)?.is_some() {
        return Ok(Some(Tc::Tcx));
    }
    Ok(clsact::find(hook, interface)?.map(|_| Tc::Clsact))
}

/// Puts the program on a hook, in one step where another one of ours was; a new link is not pinned yet.
/// Tells of programs that stand before it: what they take away or let pass for good it does not see.
pub(in crate::datapath) fn occupy(
    programs: &mut Programs,
    hook: Hook,
    interface: &Interface,
    pins: &PinDir,
) -> Result<Held, Error> {
    let link = attach(programs, hook, interface, pins)?;
    let held = Held::of(programs, Kind::on_tc(hook), link)?;
    let before = match held.tc() {
        Tc::Tcx => links_before(held.program, hook, interface),
        Tc::Clsact => clsact::before_ours(hook, interface.index)?,
    };
    if !before.is_empty() {
        tracing::warn!(
            "{}: other programs run before the guard's where packets {}: {}; the guard does not \
             see what they drop or accept",
            interface.name,
            match hook {
                Hook::Ingress => "arrive",
                Hook::Egress => "leave",
            },
            before.join(", ")
        );
    }
    Ok(held)
}

/// Attaches, and says by which link, if it is not a filter.
fn attach(
    programs: &mut Programs,
    hook: Hook,
    interface: &Interface,
    pins: &PinDir,
) -> Result<Option<Link>, Error> {
    let program = programs.fd(Kind::on_tc(hook))?;
    let failed = |source| {
        let doing = format!("attach to the {} hook of {}", hook.name(), interface.name);
        Error::attach(doing, source)
    };
    if let Some(link) = open(pins, hook, interface.index)? {
        link.swap(program).map_err(failed)?;
        return Ok(Some(link));
    }
    if let Some(old) = clsact::find(hook, interface.index)? {
        clsact::put(program, hook, interface.index, Some(&old))?;
        return Ok(None);
    }
    match Link::attach_tcx(program, interface.index, hook) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.raw_os_error() == Some(EINVAL) => {
            clsact::put(program, hook, interface.index, None)?;
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Takes our program off a hook, however it is attached, and says whether one was.
pub(in crate::datapath) fn vacate(
    pins: &PinDir,
    hook: Hook,
    interface: u32,
) -> Result<bool, Error> {
    let had_link = pins::end_link(&pins.link(hook, interface))?;
    let filter = clsact::find(hook, interface)?;
    let had_filter = filter.is_some();
    if let Some(filter) = filter {
        clsact::remove(filter)?;
    }
    Ok(had_link || had_filter)
}

/// The programs that run before ours, by name and number.
fn links_before(ours: u32, hook: Hook, interface: &Interface) -> Vec<String> {
    let Ok(there) = bpf_link::programs_on(hook, interface.index) else {
        return Vec::new();
    };
    there
        .into_iter()
        .take_while(|program| *program != ours)
        .map(others::described)
        .collect()
}

/// Our link, if it is still that of the interface: another may have the index of one that is gone.
fn open(pins: &PinDir, hook: Hook, interface: u32) -> Result<Option<Link>, Error> {
    let path = pins.link(hook, interface);
    let failed = |source| Error::system(format!("open link {}", path.display()), source);
    let Some(link) = Link::open(&path).map_err(failed)? else {
        return Ok(None);
    };
    let info = link.info().map_err(failed)?;
    Ok((info.is_tcx() && info.interface == interface).then_some(link))
}
