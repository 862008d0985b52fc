//! The kernels that `cargo xtask test` boots.

use anyhow::Result;

use super::{Plan, Step};
use crate::{
    vm::{TESTED, kernel},
    workspace::Workspace,
};

/// The kernels.
pub(super) struct Kernels;

impl Step for Kernels {
    fn plan(&self, workspace: &Workspace) -> Result<Option<Plan>> {
        let missing = missing(workspace);
        let plan = || Plan {
            what: format!("download Linux {}", missing.join(" and ")),
            cost: "50 MB each with apt's lists",
        };
        Ok((!missing.is_empty()).then(plan))
    }

    fn act(&self, workspace: &Workspace) -> Result<()> {
        missing(workspace)
            .into_iter()
            .try_for_each(|version| kernel::get(workspace, version).map(drop))
    }
}

fn missing(workspace: &Workspace) -> Vec<&'static str> {
    TESTED
        .into_iter()
        .filter(|version| kernel::cached(workspace, version).is_none())
        .collect()
}
