//! The steps of the gate that other programs do: format, lints, tests, documents, vectors, dependencies.
//!
//! Everything is built in the dev profile with `--workspace --all-features`, so that tests, examples and harnesses share one
//! build; `--locked` keeps the lock file as it is.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{answers, cargo, root, run};
use crate::steps::Outcome;

/// The crate outside the workspace: formatted like the rest, built only by `bench`.
const PEERS: &str = "benches/peers/Cargo.toml";

pub(crate) fn fmt() -> Result<Outcome> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["fmt", "--manifest-path", PEERS, "--check"]))?;
    Ok(Outcome::Passed)
}

pub(crate) fn fix() -> Result<Outcome> {
    run(cargo()
        .args(["clippy", "--fix", "--allow-dirty", "--allow-staged"])
        .args(["--workspace", "--all-targets", "--all-features"]))?;
    run(cargo().args(["fmt", "--all"]))?;
    run(cargo().args(["fmt", "--manifest-path", PEERS]))?;
    Ok(Outcome::Passed)
}

pub(crate) fn clippy() -> Result<Outcome> {
    let everything: &[&str] = &["--workspace", "--all-targets", "--all-features"];
    // What a user of the library builds; features are additive, so these two and everything cover the rest.
    let bare: &[&str] = &["--package", "ate", "--no-default-features"];
    let default: &[&str] = &["--package", "ate"];
    for selection in [everything, bare, default] {
        run(cargo()
            .args(["clippy", "--locked"])
            .args(selection)
            .args(["--", "-D", "warnings"]))?;
    }
    Ok(Outcome::Passed)
}

pub(crate) fn test() -> Result<Outcome> {
    println!("    unit tests, integration tests and doc tests, in this one call");
    run(cargo().args(["test", "--locked", "--workspace", "--all-features"]))?;
    Ok(Outcome::Passed)
}

pub(crate) fn doc() -> Result<Outcome> {
    run(cargo()
        .args([
            "doc",
            "--locked",
            "--workspace",
            "--no-deps",
            "--all-features",
        ])
        .env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::Passed)
}

pub(crate) fn vectors() -> Result<Outcome> {
    let scripts = [
        ("vectors/check.py", "docs/format.md"),
        ("vectors/check-protocol.py", "docs/protocol.md"),
    ];
    for (script, promised_by) in scripts {
        if !root().join(script).is_file() {
            bail!("{script} is missing, but {promised_by} promises it");
        }
    }
    if !answers(Command::new("python3").arg("--version")) {
        return Ok(Outcome::Skipped("python3 is not installed".to_owned()));
    }
    for (script, _) in scripts {
        run(Command::new("python3")
            .arg(script)
            .current_dir(root())
            .env("PYTHONDONTWRITEBYTECODE", "1"))?;
    }
    Ok(Outcome::Passed)
}

pub(crate) fn deny() -> Result<Outcome> {
    if !answers(cargo().args(["deny", "--version"])) {
        return Ok(Outcome::Skipped("cargo-deny is not installed".to_owned()));
    }
    run(cargo().args([
        "deny",
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))?;
    if has_advisories() {
        run(cargo().args(["deny", "--locked", "--offline", "check", "advisories"]))?;
    } else {
        println!(
            "    advisories: SKIPPED, NOT CHECKED: their database was never fetched (`cargo deny fetch`)"
        );
    }
    Ok(Outcome::Passed)
}

/// Fetching the database needs a network that a gate cannot rely on: it is used only where somebody fetched it.
fn has_advisories() -> bool {
    let home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    home.and_then(|home| std::fs::read_dir(home.join("advisory-dbs")).ok())
        .is_some_and(|mut entries| entries.next().is_some())
}
