//! The limit on locked memory, which tables count against before Linux 5.11.

use anyhow::{Context as _, Result, bail, ensure};
use caps::{CapSet, Capability};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    utsname::uname,
};
use ntpguard::datapath::{Settings, Trial};

/// What a login shell has, far below what the tables take.
const LOW: u64 = 64 << 10;

/// Loads the guard under a low limit that it may not raise. This process keeps neither the limit that it
/// had nor the capability to raise it.
///
/// # Errors
///
/// Where the limit keeps the guard from being loaded without being named, or on a kernel that has no
/// such limit.
pub fn run() -> Result<&'static str> {
    ensure!(
        getrlimit(Resource::RLIMIT_MEMLOCK)?.1 >= LOW,
        "a lower limit"
    );
    setrlimit(Resource::RLIMIT_MEMLOCK, LOW, LOW)?;
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::drop(None, set, Capability::CAP_SYS_RESOURCE)
            .context("cannot drop CAP_SYS_RESOURCE")?;
    }
    match (counts()?, Trial::new(Settings::default())) {
        (true, Err(error)) => {
            let said = error.to_string();
            let is_named = said.contains("the limit on locked memory, 64 KiB")
                && said.contains("LimitMEMLOCK=infinity");
            ensure!(is_named, "another cause: {said}");
            Ok("named as the cause")
        }
        (false, Ok(_)) => Ok("no longer in the way"),
        (true, Ok(_)) => bail!("it should be too low"),
        (false, Err(error)) => Err(error.into()),
    }
}

/// Whether this kernel counts tables against the limit.
fn counts() -> Result<bool> {
    let name = uname()?;
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor) < (5, 11)),
        _ => bail!("Linux {release}"),
    }
}
