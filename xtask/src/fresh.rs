//! What a newcomer sees: a clone of HEAD, an empty target directory, the demo and the gate, each with its seconds.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{cargo, git, output, root, run};
use crate::scratch::Scratch;
use crate::steps::{Outcome, Steps};

/// Settings that would let the clone use, or disturb, somebody's build.
const BUILD_PLACES: &[&str] = &[
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_BUILD_DIR",
];

pub(crate) fn command(steps: &mut Steps, arguments: &[String]) -> Result<()> {
    let is_kept = match arguments {
        [] => false,
        [flag] if flag == "--keep" => true,
        _ => bail!("takes nothing but --keep, got `{}`", arguments.join(" ")),
    };
    if !output(git().args(["status", "--porcelain"]))?.is_empty() {
        println!("    note: uncommitted changes are not part of the clone");
    }
    let mut scratch = Scratch::new("fresh")?;
    if is_kept {
        scratch.keep();
    }
    let clone = scratch.path().join("ate");
    steps.run("clone", || {
        run(git()
            .args(["clone", "--quiet", "--no-hardlinks"])
            .arg(root())
            .arg(&clone))?;
        Ok(Outcome::Passed)
    })?;
    for words in [["ate", "demo"], ["xtask", "ci"]] {
        let name = format!("cargo {}", words.join(" "));
        steps.run(&name, || {
            let mut command: Command = cargo();
            for place in BUILD_PLACES {
                command.env_remove(place);
            }
            run(command.args(words).current_dir(&clone))?;
            Ok(Outcome::Passed)
        })?;
    }
    steps.print_summary();
    if is_kept {
        println!("kept: {}", clone.display());
    }
    Ok(())
}
