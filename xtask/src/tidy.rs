//! What compiler and lints do not see: lengths, heads, leftovers, paths of a workplace, links, commands named in documents.
//!
//! Every rule is a function from a path and a text to problems, so that a test can show it a text that breaks it.

mod documents;
mod rust;
mod text;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::manifest;
use crate::process::{git, output, root};
use crate::steps::Outcome;

/// Functions that were longer than the limit when the limit came, see [`rust::check_ratchet`].
const RATCHET: &str = "xtask/tidy-ratchet.txt";

/// What the rules found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    problems: Vec<String>,
    /// Printed, but no failure.
    warnings: Vec<String>,
    /// Every function over the limit, as the ratchet lists them.
    long_functions: Vec<rust::LongFunction>,
}

pub(crate) fn command() -> Result<Outcome> {
    let (findings, count) = check_repository()?;
    for warning in &findings.warnings {
        println!("    warning: {warning}");
    }
    for problem in &findings.problems {
        println!("    {problem}");
    }
    if !findings.problems.is_empty() {
        bail!("{} untidy places", findings.problems.len());
    }
    println!("    {count} files are tidy");
    Ok(Outcome::Passed)
}

fn check_repository() -> Result<(Findings, usize)> {
    let paths = output(git().args(["ls-files"]))?;
    // A file that was removed but not yet committed is still listed.
    let paths: Vec<&str> = paths
        .lines()
        .filter(|path| root().join(path).is_file())
        .collect();
    let mut findings = Findings::default();
    for path in &paths {
        let bytes =
            std::fs::read(root().join(path)).with_context(|| format!("cannot read {path}"))?;
        // Binary fixtures are no text to keep tidy.
        if let Ok(text) = String::from_utf8(bytes) {
            check_file(path, &text, &mut findings);
        }
    }
    let ratchet = std::fs::read_to_string(root().join(RATCHET))
        .with_context(|| format!("cannot read {RATCHET}"))?;
    findings.problems.extend(rust::check_ratchet(
        RATCHET,
        &ratchet,
        &findings.long_functions,
    ));
    Ok((findings, paths.len()))
}

fn check_file(path: &str, text: &str, findings: &mut Findings) {
    findings.problems.extend(text::check(path, text));
    if path.ends_with(".rs") {
        rust::check(path, text, findings);
    }
    if path.ends_with(".md") {
        let exists = |target: &Path| root().join(target).exists();
        findings
            .problems
            .extend(documents::check(path, text, &exists));
    }
    if path == "Cargo.toml" {
        findings.problems.extend(check_root_manifest(path, text));
    }
}

/// Every dependency says what it is for.
fn check_root_manifest(path: &str, text: &str) -> Vec<String> {
    manifest::dependencies(text)
        .into_iter()
        .filter(|dependency| !dependency.is_explained)
        .map(|dependency| {
            let (line, name) = (dependency.line, dependency.name);
            format!("{path}:{line}: {name} needs a comment that says what it is for")
        })
        .collect()
}

/// True for files that only tests consist of.
pub(crate) fn is_test_path(path: &str) -> bool {
    path.split('/')
        .any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        let (findings, count) = check_repository().expect("files can be read");
        assert!(findings.problems.is_empty(), "{:#?}", findings.problems);
        assert!(count > 10, "git lists {count} files");
    }

    #[test]
    fn unexplained_dependency_is_found() {
        let check = |text: &str| check_root_manifest("Cargo.toml", text).len();
        assert_eq!(
            check("[workspace.dependencies]\n# Layers.\na = \"1\"\nb = \"1\"\n"),
            0
        );
        assert_eq!(check("[workspace.dependencies]\na = \"1\" # why\n"), 0);
        assert_eq!(
            check("[workspace.dependencies]\n# Layers.\na = \"1\"\n\nb = \"1\"\n"),
            1
        );
    }

    #[test]
    fn paths_of_tests_are_known() {
        for path in [
            "ate/tests/a.rs",
            "x/src/a/tests.rs",
            "x/src/tests/a.rs",
            "x/src/a_tests.rs",
        ] {
            assert!(is_test_path(path), "{path}");
        }
        for path in ["x/src/attests.rs", "x/src/a.rs", "contests/a.rs"] {
            assert!(!is_test_path(path), "{path}");
        }
    }
}
