//! The rows of the benchmark table: ours first, then those of the peers, on the same disk.

use anyhow::Result;

use crate::process::{cargo, root, run};
use crate::scratch::Scratch;
use crate::steps::Outcome;

/// The rows that the peers have; the others are ours alone.
const PEER_ROWS: &[&str] = &["lone", "64", "bulk", "read", "open", "bytes"];

pub(crate) fn command(arguments: &[String]) -> Result<Outcome> {
    run(cargo()
        .args([
            "run",
            "--release",
            "--locked",
            "--quiet",
            "--package",
            "ate-benches",
            "--features",
            "net",
            "--bin",
            "rows",
            "--",
        ])
        .args(arguments))?;
    let Some(rows) = peer_rows(arguments) else {
        println!("    peers: none of the chosen rows is theirs");
        return Ok(Outcome::Passed);
    };
    // From its own folder, whose configuration says how SQLite is built.
    let peers = || {
        let mut command = cargo();
        command.current_dir(root().join("benches/peers"));
        command
    };
    if let Err(error) = run(peers().args(["build", "--release", "--locked"])) {
        println!("    peers: SKIPPED, NOT MEASURED: {error:#}");
        return Ok(Outcome::Passed);
    }
    // On the disk of the build, not in the temporary directory, which may be memory, where a sync costs nothing.
    let scratch = Scratch::below(&root().join("target"), "peers")?;
    run(peers()
        .args(["run", "--release", "--locked", "--quiet", "--"])
        .args(["--rows", &rows, "--dir"])
        .arg(scratch.path()))?;
    Ok(Outcome::Passed)
}

/// The rows to ask of the peers: all if none was named, `None` if none of the named ones is theirs.
fn peer_rows(arguments: &[String]) -> Option<String> {
    let named: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let rows: Vec<&str> = PEER_ROWS
        .iter()
        .copied()
        .filter(|row| named.is_empty() || named.contains(row))
        .collect();
    (!rows.is_empty()).then(|| rows.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_asked_for_the_rows_they_have() {
        let rows = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            peer_rows(&words)
        };
        assert_eq!(rows(&[]).as_deref(), Some("lone,64,bulk,read,open,bytes"));
        assert_eq!(
            rows(&["read", "verify", "lone"]).as_deref(),
            Some("lone,read")
        );
        assert_eq!(rows(&["verify"]), None);
    }
}
