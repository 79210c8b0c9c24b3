//! Runs every example of the crates `ate` and `ate-log` as a user would: in an empty directory, and once more in what the first run left.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process::{cargo, output, wait_at_most};
use crate::scratch::Scratch;
use crate::steps::Outcome;

/// Whose examples are run; others are tools.
const MANIFESTS: [&str; 2] = ["ate/Cargo.toml", "ate-log/Cargo.toml"];
/// Far above what an example needs, even in the dev profile on a busy machine: it only ends one that hangs.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn command() -> Result<Outcome> {
    // The same selection as `test`, so that nothing is built twice.
    let messages = output(
        cargo()
            .args([
                "build",
                "--locked",
                "--quiet",
                "--workspace",
                "--all-features",
                "--examples",
            ])
            .arg("--message-format=json-render-diagnostics"),
    )?;
    let examples = executables(&messages)?;
    if examples.is_empty() {
        return Ok(Outcome::Skipped("there is no example".to_owned()));
    }
    for (name, executable) in &examples {
        let scratch = Scratch::new("example")?;
        for time in ["first", "second"] {
            let directory = scratch.path().join("directory");
            std::fs::create_dir_all(&directory)?;
            println!("    example {name}, {time} run");
            run_example(executable, &directory, &scratch.path().join("output"))
                .with_context(|| format!("{time} run of example {name}"))?;
        }
    }
    println!("    {} examples, each run twice", examples.len());
    Ok(Outcome::Passed)
}

/// The output goes to a file, shown only when the example fails.
fn run_example(executable: &Path, directory: &Path, output: &Path) -> Result<()> {
    let file = File::create(output)?;
    let child = Command::new(executable)
        .current_dir(directory)
        .env_remove("ATE_DIR")
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()?;
    let ended = wait_at_most(child, LIMIT);
    if ended.is_err() {
        println!("{}", String::from_utf8_lossy(&std::fs::read(output)?));
    }
    ended
}

/// Name and path of each of our examples in cargo's messages, one JSON object a line.
fn executables(messages: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line).context("a message of cargo")?;
        let target = &message["target"];
        let is_example = target["kind"]
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(|kind| kind == "example"));
        let is_ours = message["manifest_path"]
            .as_str()
            .is_some_and(|path| MANIFESTS.iter().any(|ours| Path::new(path).ends_with(ours)));
        if !is_example || !is_ours {
            continue;
        }
        let (Some(name), Some(executable)) =
            (target["name"].as_str(), message["executable"].as_str())
        else {
            bail!("an example without name or executable: {line}");
        };
        found.push((name.to_owned(), PathBuf::from(executable)));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_examples_of_two_crates_are_taken() {
        let messages = [
            r#"{"reason":"compiler-artifact","manifest_path":"/x/ate/Cargo.toml","target":{"kind":["example"],"name":"b"},"executable":"/t/b"}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/x/ate/Cargo.toml","target":{"kind":["lib"],"name":"ate"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/x/other/Cargo.toml","target":{"kind":["example"],"name":"c"},"executable":"/t/c"}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/x/ate/Cargo.toml","target":{"kind":["example"],"name":"a"},"executable":"/t/a"}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/x/ate-log/Cargo.toml","target":{"kind":["example"],"name":"d"},"executable":"/t/d"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ]
        .join("\n");
        let found = executables(&messages).expect("well-formed");
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "d"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_failing_and_a_hanging_program_are_told() {
        let failing = Command::new("false").spawn().expect("false");
        assert!(wait_at_most(failing, LIMIT).is_err());
        let hanging = Command::new("sleep").arg("600").spawn().expect("sleep");
        let error = wait_at_most(hanging, Duration::from_millis(20)).expect_err("over its limit");
        assert!(error.to_string().starts_with("still running"), "{error}");
    }
}
