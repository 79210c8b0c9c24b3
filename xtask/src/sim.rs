//! Simulation: seeds are run over a disk that lies, by the program of the crate `sim`. This builds and starts it.

use std::process::Command;

use anyhow::Result;

use crate::process::{program, root, run};
use crate::steps::Outcome;

pub(crate) fn command(arguments: &[String]) -> Result<Outcome> {
    run(Command::new(program("ate-sim")?)
        .args(arguments)
        .current_dir(root())
        .stdin(std::process::Stdio::null()))?;
    Ok(Outcome::Passed)
}
