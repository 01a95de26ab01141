//! Which files a job may touch, by Landlock: also where no namespace can be had.

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};

use super::system_calls::landlock_version;
use crate::confinement::full::view::View;
use crate::confinement::level::Network;

/// The version of the kernel's Landlock that is used; 0 where there is none.
pub(crate) fn version() -> i32 {
    // A newer one is used as far as the crate knows it.
    ABI::from(landlock_version()) as i32
}

/// Confines this thread, and all that it will start, to what it is to see.
///
/// # Errors
/// If the kernel can't do all that its version of Landlock is known to do.
pub(crate) fn confine(view: &View) -> io::Result<()> {
    let abi = ABI::from(view.landlock);
    let all = AccessFs::from_all(abi);
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(all).map_err(failed)?;
    if abi >= ABI::V4 && view.network == Network::None {
        ruleset = ruleset.handle_access(AccessNet::from_all(ABI::V4)).map_err(failed)?;
    }
    if abi >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(abi)).map_err(failed)?;
    }
    let mut rules = ruleset.create().map_err(failed)?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    let write = all & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let list = AccessFs::ReadDir.into();
    for (paths, access) in
        [(&view.readable, read), (&view.listed, list), (&view.writable, write), (&view.devices, device)]
    {
        for path in paths {
            rules = allow(rules, path, access & all)?;
        }
    }
    rules.restrict_self().map_err(failed)?;
    Ok(())
}

fn allow(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> io::Result<RulesetCreated> {
    let Ok(opened) = PathFd::new(path) else { return Ok(rules) };
    // A file has fewer rights than a folder.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(ABI::V5) };
    if access.is_empty() {
        return Ok(rules);
    }
    rules.add_rule(PathBeneath::new(opened, access)).map_err(failed)
}

fn failed(error: impl std::error::Error) -> io::Error {
    io::Error::other(format!("Landlock: {error}"))
}
