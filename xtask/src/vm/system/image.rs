//! The files of a system: made once, and kept until the recipe changes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::recipe::Recipe;
use crate::{command, vm::kernel, workspace::Workspace};

/// A system that can be booted.
#[derive(Debug)]
pub(crate) struct Image {
    /// Its kernel.
    pub(super) kernel: PathBuf,
    /// All its files, as a cpio archive.
    pub(super) files: PathBuf,
}

/// The image of a recipe, if it was made before.
pub(crate) fn cached(workspace: &Workspace, recipe: &Recipe) -> Option<Image> {
    let directory = kept(workspace).join(recipe.key());
    let files = directory.join("root.cpio");
    Some(Image {
        kernel: kernel::image_in(&directory)?,
        files: files.exists().then_some(files)?,
    })
}

/// The image of a recipe, made if need be.
pub(crate) fn get(workspace: &Workspace, recipe: &Recipe) -> Result<Image> {
    if let Some(image) = cached(workspace, recipe) {
        return Ok(image);
    }
    make(workspace, recipe).with_context(|| format!("{} cannot be made", recipe.title))?;
    cached(workspace, recipe)
        .with_context(|| format!("{} was made and has no kernel in it", recipe.title))
}

fn kept(workspace: &Workspace) -> PathBuf {
    workspace.made("systems")
}

fn make(workspace: &Workspace, recipe: &Recipe) -> Result<()> {
    let work = kept(workspace).join(format!("{}.new", recipe.key()));
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(&work)?;
    let packed = work.join("root.tar");
    install(recipe, &packed)?;
    split(&packed, &work)?;
    fs::remove_file(&packed)?;
    remove_others(&kept(workspace), recipe)?;
    // Last, and at once: what is in place is whole.
    Ok(fs::rename(&work, kept(workspace).join(recipe.key()))?)
}

/// Has mmdebstrap install everything, into an archive.
fn install(recipe: &Recipe, packed: &Path) -> Result<()> {
    let source = format!(
        "deb [signed-by={}] {} {} main",
        kernel::KEYS,
        kernel::mirror()?,
        recipe.release
    );
    // Only root can give files to the accounts they belong to. Packing an initramfs takes as long as
    // half of the rest, and is not done for this variable.
    let mut mmdebstrap = command::as_root("env")?;
    mmdebstrap
        .args(["INITRD=No", "mmdebstrap", "--mode=root"])
        .args(recipe.arguments())
        .args(["-", &source]);
    command::run(mmdebstrap.stdout(File::create(packed)?))
}

/// Makes the kernel a file of its own, and of the rest the archive that kernels unpack.
fn split(packed: &Path, directory: &Path) -> Result<()> {
    let mut extract = command::program("bsdtar");
    extract.arg("-xf").arg(packed).arg("-C").arg(directory);
    command::run(extract.args(["--strip-components=2", "./boot/vmlinuz-*"]))?;
    let mut convert = command::program("bsdtar");
    convert.args(["--format=newc", "--exclude=./boot/*", "-cf"]);
    convert.arg(directory.join("root.cpio"));
    command::run(convert.arg(format!("@{}", packed.display())))
}

/// Removes what earlier recipes of this system made.
fn remove_others(kept: &Path, recipe: &Recipe) -> Result<()> {
    let work = format!("{}.new", recipe.key());
    for entry in fs::read_dir(kept)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_of(recipe.name, &name) && name != work {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Whether a directory's name is that of a system with any recipe: its name, a dash, the digits.
fn is_of(system: &str, directory: &str) -> bool {
    let rest = directory
        .strip_prefix(system)
        .and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| {
        let digits = rest.strip_suffix(".new").unwrap_or(rest);
        digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::system::recipe::RECIPES;

    #[test]
    fn what_earlier_recipes_made_goes_and_nothing_else() {
        let recipe = &RECIPES[0];
        let kept = std::env::temp_dir().join(format!("ntpguard-systems-{}", std::process::id()));
        let older = format!("{}-0123456789abcdef", recipe.name);
        let work = format!("{}.new", recipe.key());
        let others = ["debian-12-mine", "debian-120-0123456789abcdef"];
        for name in [&older, &work].map(String::as_str).iter().chain(&others) {
            fs::create_dir_all(kept.join(name)).unwrap();
        }
        remove_others(&kept, recipe).unwrap();
        assert!(!kept.join(older).exists());
        assert!(kept.join(work).exists());
        assert!(others.iter().all(|name| kept.join(name).exists()));
        fs::remove_dir_all(kept).unwrap();
    }
}
