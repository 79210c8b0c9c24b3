//! A flood: a node over QUIC, a good client, and peers that mean harm, by the program `flood` of the crate `benches`. This builds and starts it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process::{cargo, output, root, run};
use crate::steps::Outcome;

pub(crate) fn command(arguments: &[String]) -> Result<Outcome> {
    if !cfg!(target_os = "linux") {
        println!(
            "    SKIPPED, NOT MEASURED: the flood needs the loopback addresses and the memory figures of Linux"
        );
        return Ok(Outcome::Passed);
    }
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
            .args(["--workspace", "--all-features", "--bin", "flood"])
            .arg("--message-format=json-render-diagnostics"),
    )?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .context("cargo names no executable `flood`")
}
