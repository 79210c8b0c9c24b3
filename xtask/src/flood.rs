//! A flood: a node over QUIC, a good client, and peers that mean harm, by the program `flood` of the crate `benches`. This builds and starts it.

use std::process::Command;

use anyhow::Result;

use crate::process::{program, root, run};
use crate::steps::Outcome;

pub(crate) fn command(arguments: &[String]) -> Result<Outcome> {
    if !cfg!(target_os = "linux") {
        println!(
            "    SKIPPED, NOT MEASURED: the flood needs the loopback addresses and the memory figures of Linux"
        );
        return Ok(Outcome::Passed);
    }
    run(Command::new(program("flood")?)
        .args(arguments)
        .current_dir(root())
        .stdin(std::process::Stdio::null()))?;
    Ok(Outcome::Passed)
}
