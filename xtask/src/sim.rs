//! Simulation: seeds are run over a disk that lies, by the program of the crate `sim`. This builds and starts it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process::{cargo, output, root, run};
use crate::steps::Outcome;

pub(crate) fn command(arguments: &[String]) -> Result<Outcome> {
    run(Command::new(build()?)
        .args(arguments)
        .current_dir(root())
        .stdin(std::process::Stdio::null()))?;
    Ok(Outcome::Passed)
}

/// The program, in the profile and with the features that `test` has built.
fn build() -> Result<PathBuf> {
    let messages = output(
        cargo()
            .args(["build", "--locked", "--quiet"])
            .args(["--workspace", "--all-features", "--bin", "ate-sim"])
            .arg("--message-format=json-render-diagnostics"),
    )?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .context("cargo names no executable `ate-sim`")
}
