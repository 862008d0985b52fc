//! The systems that `cargo xtask test` boots.

use anyhow::Result;

use super::{Plan, Step};
use crate::{
    vm::system::{self, Recipe, TESTED, image},
    workspace::Workspace,
};

/// The systems.
pub(super) struct Systems;

impl Step for Systems {
    fn plan(&self, workspace: &Workspace) -> Result<Option<Plan>> {
        let missing = missing(workspace)?;
        let names: Vec<_> = missing.iter().map(|recipe| recipe.name).collect();
        let plan = || Plan {
            what: format!("make a system of {} to boot", names.join(" and ")),
            cost: "a minute or two, 100 MB to download and 300 MB kept",
        };
        Ok((!missing.is_empty()).then(plan))
    }

    fn act(&self, workspace: &Workspace) -> Result<()> {
        missing(workspace)?
            .into_iter()
            .try_for_each(|recipe| image::get(workspace, recipe).map(drop))
    }
}

fn missing(workspace: &Workspace) -> Result<Vec<&'static Recipe>> {
    let recipes = TESTED.iter().map(|name| system::recipe(name));
    let missing = recipes.filter(|recipe| {
        recipe
            .as_ref()
            .is_ok_and(|recipe| image::cached(workspace, recipe).is_none())
    });
    missing.collect()
}
