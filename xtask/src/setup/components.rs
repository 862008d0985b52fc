//! rustfmt and clippy, which a minimal toolchain lacks.

use anyhow::{Result, bail};

use super::{Plan, Step};
use crate::{command, workspace::Workspace};

const COMPONENTS: [&str; 2] = ["rustfmt", "clippy"];

/// The formatter and the linter of the active toolchain.
pub(super) struct Components;

impl Step for Components {
    fn plan(&self, _: &Workspace) -> Result<Option<Plan>> {
        let missing = missing();
        let plan = || Plan {
            what: format!("add {} to the toolchain", missing.join(" and ")),
            cost: "7 MB",
        };
        Ok((!missing.is_empty()).then(plan))
    }

    fn act(&self, _: &Workspace) -> Result<()> {
        let missing = missing();
        if command::find("rustup").is_none() {
            bail!(
                "there is no rustup to add {0} with: install {0} as this compiler came",
                missing.join(" and ")
            );
        }
        command::run(
            command::program("rustup")
                .args(["component", "add"])
                .args(missing),
        )
    }
}

fn missing() -> Vec<&'static str> {
    let runs = |component: &&str| {
        let subcommand = if *component == "rustfmt" {
            "fmt"
        } else {
            component
        };
        command::read(command::cargo().args([subcommand, "--version"])).is_ok()
    };
    COMPONENTS
        .into_iter()
        .filter(|component| !runs(component))
        .collect()
}
