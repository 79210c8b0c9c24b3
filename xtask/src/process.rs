//! Starting other programs: from the root of the repository, without standard input, and failing when they fail.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The root of the repository that this program was built in.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in a folder of the repository")
        .to_path_buf()
}

/// The cargo that runs us, at the root. What `cargo run` tells *this* program about its own package is not passed on.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_ours = text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_");
        if is_ours
            || matches!(
                &*text,
                "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE"
            )
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Git, at the root.
pub(crate) fn git() -> Command {
    let mut command = Command::new("git");
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// True if the program can be started and ends well, e.g. with `--version`. Its output is dropped.
pub(crate) fn answers(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Prints the command line, runs it with our own output streams, and fails if it fails.
///
/// # Errors
/// The program cannot be started, or ends with anything but success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    println!("    $ {line}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    expect_success(&line, status)
}

/// Runs a command silently and returns its standard output; standard error stays ours.
///
/// # Errors
/// As [`run`], and standard output that is not UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    expect_success(&line, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` printed what is not UTF-8"))
}

fn expect_success(line: &str, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Waits for a child at most `limit`; a child that is still running then is ended.
///
/// # Errors
/// The child failed or was over its limit; in both cases it has ended.
pub(crate) fn wait_at_most(child: Child, limit: Duration) -> Result<()> {
    let status = ended_at_most(child, limit)?;
    if !status.success() {
        bail!("ended with {status}");
    }
    Ok(())
}

/// As [`wait_at_most`], for a child that may fail.
///
/// # Errors
/// The child was over its limit; it has ended.
pub(crate) fn ended_at_most(mut child: Child, limit: Duration) -> Result<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begun.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("still running after {} s, ended it", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A program of the workspace, in the profile and with the features that `test` has built.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let messages = output(
        cargo()
            .args(["build", "--locked", "--quiet"])
            .args(["--workspace", "--all-features", "--bin", name])
            .arg("--message-format=json-render-diagnostics"),
    )?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .with_context(|| format!("cargo names no executable `{name}`"))
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![
        program
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    ];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_of_a_program_is_ours() {
        let error = run(cargo().arg("no-such-command-of-cargo")).expect_err("must fail");
        assert!(
            error
                .to_string()
                .contains("no-such-command-of-cargo` ended with"),
            "{error}"
        );
        assert!(!answers(&mut Command::new("no-such-program-anywhere")));
    }

    #[test]
    fn output_is_returned() {
        let text = output(cargo().arg("--version")).expect("cargo runs us");
        assert!(text.starts_with("cargo "), "{text}");
    }
}
