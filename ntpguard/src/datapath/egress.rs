//! Putting the program that notes requests where an interface's packets leave.

use nix::libc::EINVAL;
use serde::{Deserialize, Serialize};

use super::{
    Error, Interface, PinDir, filter,
    link::Link,
    pins::{self, Hook},
    programs::Programs,
};

/// How the program for what leaves is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Egress {
    /// As a pinned link (Linux 6.6).
    Tcx,
    /// As a filter of the clsact qdisc.
    Clsact,
}

impl Egress {
    /// The name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// How what leaves by an interface is noted now; `None` where it is not.
pub(super) fn look(pins: &PinDir, interface: u32) -> Result<Option<Egress>, Error> {
    if open(pins, interface)?.is_some() {
        return Ok(Some(Egress::Tcx));
    }
    Ok(filter::find(interface)?.map(|_| Egress::Clsact))
}

/// Has the program note what leaves by an interface, in one step where another one did.
pub(super) fn occupy(
    programs: &mut Programs,
    interface: &Interface,
    pins: &PinDir,
) -> Result<Egress, Error> {
    let program = programs.egress_fd()?;
    let failed = |source| {
        let doing = format!("attach to what leaves by {}", interface.name);
        Error::system(doing, source)
    };
    if let Some(link) = open(pins, interface.index)? {
        link.swap(program).map_err(failed)?;
        return Ok(Egress::Tcx);
    }
    if let Some(old) = filter::find(interface.index)? {
        filter::put(program, interface.index, Some(&old))?;
        return Ok(Egress::Clsact);
    }
    match Link::attach_egress(program, interface.index) {
        Ok(link) => {
            pins::pin_link(&link, &pins.link(Hook::Egress, interface.index))?;
            Ok(Egress::Tcx)
        }
        Err(error) if error.raw_os_error() == Some(EINVAL) => {
            filter::put(program, interface.index, None)?;
            Ok(Egress::Clsact)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Has nothing note any more what leaves by an interface, and says whether anything did.
pub(super) fn vacate(pins: &PinDir, interface: u32) -> Result<bool, Error> {
    let had_link = pins::end_link(&pins.link(Hook::Egress, interface))?;
    let filter = filter::find(interface)?;
    let had_filter = filter.is_some();
    if let Some(filter) = filter {
        filter::remove(filter)?;
    }
    Ok(had_link || had_filter)
}

/// Our link, if it is still that of the interface: another may have the index of one that is gone.
fn open(pins: &PinDir, interface: u32) -> Result<Option<Link>, Error> {
    let path = pins.link(Hook::Egress, interface);
    let failed = |source| Error::system(format!("open link {}", path.display()), source);
    let Some(link) = Link::open(&path).map_err(failed)? else {
        return Ok(None);
    };
    let here = link.info().map_err(failed)?.interface == interface;
    Ok(here.then_some(link))
}
